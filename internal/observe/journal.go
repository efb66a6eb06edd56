package observe

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// journalSocket is where systemd's journal takes entries with fields.
const journalSocket = "/run/systemd/journal/socket"

// journalWait is how long the journal may keep a line waiting.
const journalWait = 5 * time.Second

// journal is a handler for systemd's journal. Each record becomes an entry of the
// native protocol (https://systemd.io/JOURNAL_NATIVE_PROTOCOL/): the line as text
// is its MESSAGE, which people, grep and fail2ban read, and every attribute is a
// field beside it, trace as MAILSRVD_TRACE, by which journalctl finds entries
// without reading them all. Where that socket is not there, or does not take an
// entry, the line goes to w, with "<priority>" before it (sd-daemon(3)).
type journal struct {
	slog.Handler
	out *journalOut
	given
}

// journalOut is what all handlers of one logger share. The text handler writes a
// record with one Write into text; mu keeps it there until it is sent.
type journalOut struct {
	mu     sync.Mutex
	w      io.Writer
	socket net.Conn // nil for none
	text   bytes.Buffer
	entry  []byte
}

// newJournal makes a handler that sends to the socket, "" for none.
func newJournal(w io.Writer, socket string, opts *slog.HandlerOptions) *journal {
	out := &journalOut{w: w}
	if socket != "" {
		if c, err := net.Dial("unixgram", socket); err == nil {
			out.socket = c
		}
	}
	opts.ReplaceAttr = func(groups []string, a slog.Attr) slog.Attr {
		if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == slog.LevelKey) {
			return slog.Attr{} // the journal has both
		}
		return a
	}
	return &journal{Handler: slog.NewTextHandler(&out.text, opts), out: out}
}

// Handle implements slog.Handler.
func (j *journal) Handle(ctx context.Context, r slog.Record) error {
	o := j.out
	o.mu.Lock()
	defer o.mu.Unlock()
	o.text.Reset()
	if err := j.Handler.Handle(ctx, r); err != nil {
		return err
	}
	if o.socket != nil {
		o.entry = appendEntry(o.entry[:0], strings.TrimSuffix(o.text.String(), "\n"), r, j.all(r))
		o.socket.SetWriteDeadline(time.Now().Add(journalWait))
		if _, err := o.socket.Write(o.entry); err == nil {
			return nil
		}
	}
	_, err := fmt.Fprintf(o.w, "<%d>%s", priority(r.Level), o.text.Bytes())
	return err
}

// WithAttrs implements slog.Handler.
func (j *journal) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &journal{j.Handler.WithAttrs(attrs), j.out, j.with(attrs)}
}

// WithGroup implements slog.Handler.
func (j *journal) WithGroup(name string) slog.Handler {
	return &journal{j.Handler.WithGroup(name), j.out, j.group(name)}
}

func appendEntry(b []byte, line string, r slog.Record, fields []Field) []byte {
	b = appendField(b, "MESSAGE", line)
	b = appendField(b, "PRIORITY", strconv.Itoa(priority(r.Level)))
	b = appendField(b, "SYSLOG_IDENTIFIER", "mailsrvd")
	b = appendField(b, JournalField(slog.MessageKey), r.Message)
	for _, f := range fields {
		if f.Value != "" {
			b = appendField(b, JournalField(f.Key), f.Value)
		}
	}
	return b
}

// appendField writes one field: as a line, or with its length if it has lines
// itself.
func appendField(b []byte, name, value string) []byte {
	b = append(b, name...)
	if strings.Contains(value, "\n") {
		b = append(b, '\n')
		b = binary.LittleEndian.AppendUint64(b, uint64(len(value)))
	} else {
		b = append(b, '=')
	}
	b = append(b, value...)
	return append(b, '\n')
}

// JournalPrefix begins the names of our fields in the journal, which has names
// of its own.
const JournalPrefix = "MAILSRVD_"

// JournalField is the name in the journal of a field of the log: MAILSRVD_QUEUE_ID
// for queue_id. The journal takes capitals, digits and underscores, at most 64.
func JournalField(key string) string {
	name := JournalPrefix + strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z':
			return r - 'a' + 'A'
		case r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
			return r
		}
		return '_'
	}, key)
	return name[:min(len(name), 64)]
}

// journalStream reports whether w is the connection to the journal that systemd
// has made for this process ($JOURNAL_STREAM, systemd.exec(5)), and not a file or
// a pipe that somebody has put in its place.
func journalStream(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	fi, err := f.Stat()
	if err != nil {
		return false
	}
	st, ok := fi.Sys().(*syscall.Stat_t)
	return ok && os.Getenv("JOURNAL_STREAM") == fmt.Sprintf("%d:%d", st.Dev, st.Ino)
}
