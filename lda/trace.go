package lda

import (
	"bufio"
	"bytes"
	"io"
	"strings"

	"svc.plus/mailsrvd/internal/message"
	"svc.plus/mailsrvd/internal/status"
)

// maxHeader bounds the part of a message that is searched for trace fields.
const maxHeader = 1 << 20

// maxField bounds the value of one field that is kept.
const maxField = 2048

// headerFacts is what delivery wants to know of a message's header.
type headerFacts struct {
	// messageID is the value of Message-ID as it stands, empty if there is none.
	messageID string
	// deliveredTo are the addresses that the message has been delivered to,
	// in lower case.
	deliveredTo map[string]bool
	// redirected are the accounts whose filters have sent the message on.
	redirected map[string]bool
	// received counts the Received fields.
	received int
}

// readHeader searches the header of a message. Malformed lines are passed
// over; only an error of the reader is one.
func readHeader(r io.Reader) (headerFacts, error) {
	facts := headerFacts{deliveredTo: map[string]bool{}, redirected: map[string]bool{}}
	in := bufio.NewReaderSize(io.LimitReader(r, maxHeader), 4096)
	var field []byte
	for {
		line, long, err := in.ReadLine()
		if err != nil && err != io.EOF {
			return facts, err
		}
		if len(line) > 0 && (line[0] == ' ' || line[0] == '\t') {
			field = appendBounded(field, line)
		} else {
			facts.note(field)
			field = appendBounded(field[:0], line)
		}
		for long && err == nil {
			if line, long, err = in.ReadLine(); err == nil {
				field = appendBounded(field, line)
			}
		}
		if err != nil || len(field) == 0 {
			return facts, nil
		}
	}
}

// appendBounded appends what still fits.
func appendBounded(field, line []byte) []byte {
	return append(field, line[:min(len(line), max(maxField-len(field), 0))]...)
}

// note takes the value of a field that matters.
func (f *headerFacts) note(field []byte) {
	name, value, ok := bytes.Cut(field, []byte(":"))
	if !ok {
		return
	}
	text := strings.TrimSpace(string(value))
	switch strings.ToLower(string(bytes.TrimRight(name, " \t"))) {
	case "received":
		f.received++
	case "message-id":
		if f.messageID == "" {
			f.messageID = printable(text)
		}
	case "delivered-to":
		f.deliveredTo[foldAddress(text)] = true
	case "x-sieve-redirected-from":
		f.redirected[foldAddress(text)] = true
	}
}

// foldAddress makes two spellings of an address equal.
func foldAddress(address string) string {
	address = strings.ToValidUTF8(strings.TrimSpace(strings.Trim(address, "<>")), "?")
	local, domain, err := splitAddress(address)
	if err != nil {
		return strings.ToLower(address)
	}
	return joinAddress(strings.ToLower(local), canonicalDomain(domain))
}

// printable keeps a value from the wire from breaking a log line.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '\ufffd' {
			return '?'
		}
		return r
	}, s)
}

// logID is the message-id as dovecot-lda logs it.
func (f headerFacts) logID() string {
	if f.messageID == "" {
		return "unspecified"
	}
	return f.messageID
}

// checkLoop refuses a message that has been delivered to one of the addresses
// before: it came back, and would again.
func (f headerFacts) checkLoop(addresses []string) error {
	for _, a := range addresses {
		if f.deliveredTo[foldAddress(a)] {
			return status.New(554, 4, 6, "Mail loop: this message was delivered to <"+printable(a)+"> before")
		}
	}
	return nil
}

// traceFields are the fields that final delivery puts on top (RFC 5321 section
// 4.4 for Return-Path; Delivered-To for each address, RFC 9228).
func traceFields(reversePath string, addresses []string) []byte {
	var b bytes.Buffer
	b.WriteString("Return-Path: <" + printable(reversePath) + ">\r\n")
	for _, a := range addresses {
		b.WriteString("Delivered-To: " + printable(a) + "\r\n")
	}
	return b.Bytes()
}

// contentFacts reads the header of a Content.
func contentFacts(c *message.Content) (headerFacts, error) { return readHeader(c.NewReader()) }
