package permissions

import (
	"slices"
	"strings"
)

// helm writes values of the chart nats/nats. Its configuration is merged into what the chart makes; passwords come from a secret, which
// the server reads as variables of its environment.
func helm(users []Permissions, s Scope) string {
	var p page
	p.comment("Values of the chart nats/nats. The secret freshet-nats, in the namespace of NATS, has each user's password under <user>-password; " +
		"it begins with a letter. Freshet's own chart reads its roles' passwords under the same keys from a secret in its namespace.")
	p.open("config:")
	names, in := accounts(users)
	if slices.Contains(names, Home) {
		p.helmJetStream()
	}
	p.open("merge:")
	p.open("accounts:")
	for _, name := range names {
		p.comment(aboutAccount(name))
		p.open("%s:", name)
		if name == Home {
			p.line("jetstream: enabled")
			p.helmExports(s)
		} else {
			p.helmImports(name, s)
		}
		p.open("users:")
		for _, u := range in[name] {
			p.helmUser(u)
		}
		p.depth -= 2
	}
	p.depth = 0
	p.open("container:")
	p.open("env:")
	for _, u := range users {
		p.open("%s:", u.password())
		p.open("valueFrom:")
		p.line("secretKeyRef: {name: freshet-nats, key: %s-password}", u.User)
		p.depth -= 2
	}
	return p.String()
}

// helmJetStream switches on what the chart leaves off, with the writes as deploy/nats has them.
func (p *page) helmJetStream() {
	p.open("jetstream:")
	p.line("enabled: true")
	p.line("fileStore: {enabled: true}")
	p.comment("A rotated refresh token exists once: every write is synced before it is acknowledged. The default loses up to two minutes.")
	p.line("merge: {sync_interval: always}")
	p.depth--
}

func (p *page) helmExports(s Scope) {
	p.open("exports:")
	for _, e := range Exports(s) {
		many := ""
		if e.Stream {
			many = ", response_type: stream"
		}
		p.line("- {%s: %q%s, accounts: [%s]}", e.kind(), e.Subject, many, strings.Join(e.To, ", "))
	}
	p.depth--
}

func (p *page) helmImports(account string, s Scope) {
	p.open("imports:")
	for _, e := range Imports(account, s) {
		p.line("- %s: {account: %s, subject: %q}", e.kind(), Home, e.Subject)
	}
	p.depth--
}

func (p *page) helmUser(u Permissions) {
	p.heading(u)
	p.comment("Its clients set --inbox-prefix " + u.Inbox + ".")
	p.open("- user: %s", u.User)
	p.line("password: << $%s >>", u.password())
	p.open("permissions:")
	p.helmList("publish", u.Publish)
	p.helmList("subscribe", u.Subscribe)
	p.depth -= 2
}

func (p *page) helmList(what string, groups []Group) {
	p.open("%s:", what)
	defer func() { p.depth-- }()
	if len(groups) == 0 {
		p.line(`deny: [">"]`)
		return
	}
	p.open("allow:")
	for _, g := range groups {
		p.comment(g.Why)
		for _, subject := range g.Allow {
			p.line("- %q%s", subject, remark(g.Wide[subject]))
		}
	}
	p.depth--
}
