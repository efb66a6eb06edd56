package admin

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"svc.plus/mailsrvd/internal/control"
	"svc.plus/mailsrvd/internal/message"
	"svc.plus/mailsrvd/smtpd/queue"
)

var ctx = context.Background()

const text = "Subject: x\r\n\r\nbody\r\n"

// filled makes a queue with two messages, t1 and t2.
func filled(t *testing.T) (Queue, *queue.Queue) {
	t.Helper()
	dir, err := os.MkdirTemp("", "adm") // the names of sockets must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	q := Queue{Socket: filepath.Join(dir, "s"), Dir: filepath.Join(dir, "queue"), Hostname: "mail.example.org"}
	open, err := q.open()
	if err != nil {
		t.Fatal(err)
	}
	for id, to := range map[string]string{"t1": "a@example.net", "t2": "b@example.com"} {
		env := message.Envelope{Trace: id, ReversePath: "me@example.org", Recipients: []message.Recipient{{Address: to}}}
		if err := open.Enqueue(ctx, env, message.FromBytes([]byte(text))); err != nil {
			t.Fatal(err)
		}
	}
	return q, open
}

// serve answers for open on q's socket.
func serve(t *testing.T, q Queue, handlers map[string]control.Handler) {
	t.Helper()
	l, err := control.Listen(q.Socket, 0o600, -1)
	if err != nil {
		t.Fatal(err)
	}
	s := control.New(control.Options{Handlers: handlers})
	done := make(chan error)
	go func() { done <- s.Serve(ctx, l) }()
	t.Cleanup(func() {
		if err := errors.Join(s.Shutdown(ctx), <-done); err != nil {
			t.Error(err)
		}
	})
}

// TestQueueThroughDaemonAndOffline: the commands do the same with a running
// daemon and with the directory of a stopped one.
func TestQueueThroughDaemonAndOffline(t *testing.T) {
	for _, running := range []bool{true, false} {
		name := map[bool]string{true: "daemon", false: "offline"}[running]
		t.Run(name, func(t *testing.T) {
			q, open := filled(t)
			if running {
				serve(t, q, QueueHandlers(open))
				defer open.Close()
			} else {
				open.Close()
			}
			steps(t, q)
		})
	}
}

func steps(t *testing.T, q Queue) {
	items, err := q.List(ctx, queue.Filter{})
	if err != nil || len(items) != 2 || items[0].Envelope.ReversePath != "me@example.org" {
		t.Fatalf("list: %+v, %v", items, err)
	}
	if items, err := q.List(ctx, queue.Filter{Domain: "example.net"}); err != nil || len(items) != 1 || items[0].ID != "t1" {
		t.Errorf("list of a domain: %+v, %v", items, err)
	}
	var b bytes.Buffer
	if it, err := q.Show(ctx, "t2", &b); err != nil || it.Recipients[0].Address != "b@example.com" || b.String() != text {
		t.Errorf("show: %+v, %q, %v", it, b.String(), err)
	}
	if it, err := q.Show(ctx, "t1", nil); err != nil || it.ID != "t1" {
		t.Errorf("show without message: %+v, %v", it, err)
	}
	var failure *control.Error
	if _, err := q.Show(ctx, "none", nil); !errors.As(err, &failure) || failure.Kind != control.NotFound {
		t.Errorf("show of nothing: %v", err)
	}
	for _, s := range []struct {
		what string
		f    queue.Filter
		want int
	}{
		{"hold", queue.Filter{IDs: []string{"t1"}}, 1},
		{"hold", queue.Filter{}, 1}, // t2; the other is held already
		{"release", queue.Filter{Held: true}, 2},
		{"retry", queue.Filter{Recipient: "a@example.net"}, 1},
		{"remove", queue.Filter{IDs: []string{"t1"}}, 1},
		{"remove", queue.Filter{IDs: []string{"t1"}}, 0},
	} {
		if n, err := q.Change(ctx, s.what, s.f); err != nil || n != s.want {
			t.Errorf("%s: %d, %v, want %d", s.what, n, err, s.want)
		}
	}
	if items, err := q.List(ctx, queue.Filter{}); err != nil || len(items) != 1 || items[0].ID != "t2" {
		t.Errorf("list at the end: %+v, %v", items, err)
	}
}

func TestOfflineQueueOfAnotherProcessIsLocked(t *testing.T) {
	q, open := filled(t)
	defer open.Close()
	if _, err := q.Change(ctx, "remove", queue.Filter{}); !errors.Is(err, queue.ErrLocked) {
		t.Error(err)
	}
}

func TestStatusAndReload(t *testing.T) {
	q, open := filled(t)
	defer open.Close()
	want := Status{Version: "v", PID: 7, Started: time.Unix(1e9, 0).UTC(), Listeners: []Listener{{"mx", ":25", 3}}, Queue: queue.Stats{Items: 2}}
	boom := errors.New("m.toml:1: error: x: unknown key")
	serve(t, q, StatusHandlers(func() Status { return want }, func(context.Context) error { return boom }))
	got, err := GetStatus(ctx, q.Socket)
	if err != nil || got.Version != "v" || got.Listeners[0].Connections != 3 || !got.Started.Equal(want.Started) || got.Queue.Items != 2 {
		t.Errorf("%+v, %v", got, err)
	}
	if err := Reload(ctx, q.Socket); err == nil || err.Error() != boom.Error() {
		t.Error(err)
	}
	if _, err := GetStatus(ctx, q.Socket+"x"); !errors.Is(err, control.ErrNoDaemon) {
		t.Error(err)
	}
}
