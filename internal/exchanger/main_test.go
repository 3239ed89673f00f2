package exchanger_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/freshetdev/freshet/internal/authserver"
	"github.com/freshetdev/freshet/internal/exchanger"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
	"github.com/freshetdev/freshet/pkg/seal"
)

// childEnv is the environment variable that makes the test binary a process of its own: an exchanger or a worker.
const childEnv = "EXCHANGER_TEST_CHILD"

// TestMain doubles as the child processes that some tests start and kill.
func TestMain(m *testing.M) {
	if text := os.Getenv(childEnv); text != "" {
		if err := runChild(text); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// child says what a child process is to do.
type child struct {
	Role          string // exchanger or worker
	Socket, State string
	Keyset        []byte
	Attempt       string // of a worker
	TokenURL      string
	RefreshToken  string
}

const bucket = "tokens"

func (c child) keys() (refresh.Keys, error) {
	k, err := seal.LoadKeyset(c.Keyset)
	return refresh.Keys{Bucket: bucket, Grant: k}, err
}

func runChild(text string) error {
	var c child
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		return err
	}
	keys, err := c.keys()
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if c.Role == "worker" {
		client := exchanger.NewClient(exchanger.ClientConfig{Socket: c.Socket, Keys: keys})
		client.Exchange(ctx, newRequest(c.TokenURL, c.Attempt, c.RefreshToken))
		return nil
	}
	s, err := exchanger.Open(ctx, exchanger.Config{
		Socket: c.Socket, StateDir: c.State, Keys: keys, Linger: 50 * time.Millisecond,
		Exchange: refresh.NewHTTPExchange(refresh.HTTPExchangeConfig{}),
		OnError:  func(err error) { fmt.Fprintln(os.Stderr, err) },
	})
	if err != nil {
		return err
	}
	fmt.Println("open")
	return s.Run(ctx)
}

// newRequest presents a refresh token as the client dev, with plenty of time.
func newRequest(tokenURL, attempt, token string) refresh.Request {
	return refresh.Request{
		Ticket: refresh.Ticket{Attempt: attempt, Worker: "w1", Key: "acme.alice", GrantID: "g", Generation: 1, Version: 1},
		Provider: &provider.Definition{
			Name: "acme", TokenURL: tokenURL, ClientID: "dev", AuthStyle: provider.AuthBasic, Grant: provider.GrantAuthorizationCode,
		},
		ClientSecret: seal.NewSecret("dev-secret"), RefreshToken: seal.NewSecret(token),
		Deadline: time.Now().Add(30 * time.Second),
		Fence:    func() time.Duration { return 20 * time.Second },
	}
}

// gate stands before the authorization server. The server decides at once; its answer waits until the gate is open.
type gate struct {
	auth  http.Handler
	posts atomic.Int64
	taken chan struct{} // receives one value for each request that waits
	open  chan struct{} // closed: answers go through
}

// ServeHTTP implements http.Handler.
func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.posts.Add(1)
	rec := httptest.NewRecorder()
	g.auth.ServeHTTP(rec, r.WithContext(context.WithoutCancel(r.Context())))
	select {
	case <-g.open:
	default:
		g.taken <- struct{}{}
		<-g.open
	}
	for name, values := range rec.Header() {
		w.Header()[name] = values
	}
	w.WriteHeader(rec.Code)
	_, _ = w.Write(rec.Body.Bytes())
}

// world is an authorization server, strict, and the places of an exchanger.
type world struct {
	t      testing.TB
	auth   *authserver.Server
	gate   *gate
	url    string // token endpoint
	dir    string
	socket string
	state  string
	keyset []byte
	keys   refresh.Keys
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, auth: authserver.New(authserver.Config{})}
	w.gate = &gate{auth: w.auth, taken: make(chan struct{}, 100), open: make(chan struct{})}
	srv := httptest.NewServer(w.gate)
	t.Cleanup(srv.Close)
	t.Cleanup(w.letThrough) // first: Close waits for answers
	w.url = srv.URL + "/token"
	var err error
	w.dir, err = os.MkdirTemp("", "xch") // short: a socket's path has a limit
	w.must(err)
	t.Cleanup(func() { os.RemoveAll(w.dir) })
	w.socket, w.state = filepath.Join(w.dir, "x.sock"), filepath.Join(w.dir, "state")
	w.keyset, err = seal.GenerateKeyset()
	w.must(err)
	w.keys, err = child{Keyset: w.keyset}.keys()
	w.must(err)
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// letThrough opens the gate for good.
func (w *world) letThrough() {
	select {
	case <-w.gate.open:
	default:
		close(w.gate.open)
	}
}

