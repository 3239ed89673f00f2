package exchanger

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/freshetdev/freshet/pkg/refresh"
)

// Config describes an exchanger. Socket, StateDir, Keys (Bucket and Grant) and Exchange are required.
type Config struct {
	// Socket is the path of the Unix socket; beside it lies Socket.lock. At most about 100 bytes, a limit of the system.
	Socket string
	// StateDir keeps the journal; one exchanger at a time has it.
	StateDir string
	// Keys seal the outcomes: the workers' bucket and grant keyset.
	Keys refresh.Keys
	// Exchange makes the requests.
	Exchange refresh.Exchanger
	// MaxInFlight bounds the requests in flight; 0 means 1024.
	MaxInFlight int
	// MaxBytes bounds each of the two journals; 0 means 256 MiB. An attempt takes about 400 bytes of one until keepKnown after its
	// deadline, an outcome its size of the other until it is acknowledged. When seven eighths of one are used no attempt is
	// taken; the rest is for the outcomes of those in flight.
	MaxBytes int64
	// Linger is how long an outcome that was handed over may be without acknowledgement before it is offered to any
	// worker; 0 means 1 s.
	Linger time.Duration
	// OnError hears what no client can be told, without token material. nil: nobody listens.
	OnError func(error)
}

// offerAgain is how long an outcome given to a collecting worker is not offered to another.
const offerAgain = 10 * time.Second

func (c Config) withDefaults() Config {
	c.MaxInFlight = cmp.Or(c.MaxInFlight, 1024)
	c.MaxBytes = cmp.Or(c.MaxBytes, 256<<20)
	c.Linger = cmp.Or(c.Linger, time.Second)
	if c.OnError == nil {
		c.OnError = func(error) {}
	}
	return c
}

func (c Config) validate() error {
	var faults []error
	if c.Socket == "" {
		faults = append(faults, errors.New("exchanger has no socket: name one, such as unix:///run/freshet/exchanger.sock"))
	}
	if c.StateDir == "" {
		faults = append(faults, errors.New("exchanger has no state directory: name one that outlives the process"))
	}
	if c.Keys.Grant == nil || c.Keys.Bucket == "" {
		faults = append(faults, errors.New("exchanger has no grant keyset or bucket: give it those of the workers"))
	}
	if c.Exchange == nil {
		faults = append(faults, errors.New("exchanger has nothing to make requests with"))
	}
	if c.MaxInFlight < 0 || c.MaxBytes < 0 || c.Linger < 0 {
		faults = append(faults, errors.New("exchanger MaxInFlight, MaxBytes and Linger must not be negative"))
	}
	return errors.Join(faults...)
}

// ParseAddress returns the path in an address unix://PATH or unix:PATH.
func ParseAddress(address string) (path string, err error) {
	rest, ok := strings.CutPrefix(address, "unix:")
	path = strings.TrimPrefix(rest, "//")
	if !ok || path == "" {
		return "", fmt.Errorf("exchanger address %q: want unix://PATH, such as unix:///run/freshet/exchanger.sock", address)
	}
	return path, nil
}
