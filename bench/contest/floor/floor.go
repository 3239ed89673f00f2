// Package floor is what Freshet's protocol costs when nothing is done but its messages: a job of a work queue, a compare-and-set
// write that claims, one HTTP request by the leanest client there is, a second one that commits, a deduplicated event, an ack. No
// record is read or sealed, nothing is journalled, nothing decided. Whatever keeps the protocol on JetStream is slower.
package floor

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/freshetdev/freshet/bench/authd"
	"github.com/freshetdev/freshet/bench/contest"
	"github.com/freshetdev/freshet/bench/host"
	"github.com/freshetdev/freshet/internal/fleet"
)

// Name is also that of its child process.
const Name = "protocol floor"

// recordBytes is about what a record takes, eventBytes what an event does.
const (
	recordBytes = 1024
	eventBytes  = 300
)

// The headers that records and events have, as far as they are the same for all.
var (
	recordHeader = nats.Header{
		"Freshet-State": {"active"}, "Freshet-Grant-Id": {"abcdefghijklmnop"}, "Freshet-Generation": {"1"}, "Freshet-Version": {"12"},
		"Freshet-Issued-At": {someTime}, "Freshet-Refresh-At": {someTime}, "Freshet-Expires-At": {someTime},
	}
	eventHeader = nats.Header{
		"ce-specversion": {"1.0"}, "ce-type": {"token.updated"}, "ce-source": {"freshet/worker/w1"}, "ce-time": {someTime},
		"ce-id": {"updated.abcdefghijklmnop.12"}, "ce-subject": {"acme.user-0000001"}, "ce-datacontenttype": {"application/json"},
		"content-type": {"application/json"}, jetstream.ExpectedStreamHeader: {"told"},
	}
)

const someTime = "2026-01-02T15:04:05.123456789Z"

// config goes to the child.
type config struct {
	NATS, TokenURL string
	AtOnce         int
}

// Floor is the contestant.
type Floor struct {
	env   contest.Env
	nats  *fleet.NATS
	conn  *nats.Conn
	child *host.Process
}

var _ contest.Contestant = (*Floor)(nil)

// Start starts nats-server and the child.
func Start(ctx context.Context, env contest.Env) (*Floor, error) {
	server, err := fleet.StartNATS(ctx, fleet.NATSConfig{Binary: env.Programs.NATSServer, Dir: env.Dir})
	if err != nil {
		return nil, err
	}
	f := &Floor{env: env, nats: server}
	if err := f.start(); err != nil {
		return nil, errors.Join(err, server.Kill())
	}
	return f, nil
}

func (f *Floor) start() (err error) {
	if f.conn, err = nats.Connect(f.nats.URL()); err != nil {
		return err
	}
	if _, err = f.conn.Subscribe("told.*", func(m *nats.Msg) { f.env.Heard(strings.TrimPrefix(m.Subject, "told.")) }); err != nil {
		return err
	}
	arg, err := json.Marshal(config{f.nats.URL(), f.env.Auth.TokenURL(f.env.Endpoint), f.env.AtOnce})
	if err != nil {
		return err
	}
	f.child, err = f.env.Child(Name, string(arg)).Start()
	return err
}

// Info implements contest.Contestant.
func (f *Floor) Info() contest.Info {
	return contest.Info{Name: Name, Durability: "write before ack, fsync every 2 min", Promise: "the messages of one, and nothing that makes them true"}
}

// Load gives the child its tokens.
func (f *Floor) Load(ctx context.Context, grants []authd.Grant) error {
	line, err := json.Marshal(grants)
	if err != nil {
		return err
	}
	return f.child.Ask(ctx, string(line), "loaded")
}

// Fill queues a job for each.
func (f *Floor) Fill(ctx context.Context) error { return f.child.Ask(ctx, "fill", "filled") }

// Go lets the child take as many jobs as there are.
func (f *Floor) Go(context.Context) error { return f.child.Say("go") }

// Halt waits for the round.
func (f *Floor) Halt(ctx context.Context) error { return f.child.Ask(ctx, "halt", "halted") }

var errNo = errors.New("the floor has no such thing")

// Publish fails.
func (f *Floor) Publish(context.Context, string) error { return errNo }

// Held fails.
func (f *Floor) Held(context.Context) (map[string]string, error) { return nil, errNo }

// Self is the child.
func (f *Floor) Self() []int { return []int{f.child.PID()} }

// Servers is nats-server.
func (f *Floor) Servers() []int { return []int{f.nats.Process.ID()} }

// Kill ends the child.
func (f *Floor) Kill() error { return f.child.Kill() }

