package permissions

// table is the one place where it is written who may do what.
func table() map[Role]work {
	return map[Role]work{
		Operator: operator(), Scheduler: scheduler(), Worker: worker(), Enroller: enroller(), Reader: reader(), Subscriber: subscriber(),
	}
}

func operator() work {
	return work{
		account: Home,
		about:   []string{"setup, apply and everything a person types: ls, show, refresh, pause, resume, rm, events, doctor. It deletes no stream."},
		publish: groups{
			{why: "setup looks at each asset; doctor also asks for the account's limits.", subjects: []string{
				"$JS.API.STREAM.INFO.KV_{tokens}", "$JS.API.STREAM.INFO.KV_{providers}", "$JS.API.STREAM.INFO.KV_{enrollments}",
				"$JS.API.STREAM.INFO.{jobs}", "$JS.API.STREAM.INFO.{events}", "$JS.API.STREAM.INFO.{audit}", "$JS.API.INFO",
			}},
			{why: "setup creates what is missing.", without: "setup is for an operator of all providers", subjects: []string{
				"$JS.API.STREAM.CREATE.KV_{tokens}", "$JS.API.STREAM.CREATE.KV_{providers}", "$JS.API.STREAM.CREATE.KV_{enrollments}",
				"$JS.API.STREAM.CREATE.{jobs}", "$JS.API.STREAM.CREATE.{events}", "$JS.API.STREAM.CREATE.{audit}",
			}},
			{why: "apply writes definitions and makes the lanes, the durable consumers on the work queue.", subjects: []string{
				"$JS.API.STREAM.MSG.GET.KV_{providers}", "$KV.{providers}.{provider}", "$JS.API.CONSUMER.INFO.{jobs}.{provider}",
				"$JS.API.CONSUMER.CREATE.{jobs}.{provider}.{ns}refresh.jobs.{provider}.>", "$JS.API.CONSUMER.PAUSE.{jobs}.{provider}",
			}},
			{why: "The end of a pause drops the jobs that wait, so that the lane starts gently; schedulers publish them again.",
				subjects: []string{"$JS.API.STREAM.PURGE.{jobs}"}},
			{why: "ls and providers ls read through consumers that end with the command.",
				subjects: append([]string{"$JS.API.CONSUMER.CREATE.KV_{tokens}.>"}, readAll()...),
				narrow:   append([]string{"$JS.API.CONSUMER.CREATE.KV_{tokens}.*.$KV.{tokens}.{key}"}, readAll()...)},
			{why: "keys ls --in-use and keys rewrap --verify count, sealed, what people have who are on the way to a provider.",
				without: "keys looks at all providers", subjects: []string{
					"$JS.API.CONSUMER.CREATE.KV_{enrollments}.*", "$JS.API.CONSUMER.DELETE.KV_{enrollments}.*", "$JS.FC.KV_{enrollments}.>",
				}},
			{why: "show reads a record; pause, resume and rm of one credential write it, keys rewrap all.",
				subjects: []string{"$JS.API.STREAM.MSG.GET.KV_{tokens}", "$KV.{tokens}.{key}"}},
			{why: "backup takes snapshots; restore looks for what was told since, and writes what is missing.",
				without: "backup and restore are for an operator of all providers", subjects: []string{
					"$JS.API.STREAM.SNAPSHOT.KV_{tokens}", "$JS.API.STREAM.SNAPSHOT.KV_{providers}",
					"$JS.SNAPSHOT.ACK.KV_{tokens}.>", "$JS.SNAPSHOT.ACK.KV_{providers}.>", "$JS.API.STREAM.MSG.GET.{events}",
				}},
			{why: "refresh demands.", subjects: []string{"{ns}refresh.jobs.{key}"}},
			{why: "What pause, resume, revoke and rm tell.", subjects: []string{
				"{ns}provider.paused.{provider}", "{ns}provider.resumed.{provider}", "{ns}token.revoked.{key}", "{ns}token.deleted.{key}",
			}},
			{why: "What it writes down before it is done.", subjects: []string{
				"{ns}audit.paused.{provider}", "{ns}audit.paused.{key}", "{ns}audit.resumed.{provider}", "{ns}audit.resumed.{key}",
				"{ns}audit.revoked.{key}", "{ns}audit.deleted.{key}", "{ns}audit.applied.{provider}",
			}},
			{why: "The same of what is for all providers; and audit reads what everybody wrote.",
				without: "audit, and entries about keys, backups and setup, are for an operator of all providers", subjects: []string{
					"{ns}audit.set_up", "{ns}audit.keys_rotated", "{ns}audit.rewrapped", "{ns}audit.backed_up", "{ns}audit.restored",
					"$JS.API.CONSUMER.CREATE.{audit}.*", "$JS.API.CONSUMER.DELETE.{audit}.*", "$JS.FC.{audit}.>",
				}},
			{why: "events --since reads the history through a consumer that ends with the command.",
				subjects: append([]string{"$JS.API.CONSUMER.CREATE.{events}.>"}, readHistory()...),
				narrow:   append([]string{"$JS.API.CONSUMER.CREATE.{events}.*.{ns}token.*.{key}"}, readHistory()...)},
		},
		subscribe: hearAll(),
		narrowed:  []string{"ls and events take the provider's name or the tenant's; events --since is for a provider and one --type, because a permission sees a single filter only"},
	}
}

