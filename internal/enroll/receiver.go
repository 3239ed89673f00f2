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
)

// What can come back instead of a code.
var (
	// ErrDeclined: the person, or the provider in their place, said no.
	ErrDeclined = errors.New("access was declined")
	// ErrMixUp: the answer names another issuer than the one that was asked (RFC 9207).
	ErrMixUp = errors.New("the answer comes from another authorization server")
	// ErrReceiverClosed: the listener was closed while a login waited.
	ErrReceiverClosed = errors.New("receiver is closed")
)

// CallbackPath is where on the loopback address browsers are sent back to. Register http://127.0.0.1/callback with
// the provider; the port is free to vary (RFC 8252 section 7.3).
const CallbackPath = "/callback"

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
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+CallbackPath, r.callback)
	r.server = &http.Server{
		Handler: mux, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 30 * time.Second, MaxHeaderBytes: maxCallback,
		ErrorLog: log.New(io.Discard, "", 0), // it would quote requests
	}
	go func() {
		defer close(r.served)
		_ = r.server.Serve(l) // ends with Close
	}()
	return r, nil
}

// RedirectURI is the address to send browsers back to.
func (r *Receiver) RedirectURI() string { return "http://" + r.listener.Addr().String() + CallbackPath }

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
func (r *Receiver) expect(issuer issuer, label string) (*pending, error) {
	p := &pending{
		state: newState(), issuer: issuer, label: label, arrived: make(chan callback, 1), verdict: make(chan error, 1),
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
	// The mux lets HEAD through as GET; a link checker's must not use the state up.
	if states := query["state"]; err == nil && len(states) == 1 && req.Method == http.MethodGet {
		p = r.take(states[0])
	}
	if p == nil {
		writeStray(w)
		return
	}
	p.arrived <- readCallback(query, p.issuer)
	select {
	case err := <-p.verdict:
		writeVerdict(w, p.label, err)
	case <-req.Context().Done(): // the browser has gone
	}
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
