package refresh

import (
	"encoding/json"
	"maps"

	"github.com/freshetdev/freshet/pkg/provider"
)

// shaped returns the members of an answer as RFC 6749 has them, for a provider that nests its tokens. Of what stands around
// the nested tokens nothing is kept that would be taken for theirs: beside Slack's authed_user lie the bot's.
func (m members) shaped(s provider.ReplyShape) members {
	if s.Tokens == "" {
		return m
	}
	inner := rawObject(m[s.Tokens])
	if inner.text("access_token") == "" {
		return m
	}
	out := maps.Clone(m)
	delete(out, s.Tokens)
	maps.DeleteFunc(out, func(name string, _ json.RawMessage) bool { return isReplyMember(name) })
	maps.Copy(out, inner)
	return out
}
