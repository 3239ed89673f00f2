package agent

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/freshetdev/freshet/pkg/events"
)

// Config is what an agent does, as people write it. The zero Config does nothing, and does not validate.
type Config struct {
	// Listen are the addresses of the HTTP interface: unix://PATH, or HOST:PORT with a loopback HOST.
	Listen []string `yaml:"listen"`
	// SocketMode is the mode of Unix sockets, in octal; empty: 0600. A wider one needs Callers with uid or gid.
	SocketMode string `yaml:"socket_mode"`
	// Callers are who may ask; none: the owner of a Unix socket.
	Callers []Caller `yaml:"callers"`
	// Files are kept with the newest token in them.
	Files []File `yaml:"files"`
	// CacheFile lets the agent start while NATS is away: see tokens.Config.
	CacheFile string `yaml:"cache_file"`
}

// Caller is somebody who may ask for tokens. One of UID, GID and SecretFile says who it is.
type Caller struct {
	Name string  `yaml:"name"` // for the log
	UID  *uint32 `yaml:"uid"`  // of the process, on a Unix socket
	GID  *uint32 `yaml:"gid"`  // its primary group
	// SecretFile holds the bearer secret, of 16 bytes or more, that the caller presents on loopback.
	SecretFile string `yaml:"secret_file"`
	// Allow are the credentials it may have: PROVIDER/ACCOUNT, PROVIDER/* and PROVIDER/PATH/* for all below, or *.
	Allow []string `yaml:"allow"`
}

// File is a file with a token in it.
type File struct {
	Credential string `yaml:"credential"`
	Path       string `yaml:"path"`
	Format     Format `yaml:"format"`   // empty: raw
	Template   string `yaml:"template"` // for FormatTemplate: text/template over a View
	Machine    string `yaml:"machine"`  // for FormatNetrc
	Login      string `yaml:"login"`    // for FormatNetrc; empty: oauth2
	Name       string `yaml:"name"`     // of the variable, for FormatDotenv; empty: ACCESS_TOKEN

	// After a change a program is started (Command), a line is given to /bin/sh (Shell), or a signal is sent to the process
	// whose number is in PIDFile; at most one of the three.
	Command []string `yaml:"command"`
	Shell   string   `yaml:"shell"`
	Signal  string   `yaml:"signal"`
	PIDFile string   `yaml:"pid_file"`
	// Timeout bounds Command and Shell, with everything they start; 0 means 30 s.
	Timeout time.Duration `yaml:"timeout"`
}

// defaultTimeout is what a reload of a service may take.
const defaultTimeout = 30 * time.Second

// Parse reads a Config from YAML; name is what errors call it. A key that is not known is an error that shows its line.
// The result may still be incomplete: see Validate.
func Parse(name string, data []byte) (Config, error) {
	var c Config
	err := yaml.NewDecoder(bytes.NewReader(data), yaml.Strict()).Decode(&c)
	if err != nil && !errors.Is(err, io.EOF) {
		return Config{}, fmt.Errorf("%s:%s", name, yaml.FormatError(err, false, true))
	}
	return c, nil
}

// Validate reports everything that is wrong.
func (c Config) Validate() error {
	var faults []error
	fault := func(wrong bool, format string, args ...any) {
		if wrong {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	fault(len(c.Listen) == 0 && len(c.Files) == 0, "nothing to do: give an address to listen on, or a file to write")
	mode, err := c.socketMode()
	faults = append(faults, err)
	byPeer, bySecret := c.ways()
	fault(mode&0o077 != 0 && !byPeer, "socket_mode %s lets others connect: list the callers, by uid or gid", c.SocketMode)
	for _, l := range c.Listen {
		network, _, err := parseAddress(l)
		faults = append(faults, err)
		fault(network == "tcp" && !bySecret, "listen on %s: every user of this machine can connect there: list the callers, each with a secret_file", l)
	}
	for i, caller := range c.Callers {
		faults = append(faults, within(fmt.Sprintf("caller %d %s", i+1, caller.Name), caller.faults()))
	}
	paths := make(map[string]bool)
	for i, f := range c.Files {
		what := fmt.Sprintf("file %d %s", i+1, f.Path)
		faults = append(faults, within(what, f.faults()))
		path := filepath.Clean(f.Path)
		fault(f.Path != "" && paths[path], "%s: another entry writes the same file", what)
		paths[path] = true
	}
	return errors.Join(faults...)
}

// within says where faults are; nil for none.
func within(where string, faults []error) error {
	var all []error
	for _, err := range faults {
		all = append(all, fmt.Errorf("%s: %w", strings.TrimSpace(where), err))
	}
	return errors.Join(all...)
}

// ways reports whether there are callers that are known by their process, and such that are known by a secret.
func (c Config) ways() (byPeer, bySecret bool) {
	for _, caller := range c.Callers {
		byPeer = byPeer || caller.UID != nil || caller.GID != nil
		bySecret = bySecret || caller.SecretFile != ""
	}
	return byPeer, bySecret
}

func (c Config) socketMode() (uint32, error) {
	if c.SocketMode == "" {
		return 0o600, nil
	}
	mode, err := strconv.ParseUint(c.SocketMode, 8, 32)
	if err != nil || mode&^0o666 != 0 || mode&0o600 != 0o600 {
		return 0o600, fmt.Errorf("socket_mode %q: want an octal mode that the owner can use, such as 0600 or 0660", c.SocketMode)
	}
	return uint32(mode), nil
}

// parseAddress reads an address to listen on. The network is "" when it cannot be used.
func parseAddress(address string) (network, at string, err error) {
	if path, ok := strings.CutPrefix(address, "unix://"); ok {
		if !filepath.IsAbs(path) {
			return "", "", fmt.Errorf("listen on %s: want an absolute path, such as unix:///run/freshet/agent.sock", address)
		}
		return "unix", path, nil
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return "", "", fmt.Errorf("listen on %s: want unix://PATH or HOST:PORT", address)
	}
	if !loopback(host) {
		return "", "", fmt.Errorf("listen on %s: want a loopback address, such as 127.0.0.1:8970: tokens are not served beyond this machine", address)
	}
	return "tcp", address, nil
}

// loopback reports whether a host, without a port, is this machine and cannot be another.
func loopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && ip.IsLoopback()
}

func (c Caller) faults() (faults []error) {
	fault := func(wrong bool, format string, args ...any) {
		if wrong {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	peer := c.UID != nil || c.GID != nil
	fault(peer == (c.SecretFile != ""), "want either uid or gid, or secret_file")
	fault(peer && !peersKnown, "the process behind a connection is not known on this system: use a secret_file and loopback")
	fault(len(c.Allow) == 0, "allow is missing: list the credentials, such as acme/alice or acme/*")
	for _, p := range c.Allow {
		if p != "*" {
			_, err := events.ParseCredential(p)
			fault(err == nil && strings.Contains(strings.TrimSuffix(p, "/*"), "*"), "allow %q: would cover nothing: a * stands alone or for all below a path, as in acme/team/*", p)
			fault(err != nil, "allow %q: want PROVIDER/ACCOUNT, PROVIDER/* or *", p)
		}
	}
	return faults
}

// allows reports whether a pattern covers a credential.
func allows(pattern, id string) bool {
	if pattern == "*" || pattern == id {
		return true
	}
	below, ok := strings.CutSuffix(pattern, "*")
	return ok && strings.HasSuffix(below, "/") && strings.HasPrefix(id, below)
}
