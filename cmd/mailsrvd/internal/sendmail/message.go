package sendmail

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"svc.plus/mailsrvd/internal/message"
)

// maxHeader bounds what of a message is read at once: its header.
const maxHeader = 1 << 20

// errHeader means that the header does not end within maxHeader.
var errHeader = errors.New("the header is longer than 1 MiB")

// mail is a message as it comes from standard input, its header read.
type mail struct {
	fields   [][]byte // whole lines with LF, continuation lines included
	summary  message.Summary
	body     io.Reader // what follows the header, with the blank line
	eightBit bool      // the header has bytes beyond ASCII
}

// readMail reads the header. Without dotIsText a line with only a dot ends the
// message, as people at a terminal expect.
func readMail(r io.Reader, dotIsText bool) (*mail, error) {
	br := bufio.NewReaderSize(r, 64<<10)
	if !dotIsText {
		br = bufio.NewReaderSize(&untilDot{r: br, lineStart: true}, 64<<10)
	}
	m := &mail{body: br}
	size := 0
	if from, _ := br.Peek(5); string(from) == "From " { // of an mbox
		br.ReadBytes('\n')
	}
	for {
		start, err := br.Peek(1)
		if err == io.EOF {
			break
		} else if err != nil {
			return nil, fmt.Errorf("reading the message: %w", err)
		}
		continued := len(m.fields) > 0 && (start[0] == ' ' || start[0] == '\t')
		if !continued && !startsField(br) {
			break
		}
		line, err := br.ReadBytes('\n')
		if err != nil && err != io.EOF {
			return nil, fmt.Errorf("reading the message: %w", err)
		}
		if size += len(line); size > maxHeader {
			return nil, errHeader
		}
		m.add(line)
	}
	// Text that begins without a header is a body.
	if start, _ := br.Peek(2); !bytes.HasPrefix(start, []byte("\n")) && !bytes.HasPrefix(start, []byte("\r\n")) {
		m.body = io.MultiReader(strings.NewReader("\n"), br)
	}
	part, err := message.Scan(bytes.NewReader(bytes.Join(m.fields, nil)))
	if err != nil {
		return nil, err
	}
	m.summary = *part.Summary
	return m, nil
}

// startsField reports whether a header field begins here: a name and a colon.
func startsField(br *bufio.Reader) bool {
	for n := 64; ; n *= 2 {
		b, err := br.Peek(n)
		if i := bytes.IndexAny(b, ":\r\n \t"); i >= 0 {
			return i > 0 && b[i] == ':' || i > 0 && b[i] != '\n' && b[i] != '\r' && colonAfterSpace(b[i:])
		}
		if err != nil {
			return false
		}
	}
}

// colonAfterSpace accepts the obsolete white space before the colon (RFC 5322
// section 4.5).
func colonAfterSpace(b []byte) bool {
	b = bytes.TrimLeft(b, " \t")
	return len(b) > 0 && b[0] == ':'
}

func (m *mail) add(line []byte) {
	if !bytes.HasSuffix(line, []byte("\n")) {
		line = append(line, '\n')
	}
	m.eightBit = m.eightBit || bytes.IndexFunc(line, func(r rune) bool { return r > 0x7e }) >= 0
	if n := len(m.fields); n > 0 && (line[0] == ' ' || line[0] == '\t') {
		m.fields[n-1] = append(m.fields[n-1], line...)
		return
	}
	m.fields = append(m.fields, line)
}

// has reports whether there is a field of this name.
func (m *mail) has(name string) bool {
	for _, f := range m.fields {
		if isField(f, name) {
			return true
		}
	}
	return false
}

func isField(field []byte, name string) bool {
	head, _, ok := bytes.Cut(field, []byte(":"))
	return ok && strings.EqualFold(strings.TrimRight(string(head), " \t"), name)
}

// recipients are the addresses of To, Cc and Bcc; of the Resent- fields alone
// if there are any (RFC 5322 section 3.6.6).
func (m *mail) recipients() []string {
	lists := []string{m.summary.To, m.summary.Cc, m.summary.Bcc}
	if resent := m.resent(); resent != "" {
		lists = []string{resent}
	}
	var out []string
	for _, list := range lists {
		for _, a := range message.ParseAddressList(list) {
			if a.Kind == message.Individual && a.Mailbox != "" {
				out = append(out, a.String())
			}
		}
	}
	return out
}

func (m *mail) resent() string {
	var lists []string
	for _, f := range m.fields {
		if isField(f, "Resent-To") || isField(f, "Resent-Cc") || isField(f, "Resent-Bcc") {
			_, value, _ := bytes.Cut(f, []byte(":"))
			lists = append(lists, strings.Join(strings.Fields(string(value)), " "))
		}
	}
	return strings.Join(lists, ", ")
}

// reader gives the message to send: without Bcc, and with a From field when
// from is not empty.
func (m *mail) reader(from string) io.Reader {
	var header bytes.Buffer
	if from != "" {
		header.WriteString("From: " + from + "\n")
	}
	for _, f := range m.fields {
		if !isField(f, "Bcc") && !isField(f, "Resent-Bcc") {
			header.Write(f)
		}
	}
	return io.MultiReader(&header, m.body)
}

// untilDot ends a stream at a line that holds only a dot.
type untilDot struct {
	r         *bufio.Reader
	lineStart bool
	done      bool
}

// Read implements io.Reader, a line or a part of one at a time.
func (u *untilDot) Read(p []byte) (int, error) {
	if u.done {
		return 0, io.EOF
	}
	if u.lineStart {
		b, _ := u.r.Peek(3)
		if bytes.HasPrefix(b, []byte(".\n")) || bytes.Equal(b, []byte(".\r\n")) || bytes.Equal(b, []byte(".")) {
			u.done = true
			return 0, io.EOF
		}
	}
	if _, err := u.r.Peek(1); err != nil {
		return 0, err
	}
	b, _ := u.r.Peek(min(u.r.Buffered(), len(p)))
	if i := bytes.IndexByte(b, '\n'); i >= 0 {
		b = b[:i+1]
	}
	n := copy(p, b)
	u.r.Discard(n)
	u.lineStart = n > 0 && p[n-1] == '\n'
	return n, nil
}