// Restart fails.
func (f *Floor) Restart(context.Context) error { return errNo }

// Close ends everything.
func (f *Floor) Close() error {
	f.conn.Close()
	return errors.Join(f.child.Kill(), f.nats.Kill())
}

// Child is what the child process does.
func Child(arg string, in io.Reader, out io.Writer) error {
	var cfg config
	if err := json.Unmarshal([]byte(arg), &cfg); err != nil {
		return err
	}
	w, err := newWorker(cfg)
	if err != nil {
		return err
	}
	defer w.nc.Close()
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 1<<30)
	for lines.Scan() {
		answer, err := w.obey(lines.Text())
		if err != nil {
			return err
		}
		if answer != "" {
			fmt.Fprintln(out, answer)
		}
	}
	return lines.Err()
}

// worker does the work of Freshet's without its care.
type worker struct {
	nc       *nats.Conn
	js       jetstream.JetStream
	jobs     jetstream.Consumer
	asks     *asks
	endpoint *url.URL
	atOnce   int
	grants   map[string]*grant // by account; each is one hand's at a time
	names    []string
	round    sync.WaitGroup
	failed   chan error
}

type grant struct {
	refreshToken string
	revision     uint64
}

func newWorker(cfg config) (*worker, error) {
	nc, err := nats.Connect(cfg.NATS)
	if err != nil {
		return nil, err
	}
	w := &worker{nc: nc, atOnce: cfg.AtOnce, grants: make(map[string]*grant), failed: make(chan error, cfg.AtOnce)}
	if w.endpoint, err = url.Parse(cfg.TokenURL); err != nil {
		return nil, err
	}
	if w.js, err = jetstream.New(nc); err != nil {
		return nil, err
	}
	ctx := context.Background()
	for _, s := range []jetstream.StreamConfig{
		{Name: "jobs", Subjects: []string{"job.*"}, Retention: jetstream.WorkQueuePolicy, MaxMsgsPerSubject: 1, Discard: jetstream.DiscardNew, DiscardNewPerSubject: true},
		{Name: "values", Subjects: []string{"value.*"}, MaxMsgsPerSubject: 1},
		{Name: "told", Subjects: []string{"told.*"}},
	} {
		if _, err := w.js.CreateStream(ctx, s); err != nil {
			return nil, err
		}
	}
	if w.jobs, err = w.js.CreateConsumer(ctx, "jobs", jetstream.ConsumerConfig{
		Durable: "lane", AckPolicy: jetstream.AckExplicitPolicy, FilterSubject: "job.*", MaxAckPending: w.atOnce,
	}); err != nil {
		return nil, err
	}
	w.asks, err = newAsks(nc)
	return w, err
}

func (w *worker) obey(word string) (answer string, err error) {
	switch word {
	case "fill":
		return "filled", w.fill()
	case "go":
		return "", w.begin()
	case "halt":
		w.round.Wait()
		select {
		case err := <-w.failed:
			return "", err
		default:
			return "halted", nil
		}
	}
	var grants []authd.Grant
	if err := json.Unmarshal([]byte(word), &grants); err != nil {
		return "", err
	}
	for _, g := range grants {
		w.grants[g.Account] = &grant{refreshToken: g.RefreshToken}
		w.names = append(w.names, g.Account)
	}
	return "loaded", nil
}

func (w *worker) fill() error {
	for _, name := range w.names {
		if _, err := w.js.PublishAsync("job."+name, []byte(`{"reason":"scheduled","newer_than":1}`)); err != nil {
			return err
		}
	}
	<-w.js.PublishAsyncComplete()
	return nil
}

// begin starts a round: it ends when every job is done.
func (w *worker) begin() error {
	batch, err := w.jobs.Messages(jetstream.PullMaxMessages(w.atOnce))
	if err != nil {
		return err
	}
	next := make(chan jetstream.Msg)
	w.round.Go(func() {
		defer close(next)
		defer batch.Stop()
		for range w.names {
			m, err := batch.Next()
			if err != nil {
				w.fail(err)
				return
			}
			next <- m
		}
	})
	for range w.atOnce {
		w.round.Go(func() {
			h := newHand(w)
			defer h.close()
			for m := range next {
				if err := h.do(m); err != nil {
					w.fail(err)
				}
			}
		})
	}
	return nil
}

func (w *worker) fail(err error) {
	select {
	case w.failed <- err:
	default:
	}
}

// hand does one refresh at a time, over a connection of its own.
type hand struct {
	*worker
	conn   net.Conn
	answer *bufio.Reader
	value  []byte
	event  []byte
	reply  chan *nats.Msg
}

