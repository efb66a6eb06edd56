package maildir

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// dovecot-keywords names the flag letters a-z of one folder, sorted by index:
//
//	0 $Forwarded
//	1 NonJunk
//
// Names are compared without regard to case and the first of two holds; lines
// without a space or with an index above 25 are passed over. A letter without a
// name is called unknown-<index>, as Dovecot calls it. Entries are never
// removed: a file name somewhere may still carry the letter.
//
// The table changes only under the lock of the uidlist. It is replaced through
// dovecot-keywords.lock, which is lock and new file in one, and its mtime grows
// by a second at least, because readers compare whole seconds.
//
// Dovecot keeps a 27th keyword in its index only, where we and a rebuilt index
// cannot see it. We answer ErrTooManyKeywords instead of keeping it in memory.

const (
	keywordsName = "dovecot-keywords"
	keywordsLock = "dovecot-keywords.lock"
)

// keywordTable holds the names by index; "" is a free letter.
type keywordTable [maxKeywords]string

func parseKeywords(text string) keywordTable {
	var t keywordTable
	for line := range strings.SplitSeq(text, "\n") {
		index, name, ok := strings.Cut(line, " ")
		i, err := strconv.Atoi(index)
		if !ok || err != nil || i < 0 || i >= maxKeywords || name == "" || t[i] != "" || t.find(name) >= 0 {
			continue
		}
		if strings.ContainsAny(name, " \r\x00") {
			continue
		}
		t[i] = name
	}
	return t
}

// find returns the index of a keyword, -1 if the table lacks it.
func (t *keywordTable) find(name string) int {
	for i, have := range t {
		if have != "" && strings.EqualFold(have, name) {
			return i
		}
	}
	return -1
}

// name is the keyword at an index, used or not.
func (t *keywordTable) name(i int) string {
	if t[i] == "" {
		return "unknown-" + strconv.Itoa(i)
	}
	return t[i]
}

// add gives each name that the table lacks a letter, leaving out those in
// taken, which file names carry without an entry.
func (t *keywordTable) add(names []string, taken Flags) (bits Flags, grew bool, err error) {
	for _, name := range names {
		i := t.find(name)
		if i < 0 {
			if i = t.free(taken, name); i < 0 {
				return 0, false, fmt.Errorf("keyword %q: %w", name, ErrTooManyKeywords)
			}
			t[i], grew = name, true
		}
		bits |= Keyword(i)
	}
	return bits, grew, nil
}

// free finds a letter for a new keyword. A keyword unknown-<n> gets its own.
func (t *keywordTable) free(taken Flags, name string) int {
	for i := range t {
		if t[i] == "" && strings.EqualFold(name, t.name(i)) {
			return i
		}
	}
	for i := range t {
		if t[i] == "" && taken&Keyword(i) == 0 {
			return i
		}
	}
	return -1
}

// format writes the table; letters in used without a name get theirs.
func (t *keywordTable) format() []byte {
	var b []byte
	for i, name := range t {
		if name != "" {
			b = fmt.Appendf(b, "%d %s\n", i, name)
		}
	}
	return b
}

// validKeyword reports whether a keyword can stand in the table: an IMAP
// flag-keyword (RFC 9051 section 9), hence without spaces and controls.
func validKeyword(name string) bool {
	if name == "" || len(name) > 1000 {
		return false
	}
	for i := range len(name) {
		if c := name[i]; c <= ' ' || c >= 0x7f || strings.IndexByte(`(){%*"\]`, c) >= 0 {
			return false
		}
	}
	return true
}

// readKeywords reads the table; a missing file is an empty one.
func (f *folder) readKeywords() (keywordTable, error) {
	text, err := f.readFile(keywordsName, 256<<10)
	if errors.Is(err, fs.ErrNotExist) {
		return keywordTable{}, nil
	}
	if err != nil {
		return keywordTable{}, fmt.Errorf("reading the keywords: %w", err)
	}
	return parseKeywords(text), nil
}

// writeKeywords replaces the table. The caller holds the uidlist's lock, so
// that a lock file found here has no living holder that matters; Dovecot never
// takes it otherwise.
func (f *folder) writeKeywords(t *keywordTable) error {
	mtime := f.now()
	var st unix.Stat_t
	if f.lstat(keywordsName, &st) == nil {
		if old := time.Unix(st.Mtim.Unix()); mtime.Sub(old) < time.Second {
			mtime = old.Truncate(time.Second).Add(time.Second)
		}
	}
	if err := f.root.Remove(keywordsLock); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing an old lock file: %w", err)
	}
	if err := f.replaceBy(keywordsLock, keywordsName, t.format(), mtime); err != nil {
		return fmt.Errorf("writing the keywords: %w", err)
	}
	return nil
}
