package imapd

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
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
