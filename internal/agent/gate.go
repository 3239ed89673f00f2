package agent

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"

	"github.com/freshetdev/freshet/internal/audit"
)

// minSecret is the shortest secret of a caller, in bytes: 128 bits, if it is random.
const minSecret = 16

// gate knows who asks.
type gate struct {
	peers   []Caller // known by uid or gid
	secrets []secret
}

// secret is a caller that is known by one. Only its digest is kept.
type secret struct {
	digest [sha256.Size]byte
	caller Caller
}

// person is who asks, with everything that is allowed.
type person struct {
	name   string
	allow  []string
	caller audit.Caller
}

func (p person) may(id string) bool {
	return slices.ContainsFunc(p.allow, func(pattern string) bool { return allows(pattern, id) })
}

// gate reads the callers' secrets.
func (c Config) gate() (g gate, err error) {
	var faults []error
	for _, caller := range c.Callers {
		if caller.SecretFile == "" {
			g.peers = append(g.peers, caller)
			continue
		}
		data, err := os.ReadFile(caller.SecretFile)
		data = bytes.TrimSpace(data)
		switch {
		case err != nil:
			faults = append(faults, fmt.Errorf("secret of caller %s: %w", caller.Name, err))
		case len(data) < minSecret:
			faults = append(faults, fmt.Errorf("secret of caller %s: %s has %d bytes, want %d or more", caller.Name, caller.SecretFile, len(data), minSecret))
		default:
			g.secrets = append(g.secrets, secret{sha256.Sum256(data), caller})
		}
	}
	return g, errors.Join(faults...)
}

// peer is the process at the other end of a Unix socket.
type peer struct {
	uid, gid uint32
	pid      int32  // 0: the system does not tell
	program  string // as the process calls itself; empty: not known
	known    bool   // false on systems that do not tell
}

// caller is the peer in audit entries.
func (p peer) caller() audit.Caller {
	if !p.known {
		return audit.Caller{}
	}
	return audit.Caller{UID: &p.uid, GID: &p.gid, PID: p.pid, Program: p.program}
}

type peerKey struct{}

// connContext notes who is at the other end of a connection.
func connContext(ctx context.Context, conn net.Conn) context.Context {
	unix, ok := conn.(*net.UnixConn)
	if !ok {
		return ctx
	}
	return context.WithValue(ctx, peerKey{}, peerOf(unix))
}

// who returns who sends a request. The error says what is missing.
func (g gate) who(r *http.Request) (person, error) {
	if p, ok := r.Context().Value(peerKey{}).(peer); ok {
		return g.process(p)
	}
	presented := sha256.Sum256([]byte(bearer(r)))
	for _, s := range g.secrets {
		if subtle.ConstantTimeCompare(s.digest[:], presented[:]) == 1 {
			name := cmp.Or(s.caller.Name, "the caller")
			return person{name, s.caller.Allow, audit.Caller{Name: name}}, nil
		}
	}
	return person{}, errors.New("present the caller's secret: Authorization: Bearer SECRET")
}

// process returns who is behind a Unix socket. Without callers the mode of the socket has decided already.
func (g gate) process(p peer) (person, error) {
	name := "the owner"
	if p.known {
		name = fmt.Sprintf("uid %d, gid %d", p.uid, p.gid)
	}
	if len(g.peers) == 0 {
		return person{name, []string{"*"}, p.caller()}, nil
	}
	who := person{name: name, caller: p.caller()}
	for _, c := range g.peers {
		if p.known && (c.UID == nil || *c.UID == p.uid) && (c.GID == nil || *c.GID == p.gid) {
			who.name, who.allow = cmp.Or(c.Name, who.name), append(who.allow, c.Allow...)
		}
	}
	if who.allow != nil {
		who.caller.Name = who.name
	}
	return who, nil
}
