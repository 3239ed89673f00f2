package flags

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/spf13/pflag"
	"github.com/synadia-io/orbit.go/natscontext"

	"github.com/freshetdev/freshet/internal/broker"
)

// defaultTimeout bounds one connection, and one request of the short commands.
const defaultTimeout = 5 * time.Second

// NATS says how to reach NATS. Flags and variables are those of the nats command line.
type NATS struct {
	Server      string
	User        string
	Password    string
	Creds       string
	NKey        string
	TLSCert     string
	TLSKey      string
	TLSCA       string
	TLSFirst    bool
	Context     string
	Timeout     time.Duration
	JSDomain    string
	JSAPIPrefix string
	InboxPrefix string
}

// Register adds the flags to fs.
func (n *NATS) Register(fs *pflag.FlagSet) {
	fs.StringVarP(&n.Server, "server", "s", "", "NATS server URLs, comma separated")
	fs.StringVar(&n.User, "user", "", "NATS user, or a token when there is no password")
	fs.StringVar(&n.Password, "password", "", "NATS password")
	fs.StringVar(&n.Creds, "creds", "", "NATS credentials `file`")
	fs.StringVar(&n.NKey, "nkey", "", "NATS nkey seed `file`")
	fs.StringVar(&n.TLSCert, "tlscert", "", "TLS certificate `file`")
	fs.StringVar(&n.TLSKey, "tlskey", "", "TLS key `file`")
	fs.StringVar(&n.TLSCA, "tlsca", "", "TLS certificate authority `file`")
	fs.BoolVar(&n.TLSFirst, "tlsfirst", false, "TLS handshake before the server's greeting")
	fs.StringVar(&n.Context, "context", "", "NATS context: a name, or an absolute path")
	fs.DurationVar(&n.Timeout, "timeout", defaultTimeout, "how long to wait for NATS")
	fs.StringVar(&n.JSDomain, "js-domain", "", "JetStream domain")
	fs.StringVar(&n.JSAPIPrefix, "js-api-prefix", "", "JetStream API subject prefix")
	fs.StringVar(&n.InboxPrefix, "inbox-prefix", "", "prefix of reply subjects")
	for flag, variable := range map[string]string{
		"server": "NATS_URL", "user": "NATS_USER", "password": "NATS_PASSWORD", "creds": "NATS_CREDS", "nkey": "NATS_NKEY",
		"tlscert": "NATS_CERT", "tlskey": "NATS_KEY", "tlsca": "NATS_CA", "context": "NATS_CONTEXT", "timeout": "NATS_TIMEOUT",
	} {
		Env(fs, flag, variable)
	}
	instead(fs, "context", "server", "user", "password", "creds", "nkey", "tlscert", "tlskey", "tlsca")
	instead(fs, "server", "context")
}

