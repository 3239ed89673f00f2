package provider

import (
	"slices"
	"strconv"

	"github.com/freshetdev/freshet/pkg/seal"
)

// Rewrap seals anew, with the primary key, what is sealed in the entry with others; the definition is not touched. changed is false when there was
// nothing to do, and with an error, after which the entry is as it was. Errors wrap seal.ErrUnknownKey or seal.ErrCorrupt.
func (e *Entry) Rewrap(k *seal.Keyset, bucket string) (changed bool, err error) {
	b := box{k, bucket, e.Name}
	next := *e
	next.ClientSecrets, next.MovedFrom = slices.Clone(e.ClientSecrets), slices.Clone(e.MovedFrom)
	for field, sealed := range next.sealed() {
		c, one, err := k.Rewrap(*sealed, b.binding(field))
		if err != nil {
			return false, err
		}
		*sealed = c
		changed = changed || one
	}
	if changed {
		*e = next
	}
	return changed, nil
}

// Sealed returns everything that is sealed in the entry.
func (e *Entry) Sealed() [][]byte {
	var all [][]byte
	for _, sealed := range e.sealed() {
		if len(*sealed) > 0 {
			all = append(all, *sealed)
		}
	}
	return all
}

// sealed leads to everything that is sealed in the entry, by the field that it is bound to.
func (e *Entry) sealed() map[string]*[]byte {
	all := map[string]*[]byte{fieldAssertionKey: &e.AssertionKey, fieldEndpoints: &e.Endpoints}
	for i := range e.ClientSecrets {
		all[fieldClientSecret+"/"+strconv.Itoa(i)] = &e.ClientSecrets[i]
	}
	for i := range e.MovedFrom {
		all[fieldMovedFrom+"/"+strconv.Itoa(i)] = &e.MovedFrom[i]
	}
	return all
}
