package index

import (
	"hash/crc32"
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
// against accidents only: a UID that a damaged uidlist gave to another file.
func baseSum(base string) uint64 {
	b := unsafe.Slice(unsafe.StringData(base), len(base)) // read only
	return uint64(crc32.Update(0x9e3779b9, crc32.IEEETable, b))<<32 | uint64(checksum(b))
}
