package seal

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"
)

// Errors of changing a keyset.
var (
	// ErrNothingNewer: the newest key is the primary one.
	ErrNothingNewer = errors.New("the newest key is the primary one")
	// ErrNewerWaits: a key that is newer than the primary one was added and not promoted yet.
	ErrNewerWaits = errors.New("a newer key waits to be promoted")
	// ErrPrimaryKey: the primary key cannot be removed.
	ErrPrimaryKey = errors.New("this is the primary key")
	// ErrNoSuchKey: the keyset has no key of that id.
	ErrNoSuchKey = errors.New("no such key in this keyset")
)

// Key describes one key of a keyset, without the key itself.
type Key struct {
	ID        uint32
	Algorithm string // the last part of Tink's type URL, such as "google.crypto.tink.XChaCha20Poly1305Key"
	Enabled   bool   // it opens
	Primary   bool   // it seals
}

// Keys describes all keys, those included that are not enabled, in the keyset's order: the newest is the last.
func (k *Keyset) Keys() []Key { return slices.Clone(k.current.Load().all) }

// Rewrap seals anew with the primary key what another key sealed for the same place. changed is false where there is
// nothing to do: no keyset, no ciphertext, or one of the primary key's. Errors are those of Open.
func (k *Keyset) Rewrap(ciphertext []byte, b Binding) (next []byte, changed bool, err error) {
	if !k.Stale(ciphertext) {
		return ciphertext, false, nil
	}
	plain, err := k.Open(ciphertext, b)
	if err != nil {
		return ciphertext, false, err
	}
	next, err = k.Seal(plain, b)
	return next, err == nil, err
}

// Stale reports whether a ciphertext is not the primary key's. It is false without a keyset and without a ciphertext.
func (k *Keyset) Stale(ciphertext []byte) bool {
	if k == nil || len(ciphertext) == 0 {
		return false
	}
	id, err := KeyIDOf(ciphertext)
	return err != nil || id != k.PrimaryID()
}

// AddKey adds a new key, which opens and does not seal yet, to a keyset as LoadKeyset reads it, and returns the changed keyset's bytes,
// which are secret, and the key's id. Error: ErrNewerWaits.
func AddKey(data []byte) (next []byte, id uint32, err error) {
	k, err := LoadKeyset(data)
	if err != nil {
		return nil, 0, err
	}
	if newest := k.newest(); newest != k.PrimaryID() {
		return nil, 0, fmt.Errorf("%w: %d", ErrNewerWaits, newest)
	}
	next, err = edit(data, func(m *keyset.Manager) error {
		id, err = m.Add(aead.XChaCha20Poly1305KeyTemplate())
		return err
	})
	return next, id, err
}

// PromoteKey makes the newest enabled key the one that seals; the one before still opens. Error: ErrNothingNewer.
func PromoteKey(data []byte) (next []byte, id uint32, err error) {
	k, err := LoadKeyset(data)
	if err != nil {
		return nil, 0, err
	}
	if id = k.newest(); id == k.PrimaryID() {
		return nil, 0, fmt.Errorf("%w: %d", ErrNothingNewer, id)
	}
	next, err = edit(data, func(m *keyset.Manager) error { return m.SetPrimary(id) })
	return next, id, err
}

// RemoveKey removes a key, after which nothing that it sealed opens any more. Errors: ErrPrimaryKey, ErrNoSuchKey.
func RemoveKey(data []byte, id uint32) (next []byte, err error) {
	k, err := LoadKeyset(data)
	switch {
	case err != nil:
		return nil, err
	case id == k.PrimaryID():
		return nil, fmt.Errorf("remove key %d: %w", id, ErrPrimaryKey)
	case !slices.ContainsFunc(k.Keys(), func(key Key) bool { return key.ID == id }):
		return nil, fmt.Errorf("remove key %d: %w", id, ErrNoSuchKey)
	}
	return edit(data, func(m *keyset.Manager) error { return m.Delete(id) })
}

// newest is the id of the last key that is enabled; the primary one always is.
func (k *Keyset) newest() uint32 {
	ids := k.current.Load().ids
	return ids[len(ids)-1]
}

// edit changes a keyset that LoadKeyset has read.
func edit(data []byte, change func(*keyset.Manager) error) ([]byte, error) {
	handle, err := insecurecleartextkeyset.Read(keyset.NewJSONReader(bytes.NewReader(data)))
	if err != nil {
		return nil, errors.New("change keyset: it cannot be read") // Tink's own words may quote a key
	}
	m := keyset.NewManagerFromHandle(handle)
	if err := change(m); err != nil {
		return nil, fmt.Errorf("change keyset: %w", err)
	}
	if handle, err = m.Handle(); err != nil {
		return nil, fmt.Errorf("change keyset: %w", err)
	}
	var b bytes.Buffer
	if err := insecurecleartextkeyset.Write(handle, keyset.NewJSONWriter(&b)); err != nil {
		return nil, fmt.Errorf("change keyset: %w", err)
	}
	return append(b.Bytes(), '\n'), nil
}
