package refresh

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
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

	// writeBuffer holds a whole request, so that it leaves in one write.
	writeBuffer = 16 << 10

	maxReplyHeader = 64 << 10

	userAgent = "freshet"
)

// HTTPExchangeConfig configures an HTTPExchange. The zero value works.
type HTTPExchangeConfig struct {
	// Dial makes connections. nil: TCP, through the proxy of the environment (HTTPS_PROXY, NO_PROXY) if there
	// is one and the host is not loopback. With a Dial no proxy is used: it alone decides the route.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// RootCAs verify the token endpoints. nil: the system's.
	RootCAs *x509.CertPool
	// MaxIdlePerHost bounds the connections kept open to one host. Default 1024: a fleet's worth of
	// calls, so that a burst does not pay a handshake per call.
	MaxIdlePerHost int
	// UserAgent of the requests. Default "freshet".
	UserAgent string
}

func (c HTTPExchangeConfig) withDefaults() HTTPExchangeConfig {
	c.MaxIdlePerHost = cmp.Or(c.MaxIdlePerHost, 1024)
	c.UserAgent = cmp.Or(c.UserAgent, userAgent)
	return c
}

// HTTPExchange presents grants at token endpoints over HTTP/1.1, where a connection carries one request at a time. A
// request is written at most once: redirects are answers, and nothing is repeated after the first byte. Use
// one HTTPExchange per process; it keeps the connections.
//
// Concurrency: safe for any number of goroutines.
type HTTPExchange struct {
	transport *http.Transport
	userAgent string
}

var _ Exchanger = (*HTTPExchange)(nil)

// NewHTTPExchange returns an exchange without connections.
func NewHTTPExchange(cfg HTTPExchangeConfig) *HTTPExchange {
	cfg = cfg.withDefaults()
	d := dialer{dial: cfg.Dial, tls: &tls.Config{
		RootCAs:            cfg.RootCAs,
		MinVersion:         tls.VersionTLS12,
		NextProtos:         []string{"http/1.1"},
		ClientSessionCache: tls.NewLRUClientSessionCache(0),
	}}
	proxy := proxyFromEnvironment
	if cfg.Dial != nil {
		proxy = nil
	} else {
		d.dial = (&net.Dialer{Timeout: dialTimeout}).DialContext
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	return &HTTPExchange{userAgent: cfg.UserAgent, transport: &http.Transport{
		Proxy:                  proxy,
		DialContext:            d.plain,
		DialTLSContext:         d.secure,
		TLSClientConfig:        d.tls, // behind a proxy, where net/http makes TLS
		TLSHandshakeTimeout:    handshakeTimeout,
		Protocols:              protocols,
		DisableCompression:     true,
		MaxIdleConnsPerHost:    cfg.MaxIdlePerHost,
		IdleConnTimeout:        idleTimeout,
		MaxResponseHeaderBytes: maxReplyHeader,
		WriteBufferSize:        writeBuffer,
	}}
}

// CloseIdle closes the connections that carry no request.
func (e *HTTPExchange) CloseIdle() { e.transport.CloseIdleConnections() }

// Exchange implements Exchanger. Outcome.Err is in words of its own: it quotes neither the URL nor the answer.
func (e *HTTPExchange) Exchange(ctx context.Context, r Request) Outcome {
	o := Outcome{Phase: PhaseNotSent, StartedAt: time.Now()}
	wait, cancel := context.WithDeadline(context.WithoutCancel(ctx), r.Deadline)
	defer cancel()
	t := &transit{fence: r.Fence, deadline: r.Deadline, cancel: cancel}
	a, err := e.send(ctx, wait, t, r)
	sent, begun, why := t.end()
	o.EndedAt = time.Now()
	switch {
	case !sent:
		o.Err, o.Local = notSentFault(err, why, o.EndedAt.Sub(o.StartedAt))
		return o
	case err != nil:
		o.Phase, o.Err = PhaseSent, sentFault(err, o.EndedAt.Sub(o.StartedAt))
	default:
		o.Phase = PhaseAnswered
		o.Body = a.body
	}
	o.StartedAt = begun
	o.Status, o.ContentType = a.status, a.header.Get("Content-Type")
	o.RetryAfter, o.Date = a.header.Get("Retry-After"), a.header.Get("Date")
	return o
}

// Redeem presents what is no refresh token, such as an authorization code (RFC 6749 section 4.1.3), as Exchange does, within
// the provider's timeout. form is the body but for client authentication.
func (e *HTTPExchange) Redeem(ctx context.Context, d *provider.Definition, clientSecret seal.Secret, form url.Values) Outcome {
	return e.Exchange(ctx, Request{Provider: d, ClientSecret: clientSecret, Deadline: time.Now().Add(d.Timing().Timeout), form: form})
}

// send makes the request and reads the answer. ctx is the caller's, wait ends with the deadline.
func (e *HTTPExchange) send(ctx, wait context.Context, t *transit, r Request) (answer, error) {
	req, err := newTokenRequest(r)
	if err != nil {
		return answer{}, err
	}
	req.Header.Set("User-Agent", e.userAgent)
	stop := context.AfterFunc(ctx, t.stopWaiting)
	defer stop()
	if ctx.Err() != nil {
		t.stopWaiting()
	}
	if err := t.check(); err != nil {
		return answer{}, err
	}
	trace := &httptrace.ClientTrace{
		GotConn:     func(info httptrace.GotConnInfo) { t.board(info.Conn) },
		PutIdleConn: func(error) { t.leave() },
	}
	return roundTrip(e.transport, req.WithContext(httptrace.WithClientTrace(wait, trace)))
}

// roundTrip uses the transport itself, not a client: it follows no redirect, and its errors do not quote the URL.
func roundTrip(t *http.Transport, req *http.Request) (answer, error) {
	resp, err := t.RoundTrip(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	return readAnswer(resp)
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

// readAnswer reads the whole answer. One that breaks off although its JSON object is complete (a wrong
// Content-Length, a missing last chunk) is whole: the new refresh token may be in it.
func readAnswer(resp *http.Response) (answer, error) {
	a := answer{status: resp.StatusCode, header: resp.Header}
	body, err := io.ReadAll(io.LimitReader(resp.Body, MaxReply+1))
	switch {
	case len(body) > MaxReply:
		return a, errTooLarge
	case err != nil && !completeObject(body):
		return a, errors.Join(errCutOff, err)
	}
	a.body = body
	return a, nil
}

func completeObject(body []byte) bool {
	_, err := readObject(trimStart(body))
	return err == nil
}
