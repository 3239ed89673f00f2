package permissions

import "slices"

// Export is what an account lets others reach.
type Export struct {
	Why     string   `json:"why,omitempty"`
	Service bool     `json:"service"` // requests go in and answers come out; else messages come out
	Subject string   `json:"subject"`
	Stream  bool     `json:"many_answers,omitempty"` // one request may bring many messages
	To      []string `json:"to"`                     // accounts
}

// Exports returns what Home lets the other accounts reach. Subjects are not narrowed: an account is for many users.
func Exports(s Scope) []Export {
	all := []Export{
		{Service: true, Subject: "$JS.API.DIRECT.GET.KV_{tokens}.$KV.{tokens}.>", To: []string{Readers}},
		{Service: true, Subject: "$JS.API.CONSUMER.INFO.{jobs}.*", To: []string{Readers}},
		{Service: true, Subject: "{ns}refresh.jobs.>", To: []string{Readers}},
		{Service: true, Subject: "{ns}audit.token_read.>", To: []string{Readers}},
		{Subject: "{ns}token.>", To: []string{Readers, Subscribers}},
		{Subject: "{ns}provider.>", To: []string{Subscribers}},
		{Service: true, Subject: "$JS.API.>", Stream: true, To: []string{Subscribers},
			Why: "All of it, because a narrower import would lose against the one of this name that every account has for itself. " +
				"What is used of it is up to the user's permissions. One request may bring many messages."},
		{Service: true, Subject: "$JS.ACK.{events}.>", To: []string{Subscribers}},
	}
	for i := range all {
		all[i].Subject = Scope{Names: s.Names}.expand(all[i].Subject)[0]
	}
	return all
}

// Imports returns those of the exports that an account takes.
func Imports(account string, s Scope) []Export {
	return slices.DeleteFunc(Exports(s), func(e Export) bool { return !slices.Contains(e.To, account) })
}

// aboutAccount says what an account is for.
func aboutAccount(name string) string {
	switch name {
	case Home:
		return "Freshet's own processes and people. The permissions keep each to its work; they are no wall: whoever may ask the server " +
			"something may name any subject of the account for the answer, a record's as well, and no permission binds the " +
			"server's answer. So guard these four passwords alike. Programs from outside have accounts of their own, below."
	case Readers:
		return "Programs that use tokens. From here the server's answers reach no bucket, whatever subject they were asked to."
	}
	return "Programs that hear events and read no token. Outside for the same reason."
}
