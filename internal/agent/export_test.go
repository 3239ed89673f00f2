package agent

import (
	"context"
	"net"
	"net/http"

	"github.com/rs/zerolog"

	"github.com/freshetdev/freshet/pkg/seal"
	"github.com/freshetdev/freshet/pkg/tokens"
)

// Render returns what a file would have in it.
func (f File) Render(t tokens.Token) ([]byte, error) { return f.render(t) }

// Follow does what is to follow a change of the file.
func (f File) Follow(ctx context.Context, token seal.Secret, log zerolog.Logger) error {
	return f.follow(ctx, token, log)
}

// Handler returns the HTTP interface over a source.
func (c Config) Handler(source Source) (http.Handler, error) {
	s, err := c.handler(source, zerolog.Nop())
	if err != nil {
		return nil, err
	}
	return s.routes(), nil
}

// EndAfterItsEnd starts the command, waits until it has ended, and then ends it for a restart; final: there is none.
func (e Exec) EndAfterItsEnd(over func(func() bool)) (final bool, err error) {
	c, err := e.start(&tray{})
	if err != nil {
		return false, err
	}
	over(func() bool { return len(c.over) > 0 })
	final, err = e.end(c)
	return final, exitOf(err)
}

// OpenAPI is the description that is served.
func OpenAPI() []byte { return openAPI }

// FromPeer returns a context as that of a connection over a Unix socket.
func FromPeer(ctx context.Context, uid, gid uint32) context.Context {
	return context.WithValue(ctx, peerKey{}, peer{uid: uid, gid: gid, known: true})
}

// PeersKnown: this system tells who connects.
const PeersKnown = peersKnown

// PeerOf asks who is at the other end.
func PeerOf(conn *net.UnixConn) (uid, gid uint32, known bool) {
	p := peerOf(conn)
	return p.uid, p.gid, p.known
}

// Allows reports whether a pattern covers a credential.
func Allows(pattern, id string) bool { return allows(pattern, id) }
