package imapd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/emersion/go-imap/v2"

	"svc.plus/mailsrvd/internal/asuser"
	"svc.plus/mailsrvd/internal/status"
	"svc.plus/mailsrvd/maildir"
)

// faults fails a step of the storage while it is set.
type faults struct {
	step atomic.Pointer[string]
	left atomic.Int32 // times that it still succeeds
	err  error
}

func (f *faults) set(step string, after int32) {
	f.left.Store(after)
	f.step.Store(&step)
}

func (f *faults) fault(step, _ string) error {
	if s := f.step.Load(); s == nil || *s != step || f.left.Add(-1) >= 0 {
		return nil
	}
	return f.err
}

func TestStorageErrorsHaveTheirReplies(t *testing.T) {
	s := newHarness(t, nil)
	session := &session{srv: s.srv, remote: netip.Addr{}}
	for _, c := range []struct {
		err  error
		want imap.ResponseCode
	}{
		{fmt.Errorf("opening: %w", maildir.ErrNotFound), "NONEXISTENT"},
		{maildir.ErrExists, "ALREADYEXISTS"},
		{maildir.ErrInvalidName, "CANNOT"},
		{maildir.ErrInbox, "CANNOT"},
		{maildir.ErrTooManyKeywords, "LIMIT"},
		{maildir.ErrLocked, "INUSE"},
		{maildir.ErrQuota, "OVERQUOTA"},
		{status.MailboxFull(maildir.ErrQuota), "OVERQUOTA"},
		{status.MailboxFull(nil), "OVERQUOTA"},
		{status.SystemFull(nil), "UNAVAILABLE"},
		{status.New(451, 3, 0, "Try again"), "UNAVAILABLE"},
		{syscall.ENOSPC, "UNAVAILABLE"},
		{syscall.EDQUOT, "OVERQUOTA"},
		{context.Canceled, "UNAVAILABLE"},
		{errors.New("/home/alice: something odd"), "SERVERBUG"},
	} {
		reply := session.answer(c.err)
		if reply.Type != "NO" || reply.Code != c.want {
			t.Errorf("%v: %+v, want %s", c.err, reply, c.want)
		}
		if strings.Contains(reply.Text, "/") {
			t.Errorf("%v: the reply gives away a path: %s", c.err, reply.Text)
		}
	}
}

func TestAppendThatFailsIsNotAcknowledged(t *testing.T) {
	f := &faults{err: syscall.ENOSPC}
	h := newHarnessOn(t, maildir.Options{Fault: f.fault}, nil)
	h.login("")
	f.set("sync", 0)
	h.talk(`
		C: a APPEND INBOX {3+}
		C: abc
		S: a NO [UNAVAILABLE] ...
		C: b STATUS INBOX (MESSAGES)
		S: * STATUS INBOX (MESSAGES 0)
		S: b OK ...
	`)
}

// Of several messages in one APPEND all are stored or none (RFC 3502 section 4).
func TestMultiAppendIsAllOrNothing(t *testing.T) {
	f := &faults{err: syscall.ENOSPC}
	h := newHarnessOn(t, maildir.Options{Fault: f.fault}, nil)
	h.login("")
	f.set("create", 1)
	h.talk(`
		C: a APPEND INBOX {3+}
		C: one {3+}
		C: two
		S: ~a NO [UNAVAILABLE] ...
		C: b STATUS INBOX (MESSAGES)
		S: ~* STATUS INBOX (MESSAGES 0)
		S: b OK ...
	`)
}

func TestQuotaRefusesAppend(t *testing.T) {
	h := newHarnessOn(t, maildir.Options{Quota: func(context.Context, asuser.Owner, string, int64) error {
		return fmt.Errorf("no more: %w", maildir.ErrQuota)
	}}, nil)
	h.login("")
	h.talk(`
		C: a APPEND INBOX {3+}
		C: abc
		S: a NO [OVERQUOTA] ...
	`)
}

