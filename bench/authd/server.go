package authd

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/freshetdev/freshet/internal/authserver"
)

// Endpoint is one authorization server.
type Endpoint struct {
	Name     string
	Rotation authserver.Rotation
	Latency  time.Duration // of each token request
	Lifetime time.Duration // of access tokens; 0: an hour
}

// Addresses says where everything listens.
type Addresses struct {
	Admin  string            `json:"admin"`
	Tokens map[string]string `json:"tokens"` // base URLs by endpoint
}

// Grant is a grant that was made in bulk. It holds secrets.
type Grant struct {
	Account      string    `json:"account"`
	AccessToken  string    `json:"access_token"`
	RefreshToken string    `json:"refresh_token"`
	ExpiresAt    time.Time `json:"expires_at"`
}

// The one client that every endpoint knows.
const (
	ClientID     = "dev"
	ClientSecret = "dev-secret"
)

// Serve serves the endpoints until its standard input ends, and says on out where.
func Serve(endpoints []Endpoint, in io.Reader, out io.Writer) error {
	at := Addresses{Tokens: make(map[string]string)}
	a := admin{servers: make(map[string]*authserver.Server)}
	for _, e := range endpoints {
		s := authserver.New(authserver.Config{Rotation: e.Rotation, Latency: e.Latency, AccessLifetime: e.Lifetime})
		url, err := listen(s)
		if err != nil {
			return err
		}
		a.servers[e.Name], at.Tokens[e.Name] = s, url
	}
	var err error
	if at.Admin, err = listen(a.routes()); err != nil {
		return err
	}
	if err := json.NewEncoder(out).Encode(at); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, in)
	return err
}

// listen serves h on a free loopback port for as long as the process lives.
func listen(h http.Handler) (url string, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	go func() {
		err := http.Serve(l, h)
		fmt.Fprintln(os.Stderr, "authorization server:", err)
	}()
	return "http://" + l.Addr().String(), nil
}

// admin takes the harness's orders.
type admin struct {
	servers map[string]*authserver.Server
}

func (a admin) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /{endpoint}/issue", a.issue)
	mux.HandleFunc("GET /{endpoint}/ledger", a.ledger)
	mux.HandleFunc("POST /{endpoint}/lost", a.lost)
	return mux
}

func (a admin) server(w http.ResponseWriter, r *http.Request) *authserver.Server {
	s := a.servers[r.PathValue("endpoint")]
	if s == nil {
		http.Error(w, "no such endpoint", http.StatusNotFound)
	}
	return s
}

// issue makes n grants, the accounts PREFIX-FIRST and so on, and writes each as a line.
func (a admin) issue(w http.ResponseWriter, r *http.Request) {
	s := a.server(w, r)
	first, err1 := strconv.Atoi(r.FormValue("first"))
	n, err2 := strconv.Atoi(r.FormValue("n"))
	if err := errors.Join(err1, err2); err != nil || s == nil {
		http.Error(w, fmt.Sprint(err), http.StatusBadRequest)
		return
	}
	buf := bufio.NewWriter(w)
	defer func() { _ = buf.Flush() }() // the harness went away
	enc := json.NewEncoder(buf)
	for i := first; i < first+n; i++ {
		t, err := s.Issue(fmt.Sprintf("%s-%07d", r.FormValue("prefix"), i), ClientID)
		if err != nil {
			return // a short answer is an error at the other end
		}
		if enc.Encode(Grant{t.Account, t.AccessToken, t.RefreshToken, t.ExpiresAt}) != nil {
			return
		}
	}
}

func (a admin) ledger(w http.ResponseWriter, r *http.Request) {
	if s := a.server(w, r); s != nil {
		_ = json.NewEncoder(w).Encode(s.Ledger()) // the harness went away
	}
}

func (a admin) lost(w http.ResponseWriter, r *http.Request) {
	s := a.server(w, r)
	held := make(map[string]string)
	if err := json.NewDecoder(r.Body).Decode(&held); err != nil || s == nil {
		http.Error(w, fmt.Sprint(err), http.StatusBadRequest)
		return
	}
	_ = json.NewEncoder(w).Encode(s.Lost(held))
}

// Client gives orders to a running authorization server.
type Client struct {
	Addresses
	PID int
}

// TokenURL is an endpoint's token endpoint.
func (c *Client) TokenURL(endpoint string) string { return c.Tokens[endpoint] + "/token" }

// Issue makes n grants at an endpoint, for accounts PREFIX-0000000 and so on from first.
func (c *Client) Issue(ctx context.Context, endpoint, prefix string, first, n int) ([]Grant, error) {
	url := fmt.Sprintf("%s/%s/issue?prefix=%s&first=%d&n=%d", c.Admin, endpoint, prefix, first, n)
	grants := make([]Grant, 0, n)
	err := c.do(ctx, http.MethodPost, url, nil, func(dec *json.Decoder) error {
		for dec.More() {
			var g Grant
			if err := dec.Decode(&g); err != nil {
				return err
			}
			grants = append(grants, g)
		}
		return nil
	})
	if err == nil && len(grants) != n {
		err = fmt.Errorf("asked for %d grants, got %d", n, len(grants))
	}
	return grants, err
}

// Ledger returns an endpoint's ledger.
func (c *Client) Ledger(ctx context.Context, endpoint string) (l authserver.Ledger, err error) {
	err = c.do(ctx, http.MethodGet, c.Admin+"/"+endpoint+"/ledger", nil, func(dec *json.Decoder) error { return dec.Decode(&l) })
	return l, err
}

// Lost returns the accounts whose refresh token, as held, is dead.
func (c *Client) Lost(ctx context.Context, endpoint string, held map[string]string) (lost []authserver.Loss, err error) {
	err = c.do(ctx, http.MethodPost, c.Admin+"/"+endpoint+"/lost", held, func(dec *json.Decoder) error { return dec.Decode(&lost) })
	return lost, err
}

func (c *Client) do(ctx context.Context, method, url string, body any, read func(*json.Decoder) error) error {
	pr, pw := io.Pipe()
	go func() { _ = pw.CloseWithError(json.NewEncoder(pw).Encode(body)) }()
	defer func() { _ = pr.Close() }() // a pipe: never fails
	req, err := http.NewRequestWithContext(ctx, method, url, pr)
	if err != nil {
		return err
	}
	if body == nil {
		req.Body = http.NoBody
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("ask the authorization server: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("ask the authorization server: %s", resp.Status)
	}
	return read(json.NewDecoder(bufio.NewReader(resp.Body)))
}