// readAll is the rest of what reading both buckets takes.
func readAll() []string {
	return []string{
		"$JS.API.CONSUMER.DELETE.KV_{tokens}.*", "$JS.FC.KV_{tokens}.>",
		"$JS.API.CONSUMER.CREATE.KV_{providers}.*", "$JS.API.CONSUMER.DELETE.KV_{providers}.*", "$JS.FC.KV_{providers}.>",
	}
}

// readHistory is the rest of what reading the events' stream takes.
func readHistory() []string {
	return []string{
		"$JS.API.CONSUMER.INFO.{events}.*", "$JS.API.CONSUMER.MSG.NEXT.{events}.*", "$JS.API.CONSUMER.DELETE.{events}.*",
	}
}

// hearAll are the subjects of all events.
func hearAll() groups {
	return groups{
		{subjects: []string{"{ns}token.>"}, narrow: []string{"{ns}token.*.{key}"}},
		{subjects: []string{"{ns}provider.>"}, narrow: []string{"{ns}provider.*.{provider}"}},
	}
}

func scheduler() work {
	return work{
		account: Home,
		about: []string{
			"Reads headers of records, publishes jobs. It writes no record and holds no key. It ends pauses that have run out.",
			"It is not outside because the server hands nothing that came from another account on to a third: subscribers",
			"would not hear what it tells.",
		},
		publish: groups{
			{why: "The start checks that everything is there; NATS time is measured on KV_tokens.", subjects: checkAll()},
			{why: "Both buckets are watched through ephemeral consumers.",
				subjects: append([]string{"$JS.API.CONSUMER.CREATE.KV_{tokens}.*"}, readAll()...)},
			{why: "A pause lives in the provider's entry, and the lane's own pause follows it. Its end drops the jobs that wait.", subjects: []string{
				"$JS.API.STREAM.MSG.GET.KV_{providers}", "$KV.{providers}.{provider}", "$JS.API.CONSUMER.PAUSE.{jobs}.{provider}",
				"$JS.API.STREAM.PURGE.{jobs}",
			}},
			{why: "How much a lane can take.", subjects: []string{"$JS.API.CONSUMER.INFO.{jobs}.{provider}", "{ns}refresh.jobs.{lane}"}},
			{why: "What it tells, and what an enrolment's author did not live to tell.", subjects: []string{
				"{ns}token.updated.{lane}", "{ns}token.refresh_failed.{lane}", "{ns}token.expiring.{lane}", "{ns}token.reauth_required.{lane}",
				"{ns}token.revoked.{lane}", "{ns}token.deleted.{lane}", "{ns}provider.paused.{provider}", "{ns}provider.resumed.{provider}",
			}},
		},
		narrowed: []string{
			"a scheduler watches all records, and serves all providers: narrow it only where this provider is alone in its namespace",
			"a lane is a provider's: a scheduler cannot be narrowed to a tenant",
		},
	}
}

// checkAll is what the processes look at when they start.
func checkAll() []string {
	return []string{
		"$JS.API.STREAM.INFO.KV_{tokens}", "$JS.API.STREAM.INFO.KV_{providers}", "$JS.API.STREAM.INFO.{jobs}", "$JS.API.STREAM.INFO.{events}",
	}
}

func worker() work {
	return work{
		account: Home,
		about:   []string{"Takes jobs, writes records, tells. It makes no stream, bucket or lane."},
		publish: groups{
			{subjects: checkAll()},
			{why: "The definitions are watched through an ephemeral consumer.", subjects: watchProviders()},
			{why: "Jobs: pull, and acknowledge.", subjects: []string{
				"$JS.API.CONSUMER.INFO.{jobs}.{provider}", "$JS.API.CONSUMER.MSG.NEXT.{jobs}.{provider}",
				"$JS.ACK.{jobs}.{lane}",
			}},
			{why: "Records are read from any server for a first look, and from the leader wherever it matters.", subjects: []string{
				"$JS.API.DIRECT.GET.KV_{tokens}.$KV.{tokens}.{lane}", "$JS.API.STREAM.MSG.GET.KV_{tokens}", "$KV.{tokens}.{lane}",
			}},
			{why: `A provider that says "slow down" pauses its lane for all workers.`, subjects: []string{
				"$JS.API.STREAM.MSG.GET.KV_{providers}", "$KV.{providers}.{provider}", "$JS.API.CONSUMER.PAUSE.{jobs}.{provider}",
			}},
			{why: "What it tells; the last two are told again when a job meets a record that is withdrawn.", subjects: []string{
				"{ns}token.updated.{lane}", "{ns}token.refresh_failed.{lane}", "{ns}token.reauth_required.{lane}", "{ns}provider.paused.{provider}",
				"{ns}token.revoked.{lane}", "{ns}token.deleted.{lane}",
			}},
		},
		narrowed: []string{
			"a worker serves all lanes that it sees: where there are other providers, it is denied their lanes and says so",
			"a lane is a provider's: a worker cannot be narrowed to a tenant",
		},
	}
}