// token enrols an account and returns its refresh token.
func (w *world) token(account string) string {
	w.t.Helper()
	tokens, err := w.auth.Issue(account, "")
	w.must(err)
	return tokens.RefreshToken
}

func (w *world) request(attempt, token string) refresh.Request {
	return newRequest(w.url, attempt, token)
}

// config is that of an exchanger in this process.
func (w *world) config() exchanger.Config {
	return exchanger.Config{
		Socket: w.socket, StateDir: w.state, Keys: w.keys, Linger: 50 * time.Millisecond, Exchange: w.httpExchange(),
		OnError: func(err error) { w.t.Errorf("exchanger: %v", err) },
	}
}

func (w *world) httpExchange() refresh.Exchanger {
	e := refresh.NewHTTPExchange(refresh.HTTPExchangeConfig{})
	w.t.Cleanup(e.CloseIdle)
	return e
}

// serve runs an exchanger in this process; stop ends it in order, and may be called again.
func (w *world) serve(cfg exchanger.Config) (s *exchanger.Server, stop func()) {
	w.t.Helper()
	s, err := exchanger.Open(w.t.Context(), cfg)
	w.must(err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := s.Run(ctx); err != nil {
			w.t.Errorf("Run: %v", err)
		}
	}()
	stop = func() { cancel(); <-done }
	w.t.Cleanup(stop)
	w.t.Cleanup(w.letThrough)
	return s, stop
}

// client is one that does not Run.
func (w *world) client() *exchanger.Client {
	c := exchanger.NewClient(exchanger.ClientConfig{Socket: w.socket, Keys: w.keys})
	w.t.Cleanup(c.Close)
	return c
}

// process is a child.
type process struct {
	*exec.Cmd
	w      *world
	stderr bytes.Buffer
}

func (w *world) start(c child) *process {
	w.t.Helper()
	text, err := json.Marshal(c)
	w.must(err)
	p := &process{Cmd: exec.Command(os.Args[0]), w: w}
	p.Env = append(os.Environ(), childEnv+"="+string(text))
	p.Stderr = &p.stderr
	out, err := p.StdoutPipe()
	w.must(err)
	w.must(p.Start())
	w.t.Cleanup(func() { _ = p.Process.Kill(); _ = p.Wait() })
	if c.Role == "exchanger" && !bufio.NewScanner(out).Scan() {
		w.t.Fatalf("the child said nothing: %v: %s", p.Wait(), p.stderr.String())
	}
	return p
}

// startExchanger starts one as a process of its own, and returns when it listens.
func (w *world) startExchanger() *process {
	return w.start(child{Role: "exchanger", Socket: w.socket, State: w.state, Keyset: w.keyset})
}

// kill is kill -9, and waits for the end.
func (p *process) kill() {
	p.w.t.Helper()
	p.w.must(p.Process.Kill())
	_ = p.Wait()
}

// async makes a request in the background.
func async(c *exchanger.Client, r refresh.Request) <-chan refresh.Outcome {
	out := make(chan refresh.Outcome, 1)
	go func() { out <- c.Exchange(context.Background(), r) }()
	return out
}

// wantAnswer checks that an outcome carries tokens.
func (w *world) wantAnswer(o refresh.Outcome) {
	w.t.Helper()
	if o.Phase != refresh.PhaseAnswered || o.Status != http.StatusOK || !bytes.Contains(o.Body, []byte("refresh_token")) {
		w.t.Fatalf("phase %s, status %d, err %q: want the provider's tokens", o.Phase, o.Status, o.Err)
	}
}

// wantPhase checks an outcome without an answer.
func (w *world) wantPhase(o refresh.Outcome, phase refresh.Phase, local bool) {
	w.t.Helper()
	if o.Phase != phase || o.Local != local || o.Err == "" || o.StartedAt.IsZero() || o.EndedAt.IsZero() {
		w.t.Fatalf("outcome %s, local %v, err %q; want %s, local %v, and a reason", o.Phase, o.Local, o.Err, phase, local)
	}
}

// wantPosts asks the judges how many requests there were, and whether a token was presented twice.
func (w *world) wantPosts(want int64) {
	w.t.Helper()
	l := w.auth.Ledger()
	if got := w.gate.posts.Load(); got != want || l.Rotations != want || l.Replayed != 0 || l.Concurrent != 0 {
		w.t.Errorf("%d requests, %d rotations, %d replayed, %d concurrent; want %d requests and as many rotations",
			got, l.Rotations, l.Replayed, l.Concurrent, want)
	}
}
