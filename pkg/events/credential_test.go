package events_test

import (
	"errors"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/freshetdev/freshet/pkg/events"
)

func TestCredentialKey(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, account, key string }{
		{"plain", "alice", "acme.alice"},
		{"every plain byte", "AZaz09_-", "acme.AZaz09_-"},
		{"address", "alice@example.com", "acme.alice=40example=2Ecom"},
		{"path", "tenant/alice", "acme.tenant.alice"},
		{"empty segments", "/a//b/", "acme.=.a.=.b.="},
		{"only a slash", "/", "acme.=.="},
		{"equals sign", "=", "acme.=3D"},
		{"looks encoded", "=41", "acme.=3D41"},
		{"wildcards", "*/>", "acme.=2A.=3E"},
		{"blank and control", " \x00", "acme.=20=00"},
		{"beyond ASCII", "é", "acme.=C3=A9"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := events.Credential{Provider: "acme", Account: tt.account}
			if got := c.Key(); got != tt.key {
				t.Errorf("Key() = %q, want %q", got, tt.key)
			}
			if got, err := events.ParseKey(tt.key); err != nil || got != c {
				t.Errorf("ParseKey = %v, %v, want %v", got, err, c)
			}
		})
	}
}

func TestParseKeyRefusesWhatKeyNeverMakes(t *testing.T) {
	t.Parallel()
	for name, key := range map[string]string{
		"empty":                 "",
		"provider alone":        "acme",
		"no account":            "acme.",
		"empty account":         "acme.=",
		"bad provider":          "Acme.alice",
		"no provider":           ".alice",
		"empty token":           "acme.a..b",
		"trailing dot":          "acme.a.",
		"wildcard":              "acme.*",
		"rest wildcard":         "acme.a.>",
		"plain byte encoded":    "acme.=61",
		"lower-case hex":        "acme.=c3=a9",
		"not hex":               "acme.=ZZ",
		"cut short":             "acme.a=4",
		"lone = inside":         "acme.a=",
		"lone = beside text":    "acme.=a",
		"raw byte":              "acme.a@b",
		"not UTF-8":             "acme.=FF",
		"too long":              "acme." + strings.Repeat("a", events.MaxKeyLen),
		"very long and garbage": strings.Repeat("=", 1<<20),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if c, err := events.ParseKey(key); !errors.Is(err, events.ErrName) {
				t.Errorf("ParseKey(%.40q) = %v, %v, want ErrName", key, c, err)
			} else if len(err.Error()) > 1000 {
				t.Errorf("the error has %d bytes", len(err.Error()))
			}
		})
	}
}

func TestCredentialValidate(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a", events.MaxKeyLen-len("acme."))
	for _, tt := range []struct {
		name              string
		provider, account string
		ok                bool
	}{
		{"plain", "acme", "alice", true},
		{"shortest provider", "a", "b", true},
		{"longest provider", strings.Repeat("a", 32), "b", true},
		{"provider of digits and hyphens", "0-9-", "b", true},
		{"longest account", "acme", long, true},
		{"free text", "acme", "Zoë & söhne / büro 1", true},
		{"no provider", "", "alice", false},
		{"provider too long", strings.Repeat("a", 33), "b", false},
		{"provider starts with a hyphen", "-a", "b", false},
		{"capital in the provider", "Acme", "b", false},
		{"underscore in the provider", "a_b", "b", false},
		{"dot in the provider", "a.b", "b", false},
		{"no account", "acme", "", false},
		{"account too long", "acme", long + "a", false},
		{"account too long once encoded", "acme", strings.Repeat("@", 70), false},
		{"account not UTF-8", "acme", "\xff", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			err := events.Credential{Provider: tt.provider, Account: tt.account}.Validate()
			if tt.ok != (err == nil) || err != nil && !errors.Is(err, events.ErrName) {
				t.Errorf("Validate() = %v, want ok %t", err, tt.ok)
			}
		})
	}
}

func TestParseCredential(t *testing.T) {
	t.Parallel()
	got, err := events.ParseCredential("acme/tenant/alice")
	want := events.Credential{Provider: "acme", Account: "tenant/alice"}
	if err != nil || got != want {
		t.Errorf("ParseCredential = %v, %v, want %v", got, err, want)
	}
	if got.String() != "acme/tenant/alice" {
		t.Errorf("String() = %q", got)
	}
	for _, bad := range []string{"", "acme", "acme/", "/alice", "Acme/alice"} {
		if c, err := events.ParseCredential(bad); !errors.Is(err, events.ErrName) {
			t.Errorf("ParseCredential(%q) = %v, %v, want ErrName", bad, c, err)
		}
	}
}

// keyRule is what a NATS KV bucket takes as a key.
var keyRule = regexp.MustCompile(`^[-/_=.a-zA-Z0-9]+$`)

func FuzzKey(f *testing.F) {
	for _, account := range []string{"alice", "alice@example.com", "a/b//c/", "/", "=", "=41", "*", ">", "\x00", "é", "\xff"} {
		f.Add("acme", account)
		f.Add("acme", "acme."+account) // and as a key
	}
	f.Fuzz(func(t *testing.T, provider, account string) {
		checkKey(t, events.Credential{Provider: provider, Account: account})
		checkParsed(t, account)
		checkParsed(t, provider+"."+account)
		checkParsed(t, events.Credential{Provider: provider, Account: account}.Key())
	})
}

// checkKey holds the key of any valid credential against the rules of NATS, and reads it back.
func checkKey(t *testing.T, c events.Credential) {
	key := c.Key()
	if err := c.Validate(); err != nil {
		if back, err := events.ParseKey(key); err == nil && back == c {
			t.Fatalf("ParseKey(%q) gives a credential that does not validate", key)
		}
		return
	}
	if back, err := events.ParseKey(key); err != nil || back != c {
		t.Fatalf("ParseKey(%q) = %v, %v, want %v", key, back, err, c)
	}
	if back, err := events.ParseCredential(c.String()); err != nil || back != c {
		t.Fatalf("ParseCredential(%q) = %v, %v", c, back, err)
	}
	if !keyRule.MatchString(key) || len(key) > events.MaxKeyLen {
		t.Fatalf("%q cannot be a key", key)
	}
	tokens := strings.Split(key, ".")
	if slices.Contains(tokens, "") || len(tokens) != 2+strings.Count(c.Account, "/") {
		t.Fatalf("%q has the wrong tokens", key)
	}
}

// checkParsed: whatever parses is canonical.
func checkParsed(t *testing.T, key string) {
	c, err := events.ParseKey(key)
	if err != nil {
		return
	}
	if c.Key() != key || c.Validate() != nil || !utf8.ValidString(c.Account) {
		t.Fatalf("ParseKey(%q) = %v, whose key is %q", key, c, c.Key())
	}
}

func BenchmarkKey(b *testing.B) {
	c := events.Credential{Provider: "acme", Account: "tenant/alice@example.com"}
	b.ReportAllocs()
	for b.Loop() {
		_ = c.Key()
	}
}
