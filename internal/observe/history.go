package observe

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"
)

// Record is one line of the log as History keeps it.
type Record struct {
	Time  time.Time  `json:"time"`
	Level slog.Level `json:"level"`
	Text  string     `json:"text"`
	// Fields are in the order of the line.
	Fields []Field `json:"fields"`
}

// Get is the value of the first field with the key, "" without one.
func (r Record) Get(key string) string {
	for _, f := range r.Fields {
		if f.Key == key {
			return f.Value
		}
	}
	return ""
}

// History remembers the latest lines of the log, so that a message can be
// followed and the latest failures shown without a search through files. Safe
// for concurrent use.
type History struct {
	mu   sync.Mutex
	ring []Record
	next int // where the oldest one is, once the ring is full
}

// NewHistory remembers size lines.
func NewHistory(size int) *History { return &History{ring: make([]Record, 0, size)} }

// Handler is next, with all that it is given remembered.
func (h *History) Handler(next slog.Handler) slog.Handler { return &remember{next: next, history: h} }

func (h *History) add(r Record) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.ring) < cap(h.ring) {
		h.ring = append(h.ring, r)
		return
	}
	h.ring[h.next] = r
	h.next = (h.next + 1) % len(h.ring)
}

// Find returns the lines of a message or a session, oldest first: those one of
// whose fields is the id, or whose text holds it as a Message-ID. For a message
// these are also the lines of its queue item and of its reports, which carry the
// same trace.
func (h *History) Find(id string) []Record {
	traces := []string{id}
	named := func(r Record) bool {
		return slices.ContainsFunc(r.Fields, func(f Field) bool { return slices.Contains(traces, f.Value) }) ||
			strings.Contains(r.Text, "msgid=<"+strings.Trim(id, "<>")+">")
	}
	for _, r := range h.Last(0, named) {
		if t := r.Get("trace"); t != "" && !slices.Contains(traces, t) {
			traces = append(traces, t)
		}
	}
	found := h.Last(0, named)
	slices.Reverse(found)
	return found
}

// Last returns up to most of the lines that keep wants, newest first; 0 means
// all of them.
func (h *History) Last(most int, keep func(Record) bool) []Record {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []Record
	for i := range h.ring {
		r := h.ring[(h.next+len(h.ring)-1-i)%len(h.ring)]
		if keep(r) {
			if out = append(out, r); len(out) == most {
				break
			}
		}
	}
	return out
}

// remember is the handler that feeds a History.
type remember struct {
	next    slog.Handler
	history *History
	given
}

// Enabled implements slog.Handler: what is remembered need not be written.
func (m *remember) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelInfo || m.next.Enabled(ctx, l)
}

// Handle implements slog.Handler. Lines below Info are not remembered: they
// would push out all others.
func (m *remember) Handle(ctx context.Context, r slog.Record) error {
	if r.Level >= slog.LevelInfo {
		m.history.add(Record{Time: r.Time, Level: r.Level, Text: r.Message, Fields: m.all(r)})
	}
	if !m.next.Enabled(ctx, r.Level) {
		return nil
	}
	return m.next.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (m *remember) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &remember{m.next.WithAttrs(attrs), m.history, m.with(attrs)}
}

// WithGroup implements slog.Handler.
func (m *remember) WithGroup(name string) slog.Handler {
	return &remember{m.next.WithGroup(name), m.history, m.group(name)}
}
