package maildir

// Flags is the state of a message that its file name holds. Bits 0 to 25 are
// the keywords whose names Mailbox.Keywords gives at the same index (letters
// a-z in the file name); the bits above are the system flags.
type Flags uint32

// System flags with their letters (https://cr.yp.to/proto/maildir.html). Passed
// is the letter P, "forwarded", which IMAP does not have.
const (
	Draft    Flags = 1 << (26 + iota) // D, \Draft
	Flagged                           // F, \Flagged
	Passed                            // P
	Answered                          // R, \Answered
	Seen                              // S, \Seen
	Deleted                           // T, \Deleted
)

// maxKeywords is the number of letters.
const maxKeywords = 26

// AllKeywords has the bit of every keyword.
const AllKeywords Flags = 1<<maxKeywords - 1

const flagLetters = "DFPRST"

// Keyword returns the bit of the keyword with index i, 0 to 25.
func Keyword(i int) Flags { return 1 << i }

// flagOf returns the bit of a letter, 0 if the letter has no meaning here.
func flagOf(c byte) Flags {
	switch {
	case c >= 'a' && c <= 'z':
		return 1 << (c - 'a')
	case c == 'S':
		return Seen
	case c == 'R':
		return Answered
	case c == 'F':
		return Flagged
	case c == 'T':
		return Deleted
	case c == 'D':
		return Draft
	case c == 'P':
		return Passed
	}
	return 0
}

// appendLetters writes the letters of f, merged with letters that we do not
// know, in ASCII order. unknown is sorted and has none of ours.
func (f Flags) appendLetters(dst []byte, unknown string) []byte {
	for i := range flagLetters {
		for unknown != "" && unknown[0] < flagLetters[i] {
			dst, unknown = append(dst, unknown[0]), unknown[1:]
		}
		if f&(Draft<<i) != 0 {
			dst = append(dst, flagLetters[i])
		}
	}
	for unknown != "" && unknown[0] < 'a' {
		dst, unknown = append(dst, unknown[0]), unknown[1:]
	}
	for i := range maxKeywords {
		if f&(1<<i) != 0 {
			dst = append(dst, byte('a'+i))
		}
	}
	return append(dst, unknown...)
}
