// Package observe holds what makes the daemon visible from outside: the log
// on standard error and the memory of its latest lines, trace ids that tie them
// together, the registry of metrics, and the HTTP answers for metrics and
// health.
package observe

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
)

// NewLogger makes a logger that writes to w. The format is "text" (with time),
// "journal" (no time, each line begins with a priority that systemd's journal
// reads, sd-daemon(3)), "json", or "auto": "journal" when standard error is
// connected to the journal, else "text". The level may change later.
func NewLogger(w io.Writer, format string, level slog.Leveler) (*slog.Logger, error) {
	if format == "auto" || format == "" {
		format = "text"
		if os.Getenv("JOURNAL_STREAM") != "" {
			format = "journal"
		}
	}
	opts := &slog.HandlerOptions{Level: level}
	switch format {
	case "text":
		return slog.New(slog.NewTextHandler(w, opts)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, opts)), nil
	case "journal":
		return slog.New(newJournal(w, opts)), nil
	}
	return nil, fmt.Errorf("unknown log format %q", format)
}

// journal is a text handler whose lines start with "<priority>". The text
// handler writes each record with one Write, after which the priority of that
// record must be known: both are in the buffer that mu guards.
type journal struct {
	slog.Handler
	out *journalOut
}

type journalOut struct {
	mu  sync.Mutex
	w   io.Writer
	buf bytes.Buffer
}

func newJournal(w io.Writer, opts *slog.HandlerOptions) *journal {
	out := &journalOut{w: w}
	opts.ReplaceAttr = func(groups []string, a slog.Attr) slog.Attr {
		if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == slog.LevelKey) {
			return slog.Attr{} // the journal has both
		}
		return a
	}
	return &journal{slog.NewTextHandler(&out.buf, opts), out}
}

// Handle implements slog.Handler.
func (j *journal) Handle(ctx context.Context, r slog.Record) error {
	j.out.mu.Lock()
	defer j.out.mu.Unlock()
	j.out.buf.Reset()
	fmt.Fprintf(&j.out.buf, "<%d>", priority(r.Level))
	if err := j.Handler.Handle(ctx, r); err != nil {
		return err
	}
	_, err := j.out.w.Write(j.out.buf.Bytes())
	return err
}

// WithAttrs implements slog.Handler.
func (j *journal) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &journal{j.Handler.WithAttrs(attrs), j.out}
}

// WithGroup implements slog.Handler.
func (j *journal) WithGroup(name string) slog.Handler {
	return &journal{j.Handler.WithGroup(name), j.out}
}

// priority is the syslog severity of a level.
func priority(l slog.Level) int {
	switch {
	case l >= slog.LevelError:
		return 3
	case l >= slog.LevelWarn:
		return 4
	case l >= slog.LevelInfo:
		return 6
	}
	return 7
}

// ParseLevel reads "debug", "info", "warn" or "error".
func ParseLevel(s string) (slog.Level, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(strings.ToUpper(s))); err != nil {
		return 0, fmt.Errorf("unknown log level %q", s)
	}
	return l, nil
}
