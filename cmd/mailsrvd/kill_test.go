package main

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"svc.plus/mailsrvd/cmd/mailsrvd/internal/dev"
)

// sink takes all mail and counts how often each message came, by its X-Id.
type sink struct {
	addr string
	mu   sync.Mutex
	came map[string][]time.Time
}

func newSink(t *testing.T) *sink {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &sink{addr: l.Addr().String(), came: map[string][]time.Time{}}
	srv := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return sinkSession{s}, nil }))
	srv.Domain = "sink.test"
	srv.ErrorLog = sinkLog{}
	go srv.Serve(l)
	t.Cleanup(func() { srv.Close() })
	return s
}

type sinkLog struct{}

func (sinkLog) Printf(string, ...any) {}
func (sinkLog) Println(...any)        {}

type sinkSession struct{ *sink }

func (sinkSession) Reset()                               {}
func (sinkSession) Logout() error                        { return nil }
func (sinkSession) Mail(string, *smtp.MailOptions) error { return nil }
func (sinkSession) Rcpt(string, *smtp.RcptOptions) error { return nil }

// Data counts a message that came whole, and answers 250.
func (s sinkSession) Data(r io.Reader) error {
	id := ""
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		if v, ok := strings.CutPrefix(lines.Text(), "X-Id: "); ok {
			id = v
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.came[id] = append(s.came[id], time.Now())
	return nil
}

func (s *sink) has(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.came[id]) > 0
}

// submitter submits numbered messages for another server, and remembers those that
// were acknowledged.
type submitter struct {
	n     *atomic.Int64
	mu    sync.Mutex
	acked []string
}

func (s *submitter) run(tr *trial, t *testing.T, stop <-chan struct{}) {
	var c *smtp.Client
	for {
		select {
		case <-stop:
			if c != nil {
				c.Close()
			}
			return
		default:
		}
		if c == nil {
			if c = dialSubmissions(tr, t); c == nil { // it is being started
				time.Sleep(20 * time.Millisecond)
				continue
			}
		}
		id := strconv.FormatInt(s.n.Add(1), 10)
		text := "From: alice@" + dev.Domain + "\r\nTo: x@far.example\r\nX-Id: " + id + "\r\n\r\n" + strings.Repeat("text\r\n", 200)
		if err := c.SendMail("alice@"+dev.Domain, []string{"x@far.example"}, strings.NewReader(text)); err != nil {
			c.Close()
			c = nil
			continue
		}
		s.mu.Lock()
		s.acked = append(s.acked, id)
		s.mu.Unlock()
	}
}

func dialSubmissions(tr *trial, t *testing.T) *smtp.Client {
	c, err := smtp.DialTLS(tr.cfg.Listen.Submissions[0], tr.tls(t))
	if err != nil {
		return nil
	}
	if err := c.Auth(sasl.NewPlainClient("", "alice", tr.Passwords["alice"])); err != nil {
		c.Close()
		return nil
	}
	return c
}

// TestKilledDaemonLosesNothing kills the daemon (kill -9) at random moments while
// it takes mail and sends it on. Each message that was acknowledged arrives; one
// arrives twice only if the kill fell between the other side's 250 and our note of
// it. KILL_ROUNDS says how often, 5 by default; make torture says 200.
func TestKilledDaemonLosesNothing(t *testing.T) {
	rounds := 5
	if n, err := strconv.Atoi(os.Getenv("KILL_ROUNDS")); err == nil {
		rounds = n
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))

	far := newSink(t)
	site := devSite(t)
	edit(t, site.Config, "hold = true", fmt.Sprintf("smarthost = %q\ntls = \"none\"\n#", far.addr))
	p := startServe(t, site, os.Args[0], nil)
	tr := &trial{Site: site, cfg: p.cfg, log: p.log}
	stop := make(chan struct{})
	senders := [3]submitter{}
	var ids atomic.Int64
	var sending sync.WaitGroup
	for i := range senders {
		senders[i].n = &ids
		sending.Go(func() { senders[i].run(tr, t, stop) })
	}
	var kills []time.Time
	for range rounds {
		time.Sleep(time.Duration(50+rnd.IntN(400)) * time.Millisecond)
		kills = append(kills, time.Now())
		p.Process.Kill()
		p.Wait()
		p = startServe(t, site, os.Args[0], nil)
	}
	close(stop)
	sending.Wait()

	acked, missing := 0, 0
	deadline := time.Now().Add(time.Minute)
	for i := range senders {
		for _, id := range senders[i].acked {
			acked++
			for !far.has(id) && time.Now().Before(deadline) {
				time.Sleep(20 * time.Millisecond)
			}
			if !far.has(id) {
				missing++
				t.Errorf("message %s was acknowledged and never came", id)
			}
		}
	}
	if acked < rounds {
		t.Fatalf("only %d messages were acknowledged: nothing was tried", acked)
	}
	far.mu.Lock()
	defer far.mu.Unlock()
	twice := 0
	for id, times := range far.came {
		if len(times) == 1 {
			continue
		}
		twice++
		near := false
		for _, k := range kills {
			if d := k.Sub(times[0]); d > -time.Second && d < time.Second {
				near = true
			}
		}
		if !near {
			t.Errorf("message %s came at %v, and no kill was near", id, times)
		}
	}
	t.Logf("%d kills, %d messages acknowledged, %d missing, %d came twice", rounds, acked, missing, twice)
}
