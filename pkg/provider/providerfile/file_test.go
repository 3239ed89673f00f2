package providerfile_test

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/provider/providerfile"
)

var update = flag.Bool("update", false, "rewrite golden files")

const example = "../../../deploy/providers.example.yaml"

func read(tb testing.TB, path string) []byte {
	tb.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	return data
}

func parse(tb testing.TB, text string) providerfile.File {
	tb.Helper()
	f, err := providerfile.Parse("providers.yaml", []byte(text))
	if err != nil {
		tb.Fatal(err)
	}
	return f
}

func TestBadFiles(t *testing.T) {
	t.Parallel()
	paths, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil || len(paths) < 15 {
		t.Fatalf("%d files, %v", len(paths), err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".yaml"), func(t *testing.T) {
			t.Parallel()
			f, err := providerfile.Parse("providers.yaml", read(t, path))
			if err == nil || len(f.Providers) > 0 {
				t.Fatalf("parsed: %+v", f)
			}
			got, golden := err.Error()+"\n", strings.TrimSuffix(path, ".yaml")+".golden"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if want := string(read(t, golden)); got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
			if strings.Contains(got, "hunter2") {
				t.Errorf("shows a secret:\n%s", got)
			}
		})
	}
}

func TestExampleFile(t *testing.T) {
	t.Parallel()
	f, err := providerfile.Parse("providers.example.yaml", read(t, example))
	if err != nil {
		t.Fatal(err)
	}
	if len(f.Providers) != 6 {
		t.Fatalf("%d providers", len(f.Providers))
	}
	const second = provider.Duration(time.Second)
	want := providerfile.Provider{
		Definition: provider.Definition{
			Name: "everything", Issuer: "https://auth.example.net",
			AuthURL: "https://auth.example.net/authorize", TokenURL: "https://auth.example.net/token",
			DeviceURL: "https://auth.example.net/device", RevokeURL: "https://auth.example.net/revoke",
			IntrospectURL: "https://auth.example.net/introspect", UserinfoURL: "https://auth.example.net/userinfo", CallbackPath: "/callback/everything",
			ClientID: "freshet-production", AuthStyle: provider.AuthPost, Grant: provider.GrantAuthorizationCode,
			IssInAnswer: true, TokenRequest: provider.TokenRequest{
				Resources: []string{"https://api.example.net"}, Audience: "https://api.example.net", TokenParams: map[string]string{"tenant": "42"},
			},
			Scopes: []string{"read", "write"}, Rotation: provider.RotationGrace, RotationGrace: 60 * second,
			Refresh: provider.Refresh{
				MinLead: 60 * second, MaxLead: 900 * second, DefaultLifetime: 3600 * second, MaxLifetime: 90 * 86400 * second,
				Cron: "CRON_TZ=Europe/Berlin 0 3 * * 1", KeepAlive: 7 * 86400 * second,
			},
			Limits: provider.Limits{Concurrency: 64, Rate: 50, Timeout: 15 * second},
			Words: provider.Words{
				NotConsumed: []string{"try_again_later"}, Throttled: []string{"rate_limit_exceeded"},
				Rejected: []string{"bad_refresh_token"}, Misconfigured: []string{"app_suspended"},
			},
			Dialect: provider.Dialect{
				ScopeSeparator: ",", ScopeParam: "scope", ClientIDParam: "client_id",
				AuthParams: map[string]string{"prompt": "consent"}, CodeParams: map[string]string{"offline": "1"},
				CodeChallenge: provider.ChallengeS256, TokenFormat: provider.FormatForm,
				Reply: provider.ReplyShape{Tokens: "data", Codes: []string{"reason"}},
			},
			RefreshLife: provider.RefreshLife{Idle: 90 * 86400 * second, Absolute: 365 * 86400 * second}, RefreshEndsAccess: true,
		},
		Secrets: []providerfile.Reference{
			"file:///run/secrets/example-client-secret-new", "file:///run/secrets/example-client-secret-old",
		},
	}
	if got := f.Providers[2]; !reflect.DeepEqual(got, want) {
		t.Errorf("everything\n got %+v\nwant %+v", got, want)
	}
	if d := f.Providers[2].Definition; !d.GraceUsable() || d.Timing().Timeout != 15*time.Second {
		t.Errorf("the example's grace: usable %v, timeout %v", d.GraceUsable(), d.Timing().Timeout)
	}
}

