package refresh_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/freshetdev/freshet/pkg/refresh"
	"github.com/freshetdev/freshet/pkg/seal"
)

// The canaries: whatever the server does with them, they are in no readable field.
const (
	canaryRefresh = "rt-7Hq2zVxK9sWb4LnT0cYe"
	canaryAccess  = "at-Jm5uRd8PfG3aXo6QiBk1"
	canarySecret  = "cs-E7vN2yCt9ZhS4wUj0MlA"
)

// A hostile or careless server repeats what it was sent in every place there is.
func TestNoFailureShowsTokenMaterial(t *testing.T) {
	t.Parallel()
	all := canaryRefresh + " " + canaryAccess + " " + canarySecret
	write := func(status int, contentType, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", contentType)
			w.Header().Set("X-Debug", all)
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		}
	}
	servers := map[string]http.HandlerFunc{
		"debug page":            write(500, "text/html", "<pre>"+all+"</pre>"),
		"debug JSON":            write(500, "application/json", fmt.Sprintf(`{"error":"server_error","error_description":%q,"request":%q}`, all, all)),
		"refresh token as code": write(400, "application/json", fmt.Sprintf(`{"error":%q}`, canaryRefresh)),
		"access token as code":  write(400, "application/json", fmt.Sprintf(`{"error":{"code":%q,"type":%q}}`, canaryAccess, canaryRefresh)),
		"secret as code":        write(401, "text/plain", "error="+canarySecret),
		"all as code":           write(400, "application/json", fmt.Sprintf(`{"errorCode":%q}`, all)),
		"cut off":               write(200, "application/json", `{"access_token":"`+canaryAccess+`","refresh_token":"`+canaryRefresh),
		"damaged":               write(200, "application/json", `{"access_token":"`+canaryAccess+`" "refresh_token":"`+canaryRefresh+`"}`),
		"no access token":       write(200, "application/json", `{"refresh_token":"`+canaryRefresh+`","token":"`+canaryAccess+`"}`),
		"redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/?t="+canaryRefresh, http.StatusFound)
		},
		"not HTTP":            hijack(func(c net.Conn) { _, _ = io.WriteString(c, all+"\r\n\r\n") }),
		"header that is none": hijack(func(c net.Conn) { _, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n"+all+"\r\n\r\n") }),
		"length that is none": hijack(func(c net.Conn) {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: "+canaryAccess+"\r\n\r\n")
		}),
		"chunk that is none": hijack(func(c net.Conn) {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"+canaryAccess+"\r\n")
		}),
		"coding that is none": hijack(func(c net.Conn) {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: "+canaryAccess+"\r\n\r\n")
		}),
		"silence": func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			<-r.Context().Done()
		},
		"too large": write(200, "application/json", strings.Repeat(all, refresh.MaxReply/len(all)+2)),
	}
	for name, h := range servers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := exchangeServer(t, h)
			req := canaryRequest(srv.URL)
			req.Deadline = time.Now().Add(time.Second)
			wantNoCanary(t, req, newTestExchange(t, refresh.HTTPExchangeConfig{}).Exchange(t.Context(), req))
		})
	}
	t.Run("cannot connect", func(t *testing.T) {
		t.Parallel()
		e := newTestExchange(t, refresh.HTTPExchangeConfig{Dial: func(context.Context, string, string) (net.Conn, error) {
			return nil, fmt.Errorf("dial: %s", all)
		}})
		req := canaryRequest("https://as.example")
		wantNoCanary(t, req, e.Exchange(t.Context(), req))
	})
}

func hijack(f func(net.Conn)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		c, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		f(c)
		_ = c.Close()
	}
}

func canaryRequest(base string) refresh.Request {
	req := exchangeRequest(base + "/token?key=" + canarySecret)
	req.RefreshToken, req.ClientSecret = seal.NewSecret(canaryRefresh), seal.NewSecret(canarySecret)
	req.Provider.ClientSecrets = []seal.Secret{req.ClientSecret}
	return req
}

// wantNoCanary looks through everything but the body.
func wantNoCanary(t *testing.T, req refresh.Request, o refresh.Outcome) {
	t.Helper()
	j := refresh.Classify(req.Provider, o)
	if j.Class == refresh.ClassOK {
		t.Fatal("the test is no failure")
	}
	o.Body = nil
	b, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	shown := string(b) + fmt.Sprintf(" %+v %#v", j, j)
	for _, canary := range []string{canaryRefresh, canaryAccess, canarySecret} {
		if strings.Contains(shown, canary) {
			t.Errorf("%s is shown: %s", canary, shown)
		}
	}
}
