package provider

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/freshetdev/freshet/pkg/seal"
)

// The fields of an entry that sealed values are bound to; lists have the place behind them.
const (
	fieldClientSecret = "client_secret"
	fieldAssertionKey = "assertion_key"
	fieldMovedFrom    = "moved_from"
)

// SealSecrets seals the definition's open secrets, and what only the keyset's owner may say, into the entry: bound to the
// bucket, the provider, what they are and their place in the list.
func (e *Entry) SealSecrets(k *seal.Keyset, bucket string) error {
	b := box{k, bucket, e.Name}
	secrets, err := b.sealAll(fieldClientSecret, e.Definition.ClientSecrets)
	if err != nil {
		return err
	}
	moved := make([]seal.Secret, len(e.Definition.MovedFrom))
	for i, url := range e.Definition.MovedFrom {
		moved[i] = seal.NewSecret(url)
	}
	from, err := b.sealAll(fieldMovedFrom, moved)
	if err != nil {
		return err
	}
	var key []byte
	if s := e.Definition.AssertionKey; !s.IsZero() {
		if key, err = b.seal(fieldAssertionKey, s); err != nil {
			return err
		}
	}
	endpoints, err := e.sealEndpoints(b)
	if err != nil {
		return err
	}
	e.ClientSecrets, e.AssertionKey, e.MovedFrom, e.Endpoints = secrets, key, from, endpoints
	return nil
}

// OpenSecrets opens what SealSecrets sealed into the definition, and drops addresses that are not as they were sealed. Either all open or the definition stays as it is. Errors
// wrap seal.ErrUnknownKey or seal.ErrCorrupt.
func (e *Entry) OpenSecrets(k *seal.Keyset, bucket string) error {
	b := box{k, bucket, e.Name}
	secrets, err := b.openAll(fieldClientSecret, e.ClientSecrets)
	if err != nil {
		return err
	}
	moved, err := b.openAll(fieldMovedFrom, e.MovedFrom)
	if err != nil {
		return err
	}
	var key seal.Secret
	if len(e.AssertionKey) > 0 {
		if key, err = b.open(fieldAssertionKey, e.AssertionKey); err != nil {
			return err
		}
	}
	endpoints, err := e.openEndpoints(b)
	if err != nil {
		return err
	}
	e.Definition.ClientSecrets, e.Definition.AssertionKey, e.Definition.MovedFrom = secrets, key, nil
	e.Definition.dropUnvouched(endpoints)
	for _, s := range moved {
		e.Definition.MovedFrom = append(e.Definition.MovedFrom, s.Reveal())
	}
	return nil
}

// box seals and opens the values of one provider.
type box struct {
	keyset       *seal.Keyset
	bucket, name string
}

func (b box) sealAll(field string, secrets []seal.Secret) ([][]byte, error) {
	sealed := make([][]byte, len(secrets))
	for i, s := range secrets {
		c, err := b.seal(field+"/"+strconv.Itoa(i), s)
		if err != nil {
			return nil, err
		}
		sealed[i] = c
	}
	return sealed, nil
}

func (b box) openAll(field string, sealed [][]byte) ([]seal.Secret, error) {
	var open []seal.Secret
	for i, c := range sealed {
		s, err := b.open(field+"/"+strconv.Itoa(i), c)
		if err != nil {
			return nil, err
		}
		open = append(open, s)
	}
	return open, nil
}

func (b box) seal(field string, s seal.Secret) ([]byte, error) {
	c, err := b.keyset.Seal([]byte(s.Reveal()), b.binding(field))
	if err != nil {
		return nil, fmt.Errorf("seal %s of provider %s: %w", inWords(field), b.name, err)
	}
	return c, nil
}

func (b box) open(field string, sealed []byte) (seal.Secret, error) {
	plain, err := b.keyset.Open(sealed, b.binding(field))
	if err != nil {
		return seal.Secret{}, fmt.Errorf("open %s of provider %s: %w", inWords(field), b.name, err)
	}
	return seal.NewSecret(string(plain)), nil
}

// inWords is what people call a field: client_secret/0 is client secret 1.
func inWords(field string) string {
	name, place, listed := strings.Cut(field, "/")
	name = strings.ReplaceAll(name, "_", " ")
	if i, err := strconv.Atoi(place); listed && err == nil {
		return name + " " + strconv.Itoa(i+1)
	}
	return name
}

func (b box) binding(field string) seal.Binding {
	return seal.Binding{Bucket: b.bucket, Key: b.name, Field: field}
}