func TestExampleOfGrantsWithoutAPerson(t *testing.T) {
	t.Parallel()
	f, err := providerfile.Parse("providers.example.yaml", read(t, example))
	if err != nil {
		t.Fatal(err)
	}
	const minute = provider.Duration(time.Minute)
	machine, robot := f.Providers[4], f.Providers[5]
	if got, want := machine.Definition.ClientAssertion, (provider.Assertion{KeyID: "key-2026", Audience: "issuer", Lifetime: 2 * minute}); got != want {
		t.Errorf("client_assertion %+v, want %+v", got, want)
	}
	if got := machine.Secrets; len(got) != 1 || got[0] != "file:///run/secrets/example-client-key.pem" {
		t.Errorf("client_key %v", got)
	}
	want := provider.GrantAssertion{
		Assertion: provider.Assertion{KeyID: "key-2026", Audience: "token_url", Lifetime: 5 * minute},
		Issuer:    "freshet-robot", ScopeClaim: true, Claims: map[string]string{"sub_type": "enterprise"},
	}
	if got := robot.Definition.Assertion; !reflect.DeepEqual(got, want) {
		t.Errorf("assertion %+v, want %+v", got, want)
	}
	if robot.Key != "file:///run/secrets/example-assertion-key.pem" {
		t.Errorf("assertion_key %q", robot.Key)
	}
	for _, d := range []provider.Definition{machine.Definition, robot.Definition} {
		if d = d.WithDefaults(); d.Rotation != provider.RotationNone {
			t.Errorf("%s: rotation %s: nothing can be spent", d.Name, d.Rotation)
		}
	}
}

// TestExampleNamesEveryKey also holds what may be shown against what is known: a key that one of them lacks fails.
func TestExampleNamesEveryKey(t *testing.T) {
	t.Parallel()
	text := string(read(t, example))
	unknown, err := providerfile.Parse("x", []byte("providers: {acme: {zzzzzzzzzz: 1, refresh: {zzzzzzzzzz: 1}, limits: {zzzzzzzzzz: 1}, words: {zzzzzzzzzz: 1}, "+
		"reply: {zzzzzzzzzz: 1}, refresh_life: {zzzzzzzzzz: 1}, client_assertion: {zzzzzzzzzz: 1}, assertion: {zzzzzzzzzz: 1}}}"))
	if err == nil {
		t.Fatalf("parsed: %+v", unknown)
	}
	var keys []string
	for _, list := range regexp.MustCompile(`known are ([a-z_, ]+)`).FindAllStringSubmatch(err.Error(), -1) {
		keys = append(keys, strings.Split(list[1], ", ")...)
	}
	slices.Sort(keys)
	if keys = slices.Compact(keys); len(keys) != 61 {
		t.Fatalf("%d keys: %v", len(keys), keys)
	}
	for _, key := range keys {
		if !strings.Contains(text, key+":") {
			t.Errorf("the example does not show %s", key)
		}
		if got := providerfile.Showable(key); got == slices.Contains([]string{"client_secret", "client_key", "assertion_key", "token_params", "claims"}, key) {
			t.Errorf("the values of %s may be shown: %v", key, got)
		}
	}
}

