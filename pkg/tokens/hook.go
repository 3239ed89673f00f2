package tokens

import (
	"maps"
	"reflect"
	"slices"
	"sync"

	"github.com/nats-io/nats.go"
)

// hook is a connection's error handler, for all clients on it. Whoever has put himself before another handler cannot step
// out again, since somebody may stand before him: so there is one, it stays, and the clients come and go behind it.
type hook struct {
	next nats.ErrHandler // the handler that was there; nil: none

	mu        sync.Mutex
	listeners map[*listener]struct{}
}

// hookOn returns the hook that is nc's error handler, or a new one in front of the handler there is.
func hookOn(nc *nats.Conn) *hook {
	standing := nc.ErrorHandler()
	// The same code means that it is a hook; then it may be asked which.
	if reflect.ValueOf(standing).Pointer() == reflect.ValueOf(new(hook).hear).Pointer() {
		var which askHook
		standing(nc, nil, &which)
		return which.hook
	}
	h := &hook{next: standing, listeners: make(map[*listener]struct{})}
	nc.SetErrorHandler(h.hear)
	return h
}

// askHook is no error of the connection: it asks a hook for itself.
type askHook struct{ hook *hook }

func (*askHook) Error() string { return "which hook is this?" }

// hear is the connection's error handler.
func (h *hook) hear(nc *nats.Conn, sub *nats.Subscription, err error) {
	//nolint:errorlint // a question, never wrapped
	if which, ok := err.(*askHook); ok {
		which.hook = h
		return
	}
	h.mu.Lock()
	listeners := slices.Collect(maps.Keys(h.listeners))
	h.mu.Unlock()
	for _, l := range listeners {
		l.failed(sub, err)
	}
	if h.next != nil {
		h.next(nc, sub, err)
	}
}

func (h *hook) add(l *listener) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.listeners[l] = struct{}{}
}

func (h *hook) remove(l *listener) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.listeners, l)
}
