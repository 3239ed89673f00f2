package app_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"

	"github.com/freshetdev/freshet/internal/app"
	"github.com/freshetdev/freshet/internal/authserver"
	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/internal/natstest"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
	"github.com/freshetdev/freshet/pkg/seal"
)

func TestGeneratedKeysetsAreTheirOwnersAlone(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "keys")
	files, err := app.GenerateKeysets(dir)
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]fs.FileMode{dir: 0o700, files.Grant: 0o600, files.Access: 0o600} {
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: mode %v, %v, want %v", path, info.Mode().Perm(), err, want)
		}
	}
	grant, access, err := files.Load()
	if err != nil || grant.PrimaryID() == access.PrimaryID() {
		t.Errorf("keysets %v and %v, %v: want two different ones", grant, access, err)
	}
}

func TestKeysetsAreNeverOverwritten(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	files, err := app.GenerateKeysets(dir)
	if err != nil {
		t.Fatal(err)
	}
	before := readAll(t, files)
	if _, err := app.GenerateKeysets(dir); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a second generation: %v, want that they exist", err)
	}
	if err := app.EnsureKeysets(dir); err != nil {
		t.Errorf("ensure where both are: %v", err)
	}
	if !bytes.Equal(before, readAll(t, files)) {
		t.Error("the keysets have changed")
	}
}

func readAll(t *testing.T, files app.KeysetFiles) []byte {
	t.Helper()
	var all []byte
	for _, path := range []string{files.Grant, files.Access} {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, data...)
	}
	return all
}

func TestEnsureKeysetsMakesBothOrNeither(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := app.EnsureKeysets(dir); err != nil {
		t.Fatal(err)
	}
	for _, missing := range []string{app.KeysetsIn(dir).Grant, app.KeysetsIn(dir).Access} {
		data, err := os.ReadFile(missing)
		if err == nil {
			err = os.Remove(missing)
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := app.EnsureKeysets(dir); err == nil || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "restore") {
			t.Errorf("with half a pair: %v, want an error that names %s and says what to do", err, dir)
		}
		if _, err := os.Stat(missing); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("half a pair was completed: %v", err)
		}
		if err := os.WriteFile(missing, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestKeysetsThatCannotBeLoaded(t *testing.T) {
	t.Parallel()
	const key = "CANARYKEYMATERIAL"
	for name, spoil := range map[string]func(path string) error{
		"missing": os.Remove,
		"empty":   func(path string) error { return os.WriteFile(path, nil, 0o600) },
		"no JSON": func(path string) error { return os.WriteFile(path, []byte(key), 0o600) },
		"other JSON": func(path string) error {
			return os.WriteFile(path, []byte(`{"primaryKeyId":1,"key":[{"keyData":{"value":"`+key+`"}}]}`), 0o600)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			files, err := app.GenerateKeysets(t.TempDir())
			if err == nil {
				err = spoil(files.Access)
			}
			if err != nil {
				t.Fatal(err)
			}
			_, _, err = files.Load()
			if err == nil || !strings.Contains(err.Error(), files.Access) || strings.Contains(err.Error(), key) {
				t.Errorf("error %v: want the path and nothing of the content", err)
			}
		})
	}
}

func TestApplyIsIdempotent(t *testing.T) {
	t.Parallel()
	f := newFleet(t, fleetConfig{})
	d := f.definition("second", nil)
	for _, step := range []struct {
		name        string
		dryRun      bool
		entry, lane broker.Action
	}{
		{"dry run", true, broker.ActionCreate, broker.ActionCreate},
		{"first", false, broker.ActionCreate, broker.ActionCreate},
		{"again", false, broker.ActionOK, broker.ActionOK},
		{"dry run after it", true, broker.ActionOK, broker.ActionOK},
	} {
		done, err := app.Apply(t.Context(), f.Broker, f.grant, d, step.dryRun)
		if err != nil || done.Action != step.entry || done.Lane.Action != step.lane {
			t.Fatalf("%s: %+v, %v, want entry %s and lane %s", step.name, done, err, step.entry, step.lane)
		}
		_, revision, err := f.Broker.Provider(t.Context(), "second")
		if _, laneErr := f.Lane(t.Context(), "second"); step.name == "dry run" &&
			(!errors.Is(err, broker.ErrUnknownProvider) || !errors.Is(laneErr, broker.ErrNoLane) || revision != 0) {
			t.Errorf("a dry run left something behind: revision %d, %v, %v", revision, err, laneErr)
		}
	}
}

func TestApplyWritesWhatHasChanged(t *testing.T) {
	t.Parallel()
	second := func(secrets ...string) func(*provider.Definition) {
		return func(d *provider.Definition) {
			d.ClientSecrets = nil
			for _, s := range secrets {
				d.ClientSecrets = append(d.ClientSecrets, seal.NewSecret(s))
			}
		}
	}
	for name, tc := range map[string]struct {
		change      func(*provider.Definition)
		entry, lane broker.Action
	}{
		"another secret":  {second("new-secret"), broker.ActionUpdate, broker.ActionOK},
		"a second secret": {second("dev-secret", "new-secret"), broker.ActionUpdate, broker.ActionOK},
		"a scope":         {func(d *provider.Definition) { d.Scopes = []string{"read"} }, broker.ActionUpdate, broker.ActionOK},
		"concurrency":     {func(d *provider.Definition) { d.Limits.Concurrency = 3 }, broker.ActionUpdate, broker.ActionUpdate},
		"nothing":         {func(*provider.Definition) {}, broker.ActionOK, broker.ActionOK},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFleet(t, fleetConfig{})
			pause := provider.Pause{By: "operator", Reason: "maintenance"}
			if _, err := f.PauseLane(t.Context(), "acme", pause); err != nil {
				t.Fatal(err)
			}
			want := f.definition("acme", tc.change)
			done, err := app.Apply(t.Context(), f.Broker, f.grant, want, false)
			if err != nil || done.Action != tc.entry || done.Lane.Action != tc.lane {
				t.Errorf("apply: %+v, %v, want entry %s and lane %s", done, err, tc.entry, tc.lane)
			}
			have, err := app.OpenProvider(t.Context(), f.Broker, f.grant, "acme")
			if err != nil || len(have.ClientSecrets) != len(want.ClientSecrets) || !have.ClientSecrets[0].Equal(want.ClientSecrets[0]) {
				t.Errorf("the secrets are not those that were applied: %v", err)
			}
			info, err := f.LaneInfo(t.Context(), "acme")
			e, _, err2 := f.Broker.Provider(t.Context(), "acme")
			if err != nil || err2 != nil || !info.Paused || e.Pause == nil || *e.Pause != pause {
				t.Errorf("the pause is gone: lane %+v, entry %+v, %v, %v", info, e.Pause, err, err2)
			}
		})
	}
}

