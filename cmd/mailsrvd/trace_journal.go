package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"svc.plus/mailsrvd/internal/observe"
)

// maxTraces bounds how many messages one search of the journal follows: an id
// that is short enough stands in many lines.
const maxTraces = 100

// journalLines are the lines of the unit's journal about a message or a session,
// oldest first: those that hold the id, and those with the same traces. Without
// a journal there are none.
func journalLines(ctx context.Context, id string) ([]observe.Record, error) {
	entries, err := journalEntries(ctx, "--grep="+regexp.QuoteMeta(id))
	if err != nil {
		return nil, err
	}
	var traces []string
	for _, e := range entries {
		match := observe.JournalField("trace") + "=" + e.record().Get("trace")
		if !strings.HasSuffix(match, "=") && !slices.Contains(traces, match) && len(traces) < maxTraces {
			traces = append(traces, match)
		}
	}
	if len(traces) > 0 {
		more, err := journalEntries(ctx, traces...)
		if err != nil {
			return nil, err
		}
		maps.Copy(entries, more)
	}
	found := make([]observe.Record, 0, len(entries))
	for _, cursor := range slices.Sorted(maps.Keys(entries)) { // for those of one moment
		found = append(found, entries[cursor].record())
	}
	slices.SortStableFunc(found, func(a, b observe.Record) int { return a.Time.Compare(b.Time) })
	return found, nil
}

// journalEntry is one line of journalctl --output=json. A value is a text, or a
// list of bytes where it is none, or null where it is too long.
type journalEntry map[string]any

// journalEntries asks journalctl; the key is an entry's cursor.
func journalEntries(ctx context.Context, args ...string) (map[string]journalEntry, error) {
	journalctl, err := exec.LookPath("journalctl")
	if err != nil {
		return nil, nil
	}
	out, err := exec.CommandContext(ctx, journalctl, append([]string{"--no-pager", "--quiet", "--output=json", "--unit=mailsrvd"}, args...)...).Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) && len(exit.Stderr) == 0 {
		err = nil // nothing was found
	} else if exit != nil {
		return nil, fmt.Errorf("journalctl: %s", strings.TrimSpace(string(exit.Stderr)))
	}
	if err != nil {
		return nil, fmt.Errorf("searching the journal: %w", err)
	}
	entries := map[string]journalEntry{}
	for line := range strings.Lines(string(out)) {
		var e journalEntry
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			return nil, fmt.Errorf("an answer of journalctl: %w", err)
		}
		entries[e.text("__CURSOR")] = e
	}
	return entries, nil
}

func (e journalEntry) text(name string) string {
	switch v := e[name].(type) {
	case string:
		return v
	case []any:
		b := make([]byte, 0, len(v))
		for _, n := range v {
			if n, ok := n.(float64); ok {
				b = append(b, byte(n))
			}
		}
		return string(b)
	}
	return ""
}

// record is the entry as the daemon remembers it. One that came without fields
// has its whole line as text.
func (e journalEntry) record() observe.Record {
	us, _ := strconv.ParseInt(e.text("__REALTIME_TIMESTAMP"), 10, 64)
	r := observe.Record{Time: time.UnixMicro(us), Text: e.text(observe.JournalField("msg"))}
	switch e.text("PRIORITY") {
	case "0", "1", "2", "3":
		r.Level = slog.LevelError
	case "4":
		r.Level = slog.LevelWarn
	case "7":
		r.Level = slog.LevelDebug
	}
	line := e.text("MESSAGE")
	if r.Text == "" {
		r.Text = line
	}
	for name := range e {
		if key, ours := strings.CutPrefix(name, observe.JournalPrefix); ours && key != "MSG" {
			r.Fields = append(r.Fields, observe.Field{Key: strings.ToLower(key), Value: e.text(name)})
		}
	}
	// The journal keeps no order of fields; the line has it.
	slices.SortFunc(r.Fields, func(a, b observe.Field) int {
		return strings.Index(line, " "+a.Key+"=") - strings.Index(line, " "+b.Key+"=")
	})
	return r
}
