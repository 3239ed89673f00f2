package events

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// MaxKeyLen is the longest key, in bytes after encoding. Subjects repeat the key, and
// servers refuse protocol lines much longer than this.
const MaxKeyLen = 200

// ErrName is what every error about a malformed provider, account, key or subject wraps.
var ErrName = errors.New("malformed name")

// A Credential names one grant: whose it is (Account) and who issued it (Provider).
// People write it PROVIDER/ACCOUNT.
type Credential struct {
	Provider string
	Account  string
}

// ParseCredential reads PROVIDER/ACCOUNT. The account is everything behind the first slash and may
// itself be a path.
func ParseCredential(s string) (Credential, error) {
	provider, account, ok := strings.Cut(s, "/")
	if !ok {
		return Credential{}, fmt.Errorf("%w: credential %.250q: want PROVIDER/ACCOUNT", ErrName, s)
	}
	c := Credential{Provider: provider, Account: account}
	return c, c.Validate()
}

// String returns PROVIDER/ACCOUNT.
func (c Credential) String() string { return c.Provider + "/" + c.Account }

// Validate reports why c cannot be a credential's name, or nil.
func (c Credential) Validate() error {
	switch {
	case !ValidProvider(c.Provider):
		return providerError(c.Provider)
	case c.Account == "":
		return fmt.Errorf("%w: credential %.250q: the account is empty", ErrName, c)
	case !utf8.ValidString(c.Account):
		return fmt.Errorf("%w: credential %.250q: the account is not valid UTF-8", ErrName, c)
	case len(c.Provider)+1+3*len(c.Account) > MaxKeyLen && len(c.Key()) > MaxKeyLen:
		return fmt.Errorf("%w: credential %.60q…: %d bytes after encoding, at most %d", ErrName, c, len(c.Key()), MaxKeyLen)
	}
	return nil
}

// Key returns the credential's key in the bucket, which is also the tail of its subjects:
// PROVIDER.SEGMENT.SEGMENT…, one token for each part of the account between slashes. Bytes outside
// A-Za-z0-9_- are written =XX; an empty segment is a lone "=". Key of a credential that does
// not Validate is not a key.
func (c Credential) Key() string {
	if allPlain(c.Account) { // most are
		return c.Provider + "." + c.Account
	}
	var b strings.Builder
	b.Grow(len(c.Provider) + 1 + len(c.Account) + 8)
	b.WriteString(c.Provider)
	for segment := range strings.SplitSeq(c.Account, "/") {
		b.WriteByte('.')
		if segment == "" {
			b.WriteByte('=')
		}
		writeEscaped(&b, segment)
	}
	return b.String()
}

// ParseKey is the inverse of Key. It accepts the canonical form only, so that one credential has one key.
func ParseKey(key string) (Credential, error) {
	if len(key) > MaxKeyLen {
		return Credential{}, fmt.Errorf("%w: key %.60q…: %d bytes, at most %d", ErrName, key, len(key), MaxKeyLen)
	}
	provider, rest, ok := strings.Cut(key, ".")
	if !ok {
		return Credential{}, fmt.Errorf("%w: key %q: want PROVIDER.ACCOUNT", ErrName, key)
	}
	c := Credential{Provider: provider, Account: decodeAccount(rest)}
	if err := c.Validate(); err != nil {
		return Credential{}, fmt.Errorf("key %q: %w", key, err)
	}
	if c.Key() != key {
		return Credential{}, fmt.Errorf("%w: key %q is not canonical, want %q", ErrName, key, c.Key())
	}
	return c, nil
}

// ValidProvider reports whether name can name a provider: [a-z0-9][a-z0-9-]{0,31}.
func ValidProvider(name string) bool {
	if name == "" || len(name) > 32 || name[0] == '-' {
		return false
	}
	for i := range len(name) {
		ch := name[i]
		if (ch < 'a' || ch > 'z') && (ch < '0' || ch > '9') && ch != '-' {
			return false
		}
	}
	return true
}

const hexDigits = "0123456789ABCDEF"

func providerError(name string) error {
	return fmt.Errorf("%w: provider %.60q: want 1 to 32 of a-z, 0-9 and -, not starting with -", ErrName, name)
}

func plain(ch byte) bool {
	return 'a' <= ch && ch <= 'z' || 'A' <= ch && ch <= 'Z' || '0' <= ch && ch <= '9' || ch == '_' || ch == '-'
}

// allPlain reports whether an account is its own key's tail.
func allPlain(account string) bool {
	for i := range len(account) {
		if !plain(account[i]) {
			return false
		}
	}
	return account != ""
}

// writeEscaped writes s with every byte that is not plain as =XX.
func writeEscaped(b *strings.Builder, s string) {
	for i := range len(s) {
		ch := s[i]
		if plain(ch) {
			b.WriteByte(ch)
			continue
		}
		b.WriteByte('=')
		b.WriteByte(hexDigits[ch>>4])
		b.WriteByte(hexDigits[ch&15])
	}
}

// decodeAccount undoes the encoding of an account.
func decodeAccount(s string) string {
	if allPlain(s) {
		return s
	}
	segments := strings.Split(s, ".")
	for i, s := range segments {
		segments[i] = decodeSegment(s)
	}
	return strings.Join(segments, "/")
}

// decodeSegment undoes the encoding of one segment. It is lenient: ParseKey compares the
// result's own encoding with what it was given.
func decodeSegment(s string) string {
	if s == "=" {
		return ""
	}
	if !strings.Contains(s, "=") {
		return s
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '=' && i+2 < len(s) {
			out = append(out, unhex(s[i+1])<<4|unhex(s[i+2]))
			i += 2
			continue
		}
		out = append(out, s[i])
	}
	return string(out)
}

func unhex(ch byte) byte {
	return byte(max(0, strings.IndexByte(hexDigits, ch)))
}
