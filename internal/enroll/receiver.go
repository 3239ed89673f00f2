package enroll

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/freshetdev/freshet/pkg/provider"
)

// What can come back instead of a code.
var (
	// ErrDeclined: the person, or the provider in their place, said no.
	ErrDeclined = errors.New("access was declined")
	// ErrMixUp: the answer names another issuer than the one that was asked (RFC 9207), or came to another provider's address.
	ErrMixUp = errors.New("the answer comes from another authorization server")
	// ErrReceiverClosed: the listener was closed while a login waited.
	ErrReceiverClosed = errors.New("receiver is closed")
)

const (
	// maxCallback bounds the head of a request: codes may be JWTs of several kilobytes.
	maxCallback = 64 << 10
	// lastPages bounds how long Close waits for pages that are being sent.
	lastPages = time.Second
)

// Receiver is a loopback listener that browsers are sent back to with the answers of authorization servers (RFC 8252 section
// 7.3). One Receiver serves any number of logins. A request with a state that no login waits for gets a
// neutral page and changes nothing.
//
// Concurrency: safe for any number of goroutines. mu owns the fields below it.
type Receiver struct {
	listener net.Listener
	server   *http.Server
	served   chan struct{} // closed when the server has ended

	mu      sync.Mutex
	closed  bool
	waiting map[[sha256.Size]byte]*pending // by the state's hash, so that looking one up tells nothing about it
}

// pending is a login that waits for its browser.
type pending struct {
	state  string
	issuer issuer
	path   string // where its provider sends browsers back to
	label  string // who is enrolled, for the page
	// arrived gets the one answer, verdict what came of the login; both take one value.
	arrived chan callback
	verdict chan error
}

// callback is an authorization server's answer.
type callback struct {
	code string
	err  error
}

// NewReceiver listens on a free port of 127.0.0.1. Close it.
func NewReceiver() (*Receiver, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for the browser's return: %w", err)
	}
	r := &Receiver{listener: l, served: make(chan struct{}), waiting: make(map[[sha256.Size]byte]*pending)}
	r.server = &http.Server{
		Handler: http.HandlerFunc(r.callback), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 30 * time.Second, MaxHeaderBytes: maxCallback,
		ErrorLog: log.New(io.Discard, "", 0), // it would quote requests
	}
	go func() {
		defer close(r.served)
		_ = r.server.Serve(l) // ends with Close
	}()
	return r, nil
}

// RedirectURI is the address to send browsers back to, with the provider's own path.
func (r *Receiver) RedirectURI(d *provider.Definition) string {
	return "http://" + r.listener.Addr().String() + d.LoginPath()
}

// Close ends the listener and every login that waits, and returns when the last page was sent, or after a second.
func (r *Receiver) Close() error {
	r.mu.Lock()
	r.closed = true
	for hash, p := range r.waiting {
		delete(r.waiting, hash)
		p.arrived <- callback{err: ErrReceiverClosed}
	}
	r.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), lastPages)
	defer cancel()
	if r.server.Shutdown(ctx) != nil { // a browser holds a connection open that it never used
		_ = r.server.Close()
	}
	<-r.served
	return nil
}

// expect draws a state and waits for it to come back. The caller ends with finish.
func (r *Receiver) expect(d *provider.Definition, label string) (*pending, error) {
	p := &pending{
		state: newState(), issuer: issuerOf(d), path: d.LoginPath(), label: label, arrived: make(chan callback, 1), verdict: make(chan error, 1),
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, ErrReceiverClosed
	}
	r.waiting[sha256.Sum256([]byte(p.state))] = p
	return p, nil
}

// newState returns 256 random bits (RFC 6749 section 10.12).
func newState() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// finish tells the browser what came of the login, and forgets a state that nobody came back with.
func (r *Receiver) finish(p *pending, err error) {
	p.verdict <- err
	r.take(p.state)
}

// take returns the login that waits for this state, once.
func (r *Receiver) take(state string) *pending {
	hash := sha256.Sum256([]byte(state))
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.waiting[hash]
	if p == nil || subtle.ConstantTimeCompare([]byte(p.state), []byte(state)) != 1 {
		return nil
	}
	delete(r.waiting, hash)
	return p
}

// callback hands an answer to the login that waits for it, and shows what came of it.
func (r *Receiver) callback(w http.ResponseWriter, req *http.Request) {
	query, err := url.ParseQuery(req.URL.RawQuery)
	var p *pending
	// A link checker's HEAD must not use the state up.
	if states := query["state"]; err == nil && len(states) == 1 && req.Method == http.MethodGet {
		p = r.take(states[0])
	}
	if p == nil {
		writeStray(w)
		return
	}
	p.arrived <- p.read(req.URL.Path, query)
	select {
	case err := <-p.verdict:
		writeVerdict(w, p.label, err)
	case <-req.Context().Done(): // the browser has gone
	}
}

// read reads an answer. One that comes to another provider's path was asked of another provider (RFC 9700 section 4.4.2.2).
func (p *pending) read(path string, answer url.Values) callback {
	if path != p.path {
		return callback{err: ErrMixUp}
	}
	return readCallback(answer, p.issuer)
}

// AuthorizationError is the authorization endpoint's refusal (RFC 6749 section 4.1.2.1).
type AuthorizationError struct {
	Code        string // of letters, digits and _ . - only; "" when it was something else
	Description string // printable ASCII, at most 200 bytes; the provider's words
}

// Error implements error.
func (e *AuthorizationError) Error() string {
	text := "the provider refused"
	if e.Code != "" {
		text += ": " + e.Code
	}
	if e.Description != "" {
		text += " (" + e.Description + ")"
	}
	return text
}
