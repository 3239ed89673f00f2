package doctor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

const (
	monitorTimeout = 5 * time.Second
	maxMonitor     = 4 << 20
)

// varz is what a monitoring port says of a server's disk.
type varz struct {
	Name      string `json:"server_name"`
	JetStream struct {
		Config *struct {
			SyncInterval time.Duration `json:"sync_interval"`
			SyncAlways   bool          `json:"sync_always"`
		} `json:"config"`
	} `json:"jetstream"`
}

// syncPolicy says whether an acknowledged write can be lost. A client is not told; monitoring ports are.
func (e *examiner) syncPolicy(ctx context.Context) {
	const name = "sync policy"
	if len(e.Monitors) == 0 {
		e.warn(name, "unknown: NATS does not tell its clients whether it syncs each write before it acknowledges it",
			"give --monitor http://HOST:8222 for each server, or look for sync_interval: always in its jetstream block")
		return
	}
	for _, address := range e.Monitors {
		v, err := askMonitor(ctx, address)
		switch {
		case err != nil:
			e.warn(name, oneLine(err), "check --monitor: it is the address of a server's monitoring port")
		case v.JetStream.Config == nil:
			e.ok(name, "%s keeps nothing: it has no JetStream", v.Name)
		case v.JetStream.Config.SyncAlways:
			e.ok(name, "%s syncs each write before it acknowledges it", v.Name)
		default:
			e.warn(name, fmt.Sprintf("%s syncs every %v: a power cut loses what it acknowledged since", v.Name, v.JetStream.Config.SyncInterval),
				"set sync_interval: always in its jetstream block; with copies on other servers, at least let no power cut take all of them")
		}
	}
}

func askMonitor(ctx context.Context, address string) (v varz, err error) {
	ctx, cancel := context.WithTimeout(ctx, monitorTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(address, "/")+"/varz", nil)
	if err != nil {
		return v, errors.New("--monitor is no address: want http://HOST:8222")
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return v, fmt.Errorf("ask monitoring port: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return v, fmt.Errorf("ask monitoring port at %s: HTTP %d", req.URL.Host, resp.StatusCode)
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxMonitor)).Decode(&v); err != nil {
		return v, fmt.Errorf("ask monitoring port at %s: no answer of nats-server", req.URL.Host)
	}
	return v, nil
}
