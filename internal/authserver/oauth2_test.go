package authserver_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/freshetdev/freshet/internal/authserver"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

// follow opens an authorization URL as a browser would, and returns where the
// browser is sent.
func follow(t *testing.T, authURL string) url.Values {
	t.Helper()
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Get(authURL)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	to, err := resp.Location()
	if err != nil {
		t.Fatal(err)
	}
	return to.Query()
}

func TestAnIndependentClientEnrolsAndRefreshes(t *testing.T) {
	t.Parallel()
	for _, style := range []oauth2.AuthStyle{oauth2.AuthStyleInHeader, oauth2.AuthStyleInParams} {
		s := authserver.New(authserver.Config{})
		srv := httptest.NewServer(s)
		cfg := &oauth2.Config{
			ClientID: "dev", ClientSecret: "dev-secret", RedirectURL: "http://127.0.0.1:5555/callback", Scopes: []string{"read", "write"},
			Endpoint: oauth2.Endpoint{AuthURL: srv.URL + "/authorize", TokenURL: srv.URL + "/token", AuthStyle: style},
		}
		proof := oauth2.GenerateVerifier()
		back := follow(t, cfg.AuthCodeURL("state", oauth2.S256ChallengeOption(proof), oauth2.SetAuthURLParam("login_hint", "carol")))
		if back.Get("iss") != srv.URL || back.Get("state") != "state" {
			t.Errorf("redirect %v", back)
		}
		token, err := cfg.Exchange(t.Context(), back.Get("code"), oauth2.VerifierOption(proof))
		if err != nil {
			t.Fatal(err)
		}
		first := token.RefreshToken
		for range 3 {
			token.Expiry = time.Now().Add(-time.Minute)
			if token, err = cfg.TokenSource(t.Context(), token).Token(); err != nil {
				t.Fatal(err)
			}
			checkBearer(t, cfg, srv.URL, token)
		}
		wantInvalidGrant(t, cfg, first)
		l := s.Ledger()
		if l.Enrolments != 1 || l.Rotations != 3 || l.Replayed != 1 || l.Revoked != 1 {
			t.Errorf("ledger %+v", l)
		}
		srv.Close()
	}
}

// checkBearer uses the token as x/oauth2 sends it.
func checkBearer(t *testing.T, cfg *oauth2.Config, base string, token *oauth2.Token) {
	t.Helper()
	resp, err := cfg.Client(t.Context(), token).Get(base + "/resource")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("resource: %s", resp.Status)
	}
}

func wantInvalidGrant(t *testing.T, cfg *oauth2.Config, refreshToken string) {
	t.Helper()
	_, err := cfg.TokenSource(t.Context(), &oauth2.Token{RefreshToken: refreshToken}).Token()
	var refused *oauth2.RetrieveError
	if !errors.As(err, &refused) || refused.ErrorCode != "invalid_grant" || refused.Response.StatusCode != http.StatusBadRequest {
		t.Errorf("spent token: %v, want invalid_grant", err)
	}
}

func TestAnIndependentClientUsesClientCredentials(t *testing.T) {
	t.Parallel()
	s := authserver.New(authserver.Config{})
	srv := httptest.NewTLSServer(s)
	defer srv.Close()
	cfg := &clientcredentials.Config{
		ClientID: "dev", ClientSecret: "dev-secret", TokenURL: srv.URL + "/token", Scopes: []string{"x"}, AuthStyle: oauth2.AuthStyleInHeader,
	}
	token, err := cfg.Token(context.WithValue(t.Context(), oauth2.HTTPClient, srv.Client()))
	if err != nil || token.RefreshToken != "" || token.Extra("scope") != "x" {
		t.Errorf("token with scope %v, %v", token.Extra("scope"), err)
	}
}
