package authserver

import "net/http"

// metadataDocument is RFC 8414 section 2.
type metadataDocument struct {
	Issuer                  string   `json:"issuer"`
	AuthorizationEndpoint   string   `json:"authorization_endpoint"`
	TokenEndpoint           string   `json:"token_endpoint"`
	DeviceEndpoint          string   `json:"device_authorization_endpoint"`
	IntrospectionEndpoint   string   `json:"introspection_endpoint"`
	RevocationEndpoint      string   `json:"revocation_endpoint"`
	ResponseTypes           []string `json:"response_types_supported"`
	ResponseModes           []string `json:"response_modes_supported"`
	GrantTypes              []string `json:"grant_types_supported"`
	ChallengeMethods        []string `json:"code_challenge_methods_supported"`
	TokenAuthMethods        []string `json:"token_endpoint_auth_methods_supported"`
	SigningAlgorithms       []string `json:"token_endpoint_auth_signing_alg_values_supported"`
	RevocationAuthMethods   []string `json:"revocation_endpoint_auth_methods_supported"`
	IntrospectAuthMethods   []string `json:"introspection_endpoint_auth_methods_supported"`
	IssInAuthorizationReply bool     `json:"authorization_response_iss_parameter_supported"`
}

// metadata serves the same document at both well-known addresses: that of
// RFC 8414 and that of OpenID Connect, which clients also try.
func (s *Server) metadata(r *http.Request) *reply {
	switch r.URL.Path {
	case "/.well-known/oauth-authorization-server", "/.well-known/openid-configuration":
	default:
		return page(http.StatusNotFound, "not found")
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return notAllowed("GET, HEAD")
	}
	iss := s.issuer(r)
	secret := []string{"client_secret_basic", "client_secret_post"}[:2:2]
	return s.perform(r, subject{at: atMetadata, refuse: refuse}, func() *reply {
		return answer(metadataDocument{
			Issuer:                  iss,
			AuthorizationEndpoint:   iss + "/authorize",
			TokenEndpoint:           iss + "/token",
			DeviceEndpoint:          iss + "/device_authorization",
			IntrospectionEndpoint:   iss + "/introspect",
			RevocationEndpoint:      iss + "/revoke",
			ResponseTypes:           []string{"code"},
			ResponseModes:           []string{"query"},
			GrantTypes:              []string{"authorization_code", deviceCodeGrant, "refresh_token", "client_credentials", jwtBearerGrant},
			ChallengeMethods:        []string{"S256"},
			TokenAuthMethods:        append(secret, "private_key_jwt", "none"),
			SigningAlgorithms:       []string{"RS256", "ES256", "EdDSA"},
			RevocationAuthMethods:   append(secret, "private_key_jwt", "none"),
			IntrospectAuthMethods:   append(secret, "private_key_jwt"),
			IssInAuthorizationReply: true,
		})
	})
}
