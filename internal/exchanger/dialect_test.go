package exchanger_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
)

// TestTheProvidersDialectComesThrough: the exchanger makes the request that the worker would have made.
func TestTheProvidersDialectComesThrough(t *testing.T) {
	t.Parallel()
	asked := make(chan string, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		asked <- r.Header.Get("Content-Type") + " " + string(body)
		_, _ = io.WriteString(w, `{"access_token":"a"}`)
	}))
	t.Cleanup(srv.Close)
	w := newWorld(t)
	w.serve(w.config())
	r := newRequest(srv.URL, "a1", "rt")
	d := *r.Provider
	d.AuthStyle, d.Dialect = provider.AuthPost, provider.Dialect{ClientIDParam: "client_key", TokenFormat: provider.FormatJSON}
	r.Provider = &d
	if o := w.client().Exchange(t.Context(), r); o.Phase != refresh.PhaseAnswered {
		t.Fatalf("phase %s: %s", o.Phase, o.Err)
	}
	const want = `application/json {"client_key":"dev","client_secret":"dev-secret","grant_type":"refresh_token","refresh_token":"rt"}`
	if got := <-asked; got != want {
		t.Errorf("asked\n%s\nwant\n%s", got, want)
	}
}