func TestApplyWarnsOfAGraceThatIsTooShort(t *testing.T) {
	t.Parallel()
	f := newFleet(t, fleetConfig{})
	for grace, warnings := range map[time.Duration]int{5 * time.Second: 1, time.Minute: 0} {
		d := f.definition("acme", func(d *provider.Definition) {
			d.Rotation, d.RotationGrace = provider.RotationGrace, provider.Duration(grace)
		})
		done, err := app.Apply(t.Context(), f.Broker, f.grant, d, true)
		if err != nil || len(done.Warnings) != warnings {
			t.Errorf("grace %v: warnings %q, %v, want %d", grace, done.Warnings, err, warnings)
		}
		for _, w := range done.Warnings {
			if !strings.Contains(w, "rotation_grace") || !strings.Contains(w, "strict") {
				t.Errorf("warning %q: want what is wrong and what it comes to", w)
			}
		}
	}
}

func TestApplyRefusesAllThatIsWrongAtOnce(t *testing.T) {
	t.Parallel()
	f := newFleet(t, fleetConfig{})
	d := f.definition("second", func(d *provider.Definition) {
		d.TokenURL, d.ClientID, d.Limits.Concurrency = "http://login.example.com/token", "", -1
	})
	_, err := app.Apply(t.Context(), f.Broker, f.grant, d, false)
	for _, want := range []string{"provider second", "token_url", "https", "client_id", "limits.concurrency"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v: want %q in it", err, want)
		}
	}
	if _, _, err := f.Broker.Provider(t.Context(), "second"); !errors.Is(err, broker.ErrUnknownProvider) {
		t.Errorf("what was refused is there all the same: %v", err)
	}
}

