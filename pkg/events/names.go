package events

import (
	"fmt"
	"strings"
)

// Names builds every name that Freshet uses on NATS, and reads them back. The zero value is the
// default namespace, which adds no prefix.
type Names struct {
	namespace string
}

// NewNames returns the names of a namespace, so that staging and production can share one NATS
// account. The empty namespace is the default; otherwise it follows the rule for provider names, and
// is not the head of a subject: "token.token.>" would lie inside the default namespace's "token.>".
func NewNames(namespace string) (Names, error) {
	switch {
	case namespace != "" && !ValidProvider(namespace):
		return Names{}, fmt.Errorf("%w: namespace %.60q: want 1 to 32 of a-z, 0-9 and -, not starting with -", ErrName, namespace)
	case namespace == tokenHead || namespace == providerHead || namespace == auditHead || namespace == "refresh":
		return Names{}, fmt.Errorf("%w: namespace %q is the head of a subject, choose another", ErrName, namespace)
	}
	return Names{namespace: namespace}, nil
}

// Namespace returns the namespace, "" for the default.
func (n Names) Namespace() string { return n.namespace }

// TokensBucket names the KV bucket of the records.
func (n Names) TokensBucket() string { return n.asset("tokens") }

// TokensStream names the stream under the records' bucket.
func (n Names) TokensStream() string { return "KV_" + n.TokensBucket() }

// RecordSubject is where a credential's record is written.
func (n Names) RecordSubject(c Credential) string { return n.RecordKeySubject(c.Key()) }

// RecordKeySubject is RecordSubject for a key that is known already.
func (n Names) RecordKeySubject(key string) string { return "$KV." + n.TokensBucket() + "." + key }

// RecordKey returns the key in a record's subject; ok is false for any other subject.
func (n Names) RecordKey(subject string) (key string, ok bool) {
	return strings.CutPrefix(subject, "$KV."+n.TokensBucket()+".")
}

// ProvidersBucket names the KV bucket of the provider definitions.
func (n Names) ProvidersBucket() string { return n.asset("providers") }

// ProvidersStream names the stream under the providers' bucket.
func (n Names) ProvidersStream() string { return "KV_" + n.ProvidersBucket() }

// ProviderSubject is where a provider's definition is written.
func (n Names) ProviderSubject(provider string) string {
	return "$KV." + n.ProvidersBucket() + "." + provider
}

// EnrollmentsBucket names the KV bucket of the enrolments under way.
func (n Names) EnrollmentsBucket() string { return n.asset("enrollments") }

// EnrollmentsStream names the stream under the enrolments' bucket.
func (n Names) EnrollmentsStream() string { return "KV_" + n.EnrollmentsBucket() }

// EnrollmentSubject is where an entry of the enrolments' bucket is written.
func (n Names) EnrollmentSubject(key string) string {
	return "$KV." + n.EnrollmentsBucket() + "." + key
}

// JobsStream names the work queue.
func (n Names) JobsStream() string { return n.asset("REFRESH_JOBS") }

// JobsSubjects covers all jobs.
func (n Names) JobsSubjects() string { return n.subject("refresh.jobs.>") }

// JobSubject is where a job for a credential is published.
func (n Names) JobSubject(c Credential) string { return n.JobKeySubject(c.Key()) }

// JobKeySubject is JobSubject for a key that is known already.
func (n Names) JobKeySubject(key string) string { return n.subject("refresh.jobs." + key) }

// JobKey returns the key in a job's subject; ok is false for any other subject.
func (n Names) JobKey(subject string) (key string, ok bool) {
	return strings.CutPrefix(subject, n.subject("refresh.jobs."))
}

// LaneSubjects covers the jobs of one provider. The lane, the durable consumer on it, carries the
// provider's name.
func (n Names) LaneSubjects(provider string) string {
	return n.subject("refresh.jobs." + provider + ".>")
}

// EventsStream names the stream that keeps the events.
func (n Names) EventsStream() string { return n.asset("TOKEN_EVENTS") }

// EventsSubjects covers all events.
func (n Names) EventsSubjects() []string {
	return []string{n.subject(tokenHead + ".>"), n.subject(providerHead + ".>")}
}

// EventSubject is where an event of type t about a credential is published.
func (n Names) EventSubject(t Type, c Credential) string {
	return n.subject(string(t) + "." + c.Key())
}

// ProviderEventSubject is where an event of type t about a provider is published.
func (n Names) ProviderEventSubject(t Type, provider string) string {
	return n.subject(string(t) + "." + provider)
}

// AuditStream names the stream that keeps who did what.
func (n Names) AuditStream() string { return n.asset("AUDIT") }

// AuditSubjects covers all audit entries.
func (n Names) AuditSubjects() string { return n.subject(auditHead + ".>") }

// AuditSubject is where an audit entry of an action is published. key is the key of the credential that it is about, or the
// provider's name; empty: it is about neither.
func (n Names) AuditSubject(action, key string) string {
	return n.subject(strings.TrimSuffix(auditHead+"."+action+"."+key, "."))
}

// AuditAction reads an audit subject back; ok is false for any other subject.
func (n Names) AuditAction(subject string) (action, key string, ok bool) {
	local, ok := strings.CutPrefix(subject, n.subject(auditHead+"."))
	action, key, _ = strings.Cut(local, ".")
	return action, key, ok && action != ""
}

// ParseEventSubject reads an event's subject back: what happened, and the key of the credential or, for a
// provider event, the provider's name. The type may be a newer one than this version knows. Its errors wrap ErrName.
func (n Names) ParseEventSubject(subject string) (t Type, key string, err error) {
	local, ok := strings.CutPrefix(subject, n.subject(""))
	head, rest, _ := strings.Cut(local, ".")
	verb, key, _ := strings.Cut(rest, ".")
	t = Type(head + "." + verb)
	switch {
	case !ok || !t.wellFormed():
		return "", "", fmt.Errorf("%w: subject %.250q is not an event's", ErrName, subject)
	case !t.AboutProvider():
		_, err = ParseKey(key)
	case !ValidProvider(key):
		err = providerError(key)
	}
	if err != nil {
		return "", "", fmt.Errorf("subject %.250q: %w", subject, err)
	}
	return t, key, nil
}

func (n Names) asset(name string) string {
	if n.namespace == "" {
		return name
	}
	return n.namespace + "_" + name
}

func (n Names) subject(s string) string {
	if n.namespace == "" {
		return s
	}
	return n.namespace + "." + s
}
