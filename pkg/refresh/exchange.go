package refresh

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/seal"
)

const (
	dialTimeout      = 10 * time.Second
	handshakeTimeout = 10 * time.Second

	// idleTimeout is below the shortest keep-alive timeout in common use (5 s). A request on a connection that
	// the server is just closing ends with an unknown outcome, which is worse than one more handshake.
	idleTimeout = 3 * time.Second

	maxReplyHeader = 64 << 10

	userAgent = "freshet"
)

// HTTPExchangeConfig configures an HTTPExchange. The zero value works.
type HTTPExchangeConfig struct {
	// Dial makes connections; it must heed its context. nil: TCP, through the proxy of the environment (HTTPS_PROXY, NO_PROXY) if there
	// is one and the host is not loopback; addresses are judged after names were resolved, and private ones refused unless the
	// definition says PrivateNetwork. With a Dial no proxy is used: it alone decides the route.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// RootCAs verify the token endpoints. nil: the system's.
	RootCAs *x509.CertPool
	// MaxIdlePerHost bounds the connections kept open to one host. Default 1024: a fleet's worth of
	// calls, so that a burst does not pay a handshake per call.
	MaxIdlePerHost int
	// UserAgent of the requests. Default "freshet".
	UserAgent string
	// Now is NATS time, by which the assertions of requests are dated whose ticket does not say how far it is from the local clock. nil:
	// the local clock.
	Now func() time.Time
}

func (c HTTPExchangeConfig) withDefaults() HTTPExchangeConfig {
	c.MaxIdlePerHost = cmp.Or(c.MaxIdlePerHost, 1024)
	c.UserAgent = cmp.Or(c.UserAgent, userAgent)
	return c
}

// HTTPExchange presents grants at token endpoints over HTTP/1.1, one request on a connection at a time. A request is
// written at most once: redirects are answers, and after the first byte nothing is repeated. It speaks HTTP on
// connections of its own, not with net/http's Transport, because that writes and repeats requests out of sight; and
// without its goroutines it takes half the time. Use one HTTPExchange per process; it keeps the connections.
//
// Concurrency: safe for any number of goroutines.
type HTTPExchange struct {
	dialer    dialer
	idle      pool
	userAgent string
	now       func() time.Time // nil: the local clock
}

var _ Exchanger = (*HTTPExchange)(nil)

// NewHTTPExchange returns an exchange without connections.
func NewHTTPExchange(cfg HTTPExchangeConfig) *HTTPExchange {
	cfg = cfg.withDefaults()
	d := dialer{dial: cfg.Dial, proxy: proxyFromEnvironment, tls: &tls.Config{
		RootCAs:            cfg.RootCAs,
		MinVersion:         tls.VersionTLS12,
		NextProtos:         []string{"http/1.1"},
		ClientSessionCache: tls.NewLRUClientSessionCache(0),
	}}
	if cfg.Dial != nil {
		d.proxy = func(*http.Request) (*url.URL, error) { return nil, nil }
	} else {
		d.dial = (&net.Dialer{Timeout: dialTimeout}).DialContext
		d.outside, d.inside = new(guard), &guard{private: true}
	}
	return &HTTPExchange{dialer: d, idle: pool{most: cfg.MaxIdlePerHost}, userAgent: cfg.UserAgent, now: cfg.Now}
}

// CloseIdle closes the connections that carry no request.
func (e *HTTPExchange) CloseIdle() { closeAll(e.idle.all()) }

// Exchange implements Exchanger. Outcome.Err is in words of its own: it quotes neither the URL nor the answer.
func (e *HTTPExchange) Exchange(ctx context.Context, r Request) Outcome {
	o := Outcome{Phase: PhaseNotSent, StartedAt: time.Now()}
	c, begun, err := e.send(ctx, r)
	if c == nil {
		o.EndedAt = time.Now()
		o.Err, o.Local = notSentFault(err, o.EndedAt.Sub(o.StartedAt))
		return o
	}
	var (
		a    answer
		kept bool
	)
	if err == nil {
		a, kept, err = c.answer()
	}
	o.Phase, o.StartedAt, o.EndedAt = PhaseAnswered, begun, time.Now()
	o.Status, o.Body, o.ContentType = a.status, a.body, a.header.Get("Content-Type")
	o.RetryAfter, o.Date = a.header.Get("Retry-After"), a.header.Get("Date")
	if err != nil {
		o.Phase, o.Err = PhaseSent, sentFault(err, o.EndedAt.Sub(o.StartedAt))
	}
	if kept {
		e.idle.put(c)
	} else {
		_ = c.Close()
	}
	return o
}

