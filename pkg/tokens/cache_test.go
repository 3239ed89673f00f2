package tokens_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/freshetdev/freshet/internal/natstest"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/refresh"
	"github.com/freshetdev/freshet/pkg/seal"
	"github.com/freshetdev/freshet/pkg/tokens"
)

// away connects to a server that is down, as a program does that waits for it.
func (s *natsServer) away(t testing.TB) *nats.Conn {
	t.Helper()
	return s.connect(t, nats.RetryOnFailedConnect(true))
}

// cached is a bucket with alice's and bob's first tokens, and a cache file that a client has left; the server is down.
func cached(t *testing.T) (*bucket, tokens.Config) {
	t.Helper()
	cfg := tokens.Config{CacheFile: filepath.Join(t.TempDir(), "tokens.cache"), Wait: patience}
	b, c := setup(t, cfg)
	cfg.AccessKeyset = b.keys.Access
	for _, account := range []string{"alice", "bob"} {
		b.put(record(account), account+"-1")
		wantToken(t, c.TokenSource("acme/"+account), account+"-1")
	}
	_ = c.Close()
	b.s.Stop()
	return b, cfg
}

func TestAProgramStartsFromItsCacheFile(t *testing.T) {
	t.Parallel()
	b, cfg := cached(t)
	c := b.open(b.s.away(t), cfg)
	wantToken(t, c.TokenSource("acme/alice"), "alice-1")
	if tok, err := c.Token(t.Context(), "acme/bob"); err != nil || tok.Generation != 1 || tok.Version != 1 || tok.Scopes[0] != "read" {
		t.Errorf("%+v, %v", tok, err)
	}
	if err := b.s.Start(); err != nil {
		t.Fatal(err)
	}
	await(t, func() bool { _, err := b.js.AccountInfo(t.Context()); return err == nil }, "JetStream did not come back")
	r := record("alice")
	r.Version = 2
	b.tell(b.put(r, "alice-2"))
	awaitToken(t, c.TokenSource("acme/alice"), "alice-2")
}

// TestTheCacheFileComesAfterTheBucket: where it can be asked, it is.
func TestTheCacheFileComesAfterTheBucket(t *testing.T) {
	t.Parallel()
	b, cfg := cached(t)
	if err := b.s.Start(); err != nil {
		t.Fatal(err)
	}
	await(t, func() bool { _, err := b.js.AccountInfo(t.Context()); return err == nil }, "JetStream did not come back")
	gone, newer := record("alice"), record("bob")
	gone.State, newer.Version = refresh.StateRevoked, 2
	b.put(gone, "")
	b.put(newer, "bob-2")
	c := b.open(b.s.connect(t), cfg)
	_, err := c.TokenSource("acme/alice").Token()
	wantErr(t, err, tokens.ErrRevoked)
	wantToken(t, c.TokenSource("acme/bob"), "bob-2")
	_ = c.Close()
	b.s.Stop()
	again := b.open(b.s.away(t), cfg) // and the file has followed
	wantToken(t, again.TokenSource("acme/bob"), "bob-2")
	cfg.Wait = 50 * time.Millisecond
	_, err = b.open(b.s.away(t), cfg).TokenSource("acme/alice").Token()
	wantErr(t, err, tokens.ErrUnavailable)
}

// TestTheCacheFileKeepsABucketFromGoingBack: somebody restored an old backup while this program was down.
func TestTheCacheFileKeepsABucketFromGoingBack(t *testing.T) {
	t.Parallel()
	h := newHeard()
	cfg := tokens.Config{CacheFile: filepath.Join(t.TempDir(), "tokens.cache"), OnError: h.add}
	b, c := setup(t, cfg)
	r := record("alice")
	old := b.put(r, access(1))
	r.Version = 2
	b.put(r, access(2))
	wantToken(t, c.TokenSource("acme/alice"), access(2))
	_ = c.Close()
	b.write(old.Record, r.Credential())
	src := b.open(b.s.connect(t), cfg).TokenSource("acme/alice")
	wantToken(t, src, access(2))
	if err := h.next(t); !strings.Contains(err.Error(), "went back from version 2 to 1") {
		t.Errorf("reported %v", err)
	}
}

func TestTokensThatNobodyAskedForStayInTheCacheFile(t *testing.T) {
	t.Parallel()
	b, cfg := cached(t)
	for range 2 { // two starts in one outage
		c := b.open(b.s.away(t), cfg)
		wantToken(t, c.TokenSource("acme/alice"), "alice-1")
		_ = c.Close()
	}
	wantToken(t, b.open(b.s.away(t), cfg).TokenSource("acme/bob"), "bob-1")
}

func TestNoEndedTokenComesFromTheCacheFile(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := startServer(t)
		slow := nats.ReconnectWait(time.Minute)
		b := newBucket(t, s.connect(t, slow), events.Names{})
		cfg := tokens.Config{CacheFile: filepath.Join(t.TempDir(), "tokens.cache"), Wait: time.Second}
		b.put(record("alice"), access(1)) // for an hour
		c := b.open(s.connect(t, slow), cfg)
		wantToken(t, c.TokenSource("acme/alice"), access(1))
		time.Sleep(2 * time.Second) // the file is written while the program runs: it may be killed
		s.Stop()
		first := b.open(s.connect(t, slow, nats.RetryOnFailedConnect(true)), cfg)
		wantToken(t, first.TokenSource("acme/alice"), access(1))
		time.Sleep(time.Hour)
		second := b.open(s.connect(t, slow, nats.RetryOnFailedConnect(true)), cfg)
		for _, c := range []*tokens.Client{first, second} {
			_, err := c.TokenSource("acme/alice").Token()
			wantErr(t, err, tokens.ErrUnavailable)
		}
	})
}

