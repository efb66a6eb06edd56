package relay

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"
)

// noPool opens a connection for each message.
func noPool(o *Options) { o.IdleTimeout = -1 }

// dials are the addresses that were dialed since the last call.
func (w *world) dials() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	list := w.dialed
	w.dialed = nil
	return list
}

// clock is a time that only moves when it is told to.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func TestADeadHostIsRememberedAcrossMessages(t *testing.T) {
	for name, first := range map[string]func(*sink){
		"not there":        nil,
		"drops":            func(s *sink) { misbehave(s, "greeting", func(c *sinkConn) { c.conn.Close() }) },
		"busy":             func(s *sink) { misbehave(s, "greeting", func(c *sinkConn) { c.say("421 4.3.2 busy") }) },
		"does not know us": func(s *sink) { misbehave(s, "greeting", func(c *sinkConn) { c.say("554 5.7.1 no") }) },
		"speaks something": func(s *sink) { misbehave(s, "EHLO", func(c *sinkConn) { c.say("SSH-2.0-OpenSSH") }) },
	} {
		t.Run(name, func(t *testing.T) {
			at := map[string]*sink{"192.0.2.2": newSink(t)}
			if first != nil {
				at["192.0.2.1"] = newSink(t)
				first(at["192.0.2.1"])
			}
			w := newWorld(t, at, patient, noPool)
			clock := &clock{now: time.Now()}
			w.lame.now = clock.Now
			send := func(want ...string) {
				t.Helper()
				if out := w.send(t, "bob@a.example")[0]; out.Err != nil {
					t.Fatalf("%+v", out)
				}
				if got := w.dials(); !slices.Equal(got, want) {
					t.Errorf("dialed %v, want %v", got, want)
				}
			}
			send("192.0.2.1:25", "192.0.2.2:25")
			send("192.0.2.2:25")
			if w.lame.count() != 1 {
				t.Errorf("%v lame hosts", w.lame.count())
			}
			// Another domain with that host alone: it is tried all the same.
			if out := w.send(t, "bob@b.example")[0]; out.Err == nil || !slices.Equal(w.dials(), []string{"192.0.2.1:25"}) {
				t.Errorf("%+v", out)
			}
			send("192.0.2.2:25")
			// And so it is when the others are dead, too.
			w.mu.Lock()
			w.at = map[string]*sink{"192.0.2.1": newSink(t)}
			w.mu.Unlock()
			send("192.0.2.2:25", "192.0.2.1:25")
			send("192.0.2.1:25") // it works again, and the other is remembered
			w.mu.Lock()
			w.at["192.0.2.2"] = newSink(t)
			w.mu.Unlock()
			clock.add(lameTime)
			send("192.0.2.1:25")
			if w.lame.count() != 0 {
				t.Errorf("%v lame hosts", w.lame.count())
			}
		})
	}
}

func TestWhatIsRememberedIsBounded(t *testing.T) {
	clock := &clock{now: time.Unix(1e9, 0)}
	l := newLame()
	l.now = clock.Now
	for i := range 2 * maxLame {
		l.note(fmt.Sprint(i), false)
	}
	if l.count() != maxLame || !l.is("0") || l.is(fmt.Sprint(2*maxLame-1)) {
		t.Errorf("%v addresses", l.count())
	}
	clock.add(lameTime)
	if l.note("new", false); l.is("0") || !l.is("new") || l.count() != 1 {
		t.Errorf("%v addresses", l.count())
	}
}
