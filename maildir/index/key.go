package index

import (
	"encoding/binary"
	"math/bits"
	"unsafe"
)

// UID is a message's unique identifier in its folder (RFC 9051 section 2.3.1.1).
type UID uint32

// ModSeq is a modification sequence (RFC 7162).
type ModSeq uint64

// Key names a message of a folder.
type Key struct {
	UID UID
	// Base is the part of the file name that never changes. What is cached for
	// the UID counts only if it was made of the file with this base.
	Base string
}

// Pair names a message and its copy in another folder.
type Pair struct{ From, To Key }

// baseSum is a hash of a base. It is compared beside the UID, so it guards
// against accidents only: a UID that a damaged uidlist gave to another file. It
// multiplies eight bytes at a time, as wyhash does, for a search compares the
// base of every message.
func baseSum(base string) uint64 {
	b := unsafe.Slice(unsafe.StringData(base), len(base)) // read only
	h := uint64(len(b)) ^ 0xa0761d6478bd642f
	for ; len(b) >= 8; b = b[8:] {
		h = mix(h ^ binary.LittleEndian.Uint64(b))
	}
	var tail [8]byte
	copy(tail[:], b)
	return mix(h ^ binary.LittleEndian.Uint64(tail[:]))
}

func mix(x uint64) uint64 {
	hi, lo := bits.Mul64(x^0xe7037ed1a0b428db, 0x8ebc6af09c88c6e3)
	return hi ^ lo
}
