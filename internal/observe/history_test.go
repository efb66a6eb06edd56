package observe

import (
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
)

func remembered(size int) (*History, *slog.Logger) {
	h := NewHistory(size)
	return h, slog.New(h.Handler(slog.NewTextHandler(io.Discard, nil)))
}

func texts(rs []Record) string {
	var all []string
	for _, r := range rs {
		all = append(all, r.Text)
	}
	return strings.Join(all, ",")
}

func TestHistoryKeepsTheLatestLines(t *testing.T) {
	h, log := remembered(3)
	all := func(Record) bool { return true }
	if got := h.Last(0, all); got != nil {
		t.Errorf("empty: %v", got)
	}
	for i := range 5 {
		log.Info(fmt.Sprint(i))
		log.Debug("not seen")
	}
	if got := texts(h.Last(0, all)); got != "4,3,2" {
		t.Errorf("all: %s", got)
	}
	if got := texts(h.Last(2, all)); got != "4,3" {
		t.Errorf("two: %s", got)
	}
	if got := texts(h.Last(0, func(r Record) bool { return r.Text == "3" })); got != "3" {
		t.Errorf("chosen: %s", got)
	}
}

func TestHistoryFollowsAMessage(t *testing.T) {
	h, log := remembered(100)
	log.Info("message", "trace", "t1", "to", "bob@example.test")
	log.Info("message", "trace", "t2")
	log.With("trace", "t1").Info("queued", "queue_id", "q1")
	log.Warn("deferred", "queue_id", "q1", "trace", "t1", "err", io.EOF)
	log.Info("msgid=<x@example.test>: saved mail to INBOX", "trace", "t1")
	const all = "message,queued,deferred,msgid=<x@example.test>: saved mail to INBOX"
	for _, id := range []string{"t1", "q1", "x@example.test", "<x@example.test>"} {
		if got := texts(h.Find(id)); got != all {
			t.Errorf("%s: %s", id, got)
		}
	}
	if got := h.Find("nothing"); len(got) != 0 {
		t.Errorf("%v", got)
	}
	r := h.Find("q1")[2]
	if r.Get("err") != "EOF" || r.Get("none") != "" || r.Level != slog.LevelWarn || r.Time.IsZero() {
		t.Errorf("%+v", r)
	}
}

func TestHistoryKeepsGroupsApartAndValuesShort(t *testing.T) {
	h, log := remembered(10)
	log.WithGroup("a").With("k", 1).Info("x", "v", strings.Repeat("y", 5000))
	r := h.Last(1, func(Record) bool { return true })[0]
	if r.Get("a.k") != "1" || len(r.Get("a.v")) != maxField {
		t.Errorf("%+v", r)
	}
}

func TestHistoryRemembersWhatIsNotWritten(t *testing.T) {
	h := NewHistory(10)
	var b strings.Builder
	log := slog.New(h.Handler(slog.NewTextHandler(&b, &slog.HandlerOptions{Level: slog.LevelWarn})))
	log.Debug("d")
	log.Info("i")
	log.Warn("w")
	if got := texts(h.Last(0, func(Record) bool { return true })); got != "w,i" || strings.Contains(b.String(), "msg=i") || !strings.Contains(b.String(), "msg=w") {
		t.Errorf("remembered %s, written %s", got, b.String())
	}
}

// Loggers that share their first fields must not write into each other's.
func TestHistoryIsSafeForManyLoggers(t *testing.T) {
	h, log := remembered(1000)
	base := log.With("a", "1", "b", "2", "c", "3")
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 50 {
				base.Info("x", "n", i)
				base.With("m", i).Info("y", "n", i)
			}
		})
	}
	wg.Wait()
	for _, r := range h.Last(0, func(r Record) bool { return r.Text == "y" }) {
		if r.Get("m") != r.Get("n") {
			t.Fatalf("%+v", r)
		}
	}
}
