package seal

import (
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
)

// redacted stands wherever a secret would have been printed.
const redacted = "[redacted]"

// errRedacted keeps the redacted form from being taken for a token when something printed is read back.
var errRedacted = errors.New("read secret: " + redacted + " is what a secret prints as, not its value")

// Secret holds token material. Every usual way to print, log or encode it gives "[redacted]"; only
// Reveal gives the value. The zero Secret is empty. Secrets cannot be compared with ==; use Equal.
type Secret struct {
	_ [0]func() // no ==: it would compare addresses
	// value is behind a pointer because fmt does not ask a value in an unexported field of somebody
	// else's struct how to print itself, nor one that was passed to %w: it walks the memory, and stops
	// at a pointer.
	value *string
}

// NewSecret wraps a value.
func NewSecret(value string) Secret {
	if value == "" {
		return Secret{}
	}
	return Secret{value: &value}
}

// Reveal returns the value. Call it only where the value is sent, sealed or compared.
func (s Secret) Reveal() string {
	if s.value == nil {
		return ""
	}
	return *s.value
}

// IsZero reports whether there is no value.
func (s Secret) IsZero() bool { return s.value == nil }

// Equal reports whether both hold the same value. The time it takes depends on the lengths only.
func (s Secret) Equal(other Secret) bool {
	return subtle.ConstantTimeCompare([]byte(s.Reveal()), []byte(other.Reveal())) == 1
}

// String implements fmt.Stringer.
func (Secret) String() string { return redacted }

// GoString implements fmt.GoStringer.
func (Secret) GoString() string { return redacted }

// Format implements fmt.Formatter: the same for every verb and flag.
func (Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// LogValue implements slog.LogValuer.
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText implements encoding.TextMarshaler, and so covers YAML, XML and flags too.
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// MarshalJSON implements json.Marshaler.
func (Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// UnmarshalText reads the value itself. The redacted form is refused.
func (s *Secret) UnmarshalText(text []byte) error {
	if string(text) == redacted {
		return errRedacted
	}
	*s = NewSecret(string(text))
	return nil
}

// UnmarshalJSON reads the value itself from a JSON string; null gives the zero Secret. The redacted form is
// refused. No error repeats what was read.
func (s *Secret) UnmarshalJSON(data []byte) error {
	var value *string
	if err := json.Unmarshal(data, &value); err != nil {
		return errors.New("read secret: want a JSON string")
	}
	if value == nil {
		*s = Secret{}
		return nil
	}
	return s.UnmarshalText([]byte(*value))
}
