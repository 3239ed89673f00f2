package fleet

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// The NATS users that a server configuration with permissions knows, by role.
const (
	RoleOperator   = "operator"
	RoleScheduler  = "scheduler"
	RoleWorker     = "worker"
	RoleEnroller   = "enroller"
	RoleReader     = "reader"
	RoleSubscriber = "subscriber"
)

// roles returns them all.
func roles() []string {
	return []string{RoleOperator, RoleScheduler, RoleWorker, RoleEnroller, RoleReader, RoleSubscriber}
}

// NATSConfig describes a nats-server. Binary and Dir are required.
type NATSConfig struct {
	Binary string
	Dir    string // gets the store
	// ConfigFile is a server configuration with a user for each role, whose passwords come from the variables
	// FRESHET_<ROLE>_PASSWORD. Address and port in it are overruled; a store directory must not be in it. Empty: JetStream
	// and no users.
	ConfigFile string
	// TLS is what clients need where the configuration has a tls block. Zero: it has none.
	TLS TLSFiles
}

// TLSFiles are PEM files: the authority of the server's certificate, and a client's own certificate and key.
type TLSFiles struct{ CA, Cert, Key string }

// NATS is a nats-server with JetStream on a loopback port, which keeps port, store and passwords over its lives. One
// goroutine at a time may use it.
type NATS struct {
	Process *Process // its present life, or its last

	cfg       NATSConfig
	port      int
	passwords map[string]string // by role; nil: no users
	args      []string          // of a cluster's node
	addresses string            // of all nodes, for clients; empty: this one is alone
}

// StartNATS starts a server on a free port and returns when it takes connections.
func StartNATS(ctx context.Context, cfg NATSConfig) (*NATS, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	n := &NATS{cfg: cfg, port: port, passwords: cfg.passwords()}
	return n, n.Start(ctx)
}

// passwords draws one for each role, if there are users.
func (c NATSConfig) passwords() map[string]string {
	if c.ConfigFile == "" {
		return nil
	}
	p := make(map[string]string)
	for _, role := range roles() {
		p[role] = "p" + rand.Text() // the file's parser would take a digit for a number
	}
	return p
}

// freePort finds a port below those that the kernel gives to outgoing connections: a client that calls a server that
// is down could get the server's own port there, and connect to itself.
func freePort() (int, error) {
	const first, last, tries = 10_000, 32_000, 100
	var err error
	for range tries {
		port := first + mathrand.N(last-first)
		var l net.Listener
		if l, err = net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port))); err == nil {
			return port, l.Close()
		}
	}
	return 0, fmt.Errorf("find a free port: %w", err)
}

// Start starts the server, or starts it again after Stop or Kill, and returns when it takes connections.
func (n *NATS) Start(ctx context.Context) error {
	c := Command{Name: "nats-server", Path: n.cfg.Binary, Args: []string{
		"-a", "127.0.0.1", "-p", strconv.Itoa(n.port), "-js", "-sd", filepath.Join(n.cfg.Dir, "store"),
	}}
	c.Args = append(c.Args, n.args...)
	if n.cfg.ConfigFile != "" {
		c.Args = append(c.Args, "-c", n.cfg.ConfigFile)
	}
	for role, password := range n.passwords {
		c.Env = append(c.Env, "FRESHET_"+strings.ToUpper(role)+"_PASSWORD="+password)
	}
	var err error
	if n.Process, err = c.Launch(); err != nil {
		return err
	}
	if err := n.ready(ctx); err != nil {
		return errors.Join(err, n.Process.Kill())
	}
	return nil
}

// readyPoll is how often a starting server is called.
const readyPoll = 10 * time.Millisecond

// ready returns when the server takes connections: nats-server listens only after its streams are recovered.
func (n *NATS) ready(ctx context.Context) error {
	tick := time.NewTicker(readyPoll)
	defer tick.Stop()
	for {
		nc, err := n.connect(n.URL(), RoleOperator)
		if err == nil {
			nc.Close()
			return nil
		}
		select {
		case <-tick.C:
		case <-n.Process.Done():
			return fmt.Errorf("nats-server ended at its start; it said last:\n%s", n.Process.Log.Tail(5))
		case <-ctx.Done():
			return fmt.Errorf("wait for nats-server: %w: %w; it said last:\n%s", ctx.Err(), err, n.Process.Log.Tail(5))
		}
	}
}

// Stop ends the server as an operator would (SIGTERM).
func (n *NATS) Stop(ctx context.Context) error {
	_, err := n.Process.Stop(ctx)
	return err
}

// Kill ends the server at once (SIGKILL); Start brings it back.
func (n *NATS) Kill() error { return n.Process.Kill() }

// URL returns the address, without user and password.
func (n *NATS) URL() string { return "nats://127.0.0.1:" + strconv.Itoa(n.port) }

// URLs returns the addresses that clients are given: those of all nodes, with commas between, when it is one of a cluster.
func (n *NATS) URLs() string { return cmp.Or(n.addresses, n.URL()) }

// Connect connects as a role.
func (n *NATS) Connect(role string, opts ...nats.Option) (*nats.Conn, error) {
	return n.connect(n.URLs(), role, opts...)
}

func (n *NATS) connect(url, role string, opts ...nats.Option) (*nats.Conn, error) {
	if password, ok := n.passwords[role]; ok {
		opts = append(opts, nats.UserInfo(role, password), nats.CustomInboxPrefix(inboxPrefix(role)))
	}
	if files := n.cfg.TLS; files.CA != "" {
		opts = append(opts, nats.RootCAs(files.CA), nats.ClientCert(files.Cert, files.Key))
	}
	return nats.Connect(url, opts...)
}

// inboxPrefix is where a role hears its replies under a configuration with permissions.
func inboxPrefix(role string) string { return "_INBOX_" + role }

// As makes a command of ours connect as a role. Passwords go into the environment, where other users do not see them.
func (n *NATS) As(role string, c Command) Command {
	c.Env = append(slices.Clone(c.Env), "NATS_URL="+n.URLs())
	if files := n.cfg.TLS; files.CA != "" {
		c.Env = append(c.Env, "NATS_CA="+files.CA, "NATS_CERT="+files.Cert, "NATS_KEY="+files.Key)
	}
	if password, ok := n.passwords[role]; ok {
		c.Env = append(c.Env, "NATS_USER="+role, "NATS_PASSWORD="+password)
		c.Args = append(slices.Clone(c.Args), "--inbox-prefix", inboxPrefix(role))
	}
	return c
}
