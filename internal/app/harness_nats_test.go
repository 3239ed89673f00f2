package app_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// natsServer is a real NATS server that can be stopped and started on the same store.
type natsServer struct {
	t   *testing.T
	dir string

	mu sync.Mutex
	up *server.Server // nil while it is away
}

func (n *natsServer) start() {
	n.t.Helper()
	s, err := server.NewServer(&server.Options{
		ServerName: "test", DontListen: true, JetStream: true, StoreDir: n.dir, NoSigs: true, NoLog: true,
	})
	if err != nil {
		n.t.Fatal(err)
	}
	s.Start()
	if !s.ReadyForConnections(10 * time.Second) {
		n.t.Fatal("the NATS server does not start")
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.up = s
}

func (n *natsServer) stop() {
	n.mu.Lock()
	s := n.up
	n.up = nil
	n.mu.Unlock()
	if s != nil {
		s.Shutdown()
		s.WaitForShutdown()
	}
}

// InProcessConn connects to the server that is up now.
func (n *natsServer) InProcessConn() (net.Conn, error) {
	n.mu.Lock()
	s := n.up
	n.mu.Unlock()
	if s == nil {
		return nil, errors.New("the NATS server is away")
	}
	return s.InProcessConn()
}

// logBook keeps what processes log, one JSON object a line.
type logBook struct {
	mu  sync.Mutex
	all bytes.Buffer
}

// Write implements io.Writer.
func (b *logBook) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.all.Write(p)
}

// text returns all of it.
func (b *logBook) text() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.all.String()
}

// logLine is one line of a log.
type logLine struct {
	Level    string `json:"level"`
	Process  string `json:"process"`
	Message  string `json:"message"`
	Error    string `json:"error"`
	Provider string `json:"provider"`
	Key      string `json:"key"`
	raw      string
}

// lines returns what one process (all, if it is empty) logged at info or above, oldest first.
func (b *logBook) lines(process string) []logLine {
	var all []logLine
	for raw := range strings.Lines(b.text()) {
		var l logLine
		if err := json.Unmarshal([]byte(raw), &l); err != nil {
			panic("log line is not JSON: " + raw)
		}
		l.raw = strings.TrimSpace(raw)
		if l.Level != "debug" && l.Level != "trace" && (process == "" || l.Process == process) {
			all = append(all, l)
		}
	}
	return all
}

// count says how often a process (any, if it is empty) logged, at info or above, a line that holds text.
func (b *logBook) count(process, text string) int {
	n := 0
	for _, l := range b.lines(process) {
		if strings.Contains(l.raw, text) {
			n++
		}
	}
	return n
}
