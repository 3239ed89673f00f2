// Package debian finds the programs that the tests here drive, and installs those that are missing, so that the tests need
// nothing of a machine but Go: as root, on Debian, with apt-get. Anywhere else it says what to install.
//
// # Concurrency
//
// Safe for any number of goroutines and processes of one user: one installs while the others wait.
package debian

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// Program returns the path of a program that must be on PATH. Where it is not, it installs the packages that have it.
func Program(ctx context.Context, name string, packages ...string) (path string, err error) {
	// Under the lock even to look: a program may be there while its package is still being unpacked.
	err = Locked("install", func() error {
		if path, err = exec.LookPath(name); err == nil {
			return nil
		}
		if err := install(ctx, packages); err != nil {
			return fmt.Errorf("install %s: %w", name, err)
		}
		path, err = exec.LookPath(name)
		return err
	})
	return path, err
}

// Locked runs f while no other process of this user holds the lock of that name.
func Locked(name string, f func() error) error {
	dir, err := CacheDir()
	if err != nil {
		return err
	}
	lock, err := os.OpenFile(filepath.Join(dir, name+".lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer lock.Close() // gives the lock back
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return fmt.Errorf("lock %s: %w", lock.Name(), err)
	}
	return f()
}

// CacheDir returns a directory of this user that outlives the tests.
func CacheDir() (string, error) {
	base, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(base, "freshet-interop")
	return dir, os.MkdirAll(dir, 0o755)
}

// install installs packages and waits while somebody else installs others.
func install(ctx context.Context, packages []string) error {
	if _, err := exec.LookPath("apt-get"); err != nil || os.Geteuid() != 0 {
		return fmt.Errorf("not root on Debian: install by hand what is in the packages %v", packages)
	}
	const wait = "-oDPkg::Lock::Timeout=300" // seconds
	for _, args := range [][]string{{"update"}, append([]string{"install", "-y", "--no-install-recommends"}, packages...)} {
		cmd := exec.CommandContext(ctx, "apt-get", append([]string{"-qq", wait}, args...)...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		if out, err := cmd.CombinedOutput(); err != nil {
			return errors.Join(fmt.Errorf("apt-get %s: %w", args[0], err), errors.New(string(out)))
		}
	}
	return nil
}
