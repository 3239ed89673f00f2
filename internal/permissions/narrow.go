package permissions

import (
	"slices"
	"strings"
)

// work is what a role does.
type work struct {
	account   string
	about     []string
	narrowed  []string // what to know where the scope is not the whole
	publish   groups
	subscribe groups
}

// group is a Group before its scope is known. Subjects are templates of
//
//	{tokens} {providers} {enrollments}  the buckets
//	{jobs} {events} {audit}             the streams
//	{ns}                                the head of the namespace's subjects
//	{provider}                          the provider, else *
//	{key}                               the keys of the scope's credentials, else >
//	{lane}                              the keys of all credentials of the provider, else >
//	{durable}                           the durable's name, else *
type group struct {
	why      string
	subjects []string
	// narrow takes the place of subjects where the scope is not the whole. Nil: subjects do.
	narrow []string
	// without says why a narrowed user does not get these at all. Empty: it does.
	without string
	// durable: a narrowed user gets these only for a durable that the scope names.
	durable bool
	// dashboard: only where the dashboard is shown.
	dashboard bool
}

type groups []group

func (all groups) in(s Scope) (found []Group) {
	for _, g := range all {
		if g.leftOut(s) != "" {
			continue
		}
		found = append(found, g.in(s))
	}
	return found
}

func (g group) in(s Scope) Group {
	templates := g.subjects
	if g.narrow != nil && !s.whole() {
		templates = g.narrow
	}
	out := Group{Why: g.why}
	for _, t := range templates {
		for _, subject := range s.expand(t) {
			out.Allow = append(out.Allow, subject)
			if why := s.wide(t); why != "" {
				if out.Wide == nil {
					out.Wide = make(map[string]string)
				}
				out.Wide[subject] = why
			}
		}
	}
	return out
}

// leftOut says why the scope does not have the group; empty: it has.
func (g group) leftOut(s Scope) string {
	switch {
	case g.dashboard && s.NoDashboard:
		return "freshet web is run with --dashboard=false"
	case s.whole():
		return ""
	case g.without != "":
		return g.without
	case g.durable && s.Durable == "":
		return "events are heard live only: a consumer of any name could be another's, so name the one that is allowed (--durable)"
	}
	return ""
}

// leftOut lists what a narrowed user does without, each reason once.
func leftOut(all groups, s Scope) (notes []string) {
	for _, g := range all {
		if why := g.leftOut(s); why != "" && !slices.Contains(notes, why) {
			notes = append(notes, why)
		}
	}
	return notes
}

// expand puts the scope into a template.
func (s Scope) expand(template string) []string {
	n := s.Names
	head := ""
	if n.Namespace() != "" {
		head = n.Namespace() + "."
	}
	lane := ">"
	if s.Provider != "" {
		lane = s.Provider + ".>"
	}
	pairs := []string{
		"{tokens}", n.TokensBucket(), "{providers}", n.ProvidersBucket(), "{enrollments}", n.EnrollmentsBucket(),
		"{jobs}", n.JobsStream(), "{events}", n.EventsStream(), "{audit}", n.AuditStream(), "{ns}", head,
		"{provider}", orAll(s.Provider), "{durable}", orAll(s.Durable), "{lane}", lane,
	}
	if !strings.Contains(template, "{key}") {
		return []string{strings.NewReplacer(pairs...).Replace(template)}
	}
	var all []string
	for _, key := range s.keys() {
		all = append(all, strings.NewReplacer(append(slices.Clone(pairs), "{key}", key)...).Replace(template))
	}
	return all
}

func orAll(name string) string {
	if name == "" {
		return "*"
	}
	return name
}

// wide says why a template reaches beyond the scope; empty: it does not.
func (s Scope) wide(template string) string {
	has := func(part string) bool { return strings.Contains(template, part) }
	switch {
	case s.whole(), has("{key}"), has("{durable}"):
		return ""
	case has("{provider}") || has("{lane}"):
		if s.Tenant == "" {
			return ""
		}
		return "all of " + s.Provider
	case has("STREAM.MSG.GET"), has("STREAM.PURGE"):
		return "all providers: the request's body says what"
	case has("STREAM.INFO"):
		return "all providers: shows counts, and the names of keys"
	case has("CONSUMER.CREATE"):
		return "all providers: the request's body says what"
	}
	return "all providers"
}
