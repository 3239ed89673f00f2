// Package embedded runs a nats-server with JetStream inside the process: for `freshet dev`, which forgets it, and for
// `freshet run`, which keeps it. Only the freshet command links it; scheduler and worker stay small.
//
// A store belongs to one server at a time: the lock file in it says so between processes, and is free again when the
// process ends, however it ends. A server that cannot start says why, at once but for a store in use: its process may be on
// its way out.
//
// Concurrency: a Server may be used from many goroutines; Shutdown may be called more than once.
package embedded

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/gofrs/flock"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// What keeps a server from starting.
var (
	// ErrInUse: another process has the store directory open.
	ErrInUse = errors.New("store is in use by another process")
	// ErrPortTaken: something else listens on the port.
	ErrPortTaken = errors.New("port is taken")
)

// readyWithin bounds the start; a store of a million records is open in seconds.
const readyWithin = 60 * time.Second

// Config describes the server. StoreDir is required.
type Config struct {
	StoreDir string // everything JetStream keeps; locked against a second process
	// Port to listen on, on loopback only. 0 picks a free one; -1 listens nowhere: in-process connections only.
	Port int
	// User and Password that clients on the port must present. Empty: none.
	User, Password string
	// SyncEveryWrite makes each acknowledged write survive a power cut, at the price of an fsync.
	SyncEveryWrite bool
}

// Server is a running nats-server.
type Server struct {
	server *server.Server
	lock   *flock.Flock
	cfg    Config
}

// Start starts a server and waits until it takes connections. Errors: ErrInUse, naming the directory; ErrPortTaken,
// naming the port; anything else is the server's own word.
func Start(cfg Config) (*Server, error) {
	lock, err := lockDir(cfg.StoreDir)
	if err != nil {
		return nil, err
	}
	ns, err := server.NewServer(options(cfg))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start embedded nats-server: %w", err), lock.Unlock())
	}
	if err := launch(ns, cfg.Port); err != nil {
		ns.Shutdown()
		ns.WaitForShutdown()
		return nil, errors.Join(err, lock.Unlock())
	}
	return &Server{server: ns, lock: lock, cfg: cfg}, nil
}

func options(cfg Config) *server.Options {
	opts := &server.Options{
		ServerName: "freshet", JetStream: true, StoreDir: cfg.StoreDir, SyncAlways: cfg.SyncEveryWrite,
		NoSigs: true, NoLog: true, DontListen: cfg.Port < 0,
		Host: "127.0.0.1", Port: cfg.Port,
		JetStreamMaxStore: -1,
	}
	if cfg.Port == 0 {
		opts.Port = server.RANDOM_PORT
	}
	if cfg.User != "" {
		opts.Username, opts.Password = cfg.User, cfg.Password
	}
	return opts
}

const (
	// lockWithin is how long a process that was killed may take to be gone: its lock lives until the system has taken it
	// apart, which takes a while under load.
	lockWithin = 2 * time.Second
	lockAgain  = 50 * time.Millisecond
)

// lockDir makes sure that one process at a time has the store: two servers on one directory destroy it.
func lockDir(dir string) (*flock.Flock, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("create store directory: %w", err)
	}
	lock := flock.New(filepath.Join(dir, "lock"), flock.SetPermissions(0o600))
	ctx, cancel := context.WithTimeout(context.Background(), lockWithin)
	defer cancel()
	switch ok, err := lock.TryLockContext(ctx, lockAgain); {
	case ok:
		return lock, nil
	case errors.Is(err, context.DeadlineExceeded):
		return nil, fmt.Errorf("%w: %s: stop that process, or give another directory", ErrInUse, dir)
	default:
		return nil, fmt.Errorf("lock store directory: %w", err)
	}
}

// Connect returns an in-process connection.
func (s *Server) Connect(opts ...nats.Option) (*nats.Conn, error) {
	opts = append(opts, nats.InProcessServer(s.server), nats.UserInfo(s.cfg.User, s.cfg.Password))
	return nats.Connect("", opts...)
}

// URL returns the address of the port, with the user and password in it; "" when it listens nowhere.
func (s *Server) URL() string {
	addr, ok := s.server.Addr().(*net.TCPAddr)
	if !ok {
		return ""
	}
	user := ""
	if s.cfg.User != "" {
		user = s.cfg.User + ":" + s.cfg.Password + "@"
	}
	return "nats://" + user + "127.0.0.1:" + strconv.Itoa(addr.Port)
}

// Version returns the nats-server's version.
func (s *Server) Version() string { return server.VERSION }

// Shutdown stops the server, waits for it, and frees the store.
func (s *Server) Shutdown() {
	s.server.Shutdown()
	s.server.WaitForShutdown()
	_ = s.lock.Unlock() // the process's end frees it as well
}

// Port returns the port it listens on, "none" when it listens nowhere.
func (s *Server) Port() string {
	if addr, ok := s.server.Addr().(*net.TCPAddr); ok {
		return strconv.Itoa(addr.Port)
	}
	return "none"
}
