package app_test

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/freshetdev/freshet/internal/app"
	"github.com/freshetdev/freshet/internal/authserver"
	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
	"github.com/freshetdev/freshet/pkg/seal"
)

// issuer is an authorization server on a real network, which may be out of order.
type issuer struct {
	url  string
	down atomic.Bool
	none atomic.Bool
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	i, auth := new(issuer), authserver.New(authserver.Config{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case i.down.Load():
			w.WriteHeader(http.StatusBadGateway)
		case i.none.Load():
			http.NotFound(w, r)
		default:
			auth.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(srv.Close)
	i.url = srv.URL
	return i
}

// TestApplyAsksTheIssuer: what a file leaves out comes from the metadata, and survives an issuer that is out of order.
func TestApplyAsksTheIssuer(t *testing.T) {
	t.Parallel()
	f := newFleet(t, fleetConfig{})
	at := newIssuer(t)
	ask := refresh.NewAsker(nil)
	t.Cleanup(ask.CloseIdle)
	given := provider.Definition{
		Name: "found", Issuer: at.url, ClientID: "dev", ClientSecrets: []seal.Secret{seal.NewSecret("dev-secret")}, AuthStyle: provider.AuthBasic,
	}.WithDefaults()
	apply := func() (app.Applied, []string) {
		t.Helper()
		d, notes, err := app.Discover(f.ctx, f.Broker, ask, given)
		f.must(err)
		a, err := app.Apply(f.ctx, f.Broker, f.grant, d, false)
		f.must(err)
		return a, notes
	}
	at.down.Store(true)
	if _, _, err := app.Discover(f.ctx, f.Broker, ask, given); err == nil || !strings.Contains(err.Error(), "HTTP 502") || !strings.Contains(err.Error(), "give token_url") {
		t.Fatalf("an issuer that never answered: %v", err)
	}
	at.down.Store(false)
	if a, notes := apply(); a.Action != broker.ActionCreate || !slices.Contains(a.Found, "token_url") || len(notes) > 0 {
		t.Errorf("first: %+v, notes %q", a, notes)
	}
	for _, broken := range []*atomic.Bool{&at.down, &at.none} {
		broken.Store(true)
		if a, notes := apply(); a.Action != broker.ActionOK || len(notes) != 1 || !strings.Contains(notes[0], "what was found earlier stays") {
			t.Errorf("out of order: %+v, notes %q", a, notes)
		}
		broken.Store(false)
	}
	e, _, err := f.Provider(f.ctx, "found")
	f.must(err)
	if e.TokenURL != at.url+"/token" || e.RevokeURL != at.url+"/revoke" || !e.IssInAnswer {
		t.Errorf("stored %+v", e.Definition)
	}
	at.none.Store(true)
	given.Name, given.TokenURL = "given", at.url+"/token"
	if a, notes := apply(); len(a.Found) != 0 || len(notes) != 1 || !strings.Contains(notes[0], "only what is given is used") {
		t.Errorf("no metadata: %+v, notes %q", a, notes)
	}
}
