package imapd

import (
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
)

// believer is a client that believes what it is told: which UID each sequence
// number has, 0 while it does not know.
type believer struct {
	t    *testing.T
	c    *testConn
	uids []uint32
	name string
}

// run sends a command and follows the answer to its end.
func (b *believer) run(command string) {
	if _, err := io.WriteString(b.c, "z "+command+"\r\n"); err != nil {
		b.t.Error(err)
		return
	}
	for {
		line := b.c.line(b.t)
		b.hear(command, line)
		if strings.HasPrefix(line, "z ") {
			if strings.HasPrefix(line, "z BAD") {
				b.t.Errorf("%s: %s: %s", b.name, command, line)
			}
			return
		}
	}
}

func (b *believer) hear(command, line string) {
	var n, uid uint32
	switch {
	case scan(line, "* %d EXISTS", &n):
		if int(n) < len(b.uids) {
			b.t.Errorf("%s: %s: %q with %d messages", b.name, command, line, len(b.uids))
			return
		}
		for len(b.uids) < int(n) {
			b.uids = append(b.uids, 0)
		}
	case scan(line, "* %d EXPUNGE", &n):
		if strings.HasPrefix(command, "FETCH") || strings.HasPrefix(command, "STORE") || strings.HasPrefix(command, "SEARCH") {
			b.t.Errorf("%s: EXPUNGE during %s", b.name, command)
		}
		if n == 0 || int(n) > len(b.uids) {
			b.t.Errorf("%s: %s: %q with %d messages", b.name, command, line, len(b.uids))
			return
		}
		b.uids = append(b.uids[:n-1], b.uids[n:]...)
	case scan(line, "* %d FETCH (UID %d", &n, &uid):
		if n == 0 || int(n) > len(b.uids) {
			b.t.Errorf("%s: %s: %q with %d messages", b.name, command, line, len(b.uids))
			return
		}
		if have := b.uids[n-1]; have != 0 && have != uid {
			b.t.Errorf("%s: %s: message %d was UID %d, now %d", b.name, command, n, have, uid)
		}
		b.uids[n-1] = uid
	}
}

func scan(line, format string, into ...any) bool {
	n, err := fmt.Sscanf(line, format, into...)
	return n == len(into) && (err == nil || strings.Contains(format, "UID"))
}

// TestBeliefsStayTrue lets clients change one mailbox at once, at random. What
// each believes, from nothing but responses, must agree with what it is told
// later.
func TestBeliefsStayTrue(t *testing.T) {
	h := newHarness(t, nil)
	for i := range 20 {
		h.deliver("INBOX", mail(fmt.Sprint(i)))
	}
	const clients, commands = 4, 150
	var wg sync.WaitGroup
	for i := range clients {
		b := &believer{t: t, name: fmt.Sprint(i), c: h.dial(fmt.Sprint(i))}
		b.c.line(t)
		b.run("LOGIN alice secret")
		if i%2 == 1 {
			b.run("ENABLE CONDSTORE")
		}
		b.run("SELECT INBOX")
		rnd := rand.New(rand.NewPCG(1, uint64(i)))
		wg.Go(func() {
			for range commands {
				b.run(b.random(rnd))
			}
			b.run("NOOP")
			b.run("FETCH 1:* UID")
		})
	}
	wg.Wait()
}

// random returns a command that is right as far as the client knows.
func (b *believer) random(rnd *rand.Rand) string {
	if len(b.uids) == 0 {
		return "APPEND INBOX {3+}\r\nabc"
	}
	n := func() int { return rnd.IntN(len(b.uids)) + 1 }
	switch rnd.IntN(12) {
	case 0:
		return "APPEND INBOX {3+}\r\nabc"
	case 1:
		return fmt.Sprintf("STORE %d +FLAGS (\\Deleted)", n())
	case 2:
		return fmt.Sprintf("STORE %d,%d FLAGS.SILENT (\\Seen)", n(), n())
	case 3:
		return "EXPUNGE"
	case 4:
		return fmt.Sprintf("COPY %d INBOX", n())
	case 5:
		return fmt.Sprintf("MOVE %d INBOX", n())
	case 6:
		return fmt.Sprintf("UID FETCH %d:* (UID FLAGS)", rnd.IntN(100)+1)
	case 7:
		return fmt.Sprintf("FETCH %d (UID FLAGS RFC822.SIZE)", n())
	case 8:
		return "SEARCH UNDELETED"
	case 9:
		return fmt.Sprintf("FETCH %d:* (UID BODY[TEXT])", n())
	case 10:
		return "IDLE\r\nDONE"
	default:
		return "NOOP"
	}
}
