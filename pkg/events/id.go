package events

import (
	"strconv"
	"strings"
)

// TokenEventID returns the id of a token event. It is made of what the event says (grant id, generation,
// version, type and, for a failed attempt, the attempt), so that whoever tells the event gives it the same
// id. The id is fit for a CloudEvents attribute and for Nats-Msg-Id, whatever d holds.
func TokenEventID(t Type, d Data) string {
	var b strings.Builder
	b.WriteString(string(t))
	writePart(&b, d.GrantID)
	writePart(&b, strconv.FormatUint(d.Generation, 10))
	writePart(&b, strconv.FormatUint(d.Version, 10))
	if d.Attempt != "" && (t == TokenRefreshFailed || t == TokenReauthRequired) {
		writePart(&b, d.Attempt)
	}
	return b.String()
}

// ProviderEventID returns the id of a provider event; revision is the KV revision of the pause that began or ended.
func ProviderEventID(t Type, provider string, revision uint64) string {
	var b strings.Builder
	b.WriteString(string(t))
	writePart(&b, provider)
	writePart(&b, strconv.FormatUint(revision, 10))
	return b.String()
}

// writePart adds one part. Escaping keeps the separator out of the parts, so that two different
// events never share an id.
func writePart(b *strings.Builder, part string) {
	b.WriteByte(':')
	writeEscaped(b, part)
}
