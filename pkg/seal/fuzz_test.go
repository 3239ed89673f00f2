package seal_test

import (
	"errors"
	"os"
	"testing"

	"github.com/freshetdev/freshet/pkg/seal"
)

func FuzzOpen(f *testing.F) {
	data, err := os.ReadFile("testdata/v1.keyset.json")
	if err != nil {
		f.Fatal(err)
	}
	k := load(f, data)
	c, err := os.ReadFile("testdata/v1.sealed")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(c, place.Key, place.Version)
	f.Add(c[:5], place.Key, place.Version)
	f.Add([]byte{}, "", uint64(0))
	f.Add([]byte("\x01\x00\x00\x00\x00"), "k", uint64(1))
	f.Fuzz(func(t *testing.T, ciphertext []byte, key string, version uint64) {
		b := place
		b.Key, b.Version = key, version
		plain, err := k.Open(ciphertext, b)
		switch {
		case err == nil && (b != place || string(ciphertext) != string(c)):
			t.Fatalf("opened a ciphertext that nobody sealed: %q", plain)
		case err != nil && plain != nil:
			t.Fatalf("plaintext %q beside the error %v", plain, err)
		case err != nil && !errors.Is(err, seal.ErrCorrupt) && !errors.Is(err, seal.ErrUnknownKey):
			t.Fatalf("neither corrupt nor unknown: %v", err)
		}
	})
}
