package assertion_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"math/big"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/freshetdev/freshet/internal/assertion"
)

func pemOf(tb testing.TB, kind string, der []byte, err error) string {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

func pkcs8(tb testing.TB, key any) string {
	tb.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	return pemOf(tb, "PRIVATE KEY", der, err)
}

func jwk(tb testing.TB, k jose.JSONWebKey) string {
	tb.Helper()
	data, err := k.MarshalJSON()
	if err != nil {
		tb.Fatal(err)
	}
	return string(data)
}

// verify checks a signature with the standard library alone.
func verify(alg string, key crypto.PublicKey, signed, signature []byte) bool {
	sum := sha256.Sum256(signed)
	switch alg {
	case "RS256":
		return rsa.VerifyPKCS1v15(key.(*rsa.PublicKey), crypto.SHA256, sum[:], signature) == nil
	case "ES256":
		r, s := new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])
		return len(signature) == 64 && ecdsa.Verify(key.(*ecdsa.PublicKey), sum[:], r, s)
	case "EdDSA":
		return ed25519.Verify(key.(ed25519.PublicKey), signed, signature)
	}
	return false
}

type keys struct {
	rsa *rsa.PrivateKey
	ec  *ecdsa.PrivateKey
	ed  ed25519.PrivateKey
}

func newKeys(tb testing.TB) keys {
	tb.Helper()
	r, err1 := rsa.GenerateKey(rand.Reader, 2048)
	e, err2 := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	_, d, err3 := ed25519.GenerateKey(rand.Reader)
	if err := errors.Join(err1, err2, err3); err != nil {
		tb.Fatal(err)
	}
	return keys{r, e, d}
}

func TestEachKindOfKeySigns(t *testing.T) {
	t.Parallel()
	k := newKeys(t)
	sec1, err := x509.MarshalECPrivateKey(k.ec)
	for name, tt := range map[string]struct {
		text, kid, alg, wantKid string
		public                  crypto.PublicKey
	}{
		"RSA, PKCS #8":             {text: pkcs8(t, k.rsa), alg: "RS256", public: k.rsa.Public()},
		"RSA, PKCS #1":             {text: pemOf(t, "RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(k.rsa), nil), alg: "RS256", public: k.rsa.Public()},
		"P-256, SEC 1, parameters": {text: "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n" + pemOf(t, "EC PRIVATE KEY", sec1, err), alg: "ES256", public: k.ec.Public()},
		"Ed25519":                  {text: pkcs8(t, k.ed), kid: "k1", wantKid: "k1", alg: "EdDSA", public: k.ed.Public()},
		"JWK with its own kid":     {text: jwk(t, jose.JSONWebKey{Key: k.ec, KeyID: "own"}), wantKid: "own", alg: "ES256", public: k.ec.Public()},
		"JWK under another kid":    {text: " " + jwk(t, jose.JSONWebKey{Key: k.rsa, KeyID: "own", Algorithm: "RS256"}), kid: "k2", wantKid: "k2", alg: "RS256", public: k.rsa.Public()},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			key, err := assertion.ParseKey(tt.text)
			if err != nil {
				t.Fatal(err)
			}
			text, err := key.WithID(tt.kid).Sign(map[string]any{"iss": "me", "n": 1})
			if err != nil {
				t.Fatal(err)
			}
			parts := strings.Split(text, ".")
			if len(parts) != 3 {
				t.Fatalf("%d parts", len(parts))
			}
			var raw [3][]byte
			for i, p := range parts {
				if raw[i], err = base64.RawURLEncoding.DecodeString(p); err != nil {
					t.Fatal(err)
				}
			}
			var header struct{ Alg, Typ, Kid string }
			if err := json.Unmarshal(raw[0], &header); err != nil {
				t.Fatal(err)
			}
			if header.Alg != tt.alg || header.Alg != key.Algorithm() || header.Typ != "JWT" || header.Kid != tt.wantKid {
				t.Errorf("header %s", raw[0])
			}
			if string(raw[1]) != `{"iss":"me","n":1}` {
				t.Errorf("claims %s", raw[1])
			}
			if !verify(tt.alg, tt.public, []byte(parts[0]+"."+parts[1]), raw[2]) {
				t.Error("the signature is not that of the key")
			}
		})
	}
}

func TestWhatIsNoUsableKey(t *testing.T) {
	t.Parallel()
	k := newKeys(t)
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(k.ec.Public())
	for name, text := range map[string]string{
		"nothing":             "",
		"a password":          "hunter2-hunter2",
		"a public key":        pemOf(t, "PUBLIC KEY", public, err),
		"another curve":       pkcs8(t, p384),
		"an encrypted key":    "-----BEGIN ENCRYPTED PRIVATE KEY-----\naHVudGVyMg==\n-----END ENCRYPTED PRIVATE KEY-----\n",
		"a broken key":        "-----BEGIN PRIVATE KEY-----\naHVudGVyMg==\n-----END PRIVATE KEY-----\n",
		"a public JWK":        jwk(t, jose.JSONWebKey{Key: k.ec.Public()}),
		"a symmetric JWK":     `{"kty":"oct","k":"aHVudGVyMg"}`,
		"JSON of another use": `{"private_key":"hunter2"}`,
		"another algorithm":   jwk(t, jose.JSONWebKey{Key: k.rsa, Algorithm: "PS256"}),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := assertion.ParseKey(text)
			if !errors.Is(err, assertion.ErrKey) {
				t.Fatalf("error %v, want ErrKey", err)
			}
			if strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "aHVudGVyMg") {
				t.Errorf("the error shows what was there: %v", err)
			}
		})
	}
}

func TestNoTwoAssertionsHaveOneID(t *testing.T) {
	t.Parallel()
	seen := make(map[string]bool)
	for range 1000 {
		id := assertion.ID()
		if seen[id] || len(id) < 26 {
			t.Fatalf("id %q", id)
		}
		seen[id] = true
	}
}

func BenchmarkParseAndSign(b *testing.B) {
	k := newKeys(b)
	for _, bb := range []struct {
		name string
		key  any
	}{{"RS256", k.rsa}, {"ES256", k.ec}, {"EdDSA", k.ed}} {
		text := pkcs8(b, bb.key)
		b.Run(bb.name, func(b *testing.B) {
			for b.Loop() {
				key, err := assertion.ParseKey(text)
				if err == nil {
					_, err = key.Sign(map[string]any{"iss": "me"})
				}
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
