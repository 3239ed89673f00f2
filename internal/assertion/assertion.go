// Package assertion signs the JWTs with which a client proves itself or asks for a token (RFC 7521, RFC 7523).
//
// # Model
//
// A [Key] is a private key and the one algorithm that goes with its kind: RS256 for RSA, ES256 for P-256, EdDSA for Ed25519
// (RFC 7518 section 3.1, RFC 8037 section 3.1). [Key.Sign] makes a compact JWS (RFC 7515) of a claims set. What
// the claims are is the caller's business; each call of [ID] gives a new jti, so that no two assertions are the same.
//
// # Invariants
//
// No error repeats anything of a key or of an assertion.
//
// # Concurrency
//
// A Key never changes and may be used by any number of goroutines.
package assertion

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"

	"github.com/go-jose/go-jose/v4"
)

// ErrKey says that a text is no private key that can sign an assertion.
var ErrKey = errors.New("no private key that can be used: want PEM (PKCS #8, PKCS #1 or SEC 1, not encrypted) or a JWK, " +
	"of kind RSA (2048 bits or more), P-256 or Ed25519")

// minRSA is the shortest RSA key, in bits (RFC 7518 section 3.3).
const minRSA = 2048

// Key is a private key with its algorithm. The zero Key cannot sign.
type Key struct {
	jwk jose.JSONWebKey
	alg jose.SignatureAlgorithm
}

// ParseKey reads a private key: PEM, or a JWK (RFC 7517), whose kid then goes into the header of what it signs. Errors
// wrap ErrKey.
func ParseKey(text string) (Key, error) {
	text = strings.TrimSpace(text)
	if strings.HasPrefix(text, "{") {
		return parseJWK([]byte(text))
	}
	return parsePEM([]byte(text))
}

func parseJWK(data []byte) (Key, error) {
	var jwk jose.JSONWebKey
	if err := json.Unmarshal(data, &jwk); err != nil {
		return Key{}, fmt.Errorf("%w; this is JSON, but not such a JWK", ErrKey)
	}
	k, err := newKey(jwk.Key, jwk.KeyID)
	if err == nil && jwk.Algorithm != "" && jwk.Algorithm != string(k.alg) {
		return Key{}, fmt.Errorf("%w; the JWK is for another algorithm than %s", ErrKey, k.alg)
	}
	return k, err
}

func parsePEM(data []byte) (Key, error) {
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		var key any
		var err error
		switch block.Type {
		case "PRIVATE KEY":
			key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
		case "RSA PRIVATE KEY":
			key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
		case "EC PRIVATE KEY":
			key, err = x509.ParseECPrivateKey(block.Bytes)
		default:
			continue // such as a certificate, or EC PARAMETERS
		}
		if err != nil {
			return Key{}, ErrKey
		}
		return newKey(key, "")
	}
	return Key{}, ErrKey
}

func newKey(key any, kid string) (Key, error) {
	k := Key{jwk: jose.JSONWebKey{Key: key, KeyID: kid}}
	switch key := key.(type) {
	case *rsa.PrivateKey:
		if key.N.BitLen() < minRSA {
			return Key{}, ErrKey
		}
		k.alg = jose.RS256
	case *ecdsa.PrivateKey:
		if key.Curve != elliptic.P256() {
			return Key{}, ErrKey
		}
		k.alg = jose.ES256
	case ed25519.PrivateKey:
		k.alg = jose.EdDSA
	default:
		return Key{}, ErrKey
	}
	return k, nil
}

// WithID returns the key under another kid. An empty one changes nothing.
func (k Key) WithID(kid string) Key {
	if kid != "" {
		k.jwk.KeyID = kid
	}
	return k
}

// Algorithm is the alg of what the key signs.
func (k Key) Algorithm() string { return string(k.alg) }

// Sign returns the claims as a compact JWS with typ JWT, and kid if the key has one.
func (k Key) Sign(claims map[string]any) (string, error) {
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", fmt.Errorf("sign assertion: %w", err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: k.alg, Key: k.jwk}, new(jose.SignerOptions).WithType("JWT"))
	if err != nil {
		return "", fmt.Errorf("sign assertion: %w", ErrKey)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		return "", fmt.Errorf("sign assertion: %w", ErrKey)
	}
	text, err := signed.CompactSerialize()
	if err != nil {
		return "", fmt.Errorf("sign assertion: %w", err)
	}
	return text, nil
}

// ID draws a jti: 130 random bits or more.
func ID() string { return rand.Text() }