// Validate reports everything that contradicts itself or cannot be meant. It shows no value: a server URL may hold
// a password.
func (n *NATS) Validate() error {
	var faults []error
	fault := func(wrong bool, format string, args ...any) {
		if wrong {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	fault(n.Context != "" && n.Server != "", "a context and a server both say where NATS is: give --context or --server, set NATS_CONTEXT or NATS_URL")
	fault(n.Password != "" && n.User == "", "a NATS password without a user: give --user too, or unset NATS_PASSWORD")
	fault(n.Creds != "" && n.NKey != "", "a credentials file and an nkey both say who we are: give --creds or --nkey")
	fault((n.TLSCert == "") != (n.TLSKey == ""), "a TLS certificate and its key go together: give both --tlscert and --tlskey")
	fault(n.JSDomain != "" && n.JSAPIPrefix != "", "a JetStream domain is an API prefix: give --js-domain or --js-api-prefix")
	fault(n.Timeout < 0, "--timeout %s: want a time to wait, such as 5s", n.Timeout)
	servers := strings.Split(n.url(), ",")
	for i, s := range servers {
		fault(!isServer(s), "NATS server %d of %d is no address: want nats://HOST:PORT (or tls, ws, wss)", i+1, len(servers))
	}
	return errors.Join(faults...)
}

// isServer reports whether nats.go can take s as a server's address.
func isServer(s string) bool {
	s = strings.TrimSpace(s)
	if !strings.Contains(s, "://") {
		s = "nats://" + s
	}
	u, err := url.Parse(s)
	return err == nil && u.Hostname() != "" && slices.Contains([]string{"nats", "tls", "ws", "wss"}, u.Scheme)
}

// Connect connects under a client name. extra comes last and wins. Settings of a NATS context that also are flags
// (domain, API prefix) are taken over where the flag is empty. No error shows a password.
func (n *NATS) Connect(name string, extra ...nats.Option) (*nats.Conn, error) {
	if err := n.Validate(); err != nil {
		return nil, err
	}
	opts, err := n.options(name)
	if err != nil {
		return nil, err
	}
	opts = append(opts, extra...)
	if n.Context == "" {
		nc, err := nats.Connect(n.url(), opts...)
		if err != nil {
			return nil, fmt.Errorf("connect to NATS at %s: %w", n.Where(), broker.Advised(err))
		}
		return nc, nil
	}
	nc, settings, err := natscontext.Connect(n.Context, opts...)
	if err != nil {
		return nil, fmt.Errorf("connect to NATS by context %q: %w", n.Context, withoutURL(broker.Advised(err)))
	}
	if n.JSDomain == "" && n.JSAPIPrefix == "" {
		n.JSDomain, n.JSAPIPrefix = settings.JSDomain, settings.JSAPIPrefix
	}
	return nc, nil
}

// withoutURL replaces an error that quotes an address, password and all.
func withoutURL(err error) error {
	var quoting *url.Error
	if errors.As(err, &quoting) {
		return errors.New("its url is no address: want nats://HOST:PORT")
	}
	return err
}

// Where says what Connect connects to, without user and password.
func (n *NATS) Where() string {
	if n.Context != "" {
		return "context " + n.Context
	}
	servers := strings.Split(n.url(), ",")
	for i, s := range servers {
		scheme, rest, found := strings.Cut(strings.TrimSpace(s), "://")
		if !found {
			scheme, rest = "nats", scheme
		}
		servers[i] = scheme + "://" + rest[strings.LastIndexByte(rest, '@')+1:]
	}
	return strings.Join(servers, ",")
}

func (n *NATS) url() string {
	if n.Server == "" {
		return nats.DefaultURL
	}
	return n.Server
}

func (n *NATS) options(name string) ([]nats.Option, error) {
	opts := []nats.Option{nats.Name(name), nats.Timeout(cmp.Or(n.Timeout, defaultTimeout))}
	switch {
	case n.User != "" && n.Password == "":
		opts = append(opts, nats.Token(n.User))
	case n.User != "":
		opts = append(opts, nats.UserInfo(n.User, n.Password))
	}
	if n.Creds != "" {
		opts = append(opts, nats.UserCredentials(n.Creds))
	}
	if n.NKey != "" {
		o, err := nats.NkeyOptionFromSeed(n.NKey)
		if err != nil {
			return nil, fmt.Errorf("read NATS nkey %s: %w", n.NKey, err)
		}
		opts = append(opts, o)
	}
	if n.TLSCert != "" || n.TLSKey != "" {
		opts = append(opts, nats.ClientCert(n.TLSCert, n.TLSKey))
	}
	if n.TLSCA != "" {
		opts = append(opts, nats.RootCAs(n.TLSCA))
	}
	if n.TLSFirst {
		opts = append(opts, nats.TLSHandshakeFirst())
	}
	if n.InboxPrefix != "" {
		opts = append(opts, nats.CustomInboxPrefix(n.InboxPrefix))
	}
	return opts, nil
}
