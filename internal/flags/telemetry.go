package flags

import (
	"os"

	"github.com/rs/zerolog"
	"github.com/spf13/pflag"

	"github.com/freshetdev/freshet/internal/listen"
	"github.com/freshetdev/freshet/internal/telemetry"
)

// Telemetry says what a process that stays shows of itself. Spans go where the OTEL_ variables say.
type Telemetry struct {
	listener  listen.Listener
	tokenFile string
	accounts  bool
}

// Register adds the flags to fs.
func (f *Telemetry) Register(fs *pflag.FlagSet) {
	fs.StringVar(&f.listener.Address, "metrics-listen", "", "`address` HOST:PORT for /metrics, /livez and /readyz; by default nothing listens")
	fs.StringVar(&f.listener.CertFile, "metrics-tls-cert", "", "`file` with the certificate of --metrics-listen, which it needs beyond loopback")
	fs.StringVar(&f.listener.KeyFile, "metrics-tls-key", "", "`file` with its key")
	fs.StringVar(&f.listener.ClientCAFile, "metrics-client-ca", "", "`file` with the authorities of the client certificates that --metrics-listen asks for")
	fs.StringVar(&f.tokenFile, "metrics-token-file", "", "`file` with the token that --metrics-listen asks for, of 16 characters or more")
	Own(fs, "metrics-listen", "metrics-tls-cert", "metrics-tls-key", "metrics-client-ca", "metrics-token-file")
}

// RegisterTracing adds the flag of a process that makes spans.
func (f *Telemetry) RegisterTracing(fs *pflag.FlagSet) {
	fs.BoolVar(&f.accounts, "trace-accounts", false, "name the accounts in spans, for a receiver that may know them")
	Own(fs, "trace-accounts")
}

// Config returns what was chosen for a kind of process, such as "freshet-worker". What is wrong is an ErrUsage.
func (f *Telemetry) Config(service, version string, log zerolog.Logger) (telemetry.Config, error) {
	token, err := listen.ReadToken("--metrics-token-file", f.tokenFile)
	if err != nil {
		return telemetry.Config{}, Usage(err)
	}
	cfg := telemetry.Config{
		Listener: f.listener, Token: token, Service: service, Version: version, Getenv: os.Getenv, TraceAccounts: f.accounts, Log: log,
	}
	return cfg, Usage(cfg.Validate())
}
