package lda

import (
	"bufio"
	"io"
	"strings"
)

// maxFromLine bounds what is kept of a From_ line; all of it is removed.
const maxFromLine = 4096

// stripFromLine removes a first line that begins with "From ", as programs
// that deliver into mbox files put it there, and returns the address it names,
// empty if there is none. The rest of the message is in the reader.
func stripFromLine(r io.Reader) (io.Reader, string, error) {
	in := bufio.NewReaderSize(r, 64<<10)
	if start, err := in.Peek(5); err != nil && err != io.EOF {
		return in, "", err
	} else if string(start) != "From " {
		return in, "", nil
	}
	var line []byte
	for {
		part, err := in.ReadSlice('\n')
		line = append(line, part[:min(len(part), maxFromLine-len(line))]...)
		switch err {
		case nil, io.EOF:
			return in, fromLineSender(string(line)), nil
		case bufio.ErrBufferFull:
		default:
			return in, "", err
		}
	}
}

// fromLineSender finds the address in "From alice@example.net Thu Jan  1
// 00:00:00 1970". An address in quotes may hold spaces.
func fromLineSender(line string) string {
	rest := strings.TrimRight(strings.TrimPrefix(line, "From "), "\r\n")
	end := 0
	for quoted := false; end < len(rest); end++ {
		switch c := rest[end]; {
		case c == '\\' && quoted:
			end++
			continue
		case c == '"':
			quoted = !quoted
			continue
		case c == ' ' && !quoted:
		default:
			continue
		}
		break
	}
	if end >= len(rest) || !isFromDate(rest[end:]) {
		return ""
	}
	return rest[:end]
}

// isFromDate reports whether s begins like the date of a From_ line, "Thu Jan
// 1 00:00:00 1970"; the first line of a text might begin with "From " too.
func isFromDate(s string) bool {
	words := strings.Fields(s)
	return len(words) >= 4 && isWord(words[0], "Sun Mon Tue Wed Thu Fri Sat") &&
		isWord(words[1], "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec")
}

func isWord(s, list string) bool {
	return len(s) == 3 && strings.Contains(" "+list+" ", " "+s+" ")
}
