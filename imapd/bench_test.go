package imapd

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"svc.plus/mailsrvd/maildir"
	"svc.plus/mailsrvd/maildir/index"
)

// benchClient is logged in and has selected INBOX with n messages.
func benchClient(b *testing.B, n int, text string) *testConn {
	b.Helper()
	h := newHarness(b, nil)
	for range n {
		h.deliver("INBOX", text)
	}
	h.login("")
	c := h.conn("")
	c.r = bufio.NewReaderSize(c.Conn, 64<<10)
	b.ReportAllocs()
	b.ResetTimer()
	return c
}

// command sends a command and reads to its tagged reply.
func (c *testConn) command(b *testing.B, text string) {
	if _, err := io.WriteString(c, "a "+text+"\r\n"); err != nil {
		b.Fatal(err)
	}
	c.untilTagged(b)
}

func (c *testConn) untilTagged(b *testing.B) {
	for {
		line, err := c.r.ReadSlice('\n')
		if err == bufio.ErrBufferFull {
			continue // the start of a line with many numbers
		}
		if err != nil {
			b.Fatal(err)
		}
		if bytes.HasPrefix(line, []byte("a ")) {
			if !bytes.HasPrefix(line, []byte("a OK")) {
				b.Fatalf("%s", line)
			}
			return
		}
	}
}

func BenchmarkNoop(b *testing.B) {
	c := benchClient(b, 0, "")
	for b.Loop() {
		c.command(b, "NOOP")
	}
}

func BenchmarkNoopPipelined(b *testing.B) {
	c := benchClient(b, 0, "")
	batch := strings.Repeat("a NOOP\r\n", 50)
	for b.Loop() {
		io.WriteString(c, batch)
		for range 50 {
			c.untilTagged(b)
		}
	}
}

func BenchmarkFetchFlags10k(b *testing.B) {
	c := benchClient(b, 10_000, mail("x"))
	for b.Loop() {
		c.command(b, "FETCH 1:* (UID FLAGS)")
	}
}

func BenchmarkFetchSizes1k(b *testing.B) {
	c := benchClient(b, 1000, mail("x"))
	for b.Loop() {
		c.command(b, "FETCH 1:* (UID FLAGS RFC822.SIZE INTERNALDATE)")
	}
}

func BenchmarkFetchEnvelope1k(b *testing.B) {
	c := benchClient(b, 1000, multipart)
	for b.Loop() {
		c.command(b, "FETCH 1:* (ENVELOPE BODYSTRUCTURE)")
	}
}

func BenchmarkFetchSmallBody(b *testing.B) {
	c := benchClient(b, 1, mail("x"))
	for b.Loop() {
		c.command(b, "FETCH 1 BODY.PEEK[]")
	}
}

func BenchmarkFetchLargeBody(b *testing.B) {
	text := "Subject: big\n\n" + strings.Repeat(strings.Repeat("0123456789", 7)+"\n", 140_000)
	c := benchClient(b, 1, text)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		c.command(b, "FETCH 1 BODY.PEEK[]")
	}
}

func BenchmarkSearchFlags10k(b *testing.B) {
	c := benchClient(b, 10_000, mail("x"))
	for b.Loop() {
		c.command(b, "SEARCH UNSEEN NOT DELETED")
	}
}

func BenchmarkSearchSubject1k(b *testing.B) {
	c := benchClient(b, 1000, mail("x"))
	for b.Loop() {
		c.command(b, "SEARCH SUBJECT y")
	}
}

func BenchmarkSearchText1k(b *testing.B) {
	c := benchClient(b, 1000, mail("x"))
	for b.Loop() {
		c.command(b, "SEARCH TEXT needle")
	}
}

func BenchmarkStore(b *testing.B) {
	c := benchClient(b, 1000, mail("x"))
	op := []byte("+-")
	for i := 0; b.Loop(); i++ {
		c.command(b, fmt.Sprintf("STORE %d %cFLAGS (\\Seen)", i/2%1000+1, op[i%2]))
	}
}

// bigMailbox is a client of an INBOX with n messages, which are links to one
// file.
func bigMailbox(b *testing.B, n int) *testConn {
	b.Helper()
	x, err := index.Open(index.Options{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { x.Close() })
	h := newHarnessOn(b, maildir.Options{Index: x}, nil)
	cur := h.store().Path() + "/cur/"
	text := mail("big")
	first := cur + fmt.Sprintf("1500000000.M0P1.test,S=%d,W=%d:2,S", len(text), len(text)+strings.Count(text, "\n"))
	if err := os.WriteFile(first, []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
	source := first
	for i := 1; i < n; i++ {
		name := strings.Replace(first, "1500000000.M0", fmt.Sprintf("%d.M%d", 1500000000+i/10, i%10), 1)
		if i%20_000 == 0 { // a file has so many links only
			source = name
			if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
				b.Fatal(err)
			}
			continue
		}
		if err := os.Link(source, name); err != nil {
			b.Fatal(err)
		}
	}
	box, err := h.store().Open(b.Context(), "INBOX")
	if err == nil {
		err = box.Reindex(b.Context(), nil)
	}
	if err != nil {
		b.Fatal(err)
	}
	box.Close()
	h.login("")
	c := h.conn("")
	c.r = bufio.NewReaderSize(c.Conn, 64<<10)
	b.ReportAllocs()
	b.ResetTimer()
	return c
}

func BenchmarkHundredThousand(b *testing.B) {
	c := bigMailbox(b, 100_000)
	for _, command := range []string{
		"SELECT INBOX", "FETCH 1:* (UID FLAGS)", "FETCH 1:* (UID FLAGS RFC822.SIZE INTERNALDATE)",
		"UID SEARCH UNSEEN", "UID SEARCH SINCE 1-Jan-2026", "UID FETCH 50000 FLAGS", "STORE 50000 +FLAGS (\\Answered)",
		"STORE 50000 -FLAGS (\\Answered)", "NOOP", "UID SEARCH SUBJECT nothing", "UID SEARCH TEXT nothing", "UID SEARCH HEADER Message-ID nothing",
		"UID FETCH 1:* (ENVELOPE BODYSTRUCTURE)", "UID SORT (SUBJECT) UTF-8 ALL", "UID THREAD REFERENCES UTF-8 ALL",
	} {
		b.Run(command, func(b *testing.B) {
			for b.Loop() {
				c.command(b, command)
			}
		})
	}
}
