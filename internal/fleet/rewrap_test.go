package fleet_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/freshetdev/freshet/internal/authserver"
	"github.com/freshetdev/freshet/internal/fleet"
	"github.com/freshetdev/freshet/internal/rewrap"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/seal"
)

// Both keysets get a new key, step by step, while workers refresh; whoever rewraps is killed again and again. In the end
// everything opens with the new keys alone, and no grant is lost and none presented twice.
func TestKeysAreRotatedUnderLoad(t *testing.T) {
	t.Parallel()
	const (
		credentials = 300
		life        = 8 * time.Second
	)
	ctx := within(t, 120*time.Second)
	f := start(ctx, t, fleet.Config{
		Auth:    authserver.Config{Rotation: authserver.RotationStrict, AccessLifetime: life, Lifetime: staggered(life)},
		Refresh: provider.Refresh{MinLead: provider.Duration(4 * time.Second)},
	})
	must(t, f.Enrol(ctx, credentials))
	s := scheduler(ctx, t, f, "scheduler-1")
	workers := func(names ...string) (all []*fleet.Process) {
		for _, name := range names {
			all = append(all, worker(ctx, t, f, name))
		}
		return all
	}
	old := primaries(t, f)
	running := workers("worker-1", "worker-2")
	must(t, f.AwaitRenewals(ctx, 1))
	for i, flags := range [][]string{nil, {"--promote"}} {
		for _, file := range []string{f.Keysets.Grant, f.Keysets.Access} {
			freshet(ctx, t, f, 0, append([]string{"keys", "rotate", file}, flags...)...)
		}
		// One is restarted, the other told.
		stop(ctx, t, running[0], workerStopped)
		running[0] = workers("worker-1")[0]
		must(t, running[1].Signal(syscall.SIGHUP))
		must(t, running[1].Await(ctx, "keysets read anew", i+1))
	}
	keysets := []string{"--grant-keyset", f.Keysets.Grant, "--access-keyset", f.Keysets.Access}
	verify := append([]string{"keys", "rewrap", "--verify"}, keysets...)
	again := append([]string{"keys", "rewrap", "--at-once", "1"}, keysets...)
	inTheMiddle, left := 0, stale(ctx, t, f)
	for try := 1; left > 0; try++ { // at first before it has begun, then a little later each time
		p, err := f.Launch(f.OperatorCommand(again...))
		must(t, err)
		select {
		case <-p.Done():
		case <-time.After(time.Duration(try)*5*time.Millisecond + rand.N(10*time.Millisecond)):
			must(t, p.Kill())
		}
		before := left
		if left = stale(ctx, t, f); 0 < left && left < before {
			inTheMiddle++
		}
	}
	if t.Logf("%d rewraps were killed in the middle", inTheMiddle); inTheMiddle == 0 {
		t.Error("the kills hit nothing")
	}
	freshet(ctx, t, f, 0, again...)
	freshet(ctx, t, f, 0, verify...)
	// Refreshes of the minutes before are still in the workers' journals, under the old key.
	dirs := []string{"--state-dir", f.StateDir("worker-1"), "--state-dir", f.StateDir("worker-2")}
	if out := freshet(ctx, t, f, 1, append(verify, dirs...)...); !strings.Contains(out.Stdout, "journal entries") {
		t.Errorf("nothing of the journals is said:\n%s%s", out.Stdout, out.Stderr)
	}
	for _, w := range running {
		stop(ctx, t, w, workerStopped)
	}
	// What the journals still have is committed: the workers are stopped, and others come.
	freshet(ctx, t, f, 1, "keys", "rotate", f.Keysets.Grant, "--retire", old[0])
	freshet(ctx, t, f, 0, "keys", "rotate", f.Keysets.Grant, "--retire", old[0], "--force")
	freshet(ctx, t, f, 0, "keys", "rotate", f.Keysets.Access, "--retire", old[1])
	must(t, f.ReloadKeysets())
	running = workers("worker-3", "worker-4")
	must(t, f.AwaitRenewals(ctx, 1))
	must(t, f.AwaitFresh(ctx, 2*time.Second))
	stop(ctx, t, s, schedulerStopped)
	for _, w := range running {
		stop(ctx, t, w, workerStopped)
	}
	v := judge(ctx, t, f)
	wantEqual(t, "refresh tokens presented again", v.Ledger.Reused, 0)
	wantEqual(t, "access tokens that have ended", v.Expired, 0)
}

// stale counts what needs another key than those that seal.
func stale(ctx context.Context, t *testing.T, f *fleet.Fleet) (n int) {
	t.Helper()
	grant, access, err := f.Keysets.Load()
	must(t, err)
	s, err := rewrap.Take(ctx, f.Broker)
	must(t, err)
	for _, u := range s.Stale(grant, access) {
		n += u.Count
	}
	return n
}

// primaries are the ids of the keys that seal: the grants', then the access tokens'.
func primaries(t *testing.T, f *fleet.Fleet) []string {
	t.Helper()
	grant, access, err := f.Keysets.Load()
	must(t, err)
	var ids []string
	for _, k := range []*seal.Keyset{grant, access} {
		ids = append(ids, fmt.Sprint(k.PrimaryID()))
	}
	return ids
}

// freshet runs the command and wants an exit code.
func freshet(ctx context.Context, t *testing.T, f *fleet.Fleet, code int, args ...string) fleet.Output {
	t.Helper()
	out, err := f.Freshet(ctx, args...)
	must(t, err)
	if out.Code != code {
		t.Fatalf("freshet %s: exit code %d, want %d\n%s%s", strings.Join(args, " "), out.Code, code, out.Stdout, out.Stderr)
	}
	return out
}
