package observe

import (
	"crypto/rand"
	"encoding/binary"
	"time"
)

// traceAlphabet is in ASCII order, so that trace ids sort by time.
const traceAlphabet = "0123456789abcdefghjkmnpqrstvwxyz"

// NewTrace returns an id for one connection or message: 14 lower-case letters
// and digits, of which the first eight tell the time to the millisecond and the
// rest are random. It is unique in practice, not a secret.
func NewTrace() string {
	var random [4]byte
	rand.Read(random[:]) // never fails
	return trace(time.Now(), binary.BigEndian.Uint32(random[:]))
}

func trace(at time.Time, random uint32) string {
	var id [14]byte
	ms := uint64(at.UnixMilli())
	for i := 7; i >= 0; i-- {
		id[i] = traceAlphabet[ms&31]
		ms >>= 5
	}
	for i := 13; i >= 8; i-- {
		id[i] = traceAlphabet[random&31]
		random >>= 5
	}
	return string(id[:])
}
