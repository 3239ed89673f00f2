package tokens_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/oauth2"

	"github.com/freshetdev/freshet/internal/natstest"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/refresh"
	"github.com/freshetdev/freshet/pkg/seal"
	"github.com/freshetdev/freshet/pkg/tokens"
)

// patience bounds every wait in these tests. It is reached only when something is broken.
const patience = 30 * time.Second

// natsServer is a real server that these tests connect to in their own way.
type natsServer struct{ *natstest.Server }

func startServer(t testing.TB, users ...*server.User) *natsServer {
	t.Helper()
	return &natsServer{natstest.Run(t, natstest.Options{Users: users})}
}

func (s *natsServer) connect(t testing.TB, opts ...nats.Option) *nats.Conn {
	t.Helper()
	opts = append([]nats.Option{
		nats.InProcessServer(s), nats.MaxReconnects(-1), nats.ReconnectWait(time.Millisecond),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}),
	}, opts...)
	nc, err := nats.Connect("", opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// bucket is the tokens bucket as its writers see it.
type bucket struct {
	t     testing.TB
	s     *natsServer // nil where the test knows it
	nc    *nats.Conn
	js    jetstream.JetStream
	names events.Names
	keys  refresh.Keys
}

// newBucket makes the bucket over nc. Every bucket has keysets of its own.
func newBucket(t testing.TB, nc *nats.Conn, names events.Names) *bucket {
	t.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	_, err = js.CreateStream(t.Context(), jetstream.StreamConfig{
		Name: names.TokensStream(), Subjects: []string{names.RecordKeySubject(">")}, MaxMsgsPerSubject: 1,
		Discard: jetstream.DiscardNew, AllowDirect: true, DenyDelete: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	keys := refresh.Keys{Bucket: names.TokensBucket(), Grant: natstest.Keyset(t), Access: natstest.Keyset(t)}
	return &bucket{t: t, nc: nc, js: js, names: names, keys: keys}
}

// record returns a healthy record of a credential, at version 1, whose token lives for an hour.
func record(account string) refresh.Record {
	now := time.Now().UTC()
	return refresh.Record{
		V: refresh.SchemaVersion, Provider: "acme", Account: account, GrantID: refresh.NewGrantID(), Generation: 1, Version: 1,
		State: refresh.StateActive, TokenType: "Bearer", Scopes: []string{"read"},
		IssuedAt: now, ExpiresAt: now.Add(time.Hour), RefreshAt: now.Add(45 * time.Minute),
	}
}

// put seals and writes the record with the access token, and returns what is stored.
func (b *bucket) put(r refresh.Record, access string) refresh.Stored {
	b.t.Helper()
	b.seal(&r, access)
	return b.write(r, r.Credential())
}

func (b *bucket) seal(r *refresh.Record, access string) {
	b.t.Helper()
	if r.State.Withdrawn() {
		return
	}
	grant := refresh.Grant{RefreshToken: seal.NewSecret("refresh-" + access)}
	if err := b.keys.Seal(r, grant, seal.NewSecret(access)); err != nil {
		b.t.Fatal(err)
	}
}

// putMany writes healthy records of n credentials, and returns their ids. The access token of NAME is access-NAME.
func (b *bucket) putMany(n int, name func(i int) string) (ids []string) {
	b.t.Helper()
	for i := range n {
		r := record(name(i))
		b.seal(&r, "access-"+r.Account)
		ids = append(ids, r.Credential().String())
		if _, err := b.js.PublishMsgAsync(b.message(r, r.Credential())); err != nil {
			b.t.Fatal(err)
		}
	}
	<-b.js.PublishAsyncComplete()
	return ids
}

// write puts the record as it is under a credential's key.
func (b *bucket) write(r refresh.Record, under events.Credential) refresh.Stored {
	b.t.Helper()
	ack, err := b.js.PublishMsg(b.t.Context(), b.message(r, under))
	if err != nil {
		b.t.Fatal(err)
	}
	return refresh.Stored{Record: r, Revision: ack.Sequence}
}

func (b *bucket) message(r refresh.Record, under events.Credential) *nats.Msg {
	b.t.Helper()
	data, err := r.Encode()
	if err != nil {
		b.t.Fatal(err)
	}
	return &nats.Msg{
		Subject: b.names.RecordSubject(under), Header: r.Summary(refresh.Announcement{}).Header(), Data: data,
	}
}

// tell publishes the event that stands for the record.
func (b *bucket) tell(s refresh.Stored) {
	b.t.Helper()
	msg, err := events.Encode(b.names, refresh.CurrentEvent(&s, "freshet/worker/test", time.Now()))
	if err != nil {
		b.t.Fatal(err)
	}
	// With a context: otherwise the client library takes a timer from a pool that bubbles and other tests share.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(b.t.Context()), patience)
	defer cancel()
	if err := errors.Join(b.nc.PublishMsg(msg), b.nc.FlushWithContext(ctx)); err != nil {
		b.t.Fatal(err)
	}
}

// heard collects what OnError was told.
type heard struct {
	errs chan error
}

func newHeard() heard { return heard{make(chan error, 1000)} }

func (h heard) add(err error) { h.errs <- err }

// next returns the next error.
func (h heard) next(t *testing.T) error {
	t.Helper()
	select {
	case err := <-h.errs:
		return err
	case <-time.After(patience):
		t.Fatal("no error was reported")
		return nil
	}
}

// open returns a client on its own connection, closed with the test.
func (b *bucket) open(nc *nats.Conn, cfg tokens.Config) *tokens.Client {
	b.t.Helper()
	if cfg.AccessKeyset == nil {
		cfg.AccessKeyset = b.keys.Access
	}
	cfg.Namespace = b.names.Namespace()
	c, err := tokens.Open(b.t.Context(), nc, cfg)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = c.Close() })
	return c
}

// setup is a server with a bucket and a client.
func setup(t testing.TB, cfg tokens.Config) (*bucket, *tokens.Client) {
	t.Helper()
	s := startServer(t)
	b := newBucket(t, s.connect(t), events.Names{})
	b.s = s
	return b, b.open(s.connect(t), cfg)
}

// wantToken fails unless the source hands out this access token.
func wantToken(t *testing.T, src oauth2.TokenSource, want string) {
	t.Helper()
	tok, err := src.Token()
	if err != nil {
		t.Fatalf("Token: %v, want %s", err, want)
	}
	if tok.AccessToken != want {
		t.Fatalf("Token = %s, want %s", tok.AccessToken, want)
	}
}

// awaitToken waits until the source hands out this access token.
func awaitToken(t *testing.T, src oauth2.TokenSource, want string) {
	t.Helper()
	await(t, func() bool {
		tok, err := src.Token()
		return err == nil && tok.AccessToken == want
	}, "the source never handed out "+want)
}

// await polls until ok: what it waits for happens on goroutines of the client that tell nobody.
func await(t *testing.T, ok func() bool, otherwise string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-ctx.Done():
			t.Fatal(otherwise)
		case <-tick.C:
		}
	}
}

func wantErr(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("error = %v, want %v", err, want)
	}
}
