// Package srs rewrites the sender of mail that is sent on, so that SPF passes at the
// next server and bounces come back to us, who send them on to the true sender (the
// Sender Rewriting Scheme, as libsrs2 and postsrsd have it):
//
//	ada@example.net                    becomes  SRS0=hash=day=example.net=ada@ours
//	SRS0=hash=day=example.net=ada@them becomes  SRS1=hash=them==hash=day=example.net=ada@ours
//
// The hash is ours: nobody can make us send mail to an address that never sent any
// through us. An address counts for three weeks.
package srs

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Errors of Reverse.
var (
	// ErrNotOurs means that a local part has no form of ours.
	ErrNotOurs = errors.New("this is no rewritten address")
	// ErrForged means that the hash is wrong: another secret, or nobody's.
	ErrForged = errors.New("the hash of the rewritten address is wrong")
	// ErrOld means that the address has had its time.
	ErrOld = errors.New("the rewritten address is too old")
)

const (
	hashLen = 6    // characters, 5 bits each
	maxAge  = 21   // days
	dayMod  = 1024 // days until a stamp comes again
	alpha   = "abcdefghijklmnopqrstuvwxyz234567"
)

var encoding = base32.NewEncoding(alpha).WithPadding(base32.NoPadding)

// Rewriter rewrites with one secret. It is safe for concurrent use.
type Rewriter struct{ secret []byte }

// New returns a Rewriter. The secret should have 32 bytes and be kept: after it is
// lost, bounces to addresses made before are refused.
func New(secret []byte) *Rewriter { return &Rewriter{secret} }

// hash is over text in lower case, since servers on the way may change the case.
func (r *Rewriter) hash(text string) string {
	mac := hmac.New(sha256.New, r.secret)
	mac.Write([]byte(strings.ToLower(text)))
	return encoding.EncodeToString(mac.Sum(nil))[:hashLen]
}

// day is the stamp of a day: two characters.
func day(t time.Time) string {
	n := t.Unix() / (24 * 3600) % dayMod
	return string([]byte{alpha[n>>5], alpha[n&31]})
}

// dayAge is how many days a stamp is old; false if it is none.
func dayAge(stamp string, now time.Time) (int64, bool) {
	if len(stamp) != 2 {
		return 0, false
	}
	hi, lo := strings.IndexByte(alpha, stamp[0]|0x20), strings.IndexByte(alpha, stamp[1]|0x20)
	if d := stamp[0]; d >= '2' && d <= '7' {
		hi = strings.IndexByte(alpha, d)
	}
	if d := stamp[1]; d >= '2' && d <= '7' {
		lo = strings.IndexByte(alpha, d)
	}
	if hi < 0 || lo < 0 {
		return 0, false
	}
	today := now.Unix() / (24 * 3600) % dayMod
	return (today - int64(hi<<5|lo) + dayMod) % dayMod, true
}

// Forward returns the address in our domain that stands for a sender. Addresses
// that cannot be rewritten (null, quoted, without a domain) come back as they are.
func (r *Rewriter) Forward(sender, domain string, now time.Time) string {
	i := strings.LastIndexByte(sender, '@')
	if i <= 0 || strings.ContainsAny(sender[:i], "\"\\ ()<>,;:[]@") || strings.ContainsAny(sender[i+1:], "[]=") {
		return sender
	}
	local, from := sender[:i], sender[i+1:]
	switch tag, rest := split(local); tag {
	case "srs0": // the first who rewrote it can undo that
		text := from + "==" + rest
		return "SRS1=" + r.hash(text) + "=" + text + "@" + domain
	case "srs1": // whose first is known, we take the place of the second
		if _, text, ok := strings.Cut(rest, "="); ok {
			return "SRS1=" + r.hash(text) + "=" + text + "@" + domain
		}
	}
	text := day(now) + "=" + from + "=" + local
	return "SRS0=" + r.hash(text) + "=" + text + "@" + domain
}

// split tells the kind of a local part, "srs0" or "srs1", and what stands behind
// its separator; the kind is empty for others.
func split(local string) (tag, rest string) {
	if len(local) < 6 || !strings.ContainsRune("=+-", rune(local[4])) {
		return "", ""
	}
	switch tag := strings.ToLower(local[:4]); tag {
	case "srs0", "srs1":
		return tag, local[5:]
	}
	return "", ""
}

// Reverse returns the address that a local part of ours stands for.
func (r *Rewriter) Reverse(local string, now time.Time) (string, error) {
	tag, rest := split(local)
	if tag == "" {
		return "", ErrNotOurs
	}
	hash, text, ok := strings.Cut(rest, "=")
	if !ok {
		return "", ErrNotOurs
	}
	if !hmac.Equal([]byte(strings.ToLower(hash)), []byte(r.hash(text))) {
		return "", ErrForged
	}
	if tag == "srs1" {
		host, inner, ok := strings.Cut(text, "==")
		if !ok || host == "" {
			return "", ErrNotOurs
		}
		return "SRS0=" + inner + "@" + host, nil
	}
	parts := strings.SplitN(text, "=", 3)
	if len(parts) != 3 || parts[1] == "" || parts[2] == "" {
		return "", ErrNotOurs
	}
	if age, ok := dayAge(parts[0], now); !ok || age > maxAge {
		return "", fmt.Errorf("%s: %w", local, ErrOld)
	}
	return parts[2] + "@" + parts[1], nil
}
