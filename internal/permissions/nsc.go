package permissions

// nsc writes the commands that make the users in accounts of an nsc operator. What crosses between accounts is private:
// it takes an activation, so that no other account of the operator can import it.
func nsc(users []Permissions, s Scope) string {
	var p page
	names, in := accounts(users)
	for _, name := range names {
		p.comment(aboutAccount(name))
		if len(users) > 1 {
			p.nscAccount(name)
		} else {
			p.comment("Its account is " + name + ": freshet permissions --format nsc makes it.")
		}
		for _, u := range in[name] {
			p.WriteString("\n")
			p.nscUser(u)
		}
		p.WriteString("\n")
	}
	if len(users) > 1 {
		p.nscCrossings(s)
	}
	return p.String()
}

func (p *page) nscAccount(name string) {
	p.line("nsc add account --name %s", name)
	if name == Home {
		p.line("nsc edit account --name %s --js-mem-storage -1 --js-disk-storage -1", name)
	}
}

func (p *page) nscUser(u Permissions) {
	p.heading(u)
	p.comment("Its clients set --inbox-prefix " + u.Inbox + ".")
	for _, g := range u.Publish {
		for _, subject := range g.Allow {
			if why := g.Wide[subject]; why != "" {
				p.comment("Not narrowed: " + subject + " (" + why + ")")
			}
		}
	}
	p.open("nsc add user --account %s --name %s \\", u.Account, u.User)
	for _, subject := range Allowed(u.Publish) {
		p.line("--allow-pub '%s' \\", subject)
	}
	if len(u.Publish) == 0 {
		p.line("--deny-pub '>' \\")
	}
	allowed := Allowed(u.Subscribe)
	for i, subject := range allowed {
		end := " \\"
		if i == len(allowed)-1 {
			end = ""
		}
		p.line("--allow-sub '%s'%s", subject, end)
	}
	p.depth--
}

func (p *page) nscCrossings(s Scope) {
	p.comment("What the accounts of readers and subscribers reach.")
	for i, e := range Exports(s) {
		kind, many := "", ""
		if e.Service {
			kind = " --service"
		}
		if e.Stream {
			many = " --response-type Stream"
		}
		p.line("nsc add export --account %s --name freshet-%d --private%s%s --subject '%s'", Home, i, kind, many, e.Subject)
		for _, to := range e.To {
			file := "freshet-" + to + "-" + string(rune('0'+i)) + ".jwt"
			p.line("nsc generate activation --account %s --target-account %s --subject '%s' --output-file %s", Home, to, e.Subject, file)
			p.line("nsc add import --account %s --name freshet-%d --local-subject '%s' --token %s", to, i, e.Subject, file)
		}
	}
}
