package seal_test

import (
	"bytes"
	"encoding/gob"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/rs/zerolog"

	"github.com/freshetdev/freshet/pkg/seal"
)

const canary = "cAnArY-7f3a91"

// holder keeps a secret where fmt cannot call its methods.
type holder struct {
	Name   string
	hidden seal.Secret
	shown  []seal.Secret
	byName map[string]seal.Secret
}

// encodable shows secrets to encoders.
type encodable struct {
	Token seal.Secret            `json:"token" xml:"token" yaml:"token"`
	Ptr   *seal.Secret           `json:"ptr" xml:"ptr" yaml:"ptr"`
	Map   map[string]seal.Secret `json:"map" xml:"-" yaml:"map"`
}

func newHolder() holder {
	s := seal.NewSecret(canary)
	return holder{Name: "h", hidden: s, shown: []seal.Secret{s}, byName: map[string]seal.Secret{"k": s}}
}

// leaks reports whether text shows the canary in any of the encodings a printer might choose.
func leaks(text string) bool {
	text = strings.ToLower(text)
	for _, form := range []string{canary, fmt.Sprintf("%x", canary), fmt.Sprintf("% x", canary), fmt.Sprint([]byte(canary))} {
		if strings.Contains(text, strings.ToLower(form)) {
			return true
		}
	}
	return false
}

func TestSecretRedactsUnderEveryVerb(t *testing.T) {
	t.Parallel()
	s := seal.NewSecret(canary)
	for verb := rune('A'); verb <= 'z'; verb++ {
		for _, flags := range []string{"", "+", "#", "-30", "030", ".3", " ", "#+"} {
			format := "%" + flags + string(verb)
			for name, arg := range map[string]any{
				"value": s, "pointer": &s, "slice": []seal.Secret{s}, "field": struct{ S seal.Secret }{s},
				"map": map[string]seal.Secret{"k": s}, "hidden field": newHolder(), "interface": []any{s, &s},
			} {
				if out := fmt.Sprintf(format, arg); leaks(out) {
					t.Errorf("%s of a %s: %s", format, name, out)
				}
			}
		}
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
		if got := fmt.Sprintf(verb, s); got != "[redacted]" {
			t.Errorf("%s: %s", verb, got)
		}
	}
}

func TestSecretRedactsInErrors(t *testing.T) {
	t.Parallel()
	s := seal.NewSecret(canary)
	wrapsNothing := "%w of %v" // a variable: vet would refuse the literal
	for _, err := range []error{
		fmt.Errorf("present %v: %w", s, errors.New("refused")),
		fmt.Errorf(wrapsNothing, s, &s),
		errors.New(fmt.Sprint("token ", s)),
		errors.Join(fmt.Errorf("a %s", s), fmt.Errorf("b %+v", newHolder())),
	} {
		if leaks(err.Error()) || leaks(fmt.Sprintf("%+v %#v", err, err)) {
			t.Errorf("leaks: %v", err)
		}
	}
}

func TestSecretRedactsWhenEncoded(t *testing.T) {
	t.Parallel()
	s := seal.NewSecret(canary)
	value := encodable{s, &s, map[string]seal.Secret{"k": s}}
	for name, encode := range map[string]func(any) ([]byte, error){
		"json": json.Marshal, "xml": xml.Marshal, "yaml": func(v any) ([]byte, error) { return yaml.Marshal(v) },
	} {
		out, err := encode(value)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if leaks(string(out)) || !strings.Contains(string(out), "[redacted]") {
			t.Errorf("%s: %s", name, out)
		}
	}
	var b bytes.Buffer
	if err := gob.NewEncoder(&b).Encode(s); err == nil || leaks(b.String()) {
		t.Errorf("gob: error %v, wrote %q", err, b.String())
	}
}

