package journal

import (
	"encoding/binary"
	"hash/crc32"
	"time"
)

// A record is
//
//	offset  bytes
//	0       4      magic
//	4       1      version
//	5       1      kind
//	6       4      length of the body, little endian
//	10      4      CRC-32C of bytes 4 to 9 and the body, little endian
//	14      …      body
//
// The magic holds two bytes that no UTF-8 text contains, so that a key cannot imitate it; sealed data does so once
// in 2³² bytes, and then the CRC tells.
const (
	magic      = "\xF5FJ\xC1"
	version    = 1
	lengthAt   = 6
	crcAt      = 10
	headerSize = 14
	maxRecord  = 16 << 20 // a length beyond it is damage
)

const (
	kindEntry  = 1 // id, key, time, data
	kindCommit = 2 // id, time, revision
	kindRetire = 3 // id
	kindAside  = 4 // reason, time, then as kindEntry; an empty id means an unreadable stretch
)

// stringExtra bounds what a string takes beside its bytes.
const stringExtra = binary.MaxVarintLen32

// begin appends an unfinished header.
func begin(b []byte, kind byte) []byte {
	b = append(b, magic...)
	b = append(b, version, kind)
	return append(b, make([]byte, headerSize-lengthAt)...)
}

// finish fills in what depends on the body of the record that begins at start and ends with b.
func finish(b []byte, start int) []byte {
	rec := b[start:]
	binary.LittleEndian.PutUint32(rec[lengthAt:], uint32(len(rec)-headerSize))
	binary.LittleEndian.PutUint32(rec[crcAt:], checksum(rec))
	return b
}

func checksum(rec []byte) uint32 {
	table := crc32.MakeTable(crc32.Castagnoli)
	return crc32.Update(crc32.Checksum(rec[4:crcAt], table), table, rec[headerSize:])
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// appendTime writes nanoseconds since 1970; 0 stands for no time.
func appendTime(b []byte, t time.Time) []byte {
	if t.IsZero() {
		return binary.LittleEndian.AppendUint64(b, 0)
	}
	return binary.LittleEndian.AppendUint64(b, uint64(t.UnixNano()))
}

func encodeEntry(e Entry) []byte {
	rec := make([]byte, 0, headerSize+entrySize(e))
	return finish(appendEntry(begin(rec, kindEntry), e), 0)
}

func appendCommit(b []byte, id string, at time.Time, revision uint64) []byte {
	start := len(b)
	b = appendTime(appendString(begin(b, kindCommit), id), at)
	return finish(binary.LittleEndian.AppendUint64(b, revision), start)
}

func appendRetire(b []byte, id string) []byte {
	start := len(b)
	return finish(appendString(begin(b, kindRetire), id), start)
}

func encodeAside(a AsideEntry) []byte {
	rec := make([]byte, 0, headerSize+stringExtra+len(a.Reason)+8+entrySize(a.Entry))
	rec = appendTime(appendString(begin(rec, kindAside), a.Reason), a.AsideAt)
	return finish(appendEntry(rec, a.Entry), 0)
}

func entrySize(e Entry) int { return 2*stringExtra + len(e.ID) + len(e.Key) + 8 + len(e.Data) }

func appendEntry(rec []byte, e Entry) []byte {
	rec = appendTime(appendString(appendString(rec, e.ID), e.Key), e.At)
	return append(rec, e.Data...)
}
