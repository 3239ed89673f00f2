package refresh

import (
	"encoding/json"
	"strings"
	"unicode"

	"github.com/freshetdev/freshet/pkg/seal"
)

// codes returns what in an answer may be an error code, the likeliest first: the members that the provider's definition
// names, error (RFC 6749 section 5.2), and the places where providers are known to put it.
func (m members) codes(named ...string) []string {
	var c codeList
	for _, name := range named {
		c.addError(m[name])
	}
	c.addError(m["error"])
	for _, name := range []string{"errorCode", "error_code", "errorType", "error_type", "suberror"} {
		c.add(m.text(name))
	}
	c.addError(m["errors"])
	if m.text("access_token") == "" { // in a token answer these mean other things
		c.add(m.text("code"))
		c.add(m.text("status"))
	}
	return c
}

type codeList []string

// add leaves out what says no more than "it went well" or "it did not".
func (c *codeList) add(code string) {
	code = strings.TrimSpace(code)
	switch strings.ToLower(code) {
	case "", "0", "200", "ok", "success", "error", "fail", "failed":
		return
	}
	*c = append(*c, code)
}

// addError adds what stands for an error: a string, an object that describes it, or an array of either.
func (c *codeList) addError(raw json.RawMessage) {
	if list := rawList(raw); len(list) > 0 {
		raw = list[0]
	}
	c.add(rawText(raw))
	o := rawObject(raw)
	for _, name := range []string{"error", "errorType", "code", "type", "status", "name", "reason"} {
		c.add(o.text(name))
	}
}

// canonical spells a code as the RFCs do, for comparison.
func canonical(code string) string {
	underscore := func(r rune) rune {
		if r == ' ' || r == '-' {
			return '_'
		}
		return unicode.ToLower(r)
	}
	return strings.Map(underscore, strings.TrimSpace(code))
}

// safeCode returns a code that may be stored and shown: made of letters, digits and _ . -, at most maxCode bytes, not
// one of our secrets, and built like a word. Anything else may be a token that the server echoes, and gives "".
func safeCode(code string, secrets []seal.Secret) string {
	code = strings.ReplaceAll(code, " ", "_")
	if len(code) > maxCode || !isWord(code) {
		return ""
	}
	for _, s := range secrets {
		if echoes(code, s.Reveal()) {
			return ""
		}
	}
	return code
}

// isWord reports whether s changes between letters and digits as rarely as codes do ("AADSTS70008", "E0000011",
// "v2.invalid_grant") and random texts do not, and has no part that is longer than words are.
func isWord(s string) bool {
	const maxChanges, maxPart = 3, 32
	changes, part := 0, 0
	for i := range len(s) {
		c := s[i]
		switch {
		case !isWordByte(c):
			return false
		case !isLetter(c) && !isDigit(c):
			part = 0
			continue
		}
		part++
		if part > maxPart {
			return false
		}
		if part > 1 && isDigit(c) != isDigit(s[i-1]) {
			changes++
		}
	}
	return changes <= maxChanges
}
