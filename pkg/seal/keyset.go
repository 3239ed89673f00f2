package seal

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"
	tinkpb "github.com/tink-crypto/tink-go/v2/proto/tink_go_proto"
	"github.com/tink-crypto/tink-go/v2/tink"
)

// Errors of opening.
var (
	// ErrUnknownKey: the ciphertext names a key that is not enabled in this keyset, as when this
	// process still has an older one. Nothing is wrong with the ciphertext.
	ErrUnknownKey = errors.New("unknown key")
	// ErrCorrupt: the ciphertext does not open here although its key is known. It was altered, or it
	// belongs somewhere else.
	ErrCorrupt = errors.New("does not open")
)

// Keyset seals with its primary key and opens with any of its enabled keys. Printing it shows ids only. A Keyset comes from
// LoadKeyset.
type Keyset struct {
	current *atomic.Pointer[keys] // a copy of a Keyset is the same keyset
}

// keys are a keyset's; they do not change.
type keys struct {
	aead    tink.AEAD
	ids     []uint32 // of those that open
	primary uint32
	all     []Key
	marks   map[uint32][]byte // keys of references, by the id of the key that each is derived from
}

// GenerateKeyset returns a new keyset of one key, as Tink's cleartext JSON. The bytes are secret.
//
// The key is XChaCha20-Poly1305. AES-GCM draws a nonce of 96 bits at random for each message and may do so at most
// 2^32 times under a key (NIST SP 800-38D section 8.3); ten thousand refreshes a second, two fields each, get there in
// two and a half days. The 192 bits drawn here do not run out.
func GenerateKeyset() ([]byte, error) {
	handle, err := keyset.NewHandle(aead.XChaCha20Poly1305KeyTemplate())
	if err != nil {
		return nil, fmt.Errorf("generate keyset: %w", err)
	}
	var b bytes.Buffer
	if err := insecurecleartextkeyset.Write(handle, keyset.NewJSONWriter(&b)); err != nil {
		return nil, fmt.Errorf("generate keyset: %w", err)
	}
	return b.Bytes(), nil
}

// LoadKeyset reads a Tink keyset in cleartext JSON, from GenerateKeyset or tinkey. All its keys must be AEAD keys
// with the TINK output prefix, which is what lets a ciphertext name its key. No error repeats key material.
func LoadKeyset(data []byte) (*Keyset, error) {
	pb, err := parseKeyset(data)
	if err != nil {
		return nil, fmt.Errorf("load keyset: %w", err)
	}
	handle, err := insecurecleartextkeyset.Read(keyset.NewJSONReader(bytes.NewReader(data)))
	if err != nil {
		return nil, fmt.Errorf("load keyset: %w", unusable(pb))
	}
	primitive, err := aead.New(handle)
	if err != nil {
		return nil, fmt.Errorf("load keyset: %w", unusable(pb))
	}
	c := &keys{aead: primitive, primary: pb.GetPrimaryKeyId(), marks: make(map[uint32][]byte)}
	for _, key := range pb.GetKey() {
		enabled := key.GetStatus() == tinkpb.KeyStatusType_ENABLED
		if enabled {
			c.ids = append(c.ids, key.GetKeyId())
			if c.marks[key.GetKeyId()], err = markKey(key.GetKeyData().GetValue()); err != nil {
				return nil, fmt.Errorf("load keyset: %w", err)
			}
		}
		c.all = append(c.all, Key{
			ID: key.GetKeyId(), Algorithm: algorithmOf(key.GetKeyData().GetTypeUrl()), Enabled: enabled, Primary: key.GetKeyId() == c.primary,
		})
	}
	k := &Keyset{current: new(atomic.Pointer[keys])}
	k.current.Store(c)
	return k, nil
}

