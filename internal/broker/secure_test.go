package broker_test

import (
	"crypto/tls"
	"errors"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/internal/certtest"
	"github.com/freshetdev/freshet/internal/natstest"
)

func TestOnlyThisMachineIsLocal(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]bool{
		"127.0.0.1:4222": true, "[::1]:4222": true, "[::ffff:127.0.0.1]:4222": true, "10.0.0.1:4222": false, "pipe": true, "": true,
	} {
		if got := broker.Stays(address); got != want {
			t.Errorf("%q: %v", address, got)
		}
	}
}

// far makes a connection within this machine look like one that leaves it.
type far struct{}

func (far) Dial(network, address string) (net.Conn, error) {
	c, err := net.Dial(network, address)
	return farConn{c}, err
}

type farConn struct{ net.Conn }

func (farConn) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 4222} }

func TestAConnectionThatOthersCanReadIsSaidOnce(t *testing.T) {
	t.Parallel()
	a, err := certtest.New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	settings, err := a.Server(nil)
	if err != nil {
		t.Fatal(err)
	}
	s := startServer(t, natstest.Options{TLSConfig: settings, AllowNonTLS: true})
	for name, c := range map[string]struct {
		opts []nats.Option
		want int
	}{
		"to another machine":           {[]nats.Option{nats.SetCustomDialer(far{})}, 1},
		"to another machine, with TLS": {[]nats.Option{nats.SetCustomDialer(far{}), nats.RootCAs(a.File)}, 0},
		"on this machine":              {nil, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			warnings, connected := make(chan string, 9), make(chan struct{}, 9)
			opts := append(broker.ConnectOptions(broker.ConnectHooks{
				Unencrypted: func(w string) { warnings <- w },
				Reconnected: func(string) { connected <- struct{}{} },
			}), nats.ReconnectWait(time.Millisecond), nats.ReconnectJitter(0, 0))
			nc, err := nats.Connect("nats://"+s.Address(), append(opts, c.opts...)...)
			if err != nil {
				t.Fatal(err)
			}
			defer natstest.Close(nc)
			<-connected
			if err := nc.ForceReconnect(); err != nil {
				t.Fatal(err)
			}
			<-connected
			if len(warnings) != c.want {
				t.Errorf("%d warnings, want %d", len(warnings), c.want)
			}
			if c.want > 0 && !strings.Contains(<-warnings, "tls://") {
				t.Error("the warning does not say what to do")
			}
		})
	}
}

// TestRenewedCertificatesAreUsedAtTheNextConnection: the authority and the client certificate on the server's side change; those on
// disk are replaced, and the process comes back by itself.
func TestRenewedCertificatesAreUsedAtTheNextConnection(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	before, err1 := certtest.New(t.TempDir())
	after, err2 := certtest.New(t.TempDir())
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	cert, key, ca := dir+"/tls.pem", dir+"/tls.key", dir+"/ca.pem"
	install := func(a *certtest.Authority) {
		c, k, err := a.Sign("client")
		if err := errors.Join(err, os.Rename(c, cert), os.Rename(k, key), os.Rename(a.File, ca)); err != nil {
			t.Fatal(err)
		}
	}
	greeted, connected := make(chan struct{}, 99), make(chan struct{}, 9)
	serve := func(a *certtest.Authority, port int) *natstest.Server {
		settings, err := a.Server(a)
		if err != nil {
			t.Fatal(err)
		}
		settings.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
			select {
			case greeted <- struct{}{}:
			default: // enough
			}
			return nil, nil
		}
		return natstest.Run(t, natstest.Options{TLSConfig: settings, Port: port})
	}
	old := serve(before, 0)
	install(before)
	nc, err := nats.Connect("tls://"+old.Address(), append(broker.ConnectOptions(broker.ConnectHooks{
		Reconnected: func(string) { connected <- struct{}{} },
	}), nats.RootCAs(ca), nats.ClientCert(cert, key), nats.ReconnectWait(time.Millisecond), nats.ReconnectJitter(0, 0))...)
	if err != nil {
		t.Fatal(err)
	}
	defer natstest.Close(nc)
	<-connected
	_, port, err := net.SplitHostPort(old.Address())
	if err != nil {
		t.Fatal(err)
	}
	old.Stop()
	number, err := net.LookupPort("tcp", port)
	if err != nil {
		t.Fatal(err)
	}
	for len(greeted) > 0 {
		<-greeted
	}
	serve(after, number)
	<-greeted // a handshake with what is on disk still, which comes to nothing
	if nc.IsConnected() {
		t.Error("connected to a server that is not trusted")
	}
	install(after)
	<-connected
}
