// Package socket listens on Unix sockets as a service should: one process at a time, never open to more users than was
// meant, and not stopped by the file that a killed predecessor left.
package socket

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

// ErrInUse means that another process listens on the socket.
var ErrInUse = errors.New("another process listens")

// Listen takes the socket for this process; whoever lets go of it closes the listener, then the lock, which lies beside the
// socket as PATH.lock. A socket file that is found while its lock is free was left by a process that was killed, and is
// removed; any other file is not. Mode says who may connect: 0600 is the owner, and root.
//
// Errors: ErrInUse.
func Listen(ctx context.Context, path string, mode fs.FileMode) (net.Listener, *flock.Flock, error) {
	l := flock.New(path + ".lock")
	switch got, err := l.TryLock(); {
	case err != nil:
		return nil, nil, fmt.Errorf("lock socket %s: %w; its directory must exist and be writable by this user", path, err)
	case !got:
		return nil, nil, fmt.Errorf("%w on %s; stop it or use another socket", ErrInUse, path)
	}
	ln, err := bind(ctx, path, mode)
	if err != nil {
		return nil, nil, errors.Join(err, l.Close())
	}
	return ln, l, nil
}

func bind(ctx context.Context, path string, mode fs.FileMode) (net.Listener, error) {
	if err := removeStale(path); err != nil {
		return nil, err
	}
	// On Linux the file gets the mode that the socket has before it is bound, so that it is never open to others.
	cfg := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) { _ = syscall.Fchmod(int(fd), uint32(mode)) })
	}}
	ln, err := cfg.Listen(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	if err := os.Chmod(path, mode); err != nil {
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