func TestParseTakes(t *testing.T) {
	t.Parallel()
	const least = "providers:\n  acme:\n    token_url: https://example.com/t\n    client_id: abc\n"
	want := providerfile.File{Providers: []providerfile.Provider{
		{Definition: provider.Definition{Name: "acme", TokenURL: "https://example.com/t", ClientID: "abc"}},
	}}
	for name, text := range map[string]string{
		"the least":          least,
		"a BOM":              "\ufeff" + least,
		"CRLF":               strings.ReplaceAll(least, "\n", "\r\n"),
		"document marks":     "---\n" + least + "...\n",
		"a directive":        "%YAML 1.2\n---\n" + least,
		"flow style":         `{"providers": {"acme": {"token_url": "https://example.com/t", 'client_id': abc}}}`,
		"keys without value": least + "    scopes:\n    refresh:\n    limits: {timeout: }\n    client_secret:\n    words: ~\n",
		"an empty list":      least + "    client_secret: []\n    scopes: []\n",
		"a folded value":     strings.Replace(least, "abc", ">-\n      abc", 1),
	} {
		f, err := providerfile.Parse("providers.yaml", []byte(text))
		if err != nil {
			t.Errorf("%s: %v\n%s", name, err, text)
			continue
		}
		for i := range f.Providers { // an empty list is as good as none
			if d := &f.Providers[i].Definition; len(d.Scopes) == 0 {
				d.Scopes = nil
			}
		}
		if !reflect.DeepEqual(f, want) {
			t.Errorf("%s: %+v", name, f)
		}
	}
}

func TestNumbersKeepTheirSpelling(t *testing.T) {
	t.Parallel()
	for _, id := range []string{"12345", "0x1F", "1_000", "007", "1e3", "true", "1.50", "2001-01-01"} {
		f := parse(t, "providers: {acme: {token_url: 'https://example.com/t', client_id: "+id+"}}")
		if got := f.Providers[0].Definition.ClientID; got != id {
			t.Errorf("client_id %s read as %s", id, got)
		}
	}
}

func TestOrderIsTheFiles(t *testing.T) {
	t.Parallel()
	var text, want strings.Builder
	text.WriteString("providers:\n")
	for _, name := range []string{"zeta", "alpha", "mu", "beta"} {
		text.WriteString("  " + name + ": {token_url: 'https://example.com/t', client_id: abc}\n")
		want.WriteString(name + " ")
	}
	var got strings.Builder
	for _, p := range parse(t, text.String()).Providers {
		got.WriteString(p.Definition.Name + " ")
	}
	if got.String() != want.String() {
		t.Errorf("order %s, want %s", got.String(), want.String())
	}
}

func TestFaultsHavePlaces(t *testing.T) {
	t.Parallel()
	_, err := providerfile.Parse("f.yaml", read(t, "testdata/bad/unknown-keys.yaml"))
	var f *providerfile.Fault
	if !errors.As(err, &f) || f.File != "f.yaml" || f.Line != 3 || f.Column != 5 || f.Excerpt == "" {
		t.Errorf("%+v", f)
	}
}

func TestTooLarge(t *testing.T) {
	t.Parallel()
	_, err := providerfile.Parse("f.yaml", make([]byte, providerfile.MaxSize+1))
	if err == nil || err.Error() != "f.yaml: 1048577 bytes: at most 1048576 are read" {
		t.Error(err)
	}
}

// plainSecret matches a secret in the one place where everybody expects it, well-formed or not.
var plainSecret = regexp.MustCompile(`client_secret["']?[ \t]*:?[ \t\r\n]*[|>"'\[{&*!-]*[ \t]*hunter2`)

func FuzzParse(f *testing.F) {
	paths, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range append(paths, example) {
		f.Add(read(f, path))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := providerfile.Parse("f.yaml", data)
		if err != nil && strings.Contains(err.Error(), "hunter2") &&
			strings.Count(string(data), "hunter2") == len(plainSecret.FindAll(data, -1)) {
			t.Fatalf("shows a secret:\n%s\n%s", data, err)
		}
		if err == nil && len(file.Providers) == 0 {
			t.Fatalf("neither providers nor an error:\n%s", data)
		}
	})
}
