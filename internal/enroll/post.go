package enroll

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
	"github.com/freshetdev/freshet/pkg/seal"
)

// withoutRedirects returns a client that takes a redirect for the answer that it is: following one would show the code
// and the client secret to whoever it names. base may be nil.
func withoutRedirects(base *http.Client) *http.Client {
	client := &http.Client{}
	if base != nil {
		*client = *base
	}
	if client.Transport == nil {
		client.Transport = &http.Transport{
			Proxy:               http.ProxyFromEnvironment, // never for loopback
			TLSClientConfig:     &tls.Config{MinVersion: tls.VersionTLS12},
			TLSHandshakeTimeout: 10 * time.Second,
			DisableCompression:  true,
			IdleConnTimeout:     3 * time.Second,
		}
	}
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	client.Jar = nil
	return client
}

// post sends a form to the provider's token endpoint, once, and returns what became of it. Nothing in the outcome but
// its Body is token material.
func post(ctx context.Context, client *http.Client, d *provider.Definition, secret seal.Secret, form url.Values) refresh.Outcome {
	ctx, cancel := context.WithTimeout(ctx, d.Limits.Timeout.Std())
	defer cancel()
	o := refresh.Outcome{Phase: refresh.PhaseNotSent, StartedAt: time.Now()}
	req, err := tokenRequest(ctx, d, secret, form)
	if err != nil {
		o.Err, o.EndedAt = err.Error(), time.Now()
		return o
	}
	resp, err := client.Do(req)
	if err == nil {
		defer resp.Body.Close()
		o.Status, o.ContentType = resp.StatusCode, resp.Header.Get("Content-Type")
		o.RetryAfter, o.Date = resp.Header.Get("Retry-After"), resp.Header.Get("Date")
		o.Body, err = io.ReadAll(io.LimitReader(resp.Body, refresh.MaxReply))
	}
	o.Phase, o.EndedAt = refresh.PhaseAnswered, time.Now()
	if err != nil && len(o.Body) == 0 {
		o.Phase, o.Err = refresh.PhaseSent, transportFault(err)
	}
	return o
}

func tokenRequest(ctx context.Context, d *provider.Definition, secret seal.Secret, form url.Values) (*http.Request, error) {
	u, err := url.Parse(d.TokenURL)
	if err != nil || u.Host == "" || u.Scheme != "https" && (u.Scheme != "http" || !provider.Loopback(u.Hostname())) {
		return nil, errors.New("token_url must be an absolute https URL (plain http is for loopback only)")
	}
	header := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}, "Accept": {"application/json"}}
	switch d.AuthStyle {
	case provider.AuthBasic: // both halves form-urlencoded first: RFC 6749 section 2.3.1
		basic := http.Request{Header: header}
		basic.SetBasicAuth(url.QueryEscape(d.ClientID), url.QueryEscape(secret.Reveal()))
	case provider.AuthPost:
		form.Set("client_id", d.ClientID)
		form.Set("client_secret", secret.Reveal())
	case provider.AuthNone:
		form.Set("client_id", d.ClientID)
	default:
		return nil, errors.New("this auth_style is not supported yet")
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, d.TokenURL, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, errors.New("token_url cannot be used")
	}
	req.Header = header
	return req, nil
}

// transportFault says why there is no answer, without repeating any of it: net/http quotes what it cannot read.
func transportFault(err error) string {
	var (
		timeout interface{ Timeout() bool }
		dns     *net.DNSError
		cert    *tls.CertificateVerificationError
		op      *net.OpError
	)
	switch {
	case errors.As(err, &timeout) && timeout.Timeout():
		return "no answer in time"
	case errors.As(err, &dns):
		return "the host name cannot be resolved"
	case errors.As(err, &cert):
		return "TLS: " + safeText(cert.Err.Error())
	case errors.As(err, &op):
		return safeText(op.Op + ": " + op.Err.Error())
	default:
		return "no readable answer"
	}
}