// A watcher that is too far behind is told of a reset, and the view has to find
// out by itself what is new.
func TestViewAfterAReset(t *testing.T) {
	if testing.Short() {
		t.Skip("missing: time for 65,536 changes")
	}
	h := newHarness(t, nil)
	for range 1000 {
		h.deliver("INBOX", "x\n")
	}
	h.login("1", "2")
	h.talk("C2: a STORE 10,20 +FLAGS.SILENT (\\Deleted)\nS2: a OK ...")
	h.talk("C2: a EXPUNGE\nS2: * 20 EXPUNGE\nS2: * 10 EXPUNGE\nS2: a OK ...")
	for i := range 67 {
		h.talk(fmt.Sprintf("C2: a UID STORE 1:* %cFLAGS.SILENT (\\Seen)\nS2: a OK ...", "+-"[i%2]))
	}
	h.talk("C2: a STORE 1 FLAGS.SILENT (\\Flagged)\nS2: a OK ...")
	h.deliver("INBOX", "new\n")
	h.talk(`
		C1: b NOOP
		S1: * 20 EXPUNGE
		S1: * 10 EXPUNGE
		S1: * 999 EXISTS
		S1: * ... RECENT
		S1: * 1 FETCH (UID 1 FLAGS (\Flagged...))
		S1: * 2 FETCH (UID 2 FLAGS (\Seen...))
		S1: ~b OK ...
		C1: c UID SEARCH 10,998:999
		S1: * SEARCH 11 1000 1001
		S1: c OK ...
	`)
}

func TestEnvelopesOfMany(t *testing.T) {
	h := newHarness(t, nil)
	for i := range 300 {
		h.deliver("INBOX", mail(fmt.Sprint("no", i+1)))
	}
	h.login("")
	h.talk("C: a FETCH 1:* (ENVELOPE)")
	for i := range 300 {
		h.talk(fmt.Sprintf(`S: * %d FETCH (ENVELOPE ("..." "no%d" ...))`, i+1, i+1))
	}
	h.talk("S: a OK ...")
}

// A file that others removed without a word is a message that is gone, not an
// error that ends the session.
func TestFileRemovedBehindUs(t *testing.T) {
	h := newHarness(t, nil)
	h.deliver("INBOX", mail("one"))
	h.deliver("INBOX", mail("two"))
	h.login("")
	removeMessages(t, h.store().Path(), 1)
	h.talk(`
		C: a UID FETCH 1:* BODY.PEEK[TEXT]
		S: * 2 FETCH (UID 2 BODY[TEXT] {12}
		S: Hello two.
		S: )
		S: ~a OK ...
		C: b NOOP
		S: ~b OK ...
		C: c SEARCH ALL
		S: * SEARCH 1
		S: c OK ...
	`)
}

func TestProgressIsTold(t *testing.T) {
	h := newHarness(t, nil)
	conn := &scriptConn{in: strings.NewReader("")}
	s := newSession(h.srv, conn)
	s.progress(&call{tag: `a"1`}, 5, 9)
	if got, want := conn.out.String(), "* OK [INPROGRESS (\"a\\\"1\" 5 9)] Still working\r\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestReadHeader(t *testing.T) {
	long := "Subject: x\r\n" + strings.Repeat("X-Long: "+strings.Repeat("y", 70)+"\r\n", 500)
	for text, want := range map[string]string{
		"":                         "",
		"A: b\n\nbody":             "A: b\n\n",
		"A: b\r\n\r\nbody\n\n":     "A: b\r\n\r\n",
		"no header at all":         "no header at all",
		long + "\r\nbody\r\n\r\nx": long + "\r\n",
	} {
		got, err := readHeader(bytes.NewReader([]byte(text)))
		if err != nil || string(got) != want {
			t.Errorf("%.20q: got %d bytes, %v; want %d", text, len(got), err, len(want))
		}
	}
	if _, err := readHeader(brokenReader{}); !errors.Is(err, errTest) {
		t.Errorf("a read error got lost: %v", err)
	}
}

type brokenReader struct{}

func (brokenReader) ReadAt([]byte, int64) (int, error) { return 0, errTest }

var _ io.ReaderAt = brokenReader{}
