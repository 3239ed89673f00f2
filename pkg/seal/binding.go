package seal

import "encoding/binary"

// bindingLabel separates this use of a keyset, and this version of the encoding, from every other.
const bindingLabel = "freshet/seal/v1"

// Binding is the place a ciphertext belongs to. It is authenticated, not stored: who opens a
// ciphertext says where it was found, and a ciphertext from anywhere else does not open.
type Binding struct {
	Bucket     string // KV bucket, with its namespace
	Key        string // key in the bucket
	Field      string // which of the sealed fields under the key
	GrantID    string // empty where there is no grant
	Generation uint64 // zero where there is none
	Version    uint64 // zero where there is none
}

// associatedData encodes the binding. Each string stands behind its length and each number has eight bytes,
// so no two bindings share an encoding.
func (b Binding) associatedData() []byte {
	texts := [...]string{bindingLabel, b.Bucket, b.Key, b.Field, b.GrantID}
	size := 2 * 8
	for _, s := range texts {
		size += 8 + len(s)
	}
	data := make([]byte, 0, size)
	for _, s := range texts {
		data = binary.BigEndian.AppendUint64(data, uint64(len(s)))
		data = append(data, s...)
	}
	data = binary.BigEndian.AppendUint64(data, b.Generation)
	return binary.BigEndian.AppendUint64(data, b.Version)
}

// String names the place in words for an error.
func (b Binding) String() string { return b.Field + " of " + b.Bucket + "/" + b.Key }
