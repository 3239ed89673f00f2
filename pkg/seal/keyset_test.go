package seal_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/mac"
	tinkpb "github.com/tink-crypto/tink-go/v2/proto/tink_go_proto"

	"github.com/freshetdev/freshet/pkg/seal"
)

var place = seal.Binding{
	Bucket: "tokens", Key: "acme.alice", Field: "grant", GrantID: "abcdefghijklmnop", Generation: 2, Version: 17,
}

func generate(tb testing.TB) (*seal.Keyset, []byte) {
	tb.Helper()
	data, err := seal.GenerateKeyset()
	if err != nil {
		tb.Fatal(err)
	}
	return load(tb, data), data
}

func load(tb testing.TB, data []byte) *seal.Keyset {
	tb.Helper()
	k, err := seal.LoadKeyset(data)
	if err != nil {
		tb.Fatal(err)
	}
	return k
}

func sealed(tb testing.TB, k *seal.Keyset, plaintext string, b seal.Binding) []byte {
	tb.Helper()
	c, err := k.Seal([]byte(plaintext), b)
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// rotate applies an operator's change to a keyset: tink's own manager, as tinkey would do it.
func rotate(tb testing.TB, data []byte, change func(*keyset.Manager) error) []byte {
	tb.Helper()
	handle, err := insecurecleartextkeyset.Read(keyset.NewJSONReader(bytes.NewReader(data)))
	if err != nil {
		tb.Fatal(err)
	}
	m := keyset.NewManagerFromHandle(handle)
	if err := change(m); err != nil {
		tb.Fatal(err)
	}
	if handle, err = m.Handle(); err != nil {
		tb.Fatal(err)
	}
	var b bytes.Buffer
	if err := insecurecleartextkeyset.Write(handle, keyset.NewJSONWriter(&b)); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

func addKey(tb testing.TB, data []byte) (withKey []byte, id uint32) {
	tb.Helper()
	withKey = rotate(tb, data, func(m *keyset.Manager) (err error) {
		id, err = m.Add(aead.XChaCha20Poly1305KeyTemplate())
		return err
	})
	return withKey, id
}

func TestKeyRotation(t *testing.T) {
	t.Parallel()
	before, data := generate(t)
	data, newID := addKey(t, data)
	handedOut := load(t, data)
	promoted := load(t, rotate(t, data, func(m *keyset.Manager) error { return m.SetPrimary(newID) }))

	if handedOut.PrimaryID() != before.PrimaryID() || promoted.PrimaryID() != newID {
		t.Errorf("primaries %d, %d, %d; the new key is %d", before.PrimaryID(), handedOut.PrimaryID(), promoted.PrimaryID(), newID)
	}
	if want := []uint32{before.PrimaryID(), newID}; !slices.Equal(promoted.KeyIDs(), want) {
		t.Errorf("key ids %v, want %v", promoted.KeyIDs(), want)
	}
	old, fresh := sealed(t, before, "old", place), sealed(t, promoted, "new", place)
	for name, open := range map[string]func() ([]byte, error){
		"a new primary opens what the old one sealed":       func() ([]byte, error) { return promoted.Open(old, place) },
		"a key that was handed out opens before it is used": func() ([]byte, error) { return handedOut.Open(fresh, place) },
	} {
		if _, err := open(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if id, err := seal.KeyIDOf(fresh); err != nil || id != newID {
		t.Errorf("KeyIDOf = %d, %v; want %d", id, err, newID)
	}
	_, err := before.Open(fresh, place)
	if !errors.Is(err, seal.ErrUnknownKey) || !strings.Contains(err.Error(), fmt.Sprintf("key %d,", newID)) {
		t.Errorf("an older keyset must name the key it lacks: %v", err)
	}
}

func TestDisabledKeyIsUnknown(t *testing.T) {
	t.Parallel()
	k, data := generate(t)
	old := sealed(t, k, "x", place)
	data, id := addKey(t, data)
	disabled := load(t, rotate(t, data, func(m *keyset.Manager) error {
		return errors.Join(m.SetPrimary(id), m.Disable(k.PrimaryID()))
	}))
	if _, err := disabled.Open(old, place); !errors.Is(err, seal.ErrUnknownKey) {
		t.Errorf("open with a disabled key: %v", err)
	}
	if !slices.Equal(disabled.KeyIDs(), []uint32{id}) {
		t.Errorf("key ids %v, want only %d", disabled.KeyIDs(), id)
	}
}

func TestTwoKeysetsDoNotOpenEachOther(t *testing.T) {
	t.Parallel()
	a, data := generate(t)
	b, _ := generate(t)
	c := sealed(t, a, "x", place)
	if _, err := b.Open(c, place); !errors.Is(err, seal.ErrUnknownKey) {
		t.Errorf("another keyset: %v", err)
	}
	// The same id with another key: what a second keyset looks like that happens to draw the same id.
	namesake := load(t, withKeyMaterial(t, data))
	if namesake.PrimaryID() != a.PrimaryID() {
		t.Fatalf("primaries %d and %d", namesake.PrimaryID(), a.PrimaryID())
	}
	if _, err := namesake.Open(c, place); !errors.Is(err, seal.ErrCorrupt) {
		t.Errorf("another key of the same id: %v", err)
	}
}

// withKeyMaterial returns the keyset with its one key replaced by a known one.
func withKeyMaterial(tb testing.TB, data []byte) []byte {
	tb.Helper()
	var ks map[string]any
	if err := json.Unmarshal(data, &ks); err != nil {
		tb.Fatal(err)
	}
	key := ks["key"].([]any)[0].(map[string]any)["keyData"].(map[string]any)
	key["value"] = "GiAAAQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHw==" // field 3, 32 bytes
	out, err := json.Marshal(ks)
	if err != nil {
		tb.Fatal(err)
	}
	return out
}

func TestSealIsRandomised(t *testing.T) {
	t.Parallel()
	k, _ := generate(t)
	a, b := sealed(t, k, "same", place), sealed(t, k, "same", place)
	if bytes.Equal(a, b) {
		t.Error("the same plaintext sealed twice gives the same ciphertext")
	}
	if len(a) != len("same")+45 {
		t.Errorf("ciphertext of 4 bytes has %d, documented are 45 more", len(a))
	}
}

func TestSealRefusesAPlaceWithoutName(t *testing.T) {
	t.Parallel()
	k, _ := generate(t)
	for _, b := range []seal.Binding{{}, {Bucket: "b", Key: "k"}, {Bucket: "b", Field: "f"}, {Key: "k", Field: "f"}} {
		if _, err := k.Seal([]byte("x"), b); err == nil {
			t.Errorf("sealed for %+v", b)
		}
	}
}

func TestLoadKeysetSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	_, good := generate(t)
	for name, tc := range map[string]struct {
		data []byte
		want string
	}{
		"empty":              {nil, "no data: want a cleartext Tink keyset in JSON"},
		"blank":              {[]byte(" \n"), "no data"},
		"not JSON":           {[]byte("hunter2"), "not a JSON object"},
		"a list":             {[]byte("[]"), "not a JSON object"},
		"cut short":          {good[:len(good)/2], "not a JSON object"},
		"other JSON":         {[]byte(`{"api_key":"hunter2"}`), "not a Tink keyset"},
		"encrypted":          {[]byte(`{"encryptedKeyset":"aHVudGVyMg==","keysetInfo":{}}`), "the keyset is encrypted"},
		"no key":             {[]byte(`{"primaryKeyId":1}`), "empty keyset"},
		"no primary":         {bytes.Replace(good, []byte(`"primaryKeyId":`), []byte(`"primaryKeyId":1`), 1), ""},
		"raw prefix":         {bytes.Replace(good, []byte(`"TINK"`), []byte(`"RAW"`), 1), "output prefix RAW: want TINK"},
		"a key that is none": {bytes.Replace(good, []byte(`"value":"`), []byte(`"value":"hunter2A`), 1), "not every key is a usable AEAD key"},
		"bad base64":         {bytes.Replace(good, []byte(`"value":"`), []byte(`"value":"hunter2 `), 1), "not a Tink keyset"},
		"keys for MACs":      {macKeyset(t), "usable AEAD key"},
	} {
		_, err := seal.LoadKeyset(tc.data)
		if err == nil || !strings.HasPrefix(err.Error(), "load keyset: ") || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v; want %q", name, err, tc.want)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the error repeats what may be a key: %v", name, err)
		}
	}
}

func macKeyset(tb testing.TB) []byte {
	tb.Helper()
	handle, err := keyset.NewHandle(mac.HMACSHA256Tag256KeyTemplate())
	if err != nil {
		tb.Fatal(err)
	}
	var b bytes.Buffer
	if err := insecurecleartextkeyset.Write(handle, keyset.NewJSONWriter(&b)); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

func TestGeneratedKeysetsDiffer(t *testing.T) {
	t.Parallel()
	a, dataA := generate(t)
	b, dataB := generate(t)
	if a.PrimaryID() == b.PrimaryID() || bytes.Equal(dataA, dataB) {
		t.Error("two keysets share an id")
	}
	pb, err := keyset.NewJSONReader(bytes.NewReader(dataA)).Read()
	if err != nil {
		t.Fatal(err)
	}
	kind := pb.GetKey()[0].GetKeyData().GetTypeUrl()
	if !strings.HasSuffix(kind, ".XChaCha20Poly1305Key") || pb.GetKey()[0].GetStatus() != tinkpb.KeyStatusType_ENABLED {
		t.Errorf("generated key: %s", kind)
	}
}

func TestKeysetPrintsIDsOnly(t *testing.T) {
	t.Parallel()
	_, data := generate(t)
	k := load(t, withKeyMaterial(t, data))
	holder := struct{ k *seal.Keyset }{k}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%d", "%x"} {
		for _, out := range []string{fmt.Sprintf(verb, k), fmt.Sprintf(verb, holder), fmt.Sprintf(verb, *k)} {
			if strings.Contains(out, "0 1 2 3 4 5 6") || strings.Contains(out, "000102030405") || strings.Contains(out, "0x0, 0x1, 0x2") {
				t.Errorf("%s shows the key: %s", verb, out)
			}
		}
	}
	if want := fmt.Sprintf("keyset [%d], primary %d", k.PrimaryID(), k.PrimaryID()); k.String() != want {
		t.Errorf("prints %q, want %q", k, want)
	}
	//nolint:staticcheck // that nothing comes out is the point
	if out, err := json.Marshal(k); err != nil || string(out) != "{}" {
		t.Errorf("json: %s, %v", out, err)
	}
}

// TestOldCiphertextsOpenForever reads a keyset and a ciphertext that were made when the format was fixed.
func TestOldCiphertextsOpenForever(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("testdata/v1.keyset.json")
	if err != nil {
		t.Fatal(err)
	}
	ciphertext, err := os.ReadFile("testdata/v1.sealed")
	if err != nil {
		t.Fatal(err)
	}
	plain, err := load(t, data).Open(ciphertext, place)
	if err != nil || string(plain) != "sealed by version 1" {
		t.Errorf("opened %q, %v", plain, err)
	}
}
