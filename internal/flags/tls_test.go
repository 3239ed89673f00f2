package flags_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/freshetdev/freshet/internal/certtest"
	"github.com/freshetdev/freshet/internal/flags"
	"github.com/freshetdev/freshet/internal/natstest"
)

// authority makes one that ends with the test.
func authority(t *testing.T) *certtest.Authority {
	t.Helper()
	a, err := certtest.New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// encrypted starts a server with a certificate of a, which asks for client certificates where there is an authority of such.
func encrypted(t *testing.T, a, clients *certtest.Authority, first bool) *natstest.Server {
	t.Helper()
	settings, err := a.Server(clients)
	if err != nil {
		t.Fatal(err)
	}
	return natstest.Run(t, natstest.Options{TLSConfig: settings, TLSHandshakeFirst: first})
}

func TestConnectWithTLS(t *testing.T) {
	t.Parallel()
	a, stranger := authority(t), authority(t)
	cert, key, err1 := a.Sign("client")
	oldCert, oldKey, err2 := a.SignUntil("old", time.Now().Add(-time.Hour))
	strangeCert, strangeKey, err3 := stranger.Sign("client")
	if err := errors.Join(err1, err2, err3); err != nil {
		t.Fatal(err)
	}
	one, both := encrypted(t, a, nil, false).Address(), encrypted(t, a, a, false).Address()
	first, plain := encrypted(t, a, a, true).Address(), guarded(t)
	for name, c := range map[string]struct {
		nats flags.NATS
		want string // of the error
	}{
		"the server's authority":              {flags.NATS{Server: one, TLSCA: a.File}, ""},
		"by the scheme":                       {flags.NATS{Server: "tls://" + one, TLSCA: a.File}, ""},
		"by a name":                           {flags.NATS{Server: strings.Replace(one, "127.0.0.1", "localhost", 1), TLSCA: a.File}, ""},
		"in a context":                        {flags.NATS{Context: context(t, map[string]any{"url": one, "ca": a.File})}, ""},
		"mutual":                              {flags.NATS{Server: both, TLSCA: a.File, TLSCert: cert, TLSKey: key}, ""},
		"mutual, in a context":                {flags.NATS{Context: context(t, map[string]any{"url": both, "ca": a.File, "cert": cert, "key": key})}, ""},
		"handshake first":                     {flags.NATS{Server: first, TLSCA: a.File, TLSCert: cert, TLSKey: key, TLSFirst: true}, ""},
		"handshake first, in a context":       {flags.NATS{Context: context(t, map[string]any{"url": first, "ca": a.File, "cert": cert, "key": key, "tls_first": true})}, ""},
		"no authority":                        {flags.NATS{Server: one}, "--tlsca"},
		"another authority":                   {flags.NATS{Server: one, TLSCA: stranger.File}, "--tlsca"},
		"another authority, in a context":     {flags.NATS{Context: context(t, map[string]any{"url": one, "ca": stranger.File})}, "--tlsca"},
		"no client certificate":               {flags.NATS{Server: both, TLSCA: a.File}, "--tlscert"},
		"a client certificate that has ended": {flags.NATS{Server: both, TLSCA: a.File, TLSCert: oldCert, TLSKey: oldKey}, "--tlscert"},
		"a client certificate of another":     {flags.NATS{Server: both, TLSCA: a.File, TLSCert: strangeCert, TLSKey: strangeKey}, "--tlscert"},
		"a key of another certificate":        {flags.NATS{Server: both, TLSCA: a.File, TLSCert: cert, TLSKey: strangeKey}, "private key does not match"},
		"an authority that is none":           {flags.NATS{Server: one, TLSCA: key}, "failed to parse root certificate"},
		"a server without TLS":                {flags.NATS{Server: "tls://u:right@" + plain}, "tls block"},
		"no handshake first where it is":      {flags.NATS{Server: first, TLSCA: a.File, TLSCert: cert, TLSKey: key}, "--tlsfirst"},
		"handshake first where it is not":     {flags.NATS{Server: both, TLSCA: a.File, TLSCert: cert, TLSKey: key, TLSFirst: true}, "--tlsfirst"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			nc, err := c.nats.Connect("test")
			if err == nil {
				if _, plain := nc.TLSConnectionState(); plain != nil {
					t.Error("the connection is not encrypted")
				}
				natstest.Close(nc)
			}
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}
