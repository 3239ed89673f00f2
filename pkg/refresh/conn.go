package refresh

import (
	"bufio"
	"crypto/tls"
	"errors"
	"io"
	"math"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"
)

// conn is a connection that carries one request at a time, by whoever holds it: nothing reads or writes beside the
// holder. So the fence can be asked right before the first byte, and what the socket took can be counted.
type conn struct {
	net.Conn // what HTTP is spoken over
	route    route
	sent     *meter
	socket   syscall.RawConn // nil: there is no looking whether the server has said goodbye
	in       *bufio.Reader
	head     *window
	idle     time.Time // since when nobody holds it
}

// route says which connections are alike.
type route struct {
	proxy, scheme, host string
	private             bool // made for a provider that may be at a private address, and for no other
}

// answerBuffer holds the head of a usual answer; there may be thousands of connections.
const answerBuffer = 2 << 10

func newConn(c net.Conn, m *meter, r route) *conn {
	w := &window{from: c}
	made := &conn{Conn: c, route: r, sent: m, head: w, in: bufio.NewReaderSize(w, answerBuffer)}
	if s, ok := m.Conn.(syscall.Conn); ok {
		made.socket, _ = s.SyscallConn() // without it the connection is not kept
	}
	return made
}

// answer reads the answer to the request that was written. kept reports whether the connection can carry another one.
func (c *conn) answer() (a answer, kept bool, err error) {
	c.head.left = maxReplyHeader
	resp, err := http.ReadResponse(c.in, nil) //nolint:bodyclose // its Close reads on to the end; the connection is closed instead
	for err == nil && informational(resp.StatusCode) {
		resp, err = http.ReadResponse(c.in, nil) //nolint:bodyclose // as above
	}
	if err != nil {
		return answer{}, false, err
	}
	c.head.left = math.MaxInt
	a, whole, err := readAnswer(resp)
	// What follows an answer is none, and must not become the answer to the next request.
	kept = whole && !resp.Close && resp.StatusCode != http.StatusSwitchingProtocols && c.in.Buffered() == 0
	return a, kept, err
}

// informational answers (RFC 9110 section 15.2) are followed by another one.
func informational(status int) bool {
	return status < 200 && status != http.StatusSwitchingProtocols
}

// quiet reports whether the server has said nothing since its last answer, not even goodbye: a request that is written to
// a connection that has ended may have arrived, for all we know.
func (c *conn) quiet() bool {
	if secure, ok := c.Conn.(*tls.Conn); ok && !drained(secure) {
		return false
	}
	return silent(c.socket)
}

// drained reports whether TLS holds nothing that came with the last answer and was not read.
func drained(c *tls.Conn) bool {
	if c.SetReadDeadline(time.Unix(1, 0)) != nil { // long ago: the socket is not read
		return false
	}
	n, err := c.Read(make([]byte, 1))
	return n == 0 && isTimeout(err) && c.SetReadDeadline(time.Time{}) == nil
}

// meter counts the bytes that a socket has taken.
type meter struct {
	net.Conn
	n uint64
}

// Write implements net.Conn.
func (m *meter) Write(p []byte) (int, error) {
	n, err := m.Conn.Write(p)
	m.n += uint64(max(n, 0))
	return n, err
}

// window lets no more than left bytes through.
type window struct {
	from io.Reader
	left int
}

var errHeadTooLarge = errors.New("the answer's head is too large")

// Read implements io.Reader.
func (w *window) Read(p []byte) (int, error) {
	if w.left <= 0 {
		return 0, errHeadTooLarge
	}
	n, err := w.from.Read(p[:min(len(p), w.left)])
	w.left -= n
	return n, err
}

// pool keeps the connections that nobody holds, for idleTimeout.
type pool struct {
	most int // for one route

	mu    sync.Mutex
	idle  map[route][]*conn // the longest idle first
	sweep *time.Timer       // nil: nothing is idle
}

// take returns the connection that was used last, if it is still good.
func (p *pool) take(r route) (*conn, bool) {
	for {
		c := p.pop(r)
		if c == nil {
			return nil, false
		}
		if time.Since(c.idle) < idleTimeout && c.quiet() {
			return c, true
		}
		_ = c.Close() // whatever it says
	}
}

func (p *pool) pop(r route) *conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	kept := p.idle[r]
	if len(kept) == 0 {
		return nil
	}
	c := kept[len(kept)-1]
	kept[len(kept)-1] = nil
	p.idle[r] = kept[:len(kept)-1]
	return c
}

// put keeps a connection for the next request.
func (p *pool) put(c *conn) {
	if c.socket == nil || c.SetDeadline(time.Time{}) != nil || !p.push(c) {
		_ = c.Close()
	}
}

func (p *pool) push(c *conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.idle[c.route]) >= p.most {
		return false
	}
	if p.idle == nil {
		p.idle = make(map[route][]*conn)
	}
	c.idle = time.Now()
	p.idle[c.route] = append(p.idle[c.route], c)
	if p.sweep == nil {
		p.sweep = time.AfterFunc(idleTimeout, func() { closeAll(p.old()) })
	}
	return true
}

// old takes out what has been idle for too long, and comes back for the rest.
func (p *pool) old() []*conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []*conn
	for r, kept := range p.idle {
		n := 0
		for n < len(kept) && time.Since(kept[n].idle) >= idleTimeout {
			n++
		}
		out = append(out, kept[:n]...)
		if p.idle[r] = append([]*conn(nil), kept[n:]...); n == len(kept) {
			delete(p.idle, r)
		}
	}
	if p.sweep = nil; len(p.idle) > 0 {
		p.sweep = time.AfterFunc(idleTimeout, func() { closeAll(p.old()) })
	}
	return out
}

// all takes everything out.
func (p *pool) all() []*conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []*conn
	for _, kept := range p.idle {
		out = append(out, kept...)
	}
	clear(p.idle)
	if p.sweep != nil {
		p.sweep.Stop()
		p.sweep = nil
	}
	return out
}

func closeAll(conns []*conn) {
	for _, c := range conns {
		_ = c.Close()
	}
}
