package flags_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/freshetdev/freshet/internal/flags"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/seal"
)

// keyset returns a new keyset's bytes.
func keyset(t *testing.T) []byte {
	t.Helper()
	data, err := seal.GenerateKeyset()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func write(t *testing.T, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// isKeyset reports whether k is the keyset of these bytes: key ids are random.
func isKeyset(t *testing.T, k *seal.Keyset, data []byte) bool {
	t.Helper()
	other, err := seal.LoadKeyset(data)
	if err != nil {
		t.Fatal(err)
	}
	return k.PrimaryID() == other.PrimaryID()
}

func TestKeysetsComeFromFiles(t *testing.T) {
	t.Parallel()
	grant, access := keyset(t), keyset(t)
	k := flags.Keysets{GrantFile: write(t, grant), AccessFile: write(t, access)}
	g, a, err := k.Both()
	if err != nil || !isKeyset(t, g, grant) || !isKeyset(t, a, access) {
		t.Fatalf("keysets from files: %v", err)
	}
}

func TestKeysetsComeFromVariables(t *testing.T) { // not parallel: the environment is one
	grant, other := keyset(t), keyset(t)
	t.Setenv("FRESHET_GRANT_KEYSET", string(grant))
	k := flags.Keysets{}
	if g, err := k.Grant(); err != nil || !isKeyset(t, g, grant) {
		t.Fatalf("keyset from the variable: %v", err)
	}
	k.GrantFile = write(t, other)
	if g, err := k.Grant(); err != nil || !isKeyset(t, g, other) {
		t.Fatalf("a file on the command line goes before the variable: %v", err)
	}
	t.Setenv("FRESHET_GRANT_KEYSET_FILE", k.GrantFile)
	if _, err := k.Grant(); err == nil || !strings.Contains(err.Error(), "FRESHET_GRANT_KEYSET and FRESHET_GRANT_KEYSET_FILE") {
		t.Fatalf("both variables: %v; want an error that names them", err)
	}
}

func TestMissingKeysetsAreBothReported(t *testing.T) {
	t.Parallel()
	_, _, err := (&flags.Keysets{}).Both()
	for _, want := range []string{"no grant keyset", "--grant-keyset", "no access keyset", "--access-keyset", "freshet keys generate"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not say %q", err, want)
		}
	}
}

func TestAKeysetFileThatIsNone(t *testing.T) {
	t.Parallel()
	if _, err := (&flags.Keysets{GrantFile: "/nonexistent/keyset"}).Grant(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
	_, err := (&flags.Keysets{AccessFile: write(t, []byte(`{"canary":"canary"}`))}).Access()
	if err == nil || !strings.HasPrefix(err.Error(), "access keyset: ") || strings.Contains(err.Error(), "canary") {
		t.Errorf("a file that is no keyset: %v", err)
	}
}

func TestLogger(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	log, err := (&flags.Common{LogLevel: "warn"}).Logger(&out)
	if err != nil {
		t.Fatal(err)
	}
	log.Info().Msg("quiet")
	log.Warn().Msg("loud")
	if got := out.String(); strings.Contains(got, "quiet") || !strings.Contains(got, `"message":"loud"`) || !strings.Contains(got, `"time"`) {
		t.Errorf("logged %q, want the warning as JSON and nothing else", got)
	}
	if _, err := (&flags.Common{LogLevel: "shout"}).Logger(&out); err == nil || !strings.Contains(err.Error(), `"shout"`) {
		t.Errorf("unknown level: %v", err)
	}
}

func TestNamespace(t *testing.T) {
	t.Parallel()
	names, err := (&flags.Common{Namespace: "staging"}).Names()
	if err != nil || names.TokensBucket() == (events.Names{}).TokensBucket() {
		t.Errorf("namespace staging: bucket %q, %v", names.TokensBucket(), err)
	}
	if _, err := (&flags.Common{Namespace: "No Good"}).Names(); !errors.Is(err, events.ErrName) {
		t.Errorf("bad namespace: %v", err)
	}
}

func TestKeysetsComeFromSystemdCredentials(t *testing.T) { // not parallel: the environment is one
	grant, other := keyset(t), keyset(t)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "grant-keyset"), grant, 0o604); err != nil {
		t.Fatal(err)
	}
	t.Setenv("CREDENTIALS_DIRECTORY", dir)
	var warned string
	k := flags.Keysets{Warn: func(text string) { warned = text }}
	g, a, err := k.Given()
	if err != nil || a != nil || !isKeyset(t, g, grant) {
		t.Fatalf("credentials: grant %v, access %v, %v", g, a, err)
	}
	if !strings.Contains(warned, filepath.Join(dir, "grant-keyset")) {
		t.Errorf("a file that everybody may read: warned %q", warned)
	}
	if _, err := k.Access(); !errors.Is(err, flags.ErrNoKeyset) {
		t.Errorf("no access keyset: %v", err)
	}
	t.Setenv("FRESHET_GRANT_KEYSET", " "+base64.StdEncoding.EncodeToString(other)+"\n")
	if g, err := k.Grant(); err != nil || !isKeyset(t, g, other) {
		t.Errorf("a variable, in base64, goes before the credential: %v", err)
	}
	t.Setenv("FRESHET_GRANT_KEYSET", "canary")
	if _, err := k.Grant(); err == nil || strings.Contains(err.Error(), "canary") {
		t.Errorf("a variable that is no keyset: %v", err)
	}
}
