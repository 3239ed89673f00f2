package refresh

import (
	"encoding/json"
	"fmt"

	"github.com/freshetdev/freshet/internal/flatjson"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/seal"
)

// Keys seals and opens the two secret fields of a record. A reader holds Access alone.
type Keys struct {
	Bucket string // the records' bucket; part of what a ciphertext is bound to
	Grant  *seal.Keyset
	Access *seal.Keyset
}

// Grant is what the sealed field "grant" holds.
type Grant struct {
	RefreshToken seal.Secret
	// Previous is the refresh token before this one, kept until this one has worked once.
	Previous seal.Secret
	// Mint is the grant type by which each token is asked for anew; empty: there is a refresh token, or nothing.
	Mint    provider.GrantType
	Subject string // with provider.GrantJWTBearer
	// TokenURL is where the grant may be presented. Empty: an earlier version did not write it down.
	TokenURL string
}

// grantJSON is Grant inside the seal. Secrets redact themselves when encoded, so it is spelled out.
type grantJSON struct {
	RefreshToken string             `json:"refresh_token,omitempty"`
	Previous     string             `json:"previous,omitempty"`
	Mint         provider.GrantType `json:"mint,omitempty"`
	Subject      string             `json:"subject,omitempty"`
	TokenURL     string             `json:"token_url,omitempty"`
}

// encode is what json.Marshal would make of g's grantJSON.
func (g Grant) encode() ([]byte, error) {
	o := flatjson.New(128 + len(g.RefreshToken.Reveal()) + len(g.Previous.Reveal()) + len(g.TokenURL))
	o.TextIf("refresh_token", g.RefreshToken.Reveal())
	o.TextIf("previous", g.Previous.Reveal())
	o.TextIf("mint", string(g.Mint))
	o.TextIf("subject", g.Subject)
	o.TextIf("token_url", g.TokenURL)
	return o.Done()
}

// decodeGrant reads what encode wrote, now or in another version.
func decodeGrant(plain []byte) (g Grant, err error) {
	var j grantJSON
	if !flatjson.Read(plain, j.member) {
		j = grantJSON{}
		err = json.Unmarshal(plain, &j)
	}
	return Grant{
		RefreshToken: seal.NewSecret(j.RefreshToken), Previous: seal.NewSecret(j.Previous),
		Mint: j.Mint, Subject: j.Subject, TokenURL: j.TokenURL,
	}, err
}

// member takes a member of the JSON form; false: it is none of ours.
func (j *grantJSON) member(name []byte, value flatjson.Value) bool {
	switch string(name) {
	case "refresh_token":
		return flatjson.Text(value, &j.RefreshToken)
	case "previous":
		return flatjson.Text(value, &j.Previous)
	case "mint":
		return flatjson.Text(value, &j.Mint)
	case "subject":
		return flatjson.Text(value, &j.Subject)
	case "token_url":
		return flatjson.Text(value, &j.TokenURL)
	}
	return false
}

// OpenGrant opens the record's grant. Errors wrap seal.ErrUnknownKey or seal.ErrCorrupt. A record without a grant
// gives the zero Grant.
func (k Keys) OpenGrant(r *Record) (Grant, error) {
	if len(r.Grant) == 0 {
		return Grant{}, nil
	}
	plain, err := k.Grant.Open(r.Grant, k.binding(r, "grant"))
	if err != nil {
		return Grant{}, fmt.Errorf("open grant of %s: %w", r.Credential(), err)
	}
	g, err := decodeGrant(plain)
	if err != nil {
		return Grant{}, fmt.Errorf("open grant of %s: %w: not a grant", r.Credential(), seal.ErrCorrupt)
	}
	return g, nil
}

// OpenAccess opens the record's access token, with errors as OpenGrant's.
func (k Keys) OpenAccess(r *Record) (seal.Secret, error) {
	if len(r.Access) == 0 {
		return seal.Secret{}, nil
	}
	plain, err := k.Access.Open(r.Access, k.binding(r, "access"))
	if err != nil {
		return seal.Secret{}, fmt.Errorf("open access token of %s: %w", r.Credential(), err)
	}
	return seal.NewSecret(string(plain)), nil
}

// Seal puts both secrets into the record, bound to the credential, grant id, generation and version it has now.
func (k Keys) Seal(r *Record, g Grant, access seal.Secret) error {
	plain, err := g.encode()
	if err != nil {
		return fmt.Errorf("seal grant of %s: %w", r.Credential(), err)
	}
	if r.Grant, err = k.Grant.Seal(plain, k.binding(r, "grant")); err != nil {
		return fmt.Errorf("seal grant of %s: %w", r.Credential(), err)
	}
	if r.Access, err = k.Access.Seal([]byte(access.Reveal()), k.binding(r, "access")); err != nil {
		return fmt.Errorf("seal access token of %s: %w", r.Credential(), err)
	}
	return nil
}

func (k Keys) binding(r *Record, field string) seal.Binding {
	return seal.Binding{
		Bucket: k.Bucket, Key: r.Credential().Key(), Field: field,
		GrantID: r.GrantID, Generation: r.Generation, Version: r.Version,
	}
}
