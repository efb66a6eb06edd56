package imapd

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// large is a message of about n bytes.
func large(n int) string {
	return mail("large") + strings.Repeat(strings.Repeat("x", 70)+"\n", n/71)
}

// others is what other sessions do, and hear at once, while one is at work in
// the same mailbox (2) and in another (3).
const others = `
	C2: b1 NOOP
	S2: ~b1 OK NOOP completed.
	C2: b2 FETCH 1:3 (UID FLAGS RFC822.SIZE)
	S2: ~b2 OK FETCH completed.
	C2: b3 STORE 2 +FLAGS (\Flagged)
	S2: ~b3 OK STORE completed.
	C2: b4 APPEND INBOX {5+}
	C2: x: y\n
	S2: ~b4 OK [APPENDUID ...
	C2: b5 FETCH 3 BODY.PEEK[HEADER.FIELDS (SUBJECT)]
	S2: ~b5 OK FETCH completed.
	C2: b6 SEARCH SUBJECT large
	S2: ~b6 OK SEARCH completed.
	C3: c1 CREATE Other
	S3: ~c1 OK ... CREATE completed.
	C3: c2 SELECT Other
	S3: ~c2 OK [READ-WRITE] SELECT completed.
	C3: c3 APPEND Other {5+}
	C3: x: y\n
	S3: ~c3 OK [APPENDUID ...
	C3: c4 FETCH 1 BODY[]
	S3: ~c4 OK FETCH completed.
`

// A client that does not read its answer holds up nobody: what it asked for is
// more than all buffers between hold, so its command cannot have ended before it
// reads.
func TestFetchOfASlowReaderHoldsUpNobody(t *testing.T) {
	h := newHarness(t, nil)
	for range 6 {
		h.deliver("INBOX", large(3<<20))
	}
	h.login("", "2", "3")
	if _, err := io.WriteString(h.conns[""], "a FETCH 1:6 BODY.PEEK[]\r\n"); err != nil {
		t.Fatal(err)
	}
	h.conns[""].line(t) // it has begun
	h.talk(others)
	h.talk("S: ~a OK FETCH completed.")
}

// Nor does a long search, even a row of them: the others have all their answers
// while it still goes on.
func TestLongSearchHoldsUpNobody(t *testing.T) {
	h := newHarness(t, nil)
	for range 6 {
		h.deliver("INBOX", large(3<<20))
	}
	h.login("", "2", "3")
	const rounds = 60
	var searches strings.Builder
	for i := range rounds {
		fmt.Fprintf(&searches, "a%d SEARCH BODY \"in none of them\"\r\n", i)
	}
	if _, err := io.WriteString(h.conns[""], searches.String()); err != nil {
		t.Fatal(err)
	}
	var ended atomic.Int32
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ended.Load() < rounds {
			h.conns[""].SetReadDeadline(time.Now().Add(time.Minute))
			line, err := h.conns[""].r.ReadString('\n')
			if err != nil {
				if !errors.Is(err, net.ErrClosed) { // by us, below
					t.Errorf("searching: %v", err)
				}
				return
			}
			if strings.HasPrefix(line, "a") {
				ended.Add(1)
			}
		}
	}()
	h.talk(others)
	if n := ended.Load(); n == rounds {
		t.Error("the others had to wait for all the searches")
	}
	h.conns[""].Close()
	<-done
}

// peak watches the memory of this process, client and server, until stop is
// called, which returns its growth in bytes.
func peak() (stop func() uint64) {
	used := func() uint64 {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapInuse + m.StackInuse
	}
	runtime.GC()
	before := used()
	most := before
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-end:
				return
			case <-time.After(2 * time.Millisecond):
				most = max(most, used())
			}
		}
	}()
	return func() uint64 {
		close(end)
		<-ended
		return most - before
	}
}

// A message of 100 MB comes and goes through buffers: the memory of client and
// server together stays far below its size.
func TestLargeMessageStreamsWithFlatMemory(t *testing.T) {
	const size, bound = 100 << 20, 12 << 20
	h := newHarness(t, func(o *Options) { o.Limits.AppendSize = 2 * size })
	h.login("")
	c := h.conns[""]
	head := []byte("Subject: large\r\n\r\n")
	line := append(bytes.Repeat([]byte("y"), 62), '\r', '\n')

	grown := peak()
	fmt.Fprintf(c, "a APPEND INBOX {%d+}\r\n%s", len(head)+size, head)
	block := bytes.Repeat(line, 512)
	for range size / len(block) {
		if _, err := c.Write(block); err != nil {
			t.Fatal(err)
		}
	}
	io.WriteString(c, "\r\n")
	c.SetReadDeadline(time.Now().Add(time.Minute))
	h.talk("S: ~a OK [APPENDUID ...")
	if n := grown(); n > bound {
		t.Errorf("APPEND took %d MiB", n>>20)
	}

	for _, item := range []string{"BODY[]", "BODY[TEXT]", "RFC822", "BINARY[1]"} {
		grown := peak()
		fmt.Fprintf(c, "b FETCH 1 %s\r\n", item)
		n := int64(0)
		if _, err := fmt.Sscanf(c.line(t)[len("* 1 FETCH (")+len(item):], " {%d}", &n); err != nil || n < size {
			t.Fatalf("%s: %d bytes, %v", item, n, err)
		}
		c.SetReadDeadline(time.Now().Add(time.Minute))
		if _, err := io.CopyN(io.Discard, c.r, n); err != nil {
			t.Fatal(err)
		}
		h.talk("S: ~b OK FETCH completed.")
		if n := grown(); n > bound {
			t.Errorf("FETCH %s took %d MiB", item, n>>20)
		}
	}
}
