package journal

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/gofrs/flock"
)

const (
	lockName = "journal.lock"
	pidName  = "journal.pid"
)

// lock makes dir if need be and takes it for this process.
func lock(dir string) (*flock.Flock, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("create journal directory: %w; name a place where this user may create it", err)
	}
	l := flock.New(filepath.Join(dir, lockName))
	switch got, err := l.TryLock(); {
	case err != nil:
		return nil, fmt.Errorf("lock journal directory: %w; the directory must be writable by this user", err)
	case !got:
		return nil, fmt.Errorf("%w: %s is held by %s; stop it or use another directory", ErrLocked, l.Path(), holder(dir))
	}
	signPID(dir)
	return l, nil
}

// signPID writes down who holds the lock, for the error message only: where it fails (a full disk), the start goes on.
// The lock file itself stays untouched: where locks are those of fcntl, closing a second handle would release it.
func signPID(dir string) {
	host, _ := os.Hostname()
	who := fmt.Sprintf("process %d on host %s\n", os.Getpid(), host)
	_ = os.WriteFile(filepath.Join(dir, pidName), []byte(who), 0o600)
}

// holder says who signed last.
func holder(dir string) string {
	who, err := os.ReadFile(filepath.Join(dir, pidName))
	if text := strings.TrimSpace(string(who)); err == nil && text != "" {
		return text
	}
	return "another process"
}
