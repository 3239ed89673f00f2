// Package oidcprovider runs the npm package oidc-provider, an authorization server by other people, for tests.
//
// # Model
//
// package.json and its lock pin the server and the Node.js that runs it. npm installs them once into a cache directory of the user that
// is named after the lock; npm itself is installed where it is missing. server.mjs is what the tests configure of it. A
// server has everything in memory and ends with its test.
//
// # Concurrency
//
// Any number of servers run side by side.
package oidcprovider

import (
	"bufio"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/freshetdev/freshet/interop/debian"
)

//go:embed package.json
var manifest []byte

//go:embed package-lock.json
var lock []byte

//go:embed server.mjs
var script string

// installWithin bounds the installation, which downloads 60 MB, and that of npm before it.
const installWithin = 10 * time.Minute

// Client is the metadata of a client (OpenID Connect Dynamic Client Registration section 2).
type Client struct {
	ID           string          `json:"client_id"`
	Secret       string          `json:"client_secret,omitempty"`
	AuthMethod   string          `json:"token_endpoint_auth_method,omitempty"` // default client_secret_basic
	JWKS         json.RawMessage `json:"jwks,omitempty"`                       // the public keys of private_key_jwt
	Application  string          `json:"application_type"`                     // native: redirects to loopback may have any port
	RedirectURIs []string        `json:"redirect_uris"`
	GrantTypes   []string        `json:"grant_types"`
	// ResponseTypes is what the grant types need: code, or nothing.
	ResponseTypes []string `json:"response_types"`
	Scope         string   `json:"scope"`
}

// Start runs a server that calls itself issuer, and returns the address where it listens.
func Start(t testing.TB, issuer string, clients []Client) (address string) {
	t.Helper()
	dir, err := installed(t.Context())
	if err != nil {
		t.Fatalf("install oidc-provider: %v", err)
	}
	node := filepath.Join(dir, "node_modules", "node-linux-"+cpu(), "bin", "node")
	cmd := exec.Command(node, "--input-type=module", "--eval", script)
	cmd.Dir, cmd.Stderr = dir, t.Output() // its imports are found from the directory
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", node, err)
	}
	t.Cleanup(func() {
		stdin.Close() // it ends
		_ = cmd.Wait()
	})
	if err := json.NewEncoder(stdin).Encode(map[string]any{"issuer": issuer, "clients": clients}); err != nil {
		t.Fatalf("configure the server: %v", err)
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatalf("the server did not start: %v", err)
	}
	return strings.TrimSpace(line)
}

// cpu is npm's name for this machine's.
func cpu() string {
	if runtime.GOARCH == "amd64" {
		return "x64"
	}
	return runtime.GOARCH
}

// installed returns the directory that has node_modules, and installs them first where they are missing.
func installed(ctx context.Context) (string, error) {
	cache, err := debian.CacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, fmt.Sprintf("oidc-provider-%x", sha256.Sum256(lock))[:30])
	ctx, cancel := context.WithTimeout(ctx, installWithin)
	defer cancel()
	npm, err := debian.Program(ctx, "npm", "nodejs", "npm")
	if err != nil {
		return "", err
	}
	return dir, debian.Locked("npm", func() error {
		if _, err := os.Stat(dir); err == nil {
			return nil
		}
		return install(ctx, npm, dir)
	})
}

// install fills the directory, which is there only once it is complete.
func install(ctx context.Context, npm, dir string) error {
	building := dir + ".new"
	if err := os.RemoveAll(building); err != nil {
		return err
	}
	if err := os.MkdirAll(building, 0o755); err != nil {
		return err
	}
	for name, data := range map[string][]byte{"package.json": manifest, "package-lock.json": lock} {
		if err := os.WriteFile(filepath.Join(building, name), data, 0o644); err != nil {
			return err
		}
	}
	cmd := exec.CommandContext(ctx, npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	cmd.Dir = building
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("npm ci: %w: %s", err, out)
	}
	return os.Rename(building, dir)
}
