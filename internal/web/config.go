package web

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/rs/zerolog"

	"github.com/freshetdev/freshet/internal/audit"
	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/internal/enroll"
	"github.com/freshetdev/freshet/internal/listen"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
	"github.com/freshetdev/freshet/pkg/seal"
)

// Config describes a Server. Broker and Writer, with both keysets, are required; Validate says what the rest needs.
type Config struct {
	Broker *broker.Broker
	Writer *enroll.Writer
	// Public is the listener for people; default 127.0.0.1:8480.
	Public Listener
	// PublicURL is what people reach it by, without a path: https, or http on loopback. Default: the address of Public, where that
	// is on loopback.
	PublicURL string
	// Admin is the listener for programs that ask for links; default 127.0.0.1:8481.
	Admin Listener
	// AdminToken is what they show (RFC 6750); empty: none is asked for, which needs loopback or Admin.ClientCAFile.
	AdminToken seal.Secret
	// Dashboard makes what is served on the admin listener wherever the API is not, behind the same checks, or once a browser
	// has shown the token on a page. link makes links, as Server.Link does. nil: nothing is served there.
	Dashboard func(link func(context.Context, events.Credential) (string, error)) Dashboard
	// Audit writes down who connects, and who asked for a link. nil: nobody does.
	Audit *audit.Log
	// Exchange talks to the token endpoints. nil: one of its own.
	Exchange *refresh.HTTPExchange
	Log      zerolog.Logger
	// Ready is told the addresses of both listeners once they take connections. Optional.
	Ready func(public, admin string)
}

// Dashboard is served on the admin listener.
type Dashboard interface {
	// Handler returns what answers. What lies below /assets/ anybody may read.
	Handler() http.Handler
	// Run keeps it up to date until ctx ends.
	Run(ctx context.Context) error
}

// Listener is where a server listens.
type Listener = listen.Listener

// Where the listeners are by default.
const (
	defaultPublic = "127.0.0.1:8480"
	defaultAdmin  = "127.0.0.1:8481"
)

func (c Config) withDefaults() Config {
	c.Public.Address = cmp.Or(c.Public.Address, defaultPublic)
	c.Admin.Address = cmp.Or(c.Admin.Address, defaultAdmin)
	return c
}

// Validate reports everything that is wrong, by the names of the command's flags.
func (c Config) Validate() error {
	c = c.withDefaults()
	faults := append(c.Public.Check(""), c.Admin.Check("admin-")...)
	faults = append(faults, c.Admin.CheckGuard("admin-", !c.AdminToken.IsZero())...)
	return errors.Join(append(faults, c.checkPublicURL())...)
}

func (c Config) checkPublicURL() error {
	switch u, err := url.Parse(c.PublicURL); {
	case c.PublicURL == "" && listen.Loopback(c.Public.Address) && !c.Public.TLS():
		return nil
	case c.PublicURL == "":
		return errors.New("--public-url: missing: give the address that people reach --listen by, such as https://connect.example.com")
	case err != nil || u.Host == "" || u.User != nil || strings.TrimSuffix(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "":
		return errors.New("--public-url: want scheme, host and perhaps a port, such as https://connect.example.com")
	case u.Scheme == "https", u.Scheme == "http" && provider.Loopback(u.Hostname()):
		return nil
	default:
		return errors.New("--public-url: plain http would show codes and cookies to the network: want https (http is for loopback only)")
	}
}
