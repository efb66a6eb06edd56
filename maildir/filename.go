package maildir

import (
	"cmp"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// A message's file name, for example
//
//	1795453934.M61701P16083.vm,S=59,W=65:2,RSab
//
// is a base that never changes (time, microseconds, pid, host; then the size
// of the file and its size with CRLF line ends) and, from the first colon on,
// the flags. Identity, the uidlist and our map use the base alone.
//
// Dovecot's reading, which we share: the base ends at the first colon, the
// flags begin at the last; a file in new/ may have flags too and one in cur/
// none; letters we do not know and text after a second comma stay as they are.
// Names that begin with a dot, or hold CR or LF (which would break the
// uidlist), are not messages.

// infoSep begins the flags.
const infoSep = ":2,"

// validEntry reports whether a directory entry can be a message.
func validEntry(name []byte) bool {
	if len(name) == 0 || name[0] == '.' {
		return false
	}
	for _, c := range name {
		if c == '\n' || c == '\r' {
			return false
		}
	}
	return true
}

// splitName reads a file name without allocating: the length of the base, the
// flags, whether there is ":2,", and whether the name is odd, which means that
// base and flags do not give it back.
func splitName(name []byte) (base int, f Flags, info, odd bool) {
	base = len(name)
	for i, c := range name {
		if c == ':' {
			base = i
			break
		}
	}
	if base == len(name) {
		return base, 0, false, false
	}
	if len(name) < base+len(infoSep) || name[base+1] != '2' || name[base+2] != ',' {
		f, info, odd = oddFlags(string(name))
		return base, f, info, odd
	}
	last := byte(0)
	for _, c := range name[base+len(infoSep):] {
		bit := flagOf(c)
		if bit == 0 || c <= last {
			f, info, odd = oddFlags(string(name))
			return base, f, info, odd
		}
		last, f = c, f|bit
	}
	return base, f, true, false
}

// oddFlags reads the flags after the last colon of an unusual name.
func oddFlags(name string) (f Flags, info, odd bool) {
	_, letters, _, ok := cutInfo(name)
	for i := range len(letters) {
		f |= flagOf(letters[i])
	}
	return f, ok, true
}

// cutInfo divides a name at its last colon: what stays, the letters, and the
// text from the second comma on. ok is false without ":2,".
func cutInfo(name string) (stem, letters, rest string, ok bool) {
	i := strings.LastIndexByte(name, ':')
	if i < 0 {
		return name, "", "", false
	}
	stem = name[:i]
	if !strings.HasPrefix(name[i:], infoSep) {
		return stem, "", "", false
	}
	letters = name[i+len(infoSep):]
	if j := strings.IndexByte(letters, ','); j >= 0 {
		letters, rest = letters[:j], letters[j:]
	}
	return stem, letters, rest, true
}

// withFlags returns the name with other flags; letters that we do not know and
// text behind the flags are kept.
func withFlags(name string, f Flags) string {
	stem, letters, rest, _ := cutInfo(name)
	var unknown []byte
	for i := range len(letters) {
		if flagOf(letters[i]) == 0 {
			unknown = append(unknown, letters[i])
		}
	}
	slices.Sort(unknown)
	b := append([]byte(stem), infoSep...)
	return string(f.appendLetters(b, string(slices.Compact(unknown)))) + rest
}

// plainName is the file name of a base with these flags.
func plainName(base string, f Flags) string {
	b := make([]byte, 0, len(base)+len(infoSep)+8)
	b = append(append(b, base...), infoSep...)
	return string(f.appendLetters(b, ""))
}

// baseOf returns the part before the first colon.
func baseOf(name string) string {
	base, _, _ := strings.Cut(name, ":")
	return base
}

// sizeField reads ",S=" (key 'S') or ",W=" of a base: the first one whose
// digits end the field. ok is false without one.
func sizeField(base string, key byte) (n int64, ok bool) {
	for i := 0; i+3 < len(base); i++ {
		if base[i] != ',' || base[i+1] != key || base[i+2] != '=' {
			continue
		}
		j := i + 3
		for j < len(base) && base[j] >= '0' && base[j] <= '9' {
			j++
		}
		if j == i+3 || j < len(base) && base[j] != ',' && base[j] != ':' {
			continue
		}
		if v, err := strconv.ParseInt(base[i+3:j], 10, 63); err == nil {
			return v, true
		}
	}
	return 0, false
}

// addSizes completes a base with the exact sizes of its file.
func addSizes(base string, physical, virtual int64) string {
	b := make([]byte, 0, len(base)+32)
	b = append(append(b, base...), ",S="...)
	b = strconv.AppendInt(b, physical, 10)
	b = append(b, ",W="...)
	return string(strconv.AppendInt(b, virtual, 10))
}

// lastName is the microsecond of the newest name. It belongs to the process,
// like the pid in the name, so that two Stores make no equal names.
var lastName atomic.Int64

// newBase makes a base that no other call of this process makes, without sizes.
func newBase(host string, now time.Time) string {
	us := now.UnixMicro()
	for {
		last := lastName.Load()
		us = max(us, last+1)
		if lastName.CompareAndSwap(last, us) {
			break
		}
	}
	b := make([]byte, 0, 64)
	b = strconv.AppendInt(b, us/1e6, 10)
	b = append(b, ".M"...)
	b = strconv.AppendInt(b, us%1e6, 10)
	b = append(b, 'P')
	b = strconv.AppendInt(b, int64(os.Getpid()), 10)
	b = append(b, '.')
	return string(append(b, host...))
}

// hostPart makes a host name fit for a file name, as qmail and Courier do.
func hostPart(host string) string {
	return strings.NewReplacer("/", `\057`, ":", `\072`, ",", `\054`, "\n", "", "\r", "").Replace(host)
}

// timedName is a base with the time in it.
type timedName struct {
	sec, usec int64
	base      string
}

// sortNames brings bases into the order in which files without a UID get theirs:
// the seconds in the name, then Dovecot's microseconds, then the base itself.
func sortNames(bases []string) {
	names := make([]timedName, len(bases))
	for i, base := range bases {
		sec, usec := nameTime(base)
		names[i] = timedName{sec, usec, base}
	}
	slices.SortFunc(names, func(a, b timedName) int {
		if c := cmp.Compare(a.sec, b.sec); c != 0 {
			return c
		}
		return cmp.Or(cmp.Compare(a.usec, b.usec), strings.Compare(a.base, b.base))
	})
	for i := range names {
		bases[i] = names[i].base
	}
}

// nameTime reads seconds and microseconds of a base; what is missing is 0.
func nameTime(base string) (sec, usec int64) {
	digits := func(s string) (int64, string) {
		var n int64
		for len(s) > 0 && s[0] >= '0' && s[0] <= '9' && n < 1<<52 {
			n, s = n*10+int64(s[0]-'0'), s[1:]
		}
		return n, s
	}
	sec, rest := digits(base)
	if strings.HasPrefix(rest, ".M") {
		usec, _ = digits(rest[2:])
	}
	return sec, usec
}