// Redeem presents what is no refresh token, such as an authorization code (RFC 6749 section 4.1.3), as Exchange does, within
// the provider's timeout. form is the body but for client authentication.
func (e *HTTPExchange) Redeem(ctx context.Context, d *provider.Definition, clientSecret seal.Secret, form url.Values) Outcome {
	return e.Exchange(ctx, Request{Provider: d, ClientSecret: clientSecret, Deadline: time.Now().Add(d.Timing().Timeout), form: form})
}

// Why a request is not made.
var (
	errCancelled = errors.New("cancelled before anything was sent")
	errTooLate   = errors.New("too little of the claim is left")
)

// mayStill reports what keeps a request from being made now, if anything does.
func (r *Request) mayStill(ctx context.Context) error {
	switch {
	case ctx.Err() != nil:
		return errCancelled
	case !time.Now().Before(r.Deadline):
		return context.DeadlineExceeded
	case r.Fence != nil && r.Fence() <= 0:
		return errTooLate
	}
	return nil
}

// maxUnwritten is how many connections may turn out to take nothing before a request is given up.
const maxUnwritten = 3

// send writes the request, once. Without a connection not one byte was written; with one some were, since begun, and an
// error means that not all of them were.
func (e *HTTPExchange) send(ctx context.Context, r Request) (c *conn, begun time.Time, err error) {
	if r.Ticket.Skew == 0 && e.now != nil {
		r.Ticket.Skew = int64(time.Until(e.now()))
	}
	req, err := newTokenRequest(r)
	if err != nil {
		return nil, begun, err
	}
	req.Header.Set("User-Agent", e.userAgent)
	wire := bytes.NewBuffer(make([]byte, 0, 1280))
	if err := req.Write(wire); err != nil {
		return nil, begun, requestError("the request cannot be written down")
	}
	if err := r.mayStill(ctx); err != nil { // no connection is made in vain
		return nil, begun, err
	}
	for range maxUnwritten {
		if c, err = e.hold(ctx, r, req); err != nil {
			return nil, begun, err
		}
		if err = r.mayStill(ctx); err != nil {
			e.idle.put(c)
			return nil, begun, err
		}
		begun = time.Now()
		mark := c.sent.n
		if _, err = c.Write(wire.Bytes()); err == nil || c.sent.n > mark {
			return c, begun, err
		}
		_ = c.Close()
		if isTimeout(err) {
			break
		}
	}
	return nil, begun, err
}

// hold returns a connection that ends with the deadline, kept or new.
func (e *HTTPExchange) hold(ctx context.Context, r Request, req *http.Request) (*conn, error) {
	through, err := e.dialer.proxy(req)
	if err != nil {
		return nil, requestError("the proxy's URL in the environment cannot be read")
	}
	to := routeOf(req.URL, through, r.Provider.PrivateNetwork)
	c, ok := e.idle.take(to)
	if !ok {
		dialing, cancel := context.WithDeadline(ctx, r.Deadline)
		defer cancel()
		c, err = e.dialer.connect(dialing, req.URL, through, to)
		if err != nil && ctx.Err() != nil {
			return nil, errCancelled
		}
		if err != nil {
			return nil, err
		}
	}
	if err := c.SetDeadline(r.Deadline); err != nil {
		_ = c.Close()
		return nil, err
	}
	return c, nil
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   []byte
}

var (
	errTooLarge = fmt.Errorf("answer larger than %d bytes", MaxReply)
	errCutOff   = errors.New("answer was cut off")
)

// readAnswer reads the answer, to the end if it is whole. One that breaks off although its JSON object is complete (a wrong
// Content-Length, a missing last chunk) is good enough: the new refresh token may be in it.
func readAnswer(resp *http.Response) (a answer, whole bool, err error) {
	a = answer{status: resp.StatusCode, header: resp.Header}
	body, err := io.ReadAll(io.LimitReader(resp.Body, MaxReply+1))
	switch {
	case len(body) > MaxReply:
		return a, false, errTooLarge
	case err != nil && !completeObject(body):
		return a, false, errors.Join(errCutOff, err)
	}
	a.body = body
	return a, err == nil, nil
}

func completeObject(body []byte) bool {
	_, err := readObject(trimStart(body))
	return err == nil
}
