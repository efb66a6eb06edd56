package allowance

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"svc.plus/mailsrvd/internal/status"
)

func book(t *testing.T, file string, l *Limits) (*Book, *time.Time, *bytes.Buffer) {
	t.Helper()
	var log bytes.Buffer
	b := Open(Options{File: file, Limits: func() Limits { return *l }, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	now := time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC)
	b.now = func() time.Time { return now }
	return b, &now, &log
}

func TestLimits(t *testing.T) {
	l := &Limits{MessagesPerHour: 3, MessagesPerDay: 5, RecipientsPerHour: 10, RecipientsPerDay: 12, Unlimited: []string{"notify"}}
	b, now, log := book(t, filepath.Join(t.TempDir(), "f"), l)
	take := func(user string, n int, limit string) {
		t.Helper()
		may, err := b.May(user, n), b.Take(user, n)
		if fmt.Sprint(may) != fmt.Sprint(err) {
			t.Errorf("May says %v, Take %v", may, err)
		}
		if (limit == "") != (err == nil) || err != nil && (!strings.Contains(err.Error(), limit) || !status.IsTemporary(err)) {
			t.Errorf("%d for %s: %v, want %q", n, user, err, limit)
		}
	}
	take("alice", 11, "450 4.7.1 You have reached the limit of this server, 10 recipients within an hour")
	take("alice", 4, "")
	take("alice", 4, "")
	take("alice", 3, "10 recipients within an hour")
	take("alice", 1, "")
	take("alice", 1, "3 messages within an hour")
	take("bob", 1, "")
	for range 20 {
		take("notify", 9, "")
	}
	*now = now.Add(time.Hour + slotLength)
	take("alice", 4, "12 recipients within a day")
	take("alice", 1, "")
	take("alice", 1, "")
	take("alice", 1, "5 messages within a day")
	if n := strings.Count(log.String(), "a user has reached a sending limit"); n != 4 {
		t.Errorf("%d warnings:\n%s", n, log)
	}
	if n := testutil.ToFloat64(b.refused.WithLabelValues("messages_per_day")); n != 2 {
		t.Errorf("counted %v", n)
	}
	if got := fmt.Sprint(b.Usage()); got != "[{notify 0 20 0 180 } {alice 2 5 2 11 messages_per_day} {bob 0 1 0 1 }]" {
		t.Errorf("%s", got)
	}
	*now = now.Add(day - time.Hour)
	take("alice", 4, "")
	l.MessagesPerDay, l.RecipientsPerDay = 0, 0
	take("alice", 4, "")
}

func TestCountsSurviveARestart(t *testing.T) {
	file := filepath.Join(t.TempDir(), "f")
	l := &Limits{MessagesPerDay: 2}
	b, _, _ := book(t, file, l)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	b.Take("alice", 1)
	b.Take("alice", 1)
	b.Run(ctx)
	again, now, _ := book(t, file, l)
	if err := again.Take("alice", 1); err == nil {
		t.Error("a restart forgives")
	}
	if !again.Reset("alice") || again.Reset("alice") || again.Take("alice", 1) != nil {
		t.Error("reset")
	}
	*now = now.Add(2 * day)
	again.Take("bob", 1)
	again.Run(ctx)
	if third, _, _ := book(t, file, l); len(third.users) != 1 {
		t.Errorf("%v", third.users)
	}
	os.WriteFile(file, []byte("{"), 0o600)
	if b, _, log := book(t, file, l); len(b.users) != 0 || !strings.Contains(log.String(), "begin anew") {
		t.Error("a damaged file")
	}
}
