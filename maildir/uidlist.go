package maildir

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// dovecot-uidlist gives each message of a folder its UID. Version 3, as
// Dovecot 1.1 and later write it:
//
//	3 V1795453934 N8 G6ae4b403ee73046bd33e000083ecc375
//	4 :1795453934.M61701P16083.vm,S=59,W=65
//	7 W123 :1795453935.M1P2.vm
//
// The header has the UIDVALIDITY, the next UID, the folder's GUID and words
// that are kept as they are. A record has a UID, words of an upper-case key
// and a value (S and W sizes that the name lacks, G the GUID of a copy, P and O
// for POP3; unknown ones are kept), and after " :" the base of the file name.
// Version 1, Courier's, has "1 <validity> <next>" and "<uid> <name>".
//
// Dovecot, courier-imap and old delivery agents write this file too. So:
//   - N is stale after lines were appended: the true next UID is one more than
//     the last record's, if that is greater.
//   - A record whose file is missing is an expunged message, and its UID stays
//     used.
//   - Of two records with one base the later one holds.
//   - A last line without LF is being written: it waits for the next look.
//
// Dovecot deletes a list that it finds corrupt. We move it aside, so that it
// can be mended by hand, and start a new one with a new UIDVALIDITY. A line
// that cannot be read at all (a crash can leave a block of zeros) is no such
// case: it is dropped, and the next UID jumps past every UID that could have
// stood in its bytes, so that none is given twice and no client must download
// all its mail again.

const (
	listName   = "dovecot-uidlist"
	listLock   = "dovecot-uidlist.lock"
	maxUID     = 1<<32 - 2
	maxListLen = 512 << 20 // a file beyond this is not read into memory
)

// errCorrupt means that the uidlist cannot be trusted.
var errCorrupt = errors.New("dovecot-uidlist is corrupt")

// listHeader is the first line.
type listHeader struct {
	version  int
	validity uint32
	next     UID
	guid     string // 32 hex digits, "" if absent
	words    string // further words, each with a leading space
}

// listLine is one record. Its strings share the memory of the text they were
// read from.
type listLine struct {
	uid  UID
	ext  string // the words between UID and name, without spaces around
	base string
}

// parseListHeader reads the first line, without its LF.
func parseListHeader(line string) (listHeader, error) {
	version, rest, _ := strings.Cut(line, " ")
	var h listHeader
	var err error
	switch version {
	case "3":
		h, err = parseHeaderV3(rest)
	case "1":
		h, err = parseHeaderV1(rest)
	default:
		return h, fmt.Errorf("%w: version %.20q", errCorrupt, version)
	}
	if err == nil && (h.validity == 0 || h.next == 0) {
		err = fmt.Errorf("%w: header without UIDVALIDITY or next UID", errCorrupt)
	}
	return h, err
}

func parseHeaderV3(line string) (listHeader, error) {
	h := listHeader{version: 3}
	for word := range strings.FieldsSeq(line) {
		var n uint64
		var err error
		switch word[0] {
		case 'V':
			n, err = strconv.ParseUint(word[1:], 10, 32)
			h.validity = uint32(n)
		case 'N':
			n, err = strconv.ParseUint(word[1:], 10, 32)
			h.next = UID(n)
		case 'G':
			h.guid = word[1:]
			if raw, e := hex.DecodeString(h.guid); e != nil || len(raw) != 16 {
				h.guid = "" // a new one is made at the next rewrite
			}
		default:
			h.words += " " + word
		}
		if err != nil {
			return h, fmt.Errorf("%w: header word %.40q", errCorrupt, word)
		}
	}
	return h, nil
}

func parseHeaderV1(line string) (listHeader, error) {
	v, n, _ := strings.Cut(line, " ")
	validity, err1 := strconv.ParseUint(v, 10, 32)
	next, err2 := strconv.ParseUint(n, 10, 32)
	if err1 != nil || err2 != nil {
		return listHeader{}, fmt.Errorf("%w: header %.60q", errCorrupt, line)
	}
	return listHeader{version: 1, validity: uint32(validity), next: UID(next)}, nil
}

