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
	"github.com/freshetdev/freshet/pkg/seal"
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

// Keysets says where the keysets are.
type Keysets struct {
	GrantFile, AccessFile string
}

// Register adds the flags to fs.
func (k *Keysets) Register(fs *pflag.FlagSet) {
	fs.StringVar(&k.GrantFile, "grant-keyset", "", "`file` with the keyset for refresh tokens and client secrets")
	Env(fs, "grant-keyset", "FRESHET_GRANT_KEYSET_FILE")
	k.RegisterAccess(fs)
}

// RegisterAccess adds the flag of a command that needs no more than the access keyset.
func (k *Keysets) RegisterAccess(fs *pflag.FlagSet) {
	fs.StringVar(&k.AccessFile, "access-keyset", "", "`file` with the keyset for access tokens")
	Env(fs, "access-keyset", "FRESHET_ACCESS_KEYSET_FILE")
}

// Grant loads the keyset for refresh tokens: from its file, else from the variable FRESHET_GRANT_KEYSET.
func (k *Keysets) Grant() (*seal.Keyset, error) { return loadKeyset("grant", k.GrantFile) }

// Access loads the keyset for access tokens: from its file, else from the variable FRESHET_ACCESS_KEYSET.
func (k *Keysets) Access() (*seal.Keyset, error) { return loadKeyset("access", k.AccessFile) }

// Both loads both keysets and reports what is wrong with either.
func (k *Keysets) Both() (grant, access *seal.Keyset, err error) {
	grant, err1 := k.Grant()
	access, err2 := k.Access()
	return grant, access, errors.Join(err1, err2)
}

func loadKeyset(which, file string) (*seal.Keyset, error) {
	variable := "FRESHET_" + upperSnake(which) + "_KEYSET"
	content := os.Getenv(variable)
	data := []byte(content)
	switch {
	case file != "" && content != "" && file == os.Getenv(variable+"_FILE"):
		return nil, fmt.Errorf("%s and %s_FILE are both set: unset one", variable, variable)
	case file != "":
		var err error
		if data, err = os.ReadFile(file); err != nil {
			return nil, fmt.Errorf("read %s keyset: %w", which, err)
		}
	case content == "":
		return nil, fmt.Errorf("no %s keyset: give --%s-keyset FILE (make one with freshet keys generate)", which, which)
	}
	k, err := seal.LoadKeyset(data)
	if err != nil {
		return nil, fmt.Errorf("%s keyset: %w", which, err)
	}
	return k, nil
}
