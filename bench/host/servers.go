package host

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Server is a database server on a loopback port.
type Server struct {
	*Process
	Addr string // host:port
}

// freePort finds a port. Somebody may take it before its user does; that then fails to start, and says so.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// StartRedis starts redis-server with an append-only file that is synced every second, and no snapshots.
func StartRedis(ctx context.Context, dir string) (*Server, error) {
	path, err := install(ctx, "redis-server", redisServer)
	if err != nil {
		return nil, err
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	p, err := Command{Name: "redis-server", Path: path, Args: []string{
		"--port", strconv.Itoa(port), "--bind", "127.0.0.1", "--dir", dir, "--save", "", "--appendonly", "yes", "--appendfsync", "everysec",
	}}.Start()
	if err != nil {
		return nil, err
	}
	return &Server{Process: p, Addr: fmt.Sprintf("127.0.0.1:%d", port)}, p.Await(ctx, "Ready to accept connections")
}

// StartPostgres makes a database cluster in dir and starts PostgreSQL on it: durable as it comes, with more shared memory and
// connections, and without the work that only a crash of the machine would need spread out.
func StartPostgres(ctx context.Context, dir string) (*Server, error) {
	bin, err := install(ctx, "postgresql", postgresBin)
	if err != nil {
		return nil, err
	}
	user, err := Unprivileged("postgres")
	if err != nil {
		return nil, err
	}
	data := filepath.Join(dir, "postgres")
	if err := os.Mkdir(data, 0o700); err != nil {
		return nil, err
	}
	if err := user.own(data); err != nil {
		return nil, err
	}
	if err := initdb(ctx, filepath.Join(bin, "initdb"), data, user); err != nil {
		return nil, err
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	p, err := Command{Name: "postgres", Path: filepath.Join(bin, "postgres"), User: user, Args: []string{
		"-D", data, "-p", strconv.Itoa(port), "-h", "127.0.0.1", "-k", "",
		"-c", "shared_buffers=256MB", "-c", "max_connections=400", "-c", "max_wal_size=2GB", "-c", "checkpoint_timeout=15min",
	}}.Start()
	if err != nil {
		return nil, err
	}
	s := &Server{Process: p, Addr: fmt.Sprintf("127.0.0.1:%d", port)}
	return s, s.accepts(ctx)
}

func initdb(ctx context.Context, path, data string, user *User) error {
	c := Command{Name: "initdb", Path: path, User: user, Args: []string{"-D", data, "-U", "bench", "-A", "trust", "-E", "UTF8", "--locale=C"}}
	p, err := c.Start()
	if err != nil {
		return err
	}
	select {
	case <-p.Done():
	case <-ctx.Done():
		return ctx.Err()
	}
	if !p.cmd.ProcessState.Success() {
		return fmt.Errorf("initdb: %s: %s", p.cmd.ProcessState, p.tail)
	}
	return nil
}

// accepts waits until the server answers. It says that it is ready on its standard error, in its own language.
func (s *Server) accepts(ctx context.Context) error {
	for tick := time.Tick(20 * time.Millisecond); ; {
		if strings.Contains(s.tail.String(), "ready to accept connections") {
			return nil
		}
		select {
		case <-tick:
		case <-s.Done():
			return fmt.Errorf("%s ended at its start: %s", s.Name, s.tail)
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w: %s", s.Name, ctx.Err(), s.tail)
		}
	}
}
