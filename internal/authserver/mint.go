package authserver

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"sync"
)

// What a token is.
const (
	kindCode byte = iota + 1
	kindAccess
	kindRefresh
)

// claims is what a token says of itself. Times are Unix nanoseconds; a refresh
// token carries those of the access token issued with it, so that the ledger can
// judge it when the family has forgotten it.
type claims struct {
	kind    byte
	family  uint64
	seq     uint32 // the refresh token's place in the family, from 1
	version uint32 // access tokens only: counted from 1
	scopes  uint32 // access tokens only: bits over the family's scopes
	issued  int64
	end     int64
}

// A token is base64url(layout byte, claims, MAC). 54 bytes are a multiple of
// three, so that no second spelling of a token exists.
const (
	tokenLayout = 1
	claimsSize  = 2 + 8 + 3*4 + 2*8
	macSize     = 16
	tokenSize   = claimsSize + macSize
	tokenChars  = tokenSize / 3 * 4
)

// mint makes and checks tokens. It has no state but its key.
type mint struct {
	key  []byte
	macs sync.Pool // of hash.Hash: a fresh HMAC costs two hashes more
}

func newMint(seed uint64) *mint {
	m := &mint{key: make([]byte, sha256.Size)}
	if seed == 0 {
		rand.Read(m.key)
	} else {
		sum := sha256.Sum256(binary.BigEndian.AppendUint64([]byte("authserver seed "), seed))
		copy(m.key, sum[:])
	}
	m.macs.New = func() any { return hmac.New(sha256.New, m.key) }
	return m
}

// sum appends the first macSize bytes of the MAC of data to data.
func (m *mint) sum(data []byte) []byte {
	h := m.macs.Get().(hash.Hash)
	h.Reset()
	h.Write(data)
	var out [sha256.Size]byte
	data = append(data, h.Sum(out[:0])[:macSize]...)
	m.macs.Put(h)
	return data
}

// seal returns the token that makes these claims: always the same one.
func (m *mint) seal(c claims) string {
	b := make([]byte, 0, tokenSize)
	b = append(b, tokenLayout, c.kind)
	b = binary.BigEndian.AppendUint64(b, c.family)
	b = binary.BigEndian.AppendUint32(b, c.seq)
	b = binary.BigEndian.AppendUint32(b, c.version)
	b = binary.BigEndian.AppendUint32(b, c.scopes)
	b = binary.BigEndian.AppendUint64(b, uint64(c.issued))
	b = binary.BigEndian.AppendUint64(b, uint64(c.end))
	return base64.RawURLEncoding.EncodeToString(m.sum(b))
}

// open returns the claims of a token that this mint sealed.
func (m *mint) open(token string) (claims, bool) {
	if len(token) != tokenChars {
		return claims{}, false
	}
	b, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(b) != tokenSize || b[0] != tokenLayout {
		return claims{}, false
	}
	var again [tokenSize]byte
	if !hmac.Equal(m.sum(append(again[:0], b[:claimsSize]...)), b) {
		return claims{}, false
	}
	return claims{
		kind:    b[1],
		family:  binary.BigEndian.Uint64(b[2:]),
		seq:     binary.BigEndian.Uint32(b[10:]),
		version: binary.BigEndian.Uint32(b[14:]),
		scopes:  binary.BigEndian.Uint32(b[18:]),
		issued:  int64(binary.BigEndian.Uint64(b[22:])),
		end:     int64(binary.BigEndian.Uint64(b[30:])),
	}, true
}

// openAs is open for one kind of token.
func (m *mint) openAs(kind byte, token string) (claims, bool) {
	c, ok := m.open(token)
	return c, ok && c.kind == kind
}

// familyID draws the id of the n-th grant of a holder: the same in every run
// with the same seed, whatever order the grants are made in.
func (m *mint) familyID(holder string, n int) uint64 {
	label := binary.BigEndian.AppendUint64([]byte("family "), uint64(n))
	label = append(label, holder...)
	return binary.BigEndian.Uint64(m.sum(label)[len(label):])
}

// fingerprint names a token in anomalies without giving it away.
func fingerprint(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:4])
}
