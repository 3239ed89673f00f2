package provider

import (
	"encoding/json"

	"github.com/freshetdev/freshet/pkg/seal"
)

// fieldEndpoints is what the sealed form of an entry's endpoints is bound to.
const fieldEndpoints = "endpoints"

// tokenEndpoints are the fields of a definition whose addresses are shown tokens, beside token_url, to which each grant is bound itself.
func (d *Definition) tokenEndpoints() map[string]*string {
	return map[string]*string{"introspect_url": &d.IntrospectURL, "revoke_url": &d.RevokeURL, "userinfo_url": &d.UserinfoURL}
}

// sealEndpoints says, as only who has the keyset can, which addresses may be shown tokens.
func (e *Entry) sealEndpoints(b box) ([]byte, error) {
	said := make(map[string]string)
	for field, url := range e.tokenEndpoints() {
		if *url != "" {
			said[field] = *url
		}
	}
	if len(said) == 0 {
		return nil, nil
	}
	data, err := json.Marshal(said)
	if err != nil {
		return nil, err
	}
	return b.seal(fieldEndpoints, seal.NewSecret(string(data)))
}

// openEndpoints returns what was sealed, nothing for an entry without.
func (e *Entry) openEndpoints(b box) (map[string]string, error) {
	if len(e.Endpoints) == 0 {
		return nil, nil
	}
	text, err := b.open(fieldEndpoints, e.Endpoints)
	if err != nil {
		return nil, err
	}
	var said map[string]string
	if json.Unmarshal([]byte(text.Reveal()), &said) != nil {
		return nil, seal.ErrCorrupt
	}
	return said, nil
}

// dropUnvouched empties the fields whose addresses nobody with the keyset has set.
func (d *Definition) dropUnvouched(said map[string]string) {
	d.Unvouched = nil
	for _, field := range []string{"introspect_url", "revoke_url", "userinfo_url"} {
		if url := d.tokenEndpoints()[field]; *url != "" && *url != said[field] {
			*url = ""
			d.Unvouched = append(d.Unvouched, field)
		}
	}
}
