package observe

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestAutoFormatFollowsTheJournal: only the connection that systemd has made is
// the journal's.
func TestAutoFormatFollowsTheJournal(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	st := fi.Sys().(*syscall.Stat_t)
	own := fmt.Sprintf("%d:%d", st.Dev, st.Ino)
	var buffer bytes.Buffer
	for _, tt := range []struct {
		env  string
		w    io.Writer
		want bool
	}{{"", f, false}, {own, f, true}, {"8:1234", f, false}, {own, &buffer, false}} {
		t.Setenv("JOURNAL_STREAM", tt.env)
		l, err := NewLogger(tt.w, "auto", slog.LevelInfo)
		if err != nil {
			t.Fatal(err)
		}
		if _, got := l.Handler().(*journal); got != tt.want {
			t.Errorf("JOURNAL_STREAM=%q, %T: %v", tt.env, tt.w, got)
		}
	}
}

func TestJournalPriorities(t *testing.T) {
	var b bytes.Buffer
	l, _ := NewLogger(&b, "journal", slog.LevelDebug)
	l.Debug("d")
	l.Info("i")
	l.Error("e")
	l.WithGroup("g").Info("x", "time", "kept")
	if got, want := b.String(), "<7>msg=d\n<6>msg=i\n<3>msg=e\n<6>msg=x g.time=kept\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// fakeJournal is a socket as the journal's.
func fakeJournal(t *testing.T) (path string, receive func() map[string]string, stop func()) {
	t.Helper()
	dir, err := os.MkdirTemp("", "journal") // a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path = dir + "/socket"
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	receive = func() map[string]string {
		t.Helper()
		b := make([]byte, 1<<20)
		c.SetReadDeadline(time.Now().Add(10 * time.Second))
		n, err := c.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		return parseEntry(t, b[:n])
	}
	return path, receive, func() { c.Close() }
}

// parseEntry reads the native protocol.
func parseEntry(t *testing.T, b []byte) map[string]string {
	t.Helper()
	entry := map[string]string{}
	for len(b) > 0 {
		line, rest, ok := bytes.Cut(b, []byte("\n"))
		if !ok {
			t.Fatalf("no end: %q", b)
		}
		if name, value, ok := bytes.Cut(line, []byte("=")); ok {
			entry[string(name)], b = string(value), rest
			continue
		}
		n := binary.LittleEndian.Uint64(rest)
		entry[string(line)] = string(rest[8 : 8+n])
		if rest[8+n] != '\n' {
			t.Fatalf("%q does not end", line)
		}
		b = rest[8+n+1:]
	}
	return entry
}

func TestJournalGetsFields(t *testing.T) {
	path, receive, stop := fakeJournal(t)
	var fallback bytes.Buffer
	l := slog.New(newJournal(&fallback, path, &slog.HandlerOptions{Level: slog.LevelInfo}))
	l.Debug("not shown")
	l.With("trace", "t1").WithGroup("g").Warn("deferred", "queue_id", "q1", "empty", "", "err", "two\nlines")
	got := receive()
	want := map[string]string{
		"MESSAGE": `msg=deferred trace=t1 g.queue_id=q1 g.empty="" g.err="two\nlines"`, "PRIORITY": "4", "SYSLOG_IDENTIFIER": "mailsrvd",
		"MAILSRVD_MSG": "deferred", "MAILSRVD_TRACE": "t1", "MAILSRVD_G_QUEUE_ID": "q1", "MAILSRVD_G_ERR": "two\nlines",
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %q, want %q", got, want)
	}
	// What the socket does not take is not lost: an entry beyond the size of a
	// datagram, and all when it is gone.
	l.Info(strings.Repeat("x", 1<<20))
	if n := fallback.Len(); n < 1<<20 || !strings.HasPrefix(fallback.String(), "<6>msg=xxx") {
		t.Errorf("%d bytes are left of a long line", n)
	}
	l.Info("next")
	if m := receive()["MESSAGE"]; m != "msg=next" {
		t.Errorf("after a long line: %q", m)
	}
	fallback.Reset()
	stop()
	l.Error("gone")
	if fallback.String() != "<3>msg=gone\n" {
		t.Errorf("without the socket: %q", fallback.String())
	}
	fallback.Reset()
	slog.New(newJournal(&fallback, path+".none", &slog.HandlerOptions{})).Info("never there")
	if fallback.String() != "<6>msg=\"never there\"\n" {
		t.Errorf("without a socket: %q", fallback.String())
	}
}

func TestJournalFieldNames(t *testing.T) {
	for key, want := range map[string]string{"trace": "MAILSRVD_TRACE", "a.b-ü1": "MAILSRVD_A_B__1", strings.Repeat("x", 99): "MAILSRVD_" + strings.Repeat("X", 55)} {
		if got := JournalField(key); got != want {
			t.Errorf("%s: %s, want %s", key, got, want)
		}
	}
}

// TestJournalEntriesStayWhole: many sessions write at one time.
func TestJournalEntriesStayWhole(t *testing.T) {
	path, receive, _ := fakeJournal(t)
	l := slog.New(newJournal(io.Discard, path, &slog.HandlerOptions{}))
	const each, writers = 50, 4
	for w := range writers {
		go func() {
			for n := range each {
				l.With("w", w).Info("line", "n", n)
			}
		}()
	}
	var got []string
	for range each * writers {
		e := receive()
		if e["MESSAGE"] != "msg=line w="+e["MAILSRVD_W"]+" n="+e["MAILSRVD_N"] {
			t.Fatalf("%q", e)
		}
		got = append(got, e["MESSAGE"])
	}
	slices.Sort(got)
	if n := len(slices.Compact(got)); n != each*writers {
		t.Errorf("%d different lines of %d", n, each*writers)
	}
}
