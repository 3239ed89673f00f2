package fleet

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
)

// linkState is what a link does with what it is given.
type linkState int

const (
	linkOpen    linkState = iota
	linkStalled           // holds it back
	linkCut               // breaks connections and takes none
)

// link carries connections from one node to another's port. It owns a goroutine that accepts and two for each connection.
type link struct {
	from, to int // nodes

	listener net.Listener
	target   string
	wg       sync.WaitGroup

	mu      sync.Mutex
	state   linkState
	changed chan struct{} // closed and replaced when state changes
	conns   map[net.Conn]bool
	closed  bool
}

func newLink(from, to, port int) (*link, error) {
	at, err := freePort()
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(at)))
	if err != nil {
		return nil, fmt.Errorf("listen for a route: %w", err)
	}
	l := &link{
		from: from, to: to, listener: listener, target: net.JoinHostPort("127.0.0.1", strconv.Itoa(port)),
		changed: make(chan struct{}), conns: make(map[net.Conn]bool),
	}
	l.wg.Go(l.accept)
	return l, nil
}

func (l *link) url() string { return "nats://" + l.listener.Addr().String() }

func (l *link) accept() {
	for {
		in, err := l.listener.Accept()
		if err != nil {
			return // closed
		}
		out, err := net.Dial("tcp", l.target)
		if err != nil || !l.keep(in, out) {
			_ = in.Close()
			if out != nil {
				_ = out.Close()
			}
			continue
		}
		l.wg.Go(func() { l.carry(in, out) })
		l.wg.Go(func() { l.carry(out, in) })
	}
}

// keep reports whether a connection may stand.
func (l *link) keep(conns ...net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.state == linkCut || l.closed {
		return false
	}
	for _, c := range conns {
		l.conns[c] = true
	}
	return true
}

// carry copies one way until either end breaks, and then breaks the other.
func (l *link) carry(from, to net.Conn) {
	defer l.drop(from, to)
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 && (!l.pass() || !write(to, buf[:n])) {
			return
		}
		if err != nil {
			return
		}
	}
}

func write(to net.Conn, p []byte) bool {
	_, err := to.Write(p)
	return err == nil
}

// pass waits while the link is stalled; false means that nothing passes any more.
func (l *link) pass() bool {
	for {
		l.mu.Lock()
		state, changed, closed := l.state, l.changed, l.closed
		l.mu.Unlock()
		if state != linkStalled || closed {
			return state == linkOpen && !closed
		}
		<-changed
	}
}

func (l *link) drop(conns ...net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range conns {
		_ = c.Close()
		delete(l.conns, c)
	}
}

func (l *link) set(state linkState) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.state = state
	l.change()
}

// change lets everybody look again; connections that may not stand are broken. The caller holds mu.
func (l *link) change() {
	close(l.changed)
	l.changed = make(chan struct{})
	if l.state != linkCut && !l.closed {
		return
	}
	for c := range l.conns {
		_ = c.Close()
	}
}

func (l *link) close() error {
	err := l.listener.Close()
	l.mu.Lock()
	l.closed = true
	l.change()
	l.mu.Unlock()
	l.wg.Wait()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}
