package refresh

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"
)

// Bounds of Reply.Meta, which is stored readable.
const (
	maxMeta      = 16 << 10
	maxMetaText  = 512 // longer texts are rarely facts about an account, and often material
	maxMetaName  = 64
	maxMetaDepth = 4
	maxOpaque    = 40 // a run of letters, digits, - and _ as long as this is taken for a key; a UUID has 36
)

// meta returns the members that are not the reply's own and can hold no secret, as a JSON object of at most maxMeta
// bytes; nil when there are none. Members that do not fit are left out.
func (m members) meta(r Reply) []byte {
	f := metaFilter{issued: []string{r.AccessToken.Reveal(), r.RefreshToken.Reveal(), r.IDToken.Reveal()}}
	var out bytes.Buffer
	for _, name := range slices.Sorted(maps.Keys(m)) {
		if isReplyMember(name) || !f.allowsName(name) {
			continue
		}
		pair := f.pair(name, m[name])
		if pair != nil && out.Len()+len(pair)+2 <= maxMeta {
			out.WriteByte(',')
			out.Write(pair)
		}
	}
	if out.Len() == 0 {
		return nil
	}
	out.WriteByte('}')
	object := out.Bytes()
	object[0] = '{'
	return object
}

// isReplyMember reports whether a member has a field of its own in Reply, or belongs to a refusal.
func isReplyMember(name string) bool {
	switch name {
	case "access_token", "refresh_token", "id_token", "token_type", "scope", "expires_in",
		"refresh_token_expires_in", "x_refresh_token_expires_in", "refresh_expires_in":
		return true
	}
	return strings.HasPrefix(name, "error")
}

// metaFilter decides what may be stored readable. It would rather lose a fact than store a secret.
type metaFilter struct {
	issued []string // the answer's tokens
}

// pair returns the JSON of "name":value, or nil when nothing of the value may be kept.
func (f metaFilter) pair(name string, raw json.RawMessage) []byte {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber() // large ids stay exact
	var v any
	if d.Decode(&v) != nil {
		return nil
	}
	kept := f.keep(v, maxMetaDepth)
	if kept == nil {
		return nil
	}
	object, err := json.Marshal(map[string]any{name: kept})
	if err != nil {
		return nil
	}
	return object[1 : len(object)-1]
}

// keep returns what may be kept of a value, nil for nothing.
func (f metaFilter) keep(v any, depth int) any {
	if depth == 0 {
		return nil
	}
	switch v := v.(type) {
	case bool:
		return v
	case json.Number:
		if f.allowsText(v.String()) {
			return v
		}
	case string:
		if f.allowsText(v) {
			return v
		}
	case []any:
		return f.keepList(v, depth)
	case map[string]any:
		return f.keepObject(v, depth)
	}
	return nil
}

func (f metaFilter) keepList(list []any, depth int) any {
	var kept []any
	for _, v := range list {
		if k := f.keep(v, depth-1); k != nil {
			kept = append(kept, k)
		}
	}
	if kept == nil {
		return nil
	}
	return kept
}

func (f metaFilter) keepObject(o map[string]any, depth int) any {
	kept := make(map[string]any, len(o))
	for name, v := range o {
		if !f.allowsName(name) {
			continue
		}
		if k := f.keep(v, depth-1); k != nil {
			kept[name] = k
		}
	}
	if len(kept) == 0 {
		return nil
	}
	return kept
}

// allowsName refuses names that token material goes by, in any spelling, and names that are no names.
func (f metaFilter) allowsName(name string) bool {
	if len(name) > maxMetaName || !isPlainName(name) || !f.allowsText(name) {
		return false
	}
	n := strings.Map(plainLetter, name)
	switch n {
	case "issuedtokentype": // RFC 8693 section 2.2.1: a kind, not a token
		return true
	case "code", "pin", "sid", "auth", "nonce", "ticket", "at", "rt", "authcode", "usercode", "devicecode":
		return false
	}
	for _, part := range []string{
		"token", "secret", "assertion", "passw", "passphrase", "credential", "cookie", "session", "webhook", "signature",
		"jwt", "authoriz", "otp", "bearer", "dpop",
	} {
		if strings.Contains(n, part) {
			return false
		}
	}
	return !strings.HasSuffix(n, "key")
}

// plainLetter lowers letters, keeps digits and drops the rest.
func plainLetter(r rune) rune {
	switch {
	case isDigit(byte(r)):
		return r
	case isLetter(byte(r)):
		return r | 0x20
	}
	return -1
}

// allowsText refuses texts that contain an issued token, look like one, or are URLs with more than a place in them.
func (f metaFilter) allowsText(s string) bool {
	if s == "" || len(s) > maxMetaText || strings.HasPrefix(s, "eyJ") {
		return false
	}
	if strings.Contains(s, "://") && strings.ContainsAny(s, "?#@") {
		return false
	}
	for _, t := range f.issued {
		if echoes(s, t) {
			return false
		}
	}
	return longestRun(s) < maxOpaque
}

// echoes reports whether a text carries a secret. A very short one is found in everything, so it must be the
// whole text.
func echoes(s, secret string) bool {
	if len(secret) < 8 {
		return secret != "" && s == secret
	}
	return strings.Contains(s, secret)
}

// longestRun returns the length of the longest run of the characters that keys are made of.
func longestRun(s string) int {
	longest, run := 0, 0
	for _, c := range []byte(s) {
		if run++; !isLetter(c) && !isDigit(c) && !strings.ContainsRune("+=-_", rune(c)) {
			run = 0
		}
		longest = max(longest, run)
	}
	return longest
}
