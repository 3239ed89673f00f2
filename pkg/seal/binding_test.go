package seal_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"testing"

	"pgregory.net/rapid"

	"github.com/freshetdev/freshet/pkg/seal"
)

func drawBinding(t *rapid.T, label string) seal.Binding {
	// Few letters and short texts, so that fields run into each other if the encoding lets them.
	text := rapid.StringOfN(rapid.SampledFrom([]rune("ab\x00/.")), 0, 5, -1)
	return seal.Binding{
		Bucket: text.Draw(t, label+" bucket"), Key: text.Draw(t, label+" key"), Field: text.Draw(t, label+" field"),
		GrantID:    text.Draw(t, label+" grant id"),
		Generation: rapid.Uint64Range(0, 3).Draw(t, label+" generation"),
		Version:    rapid.Uint64Range(0, 3).Draw(t, label+" version"),
	}
}

func named(b seal.Binding) seal.Binding {
	b.Bucket, b.Key, b.Field = "b"+b.Bucket, "k"+b.Key, "f"+b.Field
	return b
}

func TestAssociatedDataIsUnambiguous(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawBinding(t, "a"), drawBinding(t, "b")
		if same := bytes.Equal(a.AssociatedData(), b.AssociatedData()); same != (a == b) {
			t.Fatalf("%+v and %+v: equal encodings %v", a, b, same)
		}
	})
}

// TestAssociatedDataIsFixed pins the encoding: a change would leave everything sealed before unreadable.
func TestAssociatedDataIsFixed(t *testing.T) {
	t.Parallel()
	const want = "000000000000000f667265736865742f7365616c2f7631" + // freshet/seal/v1
		"0000000000000006746f6b656e73" + "000000000000000a61636d652e616c696365" + "00000000000000056772616e74" +
		"00000000000000106162636465666768696a6b6c6d6e6f70" + "0000000000000002" + "0000000000000011"
	if got := hex.EncodeToString(place.AssociatedData()); got != want {
		t.Errorf("associated data\n got %s\nwant %s", got, want)
	}
}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	k, _ := generate(t)
	rapid.Check(t, func(t *rapid.T) {
		plain := rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "plaintext")
		b := named(drawBinding(t, "place"))
		c, err := k.Seal(plain, b)
		if err != nil {
			t.Fatal(err)
		}
		if len(plain) >= 8 && bytes.Contains(c, plain) {
			t.Fatal("the ciphertext contains the plaintext")
		}
		got, err := k.Open(c, b)
		if err != nil || !bytes.Equal(got, plain) {
			t.Fatalf("opened %x, %v", got, err)
		}
		if id, err := seal.KeyIDOf(c); err != nil || id != k.PrimaryID() {
			t.Fatalf("key id %d, %v", id, err)
		}
	})
}

func TestAnyBitFlipFailsClosed(t *testing.T) {
	t.Parallel()
	k, _ := generate(t)
	c := sealed(t, k, "a refresh token", place)
	for bit := range len(c) * 8 {
		bad := bytes.Clone(c)
		bad[bit/8] ^= 1 << (bit % 8)
		checkClosed(t, k, bad, place)
	}
	for n := range c {
		checkClosed(t, k, c[:n], place)
		checkClosed(t, k, c[n+1:], place)
	}
	checkClosed(t, k, append(bytes.Clone(c), 0), place)
}

func TestAnyOtherPlaceFailsClosed(t *testing.T) {
	t.Parallel()
	k, _ := generate(t)
	rapid.Check(t, func(t *rapid.T) {
		here, there := named(drawBinding(t, "here")), named(drawBinding(t, "there"))
		if here == there {
			there.Version++
		}
		c, err := k.Seal([]byte("a refresh token"), here)
		if err != nil {
			t.Fatal(err)
		}
		if plain, err := k.Open(c, there); !errors.Is(err, seal.ErrCorrupt) || plain != nil {
			t.Fatalf("sealed for %+v, opened as %+v: %q, %v", here, there, plain, err)
		}
	})
}

func TestEachFieldOfAPlaceCounts(t *testing.T) {
	t.Parallel()
	k, _ := generate(t)
	c := sealed(t, k, "a refresh token", place)
	for name, change := range map[string]func(*seal.Binding){
		"bucket": func(b *seal.Binding) { b.Bucket = "staging_tokens" }, "key": func(b *seal.Binding) { b.Key = "acme.bob" },
		"field": func(b *seal.Binding) { b.Field = "access" }, "grant id": func(b *seal.Binding) { b.GrantID = "" },
		"generation": func(b *seal.Binding) { b.Generation-- }, "version": func(b *seal.Binding) { b.Version++ },
		"a byte moved over": func(b *seal.Binding) { b.Bucket, b.Key = b.Bucket+b.Key[:1], b.Key[1:] },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := place
			change(&b)
			checkClosed(t, k, c, b)
		})
	}
}

// checkClosed fails unless opening gives an error of this package and no plaintext.
func checkClosed(t *testing.T, k *seal.Keyset, ciphertext []byte, b seal.Binding) {
	t.Helper()
	plain, err := k.Open(ciphertext, b)
	if plain != nil || !errors.Is(err, seal.ErrCorrupt) && !errors.Is(err, seal.ErrUnknownKey) {
		t.Errorf("open %x: %q, %v", ciphertext, plain, err)
	}
}
