package authserver

import (
	"context"
	"net"
	"os"
	"sync"
	"syscall"
)

// Pipe is a network in memory between an http.Server, which it is the listener
// of, and the transports that use its Dial. Everything on it blocks on channels
// only, so real clients and servers can talk in virtual time; it must then be
// made inside the testing/synctest bubble. Unlike TCP it buffers nothing: a
// write ends when the other side has read it.
type Pipe struct {
	conns chan net.Conn
	done  chan struct{}
	close sync.Once
}

var _ net.Listener = (*Pipe)(nil)

// NewPipe returns a Pipe that nobody listens on yet: Dial waits until somebody
// accepts.
func NewPipe() *Pipe {
	return &Pipe{conns: make(chan net.Conn), done: make(chan struct{})}
}

// Dial connects to whoever accepts next; network and addr are only named in
// errors. It fails as a refused connection (syscall.ECONNREFUSED) once the Pipe
// is closed, and with the context's error. It fits http.Transport.DialContext.
func (p *Pipe) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	near, far := net.Pipe()
	var err error
	select {
	case p.conns <- far:
		return near, nil
	case <-p.done:
		err = os.NewSyscallError("connect", syscall.ECONNREFUSED)
	case <-ctx.Done():
		err = ctx.Err()
	}
	near.Close()
	far.Close()
	return nil, &net.OpError{Op: "dial", Net: network, Addr: pipeAddr(addr), Err: err}
}

// Accept waits for the next Dial. It returns net.ErrClosed once the Pipe is
// closed.
func (p *Pipe) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, &net.OpError{Op: "accept", Net: "pipe", Addr: p.Addr(), Err: net.ErrClosed}
	}
}

// Close refuses further connections; those that exist stay. It never fails.
func (p *Pipe) Close() error {
	p.close.Do(func() { close(p.done) })
	return nil
}

// Addr returns a placeholder.
func (p *Pipe) Addr() net.Addr { return pipeAddr("pipe") }

type pipeAddr string

func (pipeAddr) Network() string  { return "pipe" }
func (a pipeAddr) String() string { return string(a) }
