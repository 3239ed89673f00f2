package seal_test

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/freshetdev/freshet/pkg/seal"
)

func keysetOf(t *testing.T, data []byte) *seal.Keyset {
	t.Helper()
	k, err := seal.LoadKeyset(data)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestReferenceOutlivesARotation(t *testing.T) {
	t.Parallel()
	data, err := seal.GenerateKeyset()
	if err != nil {
		t.Fatal(err)
	}
	token := seal.NewSecret("token-1")
	old := keysetOf(t, data).Reference(token)
	if data, _, err = seal.AddKey(data); err == nil {
		data, _, err = seal.PromoteKey(data)
	}
	if err != nil {
		t.Fatal(err)
	}
	k := keysetOf(t, data)
	switch now := k.Reference(token); {
	case now == old:
		t.Error("the reference is still the old key's")
	case !slices.Contains(k.References(token), old) || !slices.Contains(k.References(token), now):
		t.Errorf("references %v: want both %s and %s", k.References(token), old, now)
	case slices.Contains(k.References(seal.NewSecret("token-2")), old):
		t.Error("another token has the same reference")
	}
}

func TestReferenceShowsNeitherTokenNorKey(t *testing.T) {
	t.Parallel()
	data, err := seal.GenerateKeyset()
	if err != nil {
		t.Fatal(err)
	}
	k, other := keysetOf(t, data), keysetOf(t, mustGenerate(t))
	token := seal.NewSecret("token-1")
	ref := k.Reference(token)
	if want := fmt.Sprintf(`^hmac:%d:[0-9a-f]{64}$`, k.PrimaryID()); !regexp.MustCompile(want).MatchString(ref) {
		t.Errorf("reference %s: want %s", ref, want)
	}
	if strings.Contains(ref, token.Reveal()) || bytes.Contains(data, []byte(ref[strings.LastIndexByte(ref, ':')+1:])) {
		t.Errorf("reference %s shows something", ref)
	}
	if slices.Contains(other.References(token), ref) {
		t.Error("another keyset gives the same reference")
	}
}

func TestNothingHasNoReference(t *testing.T) {
	t.Parallel()
	var none *seal.Keyset
	k := keysetOf(t, mustGenerate(t))
	if none.Reference(seal.NewSecret("x")) != "" || none.References(seal.NewSecret("x")) != nil || k.Reference(seal.Secret{}) != "" || k.References(seal.Secret{}) != nil {
		t.Error("nothing has a reference")
	}
}

func mustGenerate(t *testing.T) []byte {
	t.Helper()
	data, err := seal.GenerateKeyset()
	if err != nil {
		t.Fatal(err)
	}
	return data
}
