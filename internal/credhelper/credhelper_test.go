package credhelper_test

import (
	"strings"
	"testing"
	"time"

	"github.com/freshetdev/freshet/internal/credhelper"
	"github.com/freshetdev/freshet/pkg/seal"
	"github.com/freshetdev/freshet/pkg/tokens"
)

func token(access string) tokens.Token {
	return tokens.Token{AccessToken: seal.NewSecret(access), ExpiresAt: time.Date(2026, time.March, 4, 12, 0, 0, 999, time.UTC)}
}

func TestAHostGetsTheTokenThatIsMeantForIt(t *testing.T) {
	t.Parallel()
	g, err := credhelper.ParseGit([]string{"GitHub.com=github/alice", "git.example.com:8443=acme/a", "127.0.0.1:3000=acme/b", "[::1]:3000=acme/c"}, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		question, id string
		refused      bool
	}{
		{"protocol=https\nhost=github.com\n\nignored=1\n", "github/alice", false},
		{"protocol=https\r\nhost=github.com\r\n", "github/alice", false},
		{"protocol=https\nhost=git.example.com:8443\npath=x.git\n", "acme/a", false},
		{"protocol=http\nhost=127.0.0.1:3000\n", "acme/b", false},
		{"protocol=http\nhost=[::1]:3000\n", "acme/c", false},
		{"protocol=https\nhost=git.example.com\n", "", false},
		{"protocol=https\nhost=evil-github.com\n", "", false},
		{"protocol=http\nhost=github.com\n", "", true},
		{"protocol=ftp\nhost=127.0.0.1:3000\n", "", true},
		{"host=github.com\n", "", true},
	} {
		req, err := credhelper.ReadGit(strings.NewReader(c.question))
		if err != nil {
			t.Errorf("%q: %v", c.question, err)
			continue
		}
		id, ok, err := g.Credential(req)
		if id != c.id || ok != (c.id != "") || (err != nil) != c.refused {
			t.Errorf("%q: %s %t %v, want %q", c.question, id, ok, err, c.id)
		}
	}
}

func TestGitReadsTheAnswer(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ given, asked, want string }{
		{"", "", "oauth2"}, {"", "alice", "alice"}, {"x-access-token", "alice", "x-access-token"},
	} {
		g := credhelper.Git{Username: c.given}
		got, err := g.Answer(credhelper.GitRequest{"username": c.asked}, token("abc"))
		if want := "username=" + c.want + "\npassword=abc\npassword_expiry_utc=1772625600\n"; err != nil || string(got) != want {
			t.Errorf("%q, %v, want %q", got, err, want)
		}
	}
	got, err := credhelper.Git{}.Answer(nil, tokens.Token{AccessToken: seal.NewSecret("abc")})
	if err != nil || strings.Contains(string(got), "expiry") {
		t.Errorf("without an end: %q, %v", got, err)
	}
	if _, err := (credhelper.Git{}).Answer(nil, token("canary\nquit=1")); err == nil || strings.Contains(err.Error(), "canary") {
		t.Errorf("a line feed: %v", err)
	}
	if _, err := credhelper.ReadGit(strings.NewReader("canary\n")); err == nil || strings.Contains(err.Error(), "canary") {
		t.Errorf("no attribute: %v", err)
	}
}

func TestHostsThatCannotBeMeant(t *testing.T) {
	t.Parallel()
	_, err := credhelper.ParseGit([]string{"github.com", "=acme/a", "https://x=acme/a", "x=acme"}, "a\nb")
	for _, want := range []string{"host github.com:", `host "=acme/a"`, `host "https://x=acme/a"`, "host x:", "line feed"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not said: %v", want, err)
		}
	}
	if _, err := credhelper.ParseGit(nil, ""); err == nil {
		t.Error("no hosts are taken")
	}
}

func TestKubernetes(t *testing.T) {
	t.Parallel()
	const v1 = `{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"expirationTimestamp":"2026-03-04T12:00:00Z","token":"abc"}}`
	for info, want := range map[string]string{
		"": v1,
		`{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","spec":{"interactive":false}}`: v1,
		`{"apiVersion":"client.authentication.k8s.io/v1beta1"}`:                                                 strings.Replace(v1, "/v1", "/v1beta1", 1),
	} {
		if got, err := credhelper.Kubernetes(info, token("abc")); err != nil || string(got) != want {
			t.Errorf("%s: %s, %v", info, got, err)
		}
	}
	for _, info := range []string{`{"apiVersion":"client.authentication.k8s.io/v1alpha1"}`, "x"} {
		if got, err := credhelper.Kubernetes(info, token("abc")); err == nil {
			t.Errorf("%s: %s", info, got)
		}
	}
}
