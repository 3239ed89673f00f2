package refresh

import (
	"bytes"
	"encoding/json"
	"fmt"
	"mime"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/freshetdev/freshet/internal/flatjson"
)

// members are the members of an answer by their exact names, each as JSON.
type members map[string]json.RawMessage

// readMembers reads a JSON object or a form. An error is ErrUnreadable.
func readMembers(contentType string, body []byte) (members, error) {
	body = trimStart(body)
	switch {
	case len(body) == 0:
		return nil, fmt.Errorf("%w: it is empty", ErrUnreadable)
	case body[0] == '{':
		return readObject(body)
	case body[0] == '<', isMarkup(contentType):
		return nil, fmt.Errorf("%w: it is a page for people", ErrUnreadable)
	}
	return readForm(body)
}

// readObject reads one whole JSON object; what follows it does not matter.
func readObject(body []byte) (members, error) {
	if len(body) == 0 || body[0] != '{' {
		return nil, fmt.Errorf("%w: it is no JSON object", ErrUnreadable)
	}
	m := make(members, 8)
	if flatjson.Read(body, m.member) {
		return m, nil
	}
	clear(m)
	if json.Unmarshal(body, &m) == nil {
		return m, nil
	}
	m = nil
	if err := json.NewDecoder(bytes.NewReader(body)).Decode(&m); err != nil { // something follows it
		return nil, fmt.Errorf("%w: its JSON is cut off or damaged", ErrUnreadable) // err would quote it
	}
	return m, nil
}

// member takes a member; false: it is damaged.
func (m members) member(name []byte, value flatjson.Value) bool {
	m[string(name)] = json.RawMessage(value)
	return !value.Nested() || json.Valid(value)
}

// readForm reads application/x-www-form-urlencoded. Pairs that cannot be decoded are left out.
func readForm(body []byte) (members, error) {
	values, _ := url.ParseQuery(string(bytes.TrimSpace(body)))
	m := make(members, len(values))
	for name, v := range values {
		raw, err := json.Marshal(v[len(v)-1])
		if err == nil {
			m[name] = raw
		}
	}
	if m.text("access_token") == "" && len(m.codes()) == 0 {
		return nil, fmt.Errorf("%w: it is neither JSON nor a form", ErrUnreadable)
	}
	return m, nil
}

func isMarkup(contentType string) bool {
	media, _, _ := mime.ParseMediaType(contentType)
	return strings.HasSuffix(media, "html") || strings.HasSuffix(media, "xml")
}

// text returns a member that is a string or a number, else "".
func (m members) text(name string) string { return rawText(m[name]) }

func rawText(raw json.RawMessage) string {
	if len(raw) == 0 {
		return ""
	}
	switch c := raw[0]; {
	case c == '"' && bytes.IndexByte(raw, '\\') < 0 && utf8.Valid(raw):
		return string(raw[1 : len(raw)-1])
	case c == '"':
		var s string
		_ = json.Unmarshal(raw, &s) // checked when the object was read
		return s
	case c == '-' || '0' <= c && c <= '9':
		return string(raw)
	}
	return ""
}

// texts returns the texts of a member that is an array, else nil.
func (m members) texts(name string) []string {
	var texts []string
	for _, raw := range rawList(m[name]) {
		texts = append(texts, rawText(raw))
	}
	return texts
}

// rawObject reads an object; anything else has no members.
func rawObject(raw json.RawMessage) members {
	o, err := readObject(raw)
	if err != nil {
		return nil
	}
	return o
}

// rawList reads an array; anything else has no elements.
func rawList(raw json.RawMessage) []json.RawMessage {
	var list []json.RawMessage
	if len(raw) == 0 || raw[0] != '[' || json.Unmarshal(raw, &list) != nil {
		return nil
	}
	return list
}

// trimStart removes a byte order mark and blanks.
func trimStart(body []byte) []byte {
	const blanks = " \t\r\n"
	body = bytes.TrimLeft(body, blanks)
	return bytes.TrimLeft(bytes.TrimPrefix(body, []byte("\xef\xbb\xbf")), blanks)
}

// isPlainName reports whether s is made of letters, digits and _ . : / - only.
func isPlainName(s string) bool {
	for _, c := range []byte(s) {
		if !isWordByte(c) && c != ':' && c != '/' {
			return false
		}
	}
	return s != ""
}

// isWordByte reports whether c may be part of an error code.
func isWordByte(c byte) bool {
	return isLetter(c) || isDigit(c) || c == '_' || c == '.' || c == '-'
}

func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

func isDigit(c byte) bool { return '0' <= c && c <= '9' }
