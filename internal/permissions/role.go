package permissions

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/freshetdev/freshet/pkg/events"
)

// Role is a kind of work.
type Role string

// The roles.
const (
	Operator   Role = "operator"
	Scheduler  Role = "scheduler"
	Worker     Role = "worker"
	Enroller   Role = "enroller"
	Reader     Role = "reader"
	Subscriber Role = "subscriber"
)

// Roles returns all roles, those of one account side by side.
func Roles() []Role { return []Role{Operator, Scheduler, Worker, Enroller, Reader, Subscriber} }

// Words lists roles or formats.
func Words[T ~string](all []T) string {
	var words []string
	for _, w := range all {
		words = append(words, string(w))
	}
	return strings.Join(words, ", ")
}

// The NATS accounts.
const (
	Home        = "FRESHET" // has JetStream
	Readers     = "READERS"
	Subscribers = "SUBSCRIBERS"
)

// Scope says for what the permissions are. The zero value is everything in the default namespace.
type Scope struct {
	Names    events.Names
	Provider string // empty: all providers
	// Tenant is the beginning of the account's path, whole segments: "acme" is acme and acme/alice, and not acme2. It needs a Provider.
	Tenant string
	// User names the NATS user, and with it the inboxes; empty: the role's name.
	User string
	// Durable is the one name under which a narrowed subscriber may keep what it has handled; empty: it hears events live only.
	Durable string
	// NoDashboard leaves out what the dashboard of freshet web reads.
	NoDashboard bool
}

// Validate reports everything that is wrong with s.
func (s Scope) Validate() error {
	var faults []error
	if err := (events.Filter{Provider: s.Provider, Account: s.Tenant}).Validate(); err != nil {
		faults = append(faults, err)
	}
	for what, name := range map[string]string{"user": s.User, "durable": s.Durable} {
		if name != "" && !plain(name) {
			faults = append(faults, fmt.Errorf("%s %.80q: want 1 to 64 of A-Z, a-z, 0-9, - and _, beginning with a letter", what, name))
		}
	}
	return errors.Join(faults...)
}

// plain reports whether a name can be a part of a subject and, in capitals, of a variable's name.
func plain(name string) bool {
	for i, ch := range []byte(name) {
		letter := 'a' <= ch|0x20 && ch|0x20 <= 'z'
		if !letter && (i == 0 || !('0' <= ch && ch <= '9' || ch == '-' || ch == '_')) {
			return false
		}
	}
	return len(name) <= 64
}

// whole reports whether nothing is narrowed.
func (s Scope) whole() bool { return s.Provider == "" }

// keys are the endings of the subjects that stand for the scope's credentials.
func (s Scope) keys() []string {
	switch {
	case s.Provider == "":
		return []string{">"}
	case s.Tenant == "":
		return []string{s.Provider + ".>"}
	}
	key := events.Credential{Provider: s.Provider, Account: s.Tenant}.Key()
	return []string{key, key + ".>"}
}

// Permissions are what one user may do.
type Permissions struct {
	Role      Role     `json:"role"`
	User      string   `json:"user"`
	Account   string   `json:"account"`
	Inbox     string   `json:"inbox_prefix"`
	About     []string `json:"-"` // lines of text
	Publish   []Group  `json:"publish"`
	Subscribe []Group  `json:"subscribe"`
	Notes     []string `json:"notes,omitempty"` // what a person should know who narrowed them
}

// Group is what one piece of work needs.
type Group struct {
	Why   string   `json:"why,omitempty"`
	Allow []string `json:"allow"`
	// Wide names the subjects among Allow that reach beyond the scope, and why they cannot be narrowed.
	Wide map[string]string `json:"wide,omitempty"`
}

// Allowed returns the subjects of groups.
func Allowed(groups []Group) (subjects []string) {
	for _, g := range groups {
		subjects = append(subjects, g.Allow...)
	}
	return subjects
}

// Allows reports whether one of the allowed subjects covers all of subject, which may hold wildcards.
func Allows(allowed []string, subject string) bool {
	return slices.ContainsFunc(allowed, func(a string) bool { return covers(strings.Split(a, "."), strings.Split(subject, ".")) })
}

func covers(allowed, subject []string) bool {
	for i, token := range allowed {
		switch {
		case token == ">":
			return len(subject) > i
		case i >= len(subject), token != "*" && token != subject[i], token == "*" && subject[i] == ">":
			return false
		}
	}
	return len(allowed) == len(subject)
}

// Of returns the permissions of a role in a scope.
func Of(role Role, s Scope) (Permissions, error) {
	w, ok := table()[role]
	if !ok {
		return Permissions{}, fmt.Errorf("role %.40q: want one of %s", role, Words(Roles()))
	}
	if err := s.Validate(); err != nil {
		return Permissions{}, err
	}
	if s.User == "" {
		s.User = string(role)
	}
	p := Permissions{Role: role, User: s.User, Account: w.account, Inbox: "_INBOX_" + s.User, About: w.about}
	p.Publish = w.publish.in(s)
	p.Subscribe = append([]Group{{Allow: []string{p.Inbox + ".>"}}}, w.subscribe.in(s)...)
	if !s.whole() {
		p.Notes = append(slices.Clone(w.narrowed), leftOut(append(w.publish, w.subscribe...), s)...)
	}
	return p, nil
}
