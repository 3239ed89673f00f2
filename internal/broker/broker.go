package broker

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/freshetdev/freshet/pkg/events"
)

// What callers branch on, beside the errors of refresh.Store.
var (
	// ErrServerTooOld: the NATS server lacks what Freshet needs.
	ErrServerTooOld = errors.New("nats-server is too old")
	// ErrNotSetUp: an asset is missing.
	ErrNotSetUp = errors.New("not set up")
	// ErrPermission: the NATS user may not use a subject, which the error names.
	ErrPermission = errors.New("permission denied")
	// ErrUnknownProvider: nobody has applied this provider.
	ErrUnknownProvider = errors.New("unknown provider")
	// ErrNoLane: the provider has no durable consumer on the work queue.
	ErrNoLane = errors.New("no lane")
	// ErrQueued: a job for this credential is queued or in flight already. It may ask for less than the new one, so
	// this means "try again later", never "done".
	ErrQueued = errors.New("a job is queued already")
	// ErrSlotTaken: this rate slot is spent; nothing was published.
	ErrSlotTaken = errors.New("rate slot is taken")
	// ErrWatchLost: a watch can no longer vouch that it saw every change; start again.
	ErrWatchLost = errors.New("watch lost")
)

const (
	// The oldest line of nats-server that Freshet is meant for.
	minServerMajor, minServerMinor = 2, 12
	defaultRequestTimeout          = 5 * time.Second
)

// Config says how to reach JetStream. The zero value is the default namespace on the connection's own JetStream.
type Config struct {
	Names events.Names
	// Domain is the JetStream domain, when it is not the connected server's own. Excludes APIPrefix.
	Domain string
	// APIPrefix replaces "$JS.API", when JetStream is imported from another account.
	APIPrefix string
	// RequestTimeout bounds each request beside the caller's context; default 5s.
	RequestTimeout time.Duration
}

func (c Config) withDefaults() Config {
	c.RequestTimeout = cmp.Or(c.RequestTimeout, defaultRequestTimeout)
	return c
}

// apiPrefix returns the head of every API subject, with its last dot.
func (c Config) apiPrefix() string {
	switch {
	case c.Domain != "":
		return "$JS." + c.Domain + ".API."
	case c.APIPrefix != "":
		return strings.TrimSuffix(c.APIPrefix, ".") + "."
	default:
		return jetstream.DefaultAPIPrefix
	}
}

// Broker speaks JetStream for the rest of Freshet.
type Broker struct {
	nc       *nats.Conn
	js       jetstream.JetStream
	cfg      Config
	names    events.Names
	prefix   string // of API subjects
	inflight *inflight
	clock    *clock
}

// New returns a Broker on a connection made with ConnectOptions. What it needs stands in front of the connection's error
// and disconnect handlers from then on, once for all Brokers of a connection, so that no request waits for an answer
// that cannot come.
func New(nc *nats.Conn, cfg Config) (*Broker, error) {
	cfg = cfg.withDefaults()
	js, err := newJetStream(nc, cfg)
	if err != nil {
		return nil, fmt.Errorf("open JetStream: %w", err)
	}
	return &Broker{
		nc: nc, js: js, cfg: cfg, names: cfg.Names, prefix: cfg.apiPrefix(), inflight: inflightOn(nc), clock: newClock(),
	}, nil
}

func newJetStream(nc *nats.Conn, cfg Config) (jetstream.JetStream, error) {
	switch {
	case cfg.Domain != "" && cfg.APIPrefix != "":
		return nil, errors.New("domain and API prefix exclude each other: give one")
	case cfg.Domain != "":
		return jetstream.NewWithDomain(nc, cfg.Domain)
	case cfg.APIPrefix != "":
		return jetstream.NewWithAPIPrefix(nc, cfg.APIPrefix)
	default:
		return jetstream.New(nc)
	}
}

// Names returns the names in use.
func (b *Broker) Names() events.Names { return b.names }

// JetStream returns the client library's handle, for pkg/events.
func (b *Broker) JetStream() jetstream.JetStream { return b.js }

// Conn returns the connection.
func (b *Broker) Conn() *nats.Conn { return b.nc }

// CheckServer fails with ErrServerTooOld when the connected server is older than 2.12, and with
// nats.ErrDisconnected when there is none.
func (b *Broker) CheckServer() error {
	v := b.nc.ConnectedServerVersion()
	if v == "" {
		return fmt.Errorf("check server version: %w", nats.ErrDisconnected)
	}
	return checkVersion(v)
}

// checkVersion judges a version such as "2.12.1" or "2.14.0-RC.2".
func checkVersion(v string) error {
	parts := strings.SplitN(strings.TrimPrefix(v, "v"), ".", 3)
	if len(parts) < 2 {
		return fmt.Errorf("cannot read the server's version %q", v)
	}
	major, err1 := strconv.Atoi(parts[0])
	minor, err2 := strconv.Atoi(parts[1])
	if err1 != nil || err2 != nil {
		return fmt.Errorf("cannot read the server's version %q", v)
	}
	if major < minServerMajor || major == minServerMajor && minor < minServerMinor {
		return fmt.Errorf("%w: it is %s, Freshet needs %d.%d or newer", ErrServerTooOld, v, minServerMajor, minServerMinor)
	}
	return nil
}
