package flags

import (
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/spf13/pflag"
	"github.com/synadia-io/orbit.go/natscontext"
)

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
	fs.DurationVar(&n.Timeout, "timeout", 5*time.Second, "how long to wait for NATS")
	fs.StringVar(&n.JSDomain, "js-domain", "", "JetStream domain")
	fs.StringVar(&n.JSAPIPrefix, "js-api-prefix", "", "JetStream API subject prefix")
	fs.StringVar(&n.InboxPrefix, "inbox-prefix", "", "prefix of reply subjects")
	for flag, variable := range map[string]string{
		"server": "NATS_URL", "user": "NATS_USER", "password": "NATS_PASSWORD", "creds": "NATS_CREDS", "nkey": "NATS_NKEY",
		"tlscert": "NATS_CERT", "tlskey": "NATS_KEY", "tlsca": "NATS_CA", "context": "NATS_CONTEXT", "timeout": "NATS_TIMEOUT",
	} {
		Env(fs, flag, variable)
	}
}

// Connect connects under a client name. extra comes last and wins. Settings of a NATS context that also are flags
// (domain, API prefix) are taken over where the flag is empty.
func (n *NATS) Connect(name string, extra ...nats.Option) (*nats.Conn, error) {
	opts, err := n.options(name)
	if err != nil {
		return nil, err
	}
	opts = append(opts, extra...)
	if n.Context == "" {
		nc, err := nats.Connect(n.url(), opts...)
		if err != nil {
			return nil, fmt.Errorf("connect to NATS at %s: %w", n.Where(), err)
		}
		return nc, nil
	}
	nc, settings, err := natscontext.Connect(n.Context, opts...)
	if err != nil {
		return nil, fmt.Errorf("connect to NATS by context %q: %w", n.Context, err)
	}
	if n.JSDomain == "" {
		n.JSDomain = settings.JSDomain
	}
	if n.JSAPIPrefix == "" {
		n.JSAPIPrefix = settings.JSAPIPrefix
	}
	return nc, nil
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
	opts := []nats.Option{nats.Name(name), nats.Timeout(n.Timeout)}
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