func newHand(w *worker) *hand {
	h := &hand{worker: w, value: make([]byte, recordBytes), event: make([]byte, eventBytes), reply: make(chan *nats.Msg, 1)}
	_, _ = rand.Read(h.value) // never fails
	_, _ = rand.Read(h.event)
	return h
}

func (h *hand) close() {
	if h.conn != nil {
		h.conn.Close()
	}
}

func (h *hand) do(job jetstream.Msg) error {
	name := strings.TrimPrefix(job.Subject(), "job.")
	g := h.grants[name]
	if g == nil {
		return fmt.Errorf("a job for %s", name)
	}
	if err := h.write(name, g); err != nil { // claim
		return err
	}
	if err := h.refresh(g); err != nil {
		return err
	}
	if err := h.write(name, g); err != nil { // commit
		return err
	}
	header := maps.Clone(eventHeader)
	header[jetstream.MsgIDHeader] = []string{name + "." + strconv.FormatUint(g.revision, 10)}
	if _, err := h.asks.store(&nats.Msg{Subject: "told." + name, Header: header, Data: h.event}, h.reply); err != nil {
		return err
	}
	return job.Ack()
}

func (h *hand) write(name string, g *grant) (err error) {
	header := maps.Clone(recordHeader)
	header[jetstream.ExpectedLastSubjSeqHeader] = []string{strconv.FormatUint(g.revision, 10)}
	g.revision, err = h.asks.store(&nats.Msg{Subject: "value." + name, Header: header, Data: h.value}, h.reply)
	return err
}

// refresh presents the refresh token.
func (h *hand) refresh(g *grant) error {
	if h.conn == nil {
		var err error
		if h.conn, err = net.Dial("tcp", h.endpoint.Host); err != nil {
			return err
		}
		h.answer = bufio.NewReader(h.conn)
	}
	form := "grant_type=refresh_token&refresh_token=" + url.QueryEscape(g.refreshToken)
	basic := base64.StdEncoding.EncodeToString([]byte(authd.ClientID + ":" + authd.ClientSecret))
	request := "POST " + h.endpoint.RequestURI() + " HTTP/1.1\r\nHost: " + h.endpoint.Host + "\r\nAuthorization: Basic " + basic +
		"\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: " + strconv.Itoa(len(form)) + "\r\n\r\n" + form
	if _, err := io.WriteString(h.conn, request); err != nil {
		return err
	}
	resp, err := http.ReadResponse(h.answer, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	_, rest, found := bytes.Cut(body, []byte(`"refresh_token":"`))
	token, _, closed := bytes.Cut(rest, []byte(`"`))
	if resp.StatusCode != http.StatusOK || !found || !closed {
		return fmt.Errorf("the authorization server said %s: %s", resp.Status, body)
	}
	g.refreshToken = string(token)
	return nil
}

// asks are requests that share an inbox.
type asks struct {
	nc    *nats.Conn
	inbox string

	mu   sync.Mutex
	last uint64
	open map[uint64]chan<- *nats.Msg
}

func newAsks(nc *nats.Conn) (*asks, error) {
	a := &asks{nc: nc, inbox: nc.NewInbox() + ".", open: make(map[uint64]chan<- *nats.Msg)}
	sub, err := nc.Subscribe(a.inbox+"*", a.answer)
	if err != nil {
		return nil, err
	}
	return a, sub.SetPendingLimits(-1, -1)
}

func (a *asks) answer(m *nats.Msg) {
	n, err := strconv.ParseUint(m.Subject[len(a.inbox):], 36, 64)
	if err != nil {
		return
	}
	a.mu.Lock()
	reply := a.open[n]
	delete(a.open, n)
	a.mu.Unlock()
	if reply != nil {
		reply <- m
	}
}

// store waits until a stream has stored m, and returns its place there.
func (a *asks) store(m *nats.Msg, reply chan *nats.Msg) (uint64, error) {
	a.mu.Lock()
	a.last++
	n := a.last
	a.open[n] = reply
	a.mu.Unlock()
	m.Reply = a.inbox + strconv.FormatUint(n, 36)
	if err := a.nc.PublishMsg(m); err != nil {
		return 0, err
	}
	got := <-reply
	_, rest, ok := bytes.Cut(got.Data, []byte(`"seq":`))
	digits, _, _ := bytes.Cut(bytes.TrimRight(rest, "}"), []byte(","))
	seq, err := strconv.ParseUint(string(digits), 10, 64)
	if !ok || err != nil {
		return 0, fmt.Errorf("store %s: %s", m.Subject, got.Data)
	}
	return seq, nil
}
