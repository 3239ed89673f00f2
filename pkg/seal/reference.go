package seal

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
)

// markPurpose keeps the keys of references apart from everything else that is derived from a key (RFC 5869 section 3.2).
const markPurpose = "freshet: reference of a token, v1"

// markKey derives the key of references from a key's material.
func markKey(material []byte) ([]byte, error) {
	key, err := hkdf.Key(sha256.New, material, nil, markPurpose, sha256.Size)
	if err != nil {
		return nil, fmt.Errorf("derive the key of references: %w", err)
	}
	return key, nil
}

// Reference returns what stands for a token where the token must not: hmac:KEYID:HEX, an HMAC-SHA256 with a key that is derived from
// the primary key. Who has the token and the keyset finds it again, also after a rotation: see References. Nobody else learns
// anything of the token, nor whether a token that they guess is the one. It is empty for no keyset and for no token.
func (k *Keyset) Reference(token Secret) string {
	if k == nil || token.IsZero() {
		return ""
	}
	c := k.current.Load()
	return reference(c.primary, c.marks[c.primary], token)
}

// References returns the references of a token by all keys that open: those that Reference has given since the oldest of them was
// the primary key.
func (k *Keyset) References(token Secret) (all []string) {
	if k == nil || token.IsZero() {
		return nil
	}
	c := k.current.Load()
	for _, id := range c.ids {
		all = append(all, reference(id, c.marks[id], token))
	}
	return all
}

func reference(id uint32, key []byte, token Secret) string {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(token.Reveal()))
	return fmt.Sprintf("hmac:%d:%s", id, hex.EncodeToString(mac.Sum(nil)))
}
