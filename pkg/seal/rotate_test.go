package seal_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/freshetdev/freshet/pkg/seal"
)

// added and the others want their step to work.
func added(t *testing.T, data []byte) ([]byte, uint32) {
	t.Helper()
	next, id, err := seal.AddKey(data)
	if err != nil {
		t.Fatal(err)
	}
	return next, id
}

func promoted(t *testing.T, data []byte) []byte {
	t.Helper()
	next, _, err := seal.PromoteKey(data)
	if err != nil {
		t.Fatal(err)
	}
	return next
}

func TestAKeyIsHandedOutThenPromotedThenRemoved(t *testing.T) {
	t.Parallel()
	k, data := generate(t)
	old := sealed(t, k, "a refresh token", place)

	handed, id := added(t, data)
	first := load(t, handed)
	if first.PrimaryID() != k.PrimaryID() || len(first.KeyIDs()) != 2 {
		t.Fatalf("after a key was added: %v", first)
	}
	seals := promoted(t, handed)
	second := load(t, seals)
	if second.PrimaryID() != id || len(second.KeyIDs()) != 2 {
		t.Fatalf("after key %d was promoted: %v", id, second)
	}
	next, changed, err := second.Rewrap(old, place)
	if err != nil || !changed {
		t.Fatalf("rewrap: %v, %v", changed, err)
	}
	// Whoever has the keyset that was handed out opens what the promoted one seals.
	if plain, err := first.Open(next, place); err != nil || string(plain) != "a refresh token" {
		t.Fatalf("the keyset of the first step opens %q, %v", plain, err)
	}
	removed, err := seal.RemoveKey(seals, k.PrimaryID())
	if err != nil {
		t.Fatal(err)
	}
	third := load(t, removed)
	if plain, err := third.Open(next, place); err != nil || string(plain) != "a refresh token" {
		t.Errorf("the new key alone opens %q, %v", plain, err)
	}
	if _, err := third.Open(old, place); !errors.Is(err, seal.ErrUnknownKey) {
		t.Errorf("without its key: %v", err)
	}
}

func TestRewrapLeavesAloneWhatNeedsNone(t *testing.T) {
	t.Parallel()
	k, _ := generate(t)
	c := sealed(t, k, "a refresh token", place)
	for name, tc := range map[string]struct {
		keyset     *seal.Keyset
		ciphertext []byte
	}{"of the primary key": {k, c}, "empty": {k, nil}, "no keyset": {nil, c}} {
		next, changed, err := tc.keyset.Rewrap(tc.ciphertext, place)
		if err != nil || changed || !bytes.Equal(next, tc.ciphertext) || tc.keyset.Stale(tc.ciphertext) {
			t.Errorf("%s: changed %v, %v", name, changed, err)
		}
	}
}

func TestRewrapFailsClosed(t *testing.T) {
	t.Parallel()
	k, data := generate(t)
	c := sealed(t, k, "a refresh token", place)
	handed, _ := added(t, data)
	rotated := load(t, promoted(t, handed))
	elsewhere := place
	elsewhere.Version++
	stranger, _ := generate(t)
	for name, tc := range map[string]struct {
		keyset     *seal.Keyset
		ciphertext []byte
		at         seal.Binding
		want       error
	}{
		"another place":   {rotated, c, elsewhere, seal.ErrCorrupt},
		"no sealed value": {rotated, []byte("x"), place, seal.ErrCorrupt},
		"unknown key":     {stranger, c, place, seal.ErrUnknownKey},
	} {
		next, changed, err := tc.keyset.Rewrap(tc.ciphertext, tc.at)
		if !errors.Is(err, tc.want) || changed || !bytes.Equal(next, tc.ciphertext) {
			t.Errorf("%s: changed %v, %v, want %v", name, changed, err, tc.want)
		}
	}
}

func TestKeysetsRefuseStepsOutOfOrder(t *testing.T) {
	t.Parallel()
	k, data := generate(t)
	handed, id := added(t, data)
	_, _, again := seal.AddKey(handed)
	_, _, early := seal.PromoteKey(data)
	_, primary := seal.RemoveKey(handed, k.PrimaryID())
	_, unknown := seal.RemoveKey(handed, id+1)
	for name, tc := range map[string]struct{ err, want error }{
		"a second new key": {again, seal.ErrNewerWaits}, "nothing to promote": {early, seal.ErrNothingNewer},
		"the primary key": {primary, seal.ErrPrimaryKey}, "a key that is not there": {unknown, seal.ErrNoSuchKey},
	} {
		if !errors.Is(tc.err, tc.want) {
			t.Errorf("%s: %v, want %v", name, tc.err, tc.want)
		}
	}
}

func TestKeysAreDescribed(t *testing.T) {
	t.Parallel()
	k, data := generate(t)
	handed, id := added(t, data)
	const algorithm = "google.crypto.tink.XChaCha20Poly1305Key"
	got := load(t, handed).Keys()
	want := []seal.Key{
		{ID: k.PrimaryID(), Algorithm: algorithm, Enabled: true, Primary: true}, {ID: id, Algorithm: algorithm, Enabled: true},
	}
	if len(got) != 2 || got[0] != want[0] || got[1] != want[1] {
		t.Errorf("keys %+v, want %+v", got, want)
	}
}

func TestReplaceIsForEverybodyWhoHasTheKeyset(t *testing.T) {
	t.Parallel()
	k, data := generate(t)
	held := k
	c := sealed(t, k, "a refresh token", place)
	handed, id := added(t, data)
	k.Replace(load(t, promoted(t, handed)))
	if held.PrimaryID() != id || len(held.Keys()) != 2 {
		t.Errorf("it is %v", held)
	}
	if plain, err := held.Open(c, place); err != nil || string(plain) != "a refresh token" {
		t.Errorf("opens %q, %v", plain, err)
	}
}