func TestACacheFileThatCannotBeUsedIsReportedAndIgnored(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		spoil func(sealed []byte, b *bucket) []byte
		want  error
		says  string
	}{
		"empty":       {func([]byte, *bucket) []byte { return nil }, seal.ErrCorrupt, ""},
		"cut off":     {func(sealed []byte, _ *bucket) []byte { return sealed[:len(sealed)/2] }, seal.ErrCorrupt, ""},
		"altered":     {func(sealed []byte, _ *bucket) []byte { sealed[len(sealed)/2] ^= 1; return sealed }, seal.ErrCorrupt, ""},
		"plain text":  {func([]byte, *bucket) []byte { return []byte(`{"v":1,"tokens":[]}`) }, seal.ErrCorrupt, ""},
		"too large":   {func([]byte, *bucket) []byte { return make([]byte, 32<<20+1) }, nil, "larger than"},
		"another key": {func(_ []byte, b *bucket) []byte { return sealAs(b, natstest.Keyset(b.t), "cache", `{"v":1}`) }, seal.ErrUnknownKey, ""},
		"from another place": {func(_ []byte, b *bucket) []byte {
			return sealAs(b, b.keys.Access, "acme.alice", `{"v":1}`)
		}, seal.ErrCorrupt, ""},
		"not JSON":       {func(_ []byte, b *bucket) []byte { return sealAs(b, b.keys.Access, "cache", `canary`) }, nil, "not a cache"},
		"a newer schema": {func(_ []byte, b *bucket) []byte { return sealAs(b, b.keys.Access, "cache", `{"v":2}`) }, nil, "not a cache"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, cfg := cached(t)
			sealed, err := os.ReadFile(cfg.CacheFile)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(cfg.CacheFile, tt.spoil(sealed, b), 0o600); err != nil {
				t.Fatal(err)
			}
			h := newHeard()
			cfg.OnError, cfg.Wait = h.add, 20*time.Millisecond
			_, err = b.open(b.s.away(t), cfg).TokenSource("acme/alice").Token()
			wantErr(t, err, tokens.ErrUnavailable)
			err = h.next(t)
			if tt.want != nil && !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.says) || strings.Contains(err.Error(), "canary") {
				t.Errorf("reported %v, want %v %q", err, tt.want, tt.says)
			}
		})
	}
}

func sealAs(b *bucket, k *seal.Keyset, key, text string) []byte {
	sealed, err := k.Seal([]byte(text), seal.Binding{Bucket: b.names.TokensBucket(), Key: key, Field: "cache"})
	if err != nil {
		b.t.Fatal(err)
	}
	return sealed
}

func TestTheCacheFileIsSealedAndItsOwnersAlone(t *testing.T) {
	t.Parallel()
	_, cfg := cached(t)
	data, err := os.ReadFile(cfg.CacheFile)
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"alice", "acme", "read"} {
		if bytes.Contains(data, []byte(word)) {
			t.Errorf("%q can be read in it", word)
		}
	}
	entries, err := os.ReadDir(filepath.Dir(cfg.CacheFile))
	if err != nil || len(entries) != 1 {
		t.Errorf("beside it lie %v, %v", entries, err)
	}
	if info, err := os.Stat(cfg.CacheFile); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestTheCacheFileIsBounded(t *testing.T) {
	t.Parallel()
	var all []tokens.Token
	for i := range 100 {
		all = append(all, tokens.Token{
			Credential:  events.Credential{Provider: "acme", Account: fmt.Sprint("user", i)},
			AccessToken: seal.NewSecret(access(1)), ExpiresAt: time.Unix(int64(i), 0),
		})
	}
	const limit = 4000
	data, err := tokens.EncodeCache(all, limit)
	if err != nil || len(data) > limit || len(data) < limit/2 {
		t.Errorf("%d bytes, %v, want nearly %d", len(data), err, limit)
	}
	for account, want := range map[string]bool{`"acme/user99"`: true, `"acme/user0"`: false} {
		if got := bytes.Contains(data, []byte(account)); got != want {
			t.Errorf("%s is in it: %v; those that live longest should be", account, got)
		}
	}
}

func TestACacheFileThatCannotBeWrittenIsReportedOnce(t *testing.T) {
	t.Parallel()
	h := newHeard()
	cfg := tokens.Config{CacheFile: filepath.Join(t.TempDir(), "nowhere", "tokens.cache"), OnError: h.add}
	inBubble(t, cfg, func(t *testing.T, b *bucket, c *tokens.Client) {
		b.put(record("alice"), access(1))
		wantToken(t, c.TokenSource("acme/alice"), access(1))
		time.Sleep(time.Minute)
		if n := len(h.errs); n != 1 {
			t.Fatalf("%d errors, want 1", n)
		}
		if err := <-h.errs; !strings.Contains(err.Error(), "nowhere") {
			t.Errorf("reported %v", err)
		}
	})
}