func watchProviders() []string {
	return []string{"$JS.API.CONSUMER.CREATE.KV_{providers}.*", "$JS.API.CONSUMER.DELETE.KV_{providers}.*", "$JS.FC.KV_{providers}.>"}
}

func enroller() work {
	return work{
		account: Home,
		about:   []string{"Login, import and web: reads definitions, writes records, tells of them."},
		publish: groups{
			{subjects: []string{"$JS.API.STREAM.MSG.GET.KV_{providers}"}},
			{why: "import reads all definitions at once, through an ephemeral consumer.", subjects: watchProviders()},
			{subjects: []string{"$JS.API.STREAM.MSG.GET.KV_{tokens}"}},
			{why: "What it writes is stamped with the server's time, which the answer carries.", subjects: []string{"$JS.API.STREAM.INFO.KV_{tokens}"}},
			{subjects: []string{"$KV.{tokens}.{key}"}},
			{why: "web keeps there, sealed, who is on the way to a provider and back.", subjects: []string{
				"$JS.API.STREAM.MSG.GET.KV_{enrollments}", "$KV.{enrollments}.*",
			}},
			{why: "web's dashboard: the records' headers, the lanes, and the events of the last hour, through consumers that end with it.",
				dashboard: true, without: "the dashboard of freshet web is for all providers: this user's shows nothing",
				subjects: append([]string{
					"$JS.API.CONSUMER.CREATE.KV_{tokens}.*", "$JS.API.CONSUMER.DELETE.KV_{tokens}.*", "$JS.FC.KV_{tokens}.>",
					"$JS.API.CONSUMER.INFO.{jobs}.*", "$JS.API.CONSUMER.CREATE.{events}.>",
				}, readHistory()...)},
			{why: "What it tells.", subjects: []string{"{ns}token.updated.{key}", "{ns}token.revoked.{key}", "{ns}token.deleted.{key}"}},
			{why: "What it writes down before it is done.", subjects: []string{
				"{ns}audit.enrolled.{key}", "{ns}audit.imported", "{ns}audit.link_made.{provider}", "{ns}audit.link_made.{key}",
				"{ns}audit.revoked.{key}", "{ns}audit.deleted.{key}",
			}},
		},
	}
}

func reader() work {
	return work{
		account: Readers,
		about: []string{
			"Reads access tokens, and hears when to look again. To confine a program to one tenant, give it a user of its own:",
			"freshet permissions --role reader --user NAME --provider PROVIDER --tenant TENANT.",
		},
		publish: groups{
			{subjects: []string{"$JS.API.DIRECT.GET.KV_{tokens}.$KV.{tokens}.{key}"}},
			{why: "A token that a resource server refuses is not worth much: its reader may ask for a newer one, within the rate " +
				"and the rest that the lane tells of. Whoever may ask can make a provider's refreshes more frequent, down " +
				"to one every few seconds for each credential. Where the provider has a rate it can also stop or delay them, for " +
				"everybody: it may send messages with the ids of the fleet's slots of that rate, which then count as taken. Leave " +
				"these two out for programs that only read.",
				subjects: []string{"$JS.API.CONSUMER.INFO.{jobs}.{provider}", "{ns}refresh.jobs.{key}"}},
			{why: "An agent writes down whom it gave which token.", subjects: []string{"{ns}audit.token_read.{key}"}},
		},
		subscribe: groups{{subjects: []string{
			"{ns}token.updated.{key}", "{ns}token.reauth_required.{key}", "{ns}token.revoked.{key}", "{ns}token.deleted.{key}",
		}}},
		narrowed: []string{"programs set Config.Scope of pkg/tokens to the provider, or to PROVIDER/TENANT: what is beyond is not theirs to hear"},
	}
}

func subscriber() work {
	return work{
		account: Subscribers,
		about:   []string{"Live, or through a durable consumer that remembers what was handled."},
		publish: groups{{durable: true,
			subjects: append(append([]string{"$JS.API.CONSUMER.CREATE.{events}.>"}, handled()...), "$JS.API.CONSUMER.DELETE.{events}.*"),
			narrow:   append([]string{"$JS.API.CONSUMER.CREATE.{events}.{durable}.{ns}token.*.{key}"}, handled()...)},
		},
		subscribe: hearAll(),
		narrowed: []string{
			"a durable that this user makes itself hears one type of a provider's events (a permission sees a single filter only); any other is made by an operator",
		},
	}
}

// handled is what using a durable consumer takes.
func handled() []string {
	return []string{"$JS.API.CONSUMER.INFO.{events}.{durable}", "$JS.API.CONSUMER.MSG.NEXT.{events}.{durable}", "$JS.ACK.{events}.{durable}.>"}
}
