package fleet

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/freshetdev/freshet/internal/authserver"
	"github.com/freshetdev/freshet/pkg/provider"
)

// Provider is what the authorization server is called in the fleet.
const Provider = "acme"

// Config describes a fleet. Dir and Binaries are required.
type Config struct {
	Dir      string // gets everything: keysets, NATS store, journals; the caller removes it
	Binaries Binaries
	// NATSConfig is the server's configuration file; see NATSConfig.ConfigFile.
	NATSConfig string
	// NATSTLS is what its clients need.
	NATSTLS TLSFiles
	// Nodes is how many nats-servers there are; 0: one. More make a cluster, in which each asset is on three of them.
	Nodes int
	// Setup are further arguments of freshet setup.
	Setup []string
	// Auth shapes the authorization server. Its rotation class is what the provider is declared to have. The clients
	// stay the default.
	Auth authserver.Config
	// Refresh and Limits of the provider; zero fields have their defaults.
	Refresh provider.Refresh
	Limits  provider.Limits
}

func (c Config) validate() error {
	var faults []error
	if c.Dir == "" {
		faults = append(faults, errors.New("no directory: set Dir"))
	}
	if c.Binaries == (Binaries{}) {
		faults = append(faults, errors.New("no programs: set Binaries to what Build returned"))
	}
	if len(c.Auth.Clients) > 0 {
		faults = append(faults, errors.New("clients of the authorization server: leave Auth.Clients empty"))
	}
	return errors.Join(append(faults, c.Auth.Validate())...)
}

// graceOf is the grace that the provider is declared with, 0 for the other classes.
func graceOf(a authserver.Config) time.Duration {
	if a.Rotation != authserver.RotationGrace {
		return 0
	}
	if a.Grace == 0 {
		return 30 * time.Second // authserver's own default
	}
	return a.Grace
}

// definition is the authorization server as a provider.
func (c Config) definition(authURL string) provider.Definition {
	return provider.Definition{
		Name: Provider, AuthURL: authURL + "/authorize", TokenURL: authURL + "/token", RevokeURL: authURL + "/revoke",
		ClientID: "dev", AuthStyle: provider.AuthBasic,
		Rotation: provider.Rotation(c.Auth.Rotation), RotationGrace: provider.Duration(graceOf(c.Auth)),
		Refresh: c.Refresh, Limits: c.Limits,
	}.WithDefaults()
}

// secretVariable is where the providers file finds the client's secret, authserver's default.
const (
	secretVariable = "ACME_SECRET"
	clientSecret   = "dev-secret"
)

// writeProviders writes the file that freshet apply reads. JSON is YAML, and a definition's JSON has the file's keys.
func writeProviders(path string, d provider.Definition) error {
	type entry struct {
		provider.Definition
		ClientSecret string `json:"client_secret"`
	}
	data, err := json.MarshalIndent(map[string]any{
		"providers": map[string]entry{d.Name: {d, "env://" + secretVariable}},
	}, "", "  ")
	if err != nil {
		return fmt.Errorf("write providers file: %w", err)
	}
	return os.WriteFile(path, data, 0o600)
}