func TestSecretRedactsInLogs(t *testing.T) {
	t.Parallel()
	s := seal.NewSecret(canary)
	var b bytes.Buffer
	for _, h := range []slog.Handler{slog.NewTextHandler(&b, nil), slog.NewJSONHandler(&b, nil)} {
		slog.New(h).With("with", s).WithGroup("g").Info(fmt.Sprint("m ", s),
			"value", s, "pointer", &s, "holder", newHolder(), "list", []seal.Secret{s}, slog.Group("in", "deep", s))
	}
	log := zerolog.New(&b)
	log.Info().Stringer("stringer", s).Interface("interface", s).Any("holder", newHolder()).
		Interface("list", []any{s, &s}).Err(fmt.Errorf("with %v", s)).Str("text", fmt.Sprint(s)).
		Fields(map[string]any{"fields": s}).Msgf("m %v %+v", s, newHolder())
	if leaks(b.String()) {
		t.Errorf("leaks: %s", b.String())
	}
	if got := strings.Count(b.String(), "[redacted]"); got < 20 {
		t.Errorf("%d redacted values, want at least 20: %s", got, b.String())
	}
}

func TestSecretReadsAValueIn(t *testing.T) {
	t.Parallel()
	var line struct {
		Token  seal.Secret `json:"token" yaml:"token"`
		Absent seal.Secret `json:"absent" yaml:"absent"`
		Null   seal.Secret `json:"null" yaml:"null"`
	}
	if err := json.Unmarshal([]byte(`{"token":"cAnArY-7f3a91","null":null}`), &line); err != nil {
		t.Fatal(err)
	}
	if line.Token.Reveal() != canary || !line.Absent.IsZero() || !line.Null.IsZero() {
		t.Errorf("json: read %q, %v, %v", line.Token.Reveal(), line.Absent.IsZero(), line.Null.IsZero())
	}
	line.Token = seal.Secret{}
	if err := yaml.Unmarshal([]byte("token: cAnArY-7f3a91\n"), &line); err != nil || line.Token.Reveal() != canary {
		t.Errorf("yaml: read %q, %v", line.Token.Reveal(), err)
	}
}

func TestSecretRefusesWhatIsNoValue(t *testing.T) {
	t.Parallel()
	for name, data := range map[string]string{
		"number": `7777`, "object": `{"v":"cAnArY-7f3a91"}`, "list": `["cAnArY-7f3a91"]`, "the redacted form": `"[redacted]"`,
	} {
		s := seal.NewSecret("before")
		err := json.Unmarshal([]byte(data), &s)
		if err == nil || leaks(err.Error()) || strings.Contains(err.Error(), "7777") {
			t.Errorf("%s: error %v", name, err)
		}
		if s.Reveal() != "before" {
			t.Errorf("%s: a failed read changed the value", name)
		}
	}
	var s seal.Secret
	if err := s.UnmarshalText([]byte("[redacted]")); err == nil {
		t.Error("text: the redacted form was taken for a value")
	}
}

func TestSecretEqual(t *testing.T) {
	t.Parallel()
	a, b := seal.NewSecret(canary), seal.NewSecret(strings.Clone(canary))
	switch {
	case !a.Equal(b), !a.Equal(a), !(seal.Secret{}).Equal(seal.NewSecret("")):
		t.Error("equal values differ")
	case a.Equal(seal.NewSecret(canary + "x")), a.Equal(seal.NewSecret("x" + canary[1:])), a.Equal(seal.Secret{}):
		t.Error("different values are equal")
	case !reflect.DeepEqual(a, b), reflect.DeepEqual(a, seal.NewSecret("x")):
		t.Error("reflect.DeepEqual does not compare values")
	}
}

func TestSecretZero(t *testing.T) {
	t.Parallel()
	for _, s := range []seal.Secret{{}, seal.NewSecret("")} {
		if !s.IsZero() || s.Reveal() != "" || s.String() != "[redacted]" {
			t.Errorf("zero secret: IsZero %v, value %q, prints %v", s.IsZero(), s.Reveal(), s)
		}
	}
	out, err := json.Marshal(struct {
		S seal.Secret `json:"s,omitzero"`
	}{})
	if err != nil || string(out) != "{}" {
		t.Errorf("omitzero: %s, %v", out, err)
	}
}
