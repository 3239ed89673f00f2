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

// begin returns a record with an unfinished header and room for a body of size bytes.
func begin(kind byte, size int) []byte {
	rec := make([]byte, headerSize, headerSize+size)
	copy(rec, magic)
	rec[4], rec[5] = version, kind
	return rec
}

// finish fills in what depends on the body.
func finish(rec []byte) []byte {
	binary.LittleEndian.PutUint32(rec[lengthAt:], uint32(len(rec)-headerSize))
	binary.LittleEndian.PutUint32(rec[crcAt:], checksum(rec))
	return rec
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
	rec := begin(kindEntry, entrySize(e))
	return finish(appendEntry(rec, e))
}

func encodeCommit(id string, at time.Time, revision uint64) []byte {
	rec := begin(kindCommit, stringExtra+len(id)+16)
	rec = appendTime(appendString(rec, id), at)
	return finish(binary.LittleEndian.AppendUint64(rec, revision))
}

func encodeRetire(id string) []byte {
	return finish(appendString(begin(kindRetire, stringExtra+len(id)), id))
}

func encodeAside(a AsideEntry) []byte {
	rec := begin(kindAside, stringExtra+len(a.Reason)+8+entrySize(a.Entry))
	rec = appendTime(appendString(rec, a.Reason), a.AsideAt)
	return finish(appendEntry(rec, a.Entry))
}

func entrySize(e Entry) int { return 2*stringExtra + len(e.ID) + len(e.Key) + 8 + len(e.Data) }

func appendEntry(rec []byte, e Entry) []byte {
	rec = appendTime(appendString(appendString(rec, e.ID), e.Key), e.At)
	return append(rec, e.Data...)
}
