package flags

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/mattn/go-isatty"
	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"
	"github.com/spf13/pflag"

	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/pkg/events"
)

// Common is what every command that touches NATS takes.
type Common struct {
	NATS      NATS
	Namespace string
	LogLevel  string
}

// Register adds the flags to fs.
func (c *Common) Register(fs *pflag.FlagSet) {
	c.NATS.Register(fs)
	fs.StringVar(&c.Namespace, "namespace", "", "prefix of every stream, bucket and subject, so that several Freshets share one NATS account")
	fs.StringVar(&c.LogLevel, "log-level", "info", "least level logged: debug, info, warn or error")
	Own(fs, "namespace", "log-level")
}

// Names returns the names of the chosen namespace.
func (c *Common) Names() (events.Names, error) { return events.NewNames(c.Namespace) }

// Connect connects under a client name, extra options coming last, and says how to reach JetStream over that connection.
// What contradicts itself is an ErrUsage.
func (c *Common) Connect(name string, extra ...nats.Option) (*nats.Conn, broker.Config, error) {
	names, err := c.Names()
	if err := errors.Join(err, c.NATS.Validate()); err != nil {
		return nil, broker.Config{}, Usage(err)
	}
	nc, err := c.NATS.Connect(name, extra...)
	if err != nil {
		return nil, broker.Config{}, err
	}
	return nc, broker.Config{Names: names, Domain: c.NATS.JSDomain, APIPrefix: c.NATS.JSAPIPrefix}, nil
}

// DefaultName is what a process is called that was given no name: unique among those of all machines.
func DefaultName() string { return fmt.Sprintf("%s-%d", hostName(), os.Getpid()) }

// hostName returns the machine's name, "localhost" when it has none.
func hostName() string {
	if h, err := os.Hostname(); err == nil && h != "" {
		return h
	}
	return "localhost"
}

// IsTerminal reports whether somebody sees at once what is written to w.
func IsTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && isatty.IsTerminal(f.Fd())
}

// Logger logs to w: JSON, or plain lines when w is a terminal.
func (c *Common) Logger(w io.Writer) (zerolog.Logger, error) {
	level, err := zerolog.ParseLevel(c.LogLevel)
	if err != nil {
		return zerolog.Nop(), fmt.Errorf("--log-level %q: want debug, info, warn or error", c.LogLevel)
	}
	if IsTerminal(w) {
		w = zerolog.ConsoleWriter{Out: w, TimeFormat: "15:04:05.000", NoColor: os.Getenv("NO_COLOR") != ""}
	}
	return zerolog.New(w).Level(level).With().Timestamp().Logger(), nil
}
