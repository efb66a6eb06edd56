package smtpd

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"svc.plus/mailsrvd/internal/status"
)

// report writes the line of a connection that has ended.
func (w *wire) report() {
	w.mu.Lock()
	messages, code := w.messages, w.code
	w.mu.Unlock()
	tls := "-"
	if w.tls != nil {
		tls = tlsVersion(w.tls.Version)
	}
	w.log().Info("session ended", "user", w.account, "helo", w.helo, "tls", tls,
		"messages", messages, "code", code, "dur", time.Since(w.began))
}

// report writes the line of a message whose last reply is known.
func (s *session) report(tx *transaction, size int64, began time.Time, err error) {
	code, level := 250, slog.LevelInfo
	attrs := []any{"session", s.wire.trace, "user", tx.env.User, "from", tx.env.ReversePath,
		"to", addressList(tx.recipients), "size", size}
	attrs = append(attrs, tx.checks...)
	if e := status.From(err); e != nil {
		code = e.Code
		attrs = append(attrs, "err", e)
		if e.Temporary() {
			level = slog.LevelWarn
		}
	}
	s.server.metrics.message(code, size, time.Since(began))
	s.server.o.Logger.Log(s.wire.ctx, level, "message", append([]any{"trace", tx.env.Trace, "proto", s.server.o.Mode.String(),
		"remote", s.wire.remoteText(), "code", code, "dur", time.Since(began)}, attrs...)...)
}

// addressList keeps a long list out of the log.
func addressList(rs []recipient) string {
	const most = 10
	var b strings.Builder
	for i, r := range rs {
		if i == most {
			fmt.Fprintf(&b, " and %d more", len(rs)-most)
			break
		}
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(r.Address)
	}
	return b.String()
}

// logFailure is the line about one recipient when the reply does not tell.
func (s *session) logFailure(tx *transaction, to string, err *status.Error, what string) {
	s.server.o.Logger.Warn(what, "trace", tx.env.Trace, "proto", s.server.o.Mode.String(), "from", tx.env.ReversePath,
		"to", to, "code", err.Code, "err", err)
}

// engineLog takes what go-smtp would print.
type engineLog struct{ *slog.Logger }

// Printf implements smtp.Logger.
func (l engineLog) Printf(format string, v ...any) {
	text := fmt.Sprintf(format, v...)
	level := slog.LevelInfo
	if strings.HasPrefix(text, "panic") {
		level = slog.LevelError
	}
	l.Log(context.Background(), level, "smtp engine", "err", text)
}

// Println implements smtp.Logger.
func (l engineLog) Println(v ...any) { l.Printf("%s", fmt.Sprintln(v...)) }
