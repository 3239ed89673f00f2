package exchanger

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"syscall"

	"github.com/gofrs/flock"
)

// ErrInUse means that another process listens on the socket or has the state directory.
var ErrInUse = errors.New("exchanger is in use")

// socketMode lets the owner in, and root.
const socketMode = 0o600

// listen takes the socket for this process. A socket file that is found while its lock is free was left by a process that
// was killed, and is removed; the caller has the state directory already.
func listen(ctx context.Context, path string) (net.Listener, *flock.Flock, error) {
	l := flock.New(path + ".lock")
	switch got, err := l.TryLock(); {
	case err != nil:
		return nil, nil, fmt.Errorf("lock socket %s: %w; its directory must exist and be writable by this user", path, err)
	case !got:
		return nil, nil, fmt.Errorf("%w: another process listens on %s; stop it or use another socket", ErrInUse, path)
	}
	ln, err := bind(ctx, path)
	if err != nil {
		return nil, nil, errors.Join(err, l.Close())
	}
	return ln, l, nil
}

func bind(ctx context.Context, path string) (net.Listener, error) {
	if err := removeStale(path); err != nil {
		return nil, err
	}
	// On Linux the file gets the mode that the socket has before it is bound, so that it is never open to others.
	cfg := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) { _ = syscall.Fchmod(int(fd), socketMode) })
	}}
	ln, err := cfg.Listen(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	if err := os.Chmod(path, socketMode); err != nil {
		return nil, errors.Join(fmt.Errorf("close socket %s to others: %w", path, err), ln.Close())
	}
	return ln, nil
}

// removeStale removes a socket file, and nothing else.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("look at socket %s: %w", path, err)
	case info.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("%s is there and is no socket: remove it or use another path", path)
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("remove stale socket: %w", err)
	}
	return nil
}
