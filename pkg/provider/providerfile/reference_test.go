package providerfile_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/freshetdev/freshet/pkg/provider/providerfile"
)

func TestParseReference(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"env://A", "env://my-secret", "file:///run/secrets/x", "file://x y", "systemd://acme.secret"} {
		if ref, err := providerfile.ParseReference(text); err != nil || string(ref) != text {
			t.Errorf("%s: %s, %v", text, ref, err)
		}
	}
	for _, text := range []string{
		"", "hunter2", "env://", "env:hunter2", "env://A=hunter2", "env://hunter 2", "ENV://A", "file://", "file:/x", "file://a\nb",
		"systemd://", "systemd://..", "systemd://.", "systemd://../hunter2", "vault://hunter2", "https://hunter2", " env://A",
	} {
		ref, err := providerfile.ParseReference(text)
		const want = "want env://NAME, file://PATH or systemd://NAME; a secret itself does not belong into the file"
		if err == nil || err.Error() != want || ref != "" {
			t.Errorf("%q: %q, %v", text, ref, err)
		}
	}
}

// secretFiles returns a directory with files of secrets.
func secretFiles(tb testing.TB) string {
	tb.Helper()
	dir := tb.TempDir()
	for name, content := range map[string]string{
		"plain": "hunter2", "newline": "hunter2\n", "crlf": "hunter2\r\n", "lines": "hunter2\n\n", "blank": " hunter2 \n",
		"empty": "", "only-newline": "\n", "large": strings.Repeat("hunter2", 10_000),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			tb.Fatal(err)
		}
	}
	return dir
}

// file returns a file of one provider with these secrets.
func file(tb testing.TB, refs ...string) providerfile.File {
	tb.Helper()
	return parse(tb, "providers:\n  acme:\n    token_url: https://example.com/t\n    client_id: abc\n    auth_style: basic\n"+
		"    client_secret: ['"+strings.Join(refs, "', '")+"']\n")
}

func TestResolve(t *testing.T) {
	t.Parallel()
	dir := secretFiles(t)
	env := map[string]string{"SECRET": "hunter2\n", "CREDENTIALS_DIRECTORY": dir}
	getenv := func(name string) string { return env[name] }
	for ref, want := range map[string]string{
		"env://SECRET": "hunter2\n", "file://" + dir + "/plain": "hunter2", "file://" + dir + "/newline": "hunter2",
		"file://" + dir + "/crlf": "hunter2", "file://" + dir + "/lines": "hunter2\n", "file://" + dir + "/blank": " hunter2 ",
		"systemd://newline": "hunter2",
	} {
		d, err := file(t, ref).Resolve(getenv)
		if err != nil {
			t.Errorf("%s: %v", ref, err)
			continue
		}
		if got := d[0].ClientSecrets; len(got) != 1 || got[0].Reveal() != want {
			t.Errorf("%s: %d secrets, the first %q; want %q", ref, len(got), got[0].Reveal(), want)
		}
	}
}

func TestResolveCompletesTheDefinitions(t *testing.T) {
	t.Parallel()
	f := file(t, "env://B", "env://A")
	d, err := f.Resolve(func(name string) string { return "secret " + name })
	if err != nil || len(d) != 1 {
		t.Fatalf("%d definitions, %v", len(d), err)
	}
	if s := d[0].ClientSecrets; len(s) != 2 || s[0].Reveal() != "secret B" || s[1].Reveal() != "secret A" {
		t.Errorf("secrets out of order")
	}
	if d[0].Limits.Concurrency != 64 || d[0].Validate() != nil {
		t.Errorf("%+v: %v", d[0], d[0].Validate())
	}
	if f.Providers[0].Definition.ClientSecrets != nil {
		t.Error("the file itself took the secrets")
	}
}

func TestResolveNamesEveryReferenceThatFails(t *testing.T) {
	t.Parallel()
	dir := secretFiles(t)
	refs := []string{"env://UNSET", "systemd://acme", "env://SET"}
	for _, name := range []string{"empty", "only-newline", "large", "missing"} {
		refs = append(refs, "file://"+dir+"/"+name)
	}
	_, err := file(t, refs...).Resolve(func(name string) string {
		if name == "SET" {
			return "hunter2"
		}
		return ""
	})
	const p = "provider acme: client_secret: "
	want := strings.Join([]string{
		p + "env://UNSET: the variable is not set, or empty",
		p + "systemd://acme: CREDENTIALS_DIRECTORY is not set: start this as a systemd service whose unit has LoadCredential=acme:PATH",
		p + refs[3] + ": the file is empty",
		p + refs[4] + ": the file is empty",
		p + refs[5] + ": the file has more than 65536 bytes: it holds something else",
		p + refs[6] + ": open " + dir + "/missing: no such file or directory",
	}, "\n")
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
}

func TestResolveNamesTheKeyThatLeadsNowhere(t *testing.T) {
	t.Parallel()
	f, err := providerfile.Parse("providers.yaml", []byte("providers:\n  acme:\n    token_url: https://acme.example/token\n    client_id: a\n"+
		"    auth_url: https://acme.example/authorize\n    auth_style: private_key_jwt\n    client_key: env://UNSET\n    client_assertion: {audience: token_url}\n"))
	if err != nil {
		t.Fatal(err)
	}
	const want = "provider acme: client_key: env://UNSET: the variable is not set, or empty"
	if _, err := f.Resolve(func(string) string { return "" }); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestResolveChecksReferencesThatNobodyParsed(t *testing.T) {
	t.Parallel()
	f := file(t, "env://A")
	f.Providers[0].Secrets[0] = "systemd://../../etc/passwd"
	if _, err := f.Resolve(func(string) string { return "/tmp" }); err == nil {
		t.Error("resolved")
	}
}
