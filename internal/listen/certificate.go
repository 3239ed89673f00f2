package listen

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"slices"
	"sync"

	"github.com/rs/zerolog"
)

// certificates are the TLS settings of a listener, read again when a file of theirs has changed, so that a renewed certificate, or an
// authority that was withdrawn, needs no restart. Files that cannot be used, as between the writing of a certificate and that of
// its key, leave the settings as they were. Sessions that are resumed
// are held against the authorities of now.
//
// Concurrency: safe for any number of goroutines. mu owns the fields below it.
type certificates struct {
	from Listener
	log  zerolog.Logger

	mu       sync.Mutex
	settings *tls.Config
	seen     []os.FileInfo // the files of settings
	refused  []os.FileInfo // those that could not be used, and of which that was said
}

// openCertificates reads the files for the first time, when they have to be good.
func openCertificates(l Listener, log zerolog.Logger) (*certificates, error) {
	seen, err := l.look()
	if err != nil {
		return nil, err
	}
	settings, err := l.settings()
	return &certificates{from: l, log: log, settings: settings, seen: seen}, err
}

// config is what the listener is made with.
func (c *certificates) config() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return c.current(), nil }}
}

// current returns the settings for a connection. It looks at the files each time, which costs less than any handshake.
func (c *certificates) current() *tls.Config {
	c.mu.Lock()
	defer c.mu.Unlock()
	now, err := c.from.look() // before they are read, so that a later change is seen
	if err == nil && slices.EqualFunc(now, c.seen, unchanged) {
		return c.settings
	}
	var settings *tls.Config
	if err == nil {
		settings, err = c.from.settings()
	}
	if err != nil {
		if c.refused == nil || !slices.EqualFunc(now, c.refused, unchanged) {
			c.log.Error().Err(err).Msg("the changed certificate files cannot be used: those of before go on; correct the files")
		}
		c.refused = append([]os.FileInfo{}, now...) // not nil: it was said
		return c.settings
	}
	c.log.Info().Str("certificate", c.from.CertFile).Msg("certificates read again")
	c.settings, c.seen, c.refused = settings, now, nil
	return settings
}

// look says which files there are now.
func (l Listener) look() (all []os.FileInfo, err error) {
	for _, name := range []string{l.CertFile, l.KeyFile, l.ClientCAFile} {
		if name == "" {
			continue
		}
		info, err := os.Stat(name)
		if err != nil {
			return nil, fmt.Errorf("look at certificate files: %w", err)
		}
		all = append(all, info)
	}
	return all, nil
}

func unchanged(a, b os.FileInfo) bool {
	return os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size()
}

// settings reads the files.
func (l Listener) settings() (*tls.Config, error) {
	cert, err := tls.LoadX509KeyPair(l.CertFile, l.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("read certificate and key: %w", err)
	}
	settings := &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}}
	if l.ClientCAFile == "" {
		return settings, nil
	}
	pem, err := os.ReadFile(l.ClientCAFile)
	if err != nil {
		return nil, fmt.Errorf("read client authorities: %w", err)
	}
	settings.ClientCAs, settings.ClientAuth = x509.NewCertPool(), tls.RequireAndVerifyClientCert
	if !settings.ClientCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("client authorities: %s holds no certificate", l.ClientCAFile)
	}
	return settings, nil
}
