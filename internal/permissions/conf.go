package permissions

import "strings"

// conf writes the accounts of a nats-server configuration, or the one user.
func conf(users []Permissions, s Scope) string {
	var p page
	if len(users) == 1 {
		p.comment("For the users of account " + users[0].Account + "; its clients set --inbox-prefix " + users[0].Inbox + ".")
		p.confUser(users[0])
		return p.String()
	}
	p.open("accounts {")
	names, in := accounts(users)
	for i, name := range names {
		if i > 0 {
			p.WriteString("\n")
		}
		p.comment(aboutAccount(name))
		p.open("%s {", name)
		p.confImports(name, s)
		p.open("users: [")
		for j, u := range in[name] {
			if j > 0 {
				p.WriteString("\n")
			}
			p.confUser(u)
		}
		p.close("]")
		p.confExports(name, s)
		p.close("}")
	}
	p.close("}")
	return p.String()
}

func (p *page) confImports(account string, s Scope) {
	if account == Home {
		p.line("jetstream: enabled")
		return
	}
	p.open("imports: [")
	for _, e := range Imports(account, s) {
		p.line("{ %s: { account: %s, subject: %q } }", e.kind(), Home, e.Subject)
	}
	p.close("]")
}

func (p *page) confExports(account string, s Scope) {
	if account != Home {
		return
	}
	p.WriteString("\n")
	p.comment("What the two accounts below may reach.")
	p.open("exports: [")
	for _, e := range Exports(s) {
		p.comment(e.Why)
		many := ""
		if e.Stream {
			many = ", response_type: stream"
		}
		p.line("{ %s: %q%s, accounts: [%s] }", e.kind(), e.Subject, many, strings.Join(e.To, ", "))
	}
	p.close("]")
}

func (e Export) kind() string {
	if e.Service {
		return "service"
	}
	return "stream"
}

func (p *page) confUser(u Permissions) {
	p.heading(u)
	p.open("{")
	p.line("user: %s", u.User)
	p.line("password: $%s", u.password())
	p.open("permissions {")
	p.confList("publish", u.Publish)
	p.confList("subscribe", u.Subscribe)
	p.close("}")
	p.close("}")
}

// confList writes subjects. A user that may publish nothing says so: a list that is missing would allow all.
func (p *page) confList(what string, groups []Group) {
	if len(groups) == 0 {
		p.line("%s { deny: [\">\"] }", what)
		return
	}
	p.open("%s {", what)
	p.open("allow: [")
	for _, g := range groups {
		p.comment(g.Why)
		for _, subject := range g.Allow {
			p.line("%q%s", subject, remark(g.Wide[subject]))
		}
	}
	p.close("]")
	p.close("}")
}

// remark is a comment behind a line.
func remark(text string) string {
	if text == "" {
		return ""
	}
	return " # " + text
}
