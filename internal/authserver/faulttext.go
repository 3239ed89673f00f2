package authserver

import (
	"encoding"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

var (
	_ encoding.TextMarshaler   = Fault{}
	_ encoding.TextUnmarshaler = (*Fault)(nil)
)

// ParseFault reads the text form of a fault: "before" or "after", the kind, and
// any of endpoint, grant, account, client, from, until, nth, p (the
// probability), count, status, retry-after, code, delay and body as name=value.
// A value with a space or a quote in it is written as a Go string.
//
//	after drop p=0.01
//	before status status=503 retry-after=5s from=1m until=31m
//	before error code=invalid_client count=3
//	after delay delay=30s account=alice nth=2
//
// All errors are reported at once.
func ParseFault(text string) (Fault, error) {
	words, err := splitWords(text)
	if err != nil {
		return Fault{}, fmt.Errorf("fault %q: %w", text, err)
	}
	if len(words) < 2 || words[0] != "before" && words[0] != "after" {
		return Fault{}, fmt.Errorf("fault %q: must begin with before or after, and a kind", text)
	}
	f := Fault{After: words[0] == "after", Kind: FaultKind(words[1])}
	var errs []error
	for _, w := range words[2:] {
		if err := f.set(w); err != nil {
			errs = append(errs, err)
		}
	}
	errs = append(errs, f.validate())
	if err := errors.Join(errs...); err != nil {
		return Fault{}, fmt.Errorf("fault %q: %w", text, err)
	}
	return f, nil
}

// splitWords splits at spaces outside quotes.
func splitWords(text string) ([]string, error) {
	var words []string
	for rest := strings.TrimSpace(text); rest != ""; rest = strings.TrimSpace(rest) {
		end := strings.IndexAny(rest, " \"")
		if end < 0 {
			return append(words, rest), nil
		}
		word := rest[:end]
		if rest[end] == '"' {
			quoted, err := strconv.QuotedPrefix(rest[end:])
			if err != nil {
				return nil, errors.New("a quote is not closed")
			}
			value, err := strconv.Unquote(quoted)
			if err != nil {
				return nil, errors.New("a quoted value is not a Go string")
			}
			word, end = word+value, end+len(quoted)
		}
		words, rest = append(words, word), rest[end:]
	}
	return words, nil
}

// set reads one name=value.
func (f *Fault) set(word string) error {
	name, value, _ := strings.Cut(word, "=")
	for _, a := range f.attributes() {
		if a.name != name {
			continue
		}
		if err := a.read(value); err != nil {
			return fmt.Errorf("%s=%q: %w", name, value, err)
		}
		return nil
	}
	return fmt.Errorf("%q is unknown", name)
}

// String returns the text form, which ParseFault reads back.
func (f Fault) String() string {
	var b strings.Builder
	b.WriteString(f.label())
	for _, a := range f.attributes() {
		if v := a.write(); v != "" {
			b.WriteString(" " + a.name + "=" + quoted(v))
		}
	}
	return b.String()
}

func quoted(v string) string {
	if q := strconv.Quote(v); strings.Contains(v, " ") || q != `"`+v+`"` {
		return q
	}
	return v
}

// MarshalText returns the text form.
func (f Fault) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// UnmarshalText is ParseFault.
func (f *Fault) UnmarshalText(text []byte) (err error) {
	*f, err = ParseFault(string(text))
	return err
}

// attribute is one name=value of the text form. write returns "" for a value
// that is not set.
type attribute struct {
	name  string
	read  func(string) error
	write func() string
}

func (f *Fault) attributes() []attribute {
	return []attribute{
		textAttribute("endpoint", &f.Endpoint),
		textAttribute("grant", &f.Grant),
		textAttribute("account", &f.Account),
		textAttribute("client", &f.Client),
		attributeOf("from", &f.From, time.ParseDuration, time.Duration.String),
		attributeOf("until", &f.Until, time.ParseDuration, time.Duration.String),
		attributeOf("nth", &f.Nth, strconv.Atoi, strconv.Itoa),
		attributeOf("p", &f.Probability, parseFloat, formatFloat),
		attributeOf("count", &f.Count, strconv.Atoi, strconv.Itoa),
		attributeOf("status", &f.Status, strconv.Atoi, strconv.Itoa),
		attributeOf("retry-after", &f.RetryAfter, time.ParseDuration, time.Duration.String),
		textAttribute("code", &f.Code),
		attributeOf("delay", &f.Delay, time.ParseDuration, time.Duration.String),
		textAttribute("body", &f.Body),
	}
}

func textAttribute(name string, p *string) attribute {
	same := func(v string) string { return v }
	return attributeOf(name, p, func(v string) (string, error) { return v, nil }, same)
}

func attributeOf[T comparable](name string, p *T, parse func(string) (T, error), format func(T) string) attribute {
	return attribute{
		name: name,
		read: func(v string) (err error) {
			*p, err = parse(v)
			return err
		},
		write: func() string {
			var unset T
			if *p == unset {
				return ""
			}
			return format(*p)
		},
	}
}

func parseFloat(v string) (float64, error) { return strconv.ParseFloat(v, 64) }

func formatFloat(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }
