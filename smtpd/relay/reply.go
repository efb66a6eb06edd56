package relay

import (
	"bufio"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"svc.plus/mailsrvd/internal/status"
)

// Bounds on a reply. RFC 5321 section 4.5.3.1.5 allows lines of 512 octets;
// servers exceed that, and some are chatty.
const (
	maxReplyLine  = 4096
	maxReplyLines = 128
)

// errBadReply means that the peer does not speak SMTP, or not any more.
var errBadReply = errors.New("not an SMTP reply")

// reply is what a server said.
type reply struct {
	code     int
	enhanced status.Enhanced // of the first line, if it has one that fits code
	lines    []string        // without codes
}

// readReply reads one reply, of one or more lines (RFC 5321 section 4.2). It
// takes lines that end in LF alone, since nothing depends on it here.
func readReply(br *bufio.Reader) (reply, error) {
	var r reply
	for range maxReplyLines {
		line, err := readLine(br)
		if err != nil {
			return reply{}, err
		}
		code, text, more, ok := splitReply(line)
		if !ok || r.code != 0 && code != r.code {
			return reply{}, fmt.Errorf("%w: %.80q", errBadReply, line)
		}
		r.code = code
		r.lines = append(r.lines, text)
		if !more {
			r.enhanced = enhancedOf(code, r.lines[0])
			return r, nil
		}
	}
	return reply{}, fmt.Errorf("%w: more than %d lines", errBadReply, maxReplyLines)
}

func readLine(br *bufio.Reader) (string, error) {
	var line []byte
	for {
		part, err := br.ReadSlice('\n')
		line = append(line, part...)
		if len(line) > maxReplyLine {
			return "", fmt.Errorf("%w: line is too long", errBadReply)
		}
		if err == nil {
			return strings.TrimRight(string(line), "\r\n"), nil
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return "", err
		}
	}
}

// splitReply takes a line apart: "250-text" has more to come.
func splitReply(line string) (code int, text string, more, ok bool) {
	if len(line) < 3 {
		return 0, "", false, false
	}
	code, err := strconv.Atoi(line[:3])
	if err != nil || code < 200 || code > 599 {
		return 0, "", false, false
	}
	if len(line) == 3 {
		return code, "", false, true
	}
	if line[3] != ' ' && line[3] != '-' {
		return 0, "", false, false
	}
	return code, line[4:], line[3] == '-', true
}

// enhancedOf reads an RFC 3463 code that agrees with the reply code.
func enhancedOf(code int, text string) status.Enhanced {
	word, _, _ := strings.Cut(text, " ")
	parts := strings.Split(word, ".")
	if len(parts) != 3 {
		return status.Enhanced{}
	}
	var e status.Enhanced
	for i, p := range parts {
		n, err := strconv.Atoi(p)
		if err != nil || n < 0 || n > 999 || len(p) > 3 {
			return status.Enhanced{}
		}
		e[i] = n
	}
	if e[0] != code/100 {
		return status.Enhanced{}
	}
	return e
}

// ok reports whether the server did what it was asked.
func (r reply) ok() bool { return r.code/100 == 2 }

// String gives the reply on one line, safe for a log and a report.
func (r reply) String() string {
	s := strconv.Itoa(r.code) + " " + strings.Join(r.lines, " / ")
	s = strings.Map(printable, strings.ToValidUTF8(strings.TrimSpace(s), "?"))
	if len(s) > maxReplyText {
		s = strings.ToValidUTF8(s[:maxReplyText], "") + "..."
	}
	return s
}

// maxReplyText bounds what is kept of a reply.
const maxReplyText = 600

func printable(c rune) rune {
	if c < ' ' || c == 0x7f {
		return ' '
	}
	return c
}
