package authserver

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"time"
)

// idTokenLifetime is long enough for a client to read one.
const idTokenLifetime = 5 * time.Minute

// identified adds an ID token to an answer with tokens (OpenID Connect Core section 3.1.3.3), signed with the client's secret
// as HS256 allows.
func (s *Server) identified(rep *reply, r *http.Request, c *client, a *account, nonce string) *reply {
	if s.cfg.Claims == nil || a == nil || rep.status != http.StatusOK {
		return rep
	}
	now := time.Now()
	claims := map[string]any{
		"iss": s.issuer(r), "aud": c.ID, "sub": a.name, "iat": now.Unix(), "exp": now.Add(idTokenLifetime).Unix(),
	}
	if nonce != "" {
		claims["nonce"] = nonce
	}
	for name, value := range s.cfg.Claims(a.name) {
		claims[name] = value
	}
	token, err := json.Marshal(signed(claims, c.Secret))
	if err != nil {
		panic("authserver: encode ID token: " + err.Error()) // it is a text
	}
	body := bytes.TrimSuffix(rep.body, []byte("}"))
	rep.body = append(append(append(body, `,"id_token":`...), token...), '}')
	return rep
}

// signed is a JWS in compact form (RFC 7515 section 7.1).
func signed(claims map[string]any, secret string) string {
	body, err := json.Marshal(claims)
	if err != nil {
		panic("authserver: encode claims: " + err.Error()) // Config.Claims are plain data
	}
	text := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." + base64.RawURLEncoding.EncodeToString(body)
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(text))
	return text + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}
