package relay

import (
	"context"
	"io"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"svc.plus/mailsrvd/internal/message"
	"svc.plus/mailsrvd/smtpd/queue"
)

// TestNothingIsLostAtAnyStep lets a host misbehave once, at one step of the
// conversation, and the queue try again: the message arrives, once, and nobody
// gets a bounce, unless the host refused it for good; then it comes back.
func TestNothingIsLostAtAnyStep(t *testing.T) {
	say := func(lines ...string) func(*sinkConn) {
		return func(c *sinkConn) {
			for _, l := range lines {
				c.say("%s", l)
			}
		}
	}
	deeds := map[string]func(*sinkConn){
		"drop":    func(c *sinkConn) { c.conn.Close() },
		"stall":   func(c *sinkConn) { c.stall() },
		"garbage": say("\x00\x01\x02", "250 no"),
		"4xx":     say("450-4.2.0 later", "450 4.2.0 really"),
		"421":     say("421 4.3.2 going down"),
		"5xx":     say("550-5.7.1 no", "550 5.7.1 never"),
	}
	tlsConfig := newAuthority(t).server("b.example")
	for _, step := range []string{"greeting", "EHLO", "STARTTLS", "handshake", "MAIL", "RCPT", "DATA", "BDAT", "middle", "text", "after the text", "QUIT"} {
		for deed, do := range deeds {
			t.Run(step+"/"+deed, func(t *testing.T) {
				t.Parallel()
				s := newSink(t)
				switch step {
				case "BDAT":
					s.caps = append(s.caps, "CHUNKING")
				case "STARTTLS", "handshake":
					s.tls = tlsConfig
				}
				misbehaveOnce(s, step, do)
				limits := patient
				if deed == "stall" { // only then is a deadline to pass
					limits = impatient
				}
				copies, bounces := throughQueue(t, s, limits)
				early := step == "STARTTLS" || step == "handshake" || step == "QUIT"
				switch {
				case step == "after the text" && deed == "5xx", deed == "5xx" && !early && step != "EHLO":
					want := 0
					if step == "after the text" { // it has taken what it refuses
						want = 1
					}
					if copies != want || len(bounces) != 1 || !strings.Contains(bounces[0], "550 5.7.1 no") {
						t.Errorf("%d copies, bounces %q", copies, bounces)
					}
				case step == "after the text":
					if copies != 2 || len(bounces) != 0 {
						t.Errorf("%d copies, where nobody could know of the first; bounces %q", copies, bounces)
					}
				case copies != 1 || len(bounces) != 0:
					t.Errorf("%d copies, bounces %q", copies, bounces)
				}
			})
		}
	}
}

// patient has deadlines that a busy machine keeps; impatient those that a test can
// wait for.
func patient(o *Options)   { everyDeadline(o, time.Minute) }
func impatient(o *Options) { everyDeadline(o, 2*time.Second) }

func everyDeadline(o *Options, d time.Duration) {
	o.Timeouts = Timeouts{Connect: d, TLS: d, Greeting: d, Command: d, Data: d, Block: d, End: d}
}

// misbehaveOnce is misbehave for the first time only.
func misbehaveOnce(s *sink, step string, do func(*sinkConn)) {
	if step == "after the text" {
		s.on = func(c *sinkConn, line string) bool {
			if line != "DATA" {
				return false
			}
			c.say("354 go on")
			text, _ := c.readText()
			c.cur.text = text
			c.mu.Lock()
			c.mail = append(c.mail, c.cur)
			c.mu.Unlock()
			do(c)
			return true
		}
	} else {
		misbehave(s, step, do)
	}
	var done atomic.Bool
	hello, on := s.hello, s.on
	if hello != nil {
		s.hello = func(c *sinkConn) bool {
			if done.Swap(true) {
				c.say("220 sink ready")
				return false
			}
			return hello(c)
		}
		return
	}
	s.on = func(c *sinkConn, line string) bool {
		if done.Load() || !on(c, line) {
			return false
		}
		done.Store(true)
		return true
	}
}

// throughQueue sends one message by a real queue, and waits until that is empty.
func throughQueue(t *testing.T, s *sink, limits func(*Options)) (copies int, bounces []string) {
	t.Helper()
	w := newWorld(t, map[string]*sink{"192.0.2.1": s}, limits)
	var mu sync.Mutex
	q, err := queue.Open(queue.Options{
		Dir: t.TempDir() + "/queue", Hostname: "mail.example.org", Transport: w.Relay, RetryMin: 10 * time.Millisecond, RetryMax: 20 * time.Millisecond,
		Bounce: func(_ context.Context, _ message.Envelope, c *message.Content) error {
			b, err := io.ReadAll(c.NewReader())
			mu.Lock()
			defer mu.Unlock()
			bounces = append(bounces, string(b))
			return err
		},
		Logger: slog.New(slog.NewTextHandler(testWriter{t}, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	env := from("alice@example.org", "bob@b.example")
	env.Trusted = true
	if err := q.Enqueue(t.Context(), env, message.FromBytes([]byte(mailText))); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- q.Run(ctx) }()
	for end := time.Now().Add(time.Minute); q.Stats().Items > 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Error("the message is still in the queue")
			break
		}
	}
	stop()
	<-ended
	w.Close() // says QUIT
	for _, m := range s.got() {
		if m.text != mailText {
			t.Errorf("arrived as %q", m.text)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	return len(s.got()), bounces
}
