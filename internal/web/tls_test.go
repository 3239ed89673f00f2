package web_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/freshetdev/freshet/internal/web"
)

// authority signs certificates.
type authority struct {
	c    *town
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func (c *town) authority() *authority {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	c.must(err)
	a := &authority{c: c, dir: c.t.TempDir(), key: key}
	template := x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, key.Public(), key)
	c.must(err)
	a.cert, err = x509.ParseCertificate(der)
	c.must(err)
	a.write("ca.pem", "CERTIFICATE", der)
	return a
}

func (a *authority) write(name, kind string, der []byte) string {
	file := filepath.Join(a.dir, name)
	a.c.must(os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
	return file
}

// sign returns the files of a certificate for 127.0.0.1 and its key.
func (a *authority) sign(name string) (cert, key string) {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	a.c.must(err)
	template := x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, a.cert, k.Public(), a.key)
	a.c.must(err)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(k)
	a.c.must(err)
	return a.write(name+".pem", "CERTIFICATE", der), a.write(name+".key", "PRIVATE KEY", pkcs8)
}

// client is a program that trusts the authority and shows a certificate, if it has one.
func (a *authority) client(certs ...tls.Certificate) *http.Client {
	roots := x509.NewCertPool()
	roots.AddCert(a.cert)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: certs}}
	a.c.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

func TestCookiesAreSafeHoweverTheURLIsWritten(t *testing.T) {
	t.Parallel()
	c := newTown(t)
	for written, want := range map[string]string{
		"HTTPS://Connect.example.com/": "https://connect.example.com", "https://connect.example.com": "https://connect.example.com",
	} {
		s := web.New(web.Config{Broker: c.broker, Writer: c.writer, PublicURL: written})
		defer s.Close()
		if at, secure := web.Address(s); at != want || !secure || !strings.HasPrefix(web.CookieName(s, "state"), "__Host-") {
			t.Errorf("%s: %s, secure %t, cookie %s", written, at, secure, web.CookieName(s, "state"))
		}
	}
}

func TestClientCertificates(t *testing.T) {
	t.Parallel()
	c := newTown(t)
	a, other := c.authority(), c.authority()
	listener := web.Listener{Address: "127.0.0.1:0", ClientCAFile: filepath.Join(a.dir, "ca.pem")}
	listener.CertFile, listener.KeyFile = a.sign("server")
	public := web.Listener{Address: "127.0.0.1:0", CertFile: listener.CertFile, KeyFile: listener.KeyFile}
	ctx, cancel := context.WithCancel(t.Context())
	ready, ended := make(chan [2]string, 1), make(chan error, 1)
	go func() {
		ended <- web.Run(ctx, web.Config{
			Broker: c.broker, Writer: c.writer, Public: public, PublicURL: c.public.URL, Admin: listener,
			Ready: func(public, admin string) { ready <- [2]string{public, admin} },
		})
	}()
	defer func() { cancel(); c.must(<-ended) }()
	var at [2]string
	select {
	case at = <-ready:
	case err := <-ended:
		ended <- nil
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		client *http.Client
		ok     bool
	}{
		"signed by the authority": {a.client(keyPair(c, a)), true},
		"signed by another":       {a.client(keyPair(c, other)), false},
		"none":                    {a.client(), false},
	} {
		resp, err := tt.client.Post("https://"+at[1]+"/v1/connect-links", "application/json", strings.NewReader(forAlice))
		if err == nil {
			resp.Body.Close()
		}
		if (err == nil && resp.StatusCode == http.StatusCreated) != tt.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
	if s := c.get(a.client(), "https://"+at[0]+"/connect/acme"); s.status != http.StatusBadRequest {
		t.Errorf("people are asked for certificates: %d", s.status)
	}
}

func keyPair(c *town, a *authority) tls.Certificate {
	cert, key := a.sign("client")
	pair, err := tls.LoadX509KeyPair(cert, key)
	c.must(err)
	return pair
}

func TestCertificatesAreReadAgain(t *testing.T) {
	t.Parallel()
	c := newTown(t)
	a := c.authority()
	l := web.Listener{CertFile: filepath.Join(a.dir, "tls.pem"), KeyFile: filepath.Join(a.dir, "tls.key"), ClientCAFile: filepath.Join(a.dir, "ca.pem")}
	install := func(name string, alsoKey bool) {
		cert, key := a.sign(name)
		c.must(os.Rename(cert, l.CertFile))
		if alsoKey {
			c.must(os.Rename(key, l.KeyFile))
		}
	}
	install("first", true)
	current, err := web.Certificates(l, zerolog.New(&c.logged))
	c.must(err)
	served := func() string {
		leaf, err := x509.ParseCertificate(current().Certificates[0].Certificate[0])
		c.must(err)
		return leaf.Subject.CommonName
	}
	before := current()
	if served() != "first" || current() != before {
		t.Errorf("%s is served, or was read again without a change", served())
	}
	install("second", true)
	if served() != "second" || !current().ClientCAs.Equal(before.ClientCAs) {
		t.Errorf("%s is served", served())
	}
	install("third", false)
	for range 3 {
		if served() != "second" {
			t.Errorf("%s is served, which has no key", served())
		}
	}
	c.must(os.Remove(l.ClientCAFile))
	if served() != "second" || current().ClientCAs == nil {
		t.Error("without authorities nobody would be asked for a certificate")
	}
	if n := strings.Count(c.logged.String(), "cannot be used"); n != 2 {
		t.Errorf("complained %d times, want once for each fault\n%s", n, c.logged.String())
	}
	other := c.authority()
	c.must(os.Rename(filepath.Join(other.dir, "ca.pem"), l.ClientCAFile))
	install("fourth", true)
	if served() != "fourth" || current().ClientCAs.Equal(before.ClientCAs) {
		t.Errorf("%s is served, or the earlier authority is believed", served())
	}
}
