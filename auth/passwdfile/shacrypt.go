package passwdfile

import (
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"errors"
	"fmt"
	stdhash "hash"
	"strconv"
	"strings"
)

// SHA-crypt as Ulrich Drepper's public-domain text "Unix crypt using SHA-256
// and SHA-512" defines it; step numbers below are that text's.

const (
	shaDefaultRounds = 5000
	shaMinRounds     = 1000
	shaMaxRounds     = 10_000_000 // the text allows 999,999,999, an hour's work
	shaMaxSalt       = 16
)

// cryptAlphabet is crypt's base64: six bits per character, lowest first.
const cryptAlphabet = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// shaCrypt is one of the two methods.
type shaCrypt struct {
	id    string
	new   func() stdhash.Hash
	order []byte // bytes of the digest in output order, three a group
}

// The output order swaps bytes so that each of three thirds turns in every
// group; the last group is short.
var (
	sha512crypt = shaCrypt{"$6$", sha512.New, []byte{
		0, 21, 42, 22, 43, 1, 44, 2, 23, 3, 24, 45, 25, 46, 4, 47, 5, 26, 6, 27, 48, 28, 49, 7, 50, 8, 29, 9, 30, 51, 31, 52,
		10, 53, 11, 32, 12, 33, 54, 34, 55, 13, 56, 14, 35, 15, 36, 57, 37, 58, 16, 59, 17, 38, 18, 39, 60, 40, 61, 19, 62, 20, 41, 63}}
	sha256crypt = shaCrypt{"$5$", sha256.New, []byte{
		0, 10, 20, 21, 1, 11, 12, 22, 2, 3, 13, 23, 24, 4, 14, 15, 25, 5, 6, 16, 26, 27, 7, 17, 18, 28, 8, 9, 19, 29, 31, 30}}
)

// shaHash is a stored hash of one of them.
type shaHash struct {
	method shaCrypt
	rounds int // 0: not stated
	salt   string
	want   string
}

func (h shaHash) matches(password string) bool {
	got := h.method.hash(password, h.salt, h.rounds)
	return subtle.ConstantTimeCompare([]byte(got[strings.LastIndexByte(got, '$')+1:]), []byte(h.want)) == 1
}

func (h shaHash) weakness() string { return "" }

func parseSHACrypt(m shaCrypt, s string) (hash, error) {
	f := strings.Split(s[len(m.id):], "$")
	h := shaHash{method: m}
	if r, ok := strings.CutPrefix(f[0], "rounds="); ok {
		n, err := strconv.ParseUint(r, 10, 32)
		if err != nil || n > shaMaxRounds {
			return nil, fmt.Errorf("SHA-crypt: rounds %q are out of bounds", r)
		}
		h.rounds, f = max(int(n), shaMinRounds), f[1:]
	}
	if len(f) != 2 {
		return nil, errors.New("SHA-crypt: want $id$salt$hash")
	}
	h.salt, h.want = f[0][:min(len(f[0]), shaMaxSalt)], f[1]
	if want := (len(m.order)*8 + 5) / 6; len(h.want) != want {
		return nil, fmt.Errorf("SHA-crypt: the hash has %d characters instead of %d", len(h.want), want)
	}
	return h, nil
}

// hash computes the whole crypt string. rounds 0 means the default, unstated.
func (m shaCrypt) hash(password, salt string, rounds int) string {
	prefix := m.id
	if rounds > 0 {
		prefix += "rounds=" + strconv.Itoa(rounds) + "$"
	} else {
		rounds = shaDefaultRounds
	}
	return prefix + salt + "$" + m.encode(m.digest([]byte(password), []byte(salt), rounds))
}

// digest does steps 1 to 21.
func (m shaCrypt) digest(key, salt []byte, rounds int) []byte {
	h := m.new()
	b := m.sum(key, salt, key) // steps 4 to 8
	h.Write(key)               // steps 1 to 3
	h.Write(salt)
	h.Write(repeat(b, len(key)))        // steps 9, 10
	for n := len(key); n > 0; n >>= 1 { // step 11
		if n&1 != 0 {
			h.Write(b)
		} else {
			h.Write(key)
		}
	}
	a := h.Sum(nil) // step 12
	p := m.spread(key, len(key), len(key))
	s := m.spread(salt, 16+int(a[0]), len(salt))
	for i := range rounds { // step 21
		h.Reset()
		if i&1 != 0 {
			h.Write(p)
		} else {
			h.Write(a)
		}
		if i%3 != 0 {
			h.Write(s)
		}
		if i%7 != 0 {
			h.Write(p)
		}
		if i&1 != 0 {
			h.Write(a)
		} else {
			h.Write(p)
		}
		a = h.Sum(a[:0])
	}
	return a
}

func (m shaCrypt) sum(parts ...[]byte) []byte {
	h := m.new()
	for _, p := range parts {
		h.Write(p)
	}
	return h.Sum(nil)
}

// spread does steps 13 to 16 and 17 to 20: the digest of data written times
// times, drawn out to n bytes.
func (m shaCrypt) spread(data []byte, times, n int) []byte {
	h := m.new()
	for range times {
		h.Write(data)
	}
	return repeat(h.Sum(nil), n)
}

// repeat draws b out, or cuts it, to n bytes.
func repeat(b []byte, n int) []byte {
	out := make([]byte, 0, n+len(b))
	for len(out) < n {
		out = append(out, b...)
	}
	return out[:n]
}

// encode does step 22.
func (m shaCrypt) encode(sum []byte) string {
	out := make([]byte, 0, (len(sum)*8+5)/6)
	for i := 0; i < len(m.order); i += 3 {
		var v uint32
		n := min(3, len(m.order)-i)
		for _, at := range m.order[i : i+n] {
			v = v<<8 | uint32(sum[at])
		}
		for range n + 1 {
			out = append(out, cryptAlphabet[v&63])
			v >>= 6
		}
	}
	return string(out)
}
