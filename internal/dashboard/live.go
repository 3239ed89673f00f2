package dashboard

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"hash/maphash"
	"net/http"
	"net/url"
	"sync"
	"time"
)

const (
	// mostListeners bounds the browsers that listen at once.
	mostListeners = 64
	// pace is how long a browser is left alone after it got something, however much happens.
	pace = time.Second
	// pacesToTell is after how many of them parts are rendered again though nothing happened: times go by.
	pacesToTell = 5
	// sayWithin is how long a browser may take to read what it is sent.
	sayWithin = 10 * time.Second
)

// hub wakes those who listen. They have no queues: what they show is read anew when they wake. mu guards the map.
type hub struct {
	mu        sync.Mutex
	listeners map[chan struct{}]struct{}
}

// wake tells everybody that something has changed.
func (h *hub) wake() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for ch := range h.listeners {
		select {
		case ch <- struct{}{}:
		default: // has not looked since the last time
		}
	}
}

// join adds a listener; ok is false when there are too many.
func (h *hub) join() (ch chan struct{}, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.listeners) >= mostListeners {
		return nil, false
	}
	if h.listeners == nil {
		h.listeners = make(map[chan struct{}]struct{})
	}
	ch = make(chan struct{}, 1)
	h.listeners[ch] = struct{}{}
	return ch, true
}

func (h *hub) leave(ch chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.listeners, ch)
}

// live sends the parts of a page as they change: GET /live?page=PATH.
func (d *Dashboard) live(w http.ResponseWriter, req *http.Request) {
	page, err := url.Parse(req.URL.Query().Get("page"))
	if err != nil || views()[page.Path] == nil {
		http.Error(w, "page: want the address of one", http.StatusBadRequest)
		return
	}
	woken, ok := d.hub.join()
	if !ok {
		w.Header().Set("Retry-After", "30")
		http.Error(w, "too many browsers listen already", http.StatusServiceUnavailable)
		return
	}
	defer d.hub.leave(woken)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // a proxy that keeps it back would make it useless
	l := listener{d: d, w: w, control: http.NewResponseController(w), page: page, said: make(map[string]uint64), seed: maphash.MakeSeed()}
	_ = l.control.SetReadDeadline(time.Time{}) // a server's own, for requests, would end this; one that has none needs no other
	for l.tell(req.Context()) == nil && l.wait(req.Context(), d.pace, nil) {
		if !l.wait(req.Context(), (pacesToTell-1)*d.pace, woken) {
			return
		}
	}
}

// listener is a browser that listens.
type listener struct {
	d       *Dashboard
	w       http.ResponseWriter
	control *http.ResponseController
	page    *url.URL
	said    map[string]uint64 // hash of what it has of each part
	seed    maphash.Seed
}

// wait waits for t, or until woken; false when the browser has gone or nothing more will change.
func (l *listener) wait(ctx context.Context, t time.Duration, woken <-chan struct{}) bool {
	timer := time.NewTimer(t)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-l.d.over:
		return false
	case <-woken:
	case <-timer.C:
	}
	return true
}

// tell sends the parts that have changed, and a comment when none has, so that a browser that has gone is noticed.
func (l *listener) tell(ctx context.Context) error {
	p, err := l.d.view(ctx, l.page)
	if err != nil {
		return err
	}
	var out bytes.Buffer
	for _, part := range p.Parts {
		if !part.Live {
			continue
		}
		html, err := l.d.pages.part(part)
		if err != nil {
			return err
		}
		hash := maphash.String(l.seed, string(html))
		if l.said[part.ID] == hash {
			continue
		}
		l.said[part.ID] = hash
		data, err := json.Marshal(map[string]string{"id": part.ID, "html": string(html)})
		if err != nil {
			return err
		}
		fmt.Fprintf(&out, "event: part\ndata: %s\n\n", data)
	}
	if out.Len() == 0 {
		out.WriteString(":\n\n")
	}
	if err := l.control.SetWriteDeadline(time.Now().Add(sayWithin)); err != nil {
		return err
	}
	if _, err := l.w.Write(out.Bytes()); err != nil {
		return err
	}
	return l.control.Flush()
}
