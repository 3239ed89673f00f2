package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
)

// policy keeps a package's scripts from starting its service while we install it (invoke-rc.d(8), the policy layer).
const policy = "/usr/sbin/policy-rc.d"

// installing: apt-get has a lock of its own, which it does not wait for.
var installing sync.Mutex

// install makes sure that a Debian package's program is there. As root it installs the package, without starting its service;
// as anybody else it says how.
func install(ctx context.Context, pkg string, find func() (string, error)) (string, error) {
	installing.Lock()
	defer installing.Unlock()
	path, err := find()
	if err == nil {
		return path, nil
	}
	if _, aptErr := exec.LookPath("apt-get"); aptErr != nil || os.Geteuid() != 0 {
		return "", fmt.Errorf("%w: install it, on Debian with: apt-get install %s", err, pkg)
	}
	if _, err := os.Stat(policy); errors.Is(err, os.ErrNotExist) {
		if err := os.WriteFile(policy, []byte("#!/bin/sh\nexit 101\n"), 0o755); err != nil {
			return "", fmt.Errorf("keep the service of %s from starting: %w", pkg, err)
		}
		defer func() { _ = os.Remove(policy) }() // it was not there a moment ago
	}
	for _, args := range [][]string{{"update", "-qq"}, {"install", "-y", "-qq", "--no-install-recommends", pkg}} {
		cmd := exec.CommandContext(ctx, "apt-get", args...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("install %s: %w: %s", pkg, err, out)
		}
	}
	return find()
}

// redisServer and the next find programs where Debian puts them.
func redisServer() (string, error) { return exec.LookPath("redis-server") }

// postgresBin finds the directory of PostgreSQL's programs, the newest version's.
func postgresBin() (string, error) {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb") // the pattern is good
	if len(found) > 0 {
		slices.Sort(found)
		return filepath.Dir(found[len(found)-1]), nil
	}
	path, err := exec.LookPath("initdb")
	return filepath.Dir(path), err
}