// append writes the header line in version 3.
func (h listHeader) append(dst []byte) []byte {
	dst = append(dst, "3 V"...)
	dst = strconv.AppendUint(dst, uint64(h.validity), 10)
	dst = append(dst, " N"...)
	dst = strconv.AppendUint(dst, uint64(h.next), 10)
	dst = append(append(dst, " G"...), h.guid...)
	return append(append(dst, h.words...), '\n')
}

// append writes one record.
func (l listLine) append(dst []byte) []byte {
	dst = append(strconv.AppendUint(dst, uint64(l.uid), 10), ' ')
	if l.ext != "" {
		dst = append(append(dst, l.ext...), ' ')
	}
	return append(append(append(dst, ':'), l.base...), '\n')
}

// listText is the outcome of reading a run of records.
type listText struct {
	read    int  // bytes of whole lines
	lines   int  // whole lines
	last    UID  // the last UID, at least the one before the run
	torn    int  // bytes of lines that cannot be read
	untidy  bool // something was dropped: the file should be rewritten
	partial bool // text without LF follows
}

// parseList reads records from text, the first of which must have a UID above
// after. It calls yield for each without allocating.
func parseList(text string, version int, after UID, yield func(listLine)) (listText, error) {
	t := listText{last: after}
	for {
		end := strings.IndexByte(text[t.read:], '\n')
		if end < 0 {
			t.partial = t.read < len(text)
			return t, nil
		}
		line := text[t.read : t.read+end]
		t.read += end + 1
		t.lines++
		rec, tidy, ok := parseListLine(line, version)
		if !ok {
			t.torn += len(line) + 1
			t.untidy = true
			continue
		}
		if rec.uid <= t.last || rec.uid > maxUID {
			return t, fmt.Errorf("%w: UID %d after %d", errCorrupt, rec.uid, t.last)
		}
		t.last = rec.uid
		if !tidy {
			t.untidy = true
		}
		if rec.base != "" {
			yield(rec)
		}
	}
}

// parseListLine reads one record. A record without a usable name has base "";
// tidy is false when part of the line was dropped. ok is false when there is
// no UID.
func parseListLine(line string, version int) (rec listLine, tidy, ok bool) {
	var n uint64
	i := 0
	for ; i < len(line) && line[i] >= '0' && line[i] <= '9'; i++ {
		if n = n*10 + uint64(line[i]-'0'); n > 1<<32 {
			return rec, false, false
		}
	}
	if i == 0 || i == len(line) || line[i] != ' ' || n > 1<<32-1 {
		return rec, false, false
	}
	rec.uid = UID(n)
	rest := line[i+1:]
	tidy = true
	switch {
	case version == 1:
		rec.base = rest
	case rest != "" && rest[0] == ':':
		rec.base = rest[1:]
	default:
		if rec.ext, rec.base, tidy, ok = parseExtensions(rest); !ok {
			return rec, false, false
		}
	}
	if base := baseOf(rec.base); base != rec.base {
		rec.base, tidy = base, false // flags do not belong here
	}
	if strings.ContainsAny(rec.base, "/\r\x00") || rec.base == "" || rec.base[0] == '.' {
		rec.base, tidy = "", false
	}
	return rec, tidy, true
}

// parseExtensions reads "<Key><value> ... :<base>". Words whose key is no
// upper-case letter are dropped, as Dovecot does.
func parseExtensions(s string) (ext, base string, tidy, ok bool) {
	end := strings.Index(s, " :")
	if end < 0 {
		return "", "", false, false
	}
	ext, base = s[:end], s[end+2:]
	for word := range strings.SplitSeq(ext, " ") {
		if word == "" || word[0] < 'A' || word[0] > 'Z' {
			return keepUpper(ext), base, false, true
		}
	}
	return ext, base, true, true
}

func keepUpper(ext string) string {
	var keep []string
	for word := range strings.FieldsSeq(ext) {
		if word[0] >= 'A' && word[0] <= 'Z' {
			keep = append(keep, word)
		}
	}
	return strings.Join(keep, " ")
}

// extValue returns the value of a key in the words of a record.
func extValue(ext string, key byte) (string, bool) {
	for word := range strings.FieldsSeq(ext) {
		if word[0] == key {
			return word[1:], true
		}
	}
	return "", false
}

// newGUID makes 128 random bits in the form Dovecot writes.
func newGUID() string {
	var b [16]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}
