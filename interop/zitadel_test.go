package interop_test

import (
	"context"
	"crypto"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/example/server/exampleop"
	"github.com/zitadel/oidc/v3/example/server/storage"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// zitadelStorage is the storage of zitadel/oidc's own example server, with clients and a client key of ours.
type zitadelStorage struct {
	*storage.Storage
	clients map[string]op.Client
	key     crypto.PublicKey
}

// GetClientByClientID implements op.Storage.
func (s *zitadelStorage) GetClientByClientID(_ context.Context, id string) (op.Client, error) {
	if c := s.clients[id]; c != nil {
		return c, nil
	}
	return nil, oidc.ErrInvalidClient()
}

// GetKeyByIDAndClientID implements op.Storage: every client has the same key.
func (s *zitadelStorage) GetKeyByIDAndClientID(_ context.Context, keyID, _ string) (*jose.JSONWebKey, error) {
	return &jose.JSONWebKey{KeyID: keyID, Use: "sig", Key: s.key}, nil
}

// zitadelClient is a native client, which may come back to any port, with a way to authenticate.
type zitadelClient struct {
	*storage.Client
	method oidc.AuthMethod
}

// ApplicationType implements op.Client.
func (zitadelClient) ApplicationType() op.ApplicationType { return op.ApplicationTypeNative }

// AuthMethod implements op.Client.
func (c zitadelClient) AuthMethod() oidc.AuthMethod { return c.method }

// GrantTypes implements op.Client.
func (zitadelClient) GrantTypes() []oidc.GrantType {
	return []oidc.GrantType{oidc.GrantTypeCode, oidc.GrantTypeRefreshToken}
}

// zitadelServer is the server that zitadel/oidc has as its example.
func zitadelServer(t *testing.T, issuer string, jwks json.RawMessage) http.Handler {
	t.Helper()
	var keys jose.JSONWebKeySet
	if err := json.Unmarshal(jwks, &keys); err != nil {
		t.Fatal(err)
	}
	registered, clients := make(map[string]*storage.Client), make(map[string]op.Client)
	for id, method := range map[string]oidc.AuthMethod{
		"basic": oidc.AuthMethodBasic, "post": oidc.AuthMethodPost, "public": oidc.AuthMethodNone, "keyed": oidc.AuthMethodPrivateKeyJWT,
	} {
		registered[id] = storage.WebClient(id, clientSecret, "http://127.0.0.1/callback")
		clients[id] = zitadelClient{registered[id], method}
	}
	s := &zitadelStorage{storage.NewStorageWithClients(storage.NewUserStore(issuer), registered), clients, keys.Keys[0].Key}
	return exampleop.SetupServer(issuer, s, slog.New(slog.NewTextHandler(io.Discard, nil)), false)
}

// zitadelProviders are Freshet's definitions for its clients. Its tokens live for five minutes; max_lifetime has them renewed sooner.
func zitadelProviders(issuer, key string) string {
	const client = "  %[1]s:\n    issuer: %[2]s\n    client_id: %[1]s\n    scopes: [openid, offline_access, profile, email]\n    refresh: {max_lifetime: 8s}\n"
	var b strings.Builder
	b.WriteString("providers:\n")
	fmt.Fprintf(&b, client+"    client_secret: env://CLIENT_SECRET\n    auth_style: basic\n", "basic", issuer)
	fmt.Fprintf(&b, client+"    client_secret: env://CLIENT_SECRET\n    auth_style: post\n", "post", issuer)
	fmt.Fprintf(&b, client+"    auth_style: none\n", "public", issuer)
	fmt.Fprintf(&b, client+"    auth_style: private_key_jwt\n    client_key: file://%[3]s\n    client_assertion: {kid: one}\n", "keyed", issuer, key)
	fmt.Fprintf(&b, "  calm:\n    issuer: %s\n    client_id: basic\n    client_secret: env://CLIENT_SECRET\n    auth_style: basic\n    scopes: [openid, offline_access]\n", issuer)
	fmt.Fprintf(&b, "  machine:\n    issuer: %s\n    client_id: sid1\n    client_secret: env://MACHINE_SECRET\n    auth_style: basic\n    grant: client_credentials\n    scopes: [openid]\n", issuer)
	fmt.Fprintf(&b, "  robot:\n    issuer: %s\n    client_id: service\n    grant: jwt_bearer\n    scopes: [openid]\n    assertion_key: file://%s\n    assertion: {kid: one}\n", issuer, key)
	return b.String()
}

// zitadelWitness is the witness before it.
type zitadelWitness struct{ *witness }

// refresh presents a refresh token past the witness, as the client basic.
func (w zitadelWitness) refresh(t *testing.T, token string) (status int, answer map[string]any) {
	t.Helper()
	return w.post(t, "basic", "/oauth/token", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}})
}

// TestZitadel holds Freshet, as people run it, against the example server of zitadel/oidc.
func TestZitadel(t *testing.T) {
	t.Parallel()
	key, jwks := newKey(t)
	w := zitadelWitness{newWitness(t, func(issuer string) http.Handler { return zitadelServer(t, issuer, jwks) })}
	f := install(t, zitadelProviders(w.URL, key), "CLIENT_SECRET="+clientSecret, "MACHINE_SECRET=verysecret")
	t.Cleanup(func() { checkOnce(t, w.exchanges()) })
	for _, name := range []string{"basic", "post", "public", "keyed"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			user := newPerson(t, map[string]string{"username": "test-user2", "password": "verysecure"})
			if line := f.login(t, name, user); line != name+"/test-user2 generation 1 version 1" {
				t.Errorf("the login says %q", line)
			}
			f.awaitEvent(t, name+"/test-user2", "the second scheduled version", func(e event) bool { return e.Data.Version >= 3 && e.Data.Reason == "scheduled" })
			token := f.must(t, "token", name+"/test-user2")
			if e, n := w.of(t, token), w.rotations(t, token); e.assertion != (name == "keyed") || n < 2 {
				t.Errorf("the token came after %d rotations, with an assertion: %t", n, e.assertion)
			}
		})
	}
	t.Run("revocation", func(t *testing.T) {
		t.Parallel()
		f.login(t, "calm/leaver", newPerson(t, map[string]string{"username": "test-user2", "password": "verysecure"}))
		f.must(t, "refresh", "calm/leaver")
		last := w.of(t, f.must(t, "token", "calm/leaver"))
		if status, answer := w.refresh(t, last.presented); status != http.StatusBadRequest || answer["error"] != "invalid_grant" {
			t.Errorf("the server takes a refresh token twice: %d %v", status, answer)
		}
		start(t, f.env, "revoke", "calm/leaver").ended(t)
		if status, answer := w.refresh(t, last.issued); status != http.StatusBadRequest || answer["error"] != "invalid_grant" {
			t.Errorf("the server takes a refresh token that was revoked: %d %v", status, answer)
		}
	})
	for _, credential := range []string{"machine/reports", "robot/service"} {
		t.Run(credential, func(t *testing.T) {
			t.Parallel()
			f.must(t, "login", credential)
			f.must(t, "refresh", credential)
		})
	}
}
