package broker

import (
	"errors"
	"io"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// How a connection behaves when the network does not.
const (
	reconnectWait = 250 * time.Millisecond
	// reconnectJitter spreads a fleet's return after a server restart.
	reconnectJitter = time.Second
	// pingInterval and maxPings find a dead peer within 30 s; the library's default takes six minutes.
	pingInterval = 10 * time.Second
	maxPings     = 2
	// flushTimeout bounds how long a write may hang in a full socket before the connection counts as broken.
	flushTimeout = 5 * time.Second
)

// ConnectHooks hear of what happens to a connection. Nil hooks are not called. They run on the client library's
// goroutine, one at a time, and must not block.
type ConnectHooks struct {
	// Disconnected: the connection broke, or an attempt to connect failed; the library keeps trying. What comes from TLS says what
	// to do.
	Disconnected func(err error)
	// Reconnected: the connection stands, for the first time or again.
	Reconnected func(url string)
	// Unencrypted: the connection that stands goes beyond this machine without TLS. Heard once, with what to do.
	Unencrypted func(warning string)
	// Closed: the connection is given up for good.
	Closed func()
	// Error: something asynchronous went wrong, such as a denied subject.
	Error func(err error)

	warned *sync.Once // of Unencrypted
}

// ConnectOptions returns the options every Freshet process connects with. There is no reconnect buffer: a publish
// while the server is away fails at once, so that none lands after its author gave up. Reconnecting never ends,
// not even on refused credentials, which may be replaced on disk meanwhile. Options given after these win.
func ConnectOptions(h ConnectHooks) []nats.Option {
	h.warned = new(sync.Once)
	return []nats.Option{
		nats.ReconnectBufSize(-1),
		nats.MaxReconnects(-1),
		nats.RetryOnFailedConnect(true),
		nats.IgnoreAuthErrorAbort(),
		nats.ReconnectWait(reconnectWait),
		nats.ReconnectJitter(reconnectJitter, reconnectJitter),
		nats.PingInterval(pingInterval),
		nats.MaxPingsOutstanding(maxPings),
		nats.FlusherTimeout(flushTimeout),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) { h.disconnected(lost(err)) }),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) { h.disconnected(Advised(err)) }),
		nats.ConnectHandler(func(nc *nats.Conn) { h.reconnected(nc) }),
		nats.ReconnectHandler(func(nc *nats.Conn) { h.reconnected(nc) }),
		nats.ClosedHandler(func(*nats.Conn) { h.closed() }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { h.error(err) }),
	}
}

func (h ConnectHooks) disconnected(err error) {
	if h.Disconnected != nil && err != nil { // nil: closed on purpose
		h.Disconnected(err)
	}
}

// lost is the error of a first attempt to connect, with advice, or of a connection that the server ended, which needs none.
func lost(err error) error {
	if errors.Is(err, io.EOF) {
		return err
	}
	return Advised(err)
}

func (h ConnectHooks) reconnected(nc *nats.Conn) {
	if warning := Unencrypted(nc); warning != "" && h.Unencrypted != nil {
		h.warned.Do(func() { h.Unencrypted(warning) })
	}
	if h.Reconnected != nil {
		h.Reconnected(nc.ConnectedUrlRedacted())
	}
}

func (h ConnectHooks) closed() {
	if h.Closed != nil {
		h.Closed()
	}
}

func (h ConnectHooks) error(err error) {
	if h.Error != nil {
		h.Error(err)
	}
}
