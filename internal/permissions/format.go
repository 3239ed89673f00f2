package permissions

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// Format is a form in which permissions are printed.
type Format string

// The formats.
const (
	Conf Format = "conf" // nats-server's configuration
	NSC  Format = "nsc"  // commands of nsc, for accounts of an operator
	Helm Format = "helm" // values of the chart nats/nats
	JSON Format = "json"
)

// Formats returns all formats, the usual one first.
func Formats() []Format { return []Format{Conf, NSC, Helm, JSON} }

// Write prints the permissions of users in a scope. Without a role there are all six, in accounts that are complete; with one,
// its user alone.
func Write(out io.Writer, f Format, role Role, s Scope) error {
	roles := Roles()
	if role != "" {
		roles = []Role{role}
	}
	var users []Permissions
	for _, r := range roles {
		p, err := Of(r, s)
		if err != nil {
			return err
		}
		users = append(users, p)
	}
	text, err := render(f, users, s)
	if err != nil {
		return err
	}
	_, err = io.WriteString(out, text)
	return err
}

func render(f Format, users []Permissions, s Scope) (string, error) {
	switch f {
	case Conf:
		return conf(users, s), nil
	case NSC:
		return nsc(users, s), nil
	case Helm:
		return helm(users, s), nil
	case JSON:
		var text strings.Builder
		enc := json.NewEncoder(&text)
		enc.SetEscapeHTML(false) // the > of subjects is for people to read
		enc.SetIndent("", "  ")
		err := enc.Encode(map[string]any{"users": users, "exports": Exports(s)})
		return text.String(), err
	}
	return "", fmt.Errorf("format %.40q: want one of %s", f, Words(Formats()))
}

// page collects lines.
type page struct {
	strings.Builder
	depth int
}

// line adds one at the present depth.
func (p *page) line(format string, args ...any) {
	p.WriteString(strings.Repeat("  ", p.depth) + fmt.Sprintf(format, args...) + "\n")
}

// open adds a line and goes one deeper; close comes back.
func (p *page) open(format string, args ...any) {
	p.line(format, args...)
	p.depth++
}

func (p *page) close(text string) {
	p.depth--
	p.line("%s", text)
}

// textWidth is where comments are broken.
const textWidth = 118

// comment adds a text in lines that begin with #.
func (p *page) comment(text string) {
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && len(line)+len(word)+2*p.depth+3 > textWidth {
			p.line("# %s", line)
			line = ""
		}
		line = strings.TrimPrefix(line+" "+word, " ")
	}
	if line != "" {
		p.line("# %s", line)
	}
}

// heading adds what there is to say of a user.
func (p *page) heading(u Permissions) {
	p.comment(strings.Join(u.About, " "))
	for _, note := range u.Notes {
		p.comment("Note: " + note + ".")
	}
}

// password names the variable with a user's password.
func (u Permissions) password() string {
	return "FRESHET_" + strings.ToUpper(strings.ReplaceAll(u.User, "-", "_")) + "_PASSWORD"
}

// accounts returns the accounts of users, in order, each with its users.
func accounts(users []Permissions) (names []string, in map[string][]Permissions) {
	in = make(map[string][]Permissions)
	for _, u := range users {
		if len(in[u.Account]) == 0 {
			names = append(names, u.Account)
		}
		in[u.Account] = append(in[u.Account], u)
	}
	return names, in
}
