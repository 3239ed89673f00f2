package enroll

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/freshetdev/freshet/internal/flatjson"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/seal"
)

// MaxImportLine bounds a line of an import, in bytes.
const MaxImportLine = 1 << 20

var errLineTooLong = fmt.Errorf("longer than %d bytes", MaxImportLine)

// lineReader reads lines and outlives those that are too long.
type lineReader struct {
	r *bufio.Reader
	n int // lines read
}

func newLineReader(r io.Reader) *lineReader { return &lineReader{r: bufio.NewReaderSize(r, 64<<10)} }

// next returns the next line without its end. Errors: errLineTooLong, after which the next line can be read; io.EOF;
// anything else is the reader's.
func (l *lineReader) next() ([]byte, error) {
	var line []byte
	long := false
	for {
		part, err := l.r.ReadSlice('\n')
		if long = long || len(line)+len(part) > MaxImportLine+1; !long {
			line = append(line, part...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF) && (len(line) > 0 || long):
		case err != nil:
			return nil, err
		}
		l.n++
		if long {
			return nil, errLineTooLong
		}
		return bytes.TrimRight(line, "\r\n"), nil
	}
}

// importLine is one line of an import.
type importLine struct {
	number     int
	credential events.Credential
	grant      NewGrant
}

// parseJSON reads a line. Its errors quote no value: a line whose members are mixed up may have a token anywhere.
func parseJSON(data []byte) (importLine, error) {
	var l importLine
	if flatjson.Read(data, l.plain) {
		return l, l.complete()
	}
	l = importLine{}
	if err := readObject(data, l.set); err != nil {
		return l, err
	}
	return l, l.complete()
}

// complete reports whether it is known whose grant this is.
func (l *importLine) complete() error {
	switch {
	case l.credential.Provider == "":
		return errors.New("provider is missing")
	case l.credential.Account == "":
		return errors.New("account is missing")
	}
	return l.credential.Validate()
}

// importNames are the members of a line, or the columns of a table.
func importNames() []string {
	return []string{"provider", "account", "refresh_token", "access_token", "expires_at", "scopes", "subject"}
}

func unknownName(name string) error {
	names := importNames()
	last := len(names) - 1
	return fmt.Errorf("unknown key %s: want %s or %s", safeName(name), strings.Join(names[:last], ", "), names[last])
}

// plain is set for the members of a usual line; false: it takes more than a look to say what it is.
func (l *importLine) plain(name []byte, value flatjson.Value) bool {
	switch g := &l.grant; string(name) {
	case "provider":
		return plainText(value, &l.credential.Provider)
	case "account":
		return plainText(value, &l.credential.Account)
	case "refresh_token":
		return plainSecret(value, &g.RefreshToken)
	case "access_token":
		return plainSecret(value, &g.AccessToken)
	case "subject":
		return plainText(value, &g.Subject)
	case "expires_at":
		return g.ExpiresAt.IsZero() && flatjson.Time(value, &g.ExpiresAt) && !g.ExpiresAt.IsZero()
	case "scopes":
		return g.Scopes == nil && flatjson.Texts(value, &g.Scopes)
	}
	return false
}

// plainText reads a text that is not empty into a variable that is.
func plainText(value flatjson.Value, to *string) bool {
	return *to == "" && flatjson.Text(value, to) && *to != ""
}

func plainSecret(value flatjson.Value, to *seal.Secret) bool {
	return value[0] == '"' && to.IsZero() && to.UnmarshalText(value[1:len(value)-1]) == nil && !to.IsZero()
}

// set takes over one member. The names are exact; a name that is not known is an error, so that nothing is left behind
// unnoticed.
func (l *importLine) set(name string, value json.RawMessage) error {
	switch name {
	case "provider":
		return readText(name, value, &l.credential.Provider)
	case "account":
		return readText(name, value, &l.credential.Account)
	case "refresh_token":
		return readSecret(name, value, &l.grant.RefreshToken)
	case "access_token":
		return readSecret(name, value, &l.grant.AccessToken)
	case "subject":
		return readText(name, value, &l.grant.Subject)
	case "expires_at":
		return readTime(name, value, &l.grant.ExpiresAt)
	case "scopes":
		if json.Unmarshal(value, &l.grant.Scopes) != nil {
			return errors.New("scopes: want an array of strings")
		}
		return nil
	default:
		return unknownName(name)
	}
}

// safeName returns a member's name in quotes if it can hardly be anything else.
func safeName(name string) string {
	const maxName = 32
	plain := func(r rune) bool { return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r == '_' }
	if name == "" || len(name) > maxName || strings.ContainsFunc(name, func(r rune) bool { return !plain(r) }) {
		return "(not shown)"
	}
	return fmt.Sprintf("%q", name)
}

// readObject calls set for each member of a JSON object. encoding/json alone would take names in any case, and the last
// of two members with one name.
func readObject(data []byte, set func(name string, value json.RawMessage) error) error {
	errSyntax := errors.New("not a JSON object")
	dec := json.NewDecoder(bytes.NewReader(data))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return errSyntax
	}
	seen := make(map[string]bool)
	for dec.More() {
		t, err := dec.Token()
		name, ok := t.(string)
		var value json.RawMessage
		if err != nil || !ok || dec.Decode(&value) != nil {
			return errSyntax
		}
		if seen[name] {
			return fmt.Errorf("key %s is there twice", safeName(name))
		}
		seen[name] = true
		if err := set(name, value); err != nil {
			return err
		}
	}
	if _, err := dec.Token(); err != nil {
		return errSyntax
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the JSON object")
	}
	return nil
}

func readText(name string, value json.RawMessage, to *string) error {
	if json.Unmarshal(value, to) != nil {
		return errors.New(name + ": want a string")
	}
	return nil
}

func readSecret(name string, value json.RawMessage, to *seal.Secret) error {
	if err := to.UnmarshalJSON(value); err != nil {
		return fmt.Errorf("%s: want a string that is the token itself", name)
	}
	return nil
}

func readTime(name string, value json.RawMessage, to *time.Time) error {
	var text string
	if json.Unmarshal(value, &text) == nil && text == "" {
		return nil // null or empty: not known
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return errors.New(name + ": want RFC 3339, such as 2026-01-02T15:04:05Z")
	}
	*to = at
	return nil
}
