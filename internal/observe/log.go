// Package observe holds what makes the daemon visible from outside: the log
// on standard error and the memory of its latest lines, trace ids that tie them
// together, the registry of metrics, and the HTTP answers for metrics and
// health.
package observe

import (
	"fmt"
	"io"
	"log/slog"
	"strings"
)

// NewLogger makes a logger that writes to w. The format is "text" (with time),
// "journal" (entries with fields, if systemd has connected w to its journal, else
// lines without time that begin with a priority, sd-daemon(3)), "json", or
// "auto": "journal" where w is connected so, else "text". The level may change
// later.
func NewLogger(w io.Writer, format string, level slog.Leveler) (*slog.Logger, error) {
	connected := journalStream(w)
	if format == "auto" || format == "" {
		format = "text"
		if connected {
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
		socket := ""
		if connected {
			socket = journalSocket
		}
		return slog.New(newJournal(w, socket, opts)), nil
	}
	return nil, fmt.Errorf("unknown log format %q", format)
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