// An entry that nobody can read, and one whose secrets nobody here can open, are mended by what their readers advise.
func TestApplyMendsAnEntryThatCannotBeUsed(t *testing.T) {
	t.Parallel()
	for name, data := range map[string]string{
		"cut off":          `{"v":1,"token_url":"https://lo`,
		"no version":       `{}`,
		"secret of nobody": `{"v":1,"client_id":"dev","client_secrets":["AQAAAAFhYmNkZWZnaGlqa2xtbm9wcXJzdHV2d3h5ejAxMjM0NTY3ODkw"]}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFleet(t, fleetConfig{})
			plantProvider(f, "acme", data)
			done, err := app.Apply(t.Context(), f.Broker, f.grant, f.acme, false)
			if err != nil || done.Action != broker.ActionUpdate {
				t.Fatalf("apply: %+v, %v, want an update", done, err)
			}
			have, err := app.OpenProvider(t.Context(), f.Broker, f.grant, "acme")
			if err != nil || have.TokenURL != f.acme.TokenURL {
				t.Errorf("the entry reads %+v, %v", have, err)
			}
		})
	}
}

// plantProvider writes a provider's entry as somebody with a NATS client may.
func plantProvider(f *fleet, name, data string) {
	f.t.Helper()
	_, err := f.JetStream().Publish(f.ctx, f.Names().ProviderSubject(name), []byte(data))
	f.must(err)
}

// An outage of a provider is a line now and then, however many credentials it hits; debug has the rest.
func TestAnOutageDoesNotFloodTheLog(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		f := newFleet(t, fleetConfig{
			Schedulers: 1, Auth: authserver.Config{AccessLifetime: 10 * time.Minute},
		})
		worker := f.startWorker("w1")
		const accounts, outage = 40, 5 * time.Minute
		for i := range accounts {
			f.enrol("a" + string(rune('A'+i)))
		}
		f.must(f.auth.SetFaults([]authserver.Fault{{
			Kind: authserver.FaultStatus, Status: http.StatusServiceUnavailable, RetryAfter: time.Second,
		}}))
		time.Sleep(5*time.Minute + outage)
		worker.stop()
		failed := 0
		for _, r := range f.ended() {
			if r.Class == refresh.ClassTransient {
				failed++
			}
		}
		lines := f.logs.count("w1", "not refreshed, tried again")
		if most := int(2*outage/(10*time.Second)) + 1; failed < 2*accounts || lines == 0 || lines > most {
			t.Errorf("%d attempts failed, %d lines say so, want 1 to %d", failed, lines, most)
		}
		if all := strings.Count(f.logs.text(), "not refreshed, tried again"); all != failed {
			t.Errorf("debug has %d of %d failures", all, failed)
		}
	})
}

// oldNATS is a real server that says it is another version.
type oldNATS struct {
	*natstest.Server
	version string
}

// InProcessConn implements nats.InProcessConnProvider.
func (n oldNATS) InProcessConn() (net.Conn, error) {
	c, err := n.Server.InProcessConn()
	if err != nil {
		return nil, err
	}
	return &renamedConn{Conn: c, lines: bufio.NewReader(c), version: n.version}, nil
}

// renamedConn changes the version in every line of the server: it says who it is before CONNECT and once more after it.
type renamedConn struct {
	net.Conn
	lines   *bufio.Reader
	version string
	rest    []byte
}

var versionField = regexp.MustCompile(`"version":"[^"]*"`)

// Read implements net.Conn.
func (c *renamedConn) Read(p []byte) (int, error) {
	if len(c.rest) == 0 {
		line, err := c.lines.ReadBytes('\n')
		if len(line) == 0 {
			return 0, err
		}
		c.rest = versionField.ReplaceAll(line, []byte(`"version":"`+c.version+`"`))
	}
	n := copy(p, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

// starts runs a process of each kind until it ends by itself.
func starts(t *testing.T, f *fleet, server nats.InProcessConnProvider) map[string]error {
	t.Helper()
	connect := func() *nats.Conn {
		nc, err := nats.Connect("", append(app.ConnectOptions(zerolog.Nop()), nats.InProcessServer(server))...)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { natstest.Close(nc) })
		return nc
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	return map[string]error{
		"worker": app.RunWorker(ctx, app.WorkerConfig{
			Conn: connect(), Grant: f.grant, Access: f.access, StateDir: f.stateDir("w"),
		}),
		"scheduler": app.RunScheduler(ctx, app.SchedulerConfig{Conn: connect()}),
	}
}

func TestAServerThatIsTooOldIsRefused(t *testing.T) {
	t.Parallel()
	f := newFleet(t, fleetConfig{})
	for process, err := range starts(t, f, oldNATS{f.nats, "2.11.9"}) {
		if !errors.Is(err, broker.ErrServerTooOld) || !strings.Contains(err.Error(), "2.11.9") || !strings.Contains(err.Error(), "2.12") {
			t.Errorf("%s: %v, want what the server is and what it must be", process, err)
		}
	}
}

func TestNATSWithoutSetupIsRefused(t *testing.T) {
	t.Parallel()
	f := newFleet(t, fleetConfig{})
	js := f.JetStream()
	for _, stream := range []string{f.Names().JobsStream(), f.Names().EventsStream()} {
		f.must(js.DeleteStream(t.Context(), stream))
	}
	for process, err := range starts(t, f, f.nats) {
		if !errors.Is(err, broker.ErrNotSetUp) || !strings.Contains(err.Error(), "REFRESH_JOBS") ||
			!strings.Contains(err.Error(), "TOKEN_EVENTS") || !strings.Contains(err.Error(), "freshet setup") {
			t.Errorf("%s: %v, want all that is missing and what to run", process, err)
		}
	}
}