// parseKeyset reads the JSON and checks what can be said in words without showing a key. Tink's own
// errors are dropped: they quote the value they stumble over, which may be a key.
func parseKeyset(data []byte) (*tinkpb.Keyset, error) {
	const want = "want a cleartext Tink keyset in JSON"
	if len(bytes.TrimSpace(data)) == 0 {
		return nil, errors.New("no data: " + want)
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(data, &members); err != nil {
		return nil, errors.New("not a JSON object: " + want)
	}
	if _, ok := members["encryptedKeyset"]; ok {
		return nil, errors.New("the keyset is encrypted: " + want)
	}
	pb, err := keyset.NewJSONReader(bytes.NewReader(data)).Read()
	if err != nil {
		return nil, errors.New("JSON, but not a Tink keyset: " + want)
	}
	if err := keyset.Validate(pb); err != nil {
		return nil, err // counts, ids and statuses only
	}
	for _, key := range pb.GetKey() {
		if prefix := key.GetOutputPrefixType(); prefix != tinkpb.OutputPrefixType_TINK {
			return nil, fmt.Errorf("key %d has the output prefix %s: want TINK, so that a ciphertext names its key",
				key.GetKeyId(), prefix)
		}
	}
	return pb, nil
}

// unusable says which keys Tink was given, since one of them is not a usable AEAD key.
func unusable(pb *tinkpb.Keyset) error {
	var keys []string
	for _, key := range pb.GetKey() {
		keys = append(keys, fmt.Sprintf("%d %q", key.GetKeyId(), algorithmOf(key.GetKeyData().GetTypeUrl())))
	}
	return fmt.Errorf("not every key is a usable AEAD key: %s", strings.Join(keys, ", "))
}

// algorithmOf is the last part of a key's type URL.
func algorithmOf(typeURL string) string { return typeURL[strings.LastIndexByte(typeURL, '/')+1:] }

// PrimaryID returns the id of the key that seals.
func (k *Keyset) PrimaryID() uint32 { return k.current.Load().primary }

// Replace makes the keyset, for everybody who has it, the same as another: what is sealed and opened from now on is with its keys.
func (k *Keyset) Replace(by *Keyset) { k.current.Store(by.current.Load()) }

// KeyIDs returns the ids of the keys that open, in the keyset's order.
func (k *Keyset) KeyIDs() []uint32 { return slices.Clone(k.current.Load().ids) }

// String names the keys by id.
func (k *Keyset) String() string {
	c := k.current.Load()
	return fmt.Sprintf("keyset %v, primary %d", c.ids, c.primary)
}

// GoString implements fmt.GoStringer.
func (k *Keyset) GoString() string { return k.String() }

// Seal encrypts plaintext for the place b, which must name a bucket, a key and a field. The result is 45
// bytes longer than the plaintext under a key of GenerateKeyset.
func (k *Keyset) Seal(plaintext []byte, b Binding) ([]byte, error) {
	if b.Bucket == "" || b.Key == "" || b.Field == "" {
		return nil, fmt.Errorf("seal %s: the binding names no bucket, key or field", b)
	}
	ciphertext, err := k.current.Load().aead.Encrypt(plaintext, b.associatedData())
	if err != nil {
		return nil, fmt.Errorf("seal %s: %w", b, err)
	}
	return ciphertext, nil
}

// Open decrypts a ciphertext found at the place b. Errors: ErrUnknownKey, naming the key's id; ErrCorrupt.
func (k *Keyset) Open(ciphertext []byte, b Binding) ([]byte, error) {
	id, err := KeyIDOf(ciphertext)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", b, err)
	}
	c := k.current.Load()
	if !slices.Contains(c.ids, id) {
		return nil, fmt.Errorf("open %s: %w: sealed with key %d, this keyset has %v", b, ErrUnknownKey, id, c.ids)
	}
	plaintext, err := c.aead.Decrypt(ciphertext, b.associatedData())
	if err != nil {
		return nil, fmt.Errorf("open %s: %w with key %d: altered, or sealed for another place", b, ErrCorrupt, id)
	}
	return plaintext, nil
}

// KeyIDOf returns the id of the key that sealed a ciphertext, without opening it. A ciphertext begins with the
// byte 1 and the id in four bytes, big endian (Tink's wire format). Error: ErrCorrupt.
func KeyIDOf(ciphertext []byte) (uint32, error) {
	const prefix = 5
	if len(ciphertext) < prefix || ciphertext[0] != 1 {
		return 0, fmt.Errorf("%w: not a sealed value", ErrCorrupt)
	}
	return binary.BigEndian.Uint32(ciphertext[1:prefix]), nil
}
