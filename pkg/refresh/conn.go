package refresh

import (
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Why a request writes nothing. None of these reaches a caller as an error; their text becomes Outcome.Err.
var (
	errCancelled     = errors.New("cancelled before anything was sent")
	errTooLate       = errors.New("too little of the claim is left")
	errOver          = errors.New("request is over")
	errSentElsewhere = errors.New("request was written on another connection")
	errForeignConn   = errors.New("connection has no fence")
	errUnasked       = errors.New("server spoke without being asked")
)

// transit is one request on its way to a token endpoint. It decides, once and for all connections that net/http may
// try, whether bytes of the request may be written, and knows whether any were. net/http repeats a request when it
// believes that nothing was written; over TLS it cannot know (a torn record counts as nothing), so a second
// connection is refused here as soon as the first has taken a byte.
//
// Concurrency: net/http's write loop calls begin and rollback, the end of the caller's context calls stopWaiting,
// Exchange calls the rest. mu owns all fields below it.
type transit struct {
	fence    func() time.Duration // nil: always in time
	deadline time.Time
	cancel   func() // ends the wait for a connection

	mu        sync.Mutex
	boarded   *fencedConn // the latest connection net/http chose
	carrier   *fencedConn // the connection that has begun to write the request
	mark      uint64      // bytes that the carrier had written before
	begun     time.Time   // when the carrier began
	stopped   error       // why nothing may be written (any more)
	cancelled bool        // the caller has gone
}

// check asks the fence ahead of time, so that no connection is made in vain.
func (t *transit) check() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.ask(); err != nil {
		t.stop(err)
	}
	return t.stopped
}

func (t *transit) ask() error {
	if t.fence == nil || t.fence() > 0 {
		return nil
	}
	return errTooLate
}

// stop forbids every write from now on. The context is cancelled too: net/http would otherwise take the refused
// write for a dead connection and go through its whole pool.
func (t *transit) stop(err error) {
	if t.stopped == nil {
		t.stopped = err
	}
	t.cancel()
}

// board arms the connection that net/http chose.
func (t *transit) board(nc net.Conn) {
	secure, beneath := nc.(*tls.Conn)
	if beneath { // made by net/http, behind a proxy
		nc = secure.NetConn()
	}
	c, ok := nc.(*fencedConn)
	t.mu.Lock()
	if t.boarded = c; !ok {
		t.stop(errForeignConn)
	}
	t.mu.Unlock()
	if ok {
		c.arm(t, beneath)
	}
}

// leave gives the connection back. net/http calls it, through Exchange, before it reads from a kept connection.
func (t *transit) leave() {
	t.mu.Lock()
	c := t.boarded
	t.mu.Unlock()
	if c != nil {
		c.disarm(t)
	}
}

// begunOn reports whether the request has begun on a connection.
func (t *transit) begunOn(c *fencedConn) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.carrier == c
}

// begin is called by a connection before it writes a part of the request. An error means: write nothing.
func (t *transit) begin(c *fencedConn) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.stopped != nil:
		return t.stopped
	case t.carrier == c:
		return nil
	case t.carrier != nil:
		return errSentElsewhere
	}
	if err := t.ask(); err != nil {
		t.stop(err)
		return err
	}
	t.carrier, t.mark, t.begun = c, c.meter.n.Load(), time.Now()
	return nil
}

// rollback is called by a connection whose write failed. If not one byte left, the request may go on elsewhere.
func (t *transit) rollback(c *fencedConn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.carrier != c || c.meter.n.Load() != t.mark {
		return
	}
	t.carrier = nil
	if t.cancelled {
		t.stop(errCancelled)
	}
}

// stopWaiting is called when the caller's context ends. It has no effect once the request is being written.
func (t *transit) stopWaiting() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.cancelled = true
	if t.carrier == nil {
		t.stop(errCancelled)
	}
}

// end closes the transit: nothing is written after it, and the connection is free for the next one. sent reports
// whether a byte may have been written, begun when; why is the reason for stopping, if there was one.
func (t *transit) end() (sent bool, begun time.Time, why error) {
	t.mu.Lock()
	sent, begun, why = t.carrier != nil, t.begun, t.stopped
	t.stop(errOver)
	t.mu.Unlock()
	t.leave()
	return sent, begun, why
}

// fencedConn is a connection that writes a request only if the transit it carries allows it. It lies above TLS where we
// make TLS ourselves, so that what is written through it is the request and nothing else; behind a proxy it lies
// below, and TLS messages of a connection in use count as the request (the safe side).
type fencedConn struct {
	net.Conn
	meter *meter // counts what reaches the socket

	mu      sync.Mutex // owns all below and the socket's deadline
	carries *transit
	used    bool // has carried a request; before, a proxy may be spoken to
	beneath bool // lies below TLS
	closed  bool

	answer ration // the reading side's own
}

func newFencedConn(c net.Conn, m *meter) *fencedConn { return &fencedConn{Conn: c, meter: m} }

// arm hands the connection to a transit and sets the transit's absolute deadline.
func (c *fencedConn) arm(t *transit, beneath bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.carries, c.used, c.beneath = t, true, beneath
	_ = c.SetDeadline(t.deadline) // a closed connection says so on the next read or write
}

// disarm takes the connection back, unless net/http has given it to another request already.
func (c *fencedConn) disarm(t *transit) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.carries != t {
		return
	}
	c.carries = nil
	_ = c.SetDeadline(time.Time{})
}

// Write implements net.Conn. The fence is asked before the first byte of a request.
func (c *fencedConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	t, used, closed := c.carries, c.used, c.closed
	c.mu.Unlock()
	switch {
	case closed:
		return 0, net.ErrClosed
	case t == nil && !used:
		return c.Conn.Write(p)
	case t == nil:
		return 0, errOver
	}
	if err := t.begin(c); err != nil {
		return 0, err
	}
	n, err := c.Conn.Write(p)
	if err != nil {
		t.rollback(c)
	}
	return n, err
}

// Read implements net.Conn. It gives net/http the answer to the request that was begun and nothing before or after it,
// which would be taken for the next answer, or printed. The connection ends instead. Below TLS nothing can be told.
func (c *fencedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n <= 0 {
		return n, err
	}
	t, judged := c.reading()
	switch {
	case !judged:
		return n, err
	case t == nil || !t.begunOn(c):
		return 0, errUnasked
	case c.answer.request != t:
		c.answer = ration{request: t}
	}
	taken := c.answer.take(p[:n])
	if taken < n {
		c.spoil()
		return taken, errUnasked
	}
	return n, err
}

// reading returns the transit that is carried, and whether what is read can be judged.
func (c *fencedConn) reading() (t *transit, judged bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.carries, c.used && !c.beneath
}

// spoil lets the connection carry no further request.
func (c *fencedConn) spoil() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
}

// Close implements net.Conn. The flag comes first: the goodbye that TLS writes while it closes must not be taken
// for a byte of a request that is just about to be written.
func (c *fencedConn) Close() error {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	return c.Conn.Close()
}

// meter counts the bytes that a socket has taken.
type meter struct {
	net.Conn
	n atomic.Uint64
}

// Write implements net.Conn.
func (m *meter) Write(p []byte) (int, error) {
	n, err := m.Conn.Write(p)
	m.n.Add(uint64(max(n, 0)))
	return n, err
}
