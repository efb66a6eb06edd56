package smtpd_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"svc.plus/mailsrvd/internal/dns"
	"svc.plus/mailsrvd/internal/message"
	"svc.plus/mailsrvd/internal/observe"
	"svc.plus/mailsrvd/smtpd/queue"
	"svc.plus/mailsrvd/smtpd/relay"
)

// burstSink takes mail for all domains and counts it.
type burstSink struct {
	taken atomic.Int64
	small atomic.Int64 // of the small sender
}

type burstSession struct {
	*burstSink
	from string
}

func (*burstSession) Reset()                                 {}
func (*burstSession) Logout() error                          { return nil }
func (s *burstSession) Rcpt(string, *smtp.RcptOptions) error { return nil }

func (s *burstSession) Mail(from string, _ *smtp.MailOptions) error {
	s.from = from
	return nil
}

func (s *burstSession) Data(r io.Reader) error {
	if _, err := io.Copy(io.Discard, r); err != nil {
		return err
	}
	s.taken.Add(1)
	if strings.HasPrefix(s.from, "small") {
		s.small.Add(1)
	}
	return nil
}

// A burst to 200 domains, of which 20 take connections and never say a word, is
// out for the other 180 while the 20 still hang, and one message of another sender
// does not wait for the burst. BURST says how many messages, 1,000 by default; make
// torture says 10,000, and how long it took.
func TestABurstWaitsForNoHangingDomain(t *testing.T) {
	const domains, hanging = 200, 20
	messages := 1000
	if n, err := strconv.Atoi(os.Getenv("BURST")); err == nil {
		messages = n
	}
	var zone strings.Builder
	for i := range domains {
		fmt.Fprintf(&zone, "d%d.example. MX 10 mx.d%d.example.\nmx.d%d.example. A 127.0.1.%d\n", i, i, i, i+1)
	}
	names, err := dns.NewFake(zone.String())
	if err != nil {
		t.Fatal(err)
	}
	sink := &burstSink{}
	srv := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return &burstSession{burstSink: sink}, nil }))
	srv.Domain = "sink.example"
	srv.ErrorLog = log.New(io.Discard, "", 0)
	good, bad := loopback(t), loopback(t)
	go srv.Serve(good)
	t.Cleanup(func() { srv.Close() })

	var hung atomic.Int64
	r, err := relay.New(relay.Options{
		Hostname: "mx.example.org", Resolver: names.Resolver(), Self: func(netip.Addr) bool { return false },
		Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
			host, _, _ := net.SplitHostPort(addr)
			ip := netip.MustParseAddr(host).As4()
			to := good
			if ip[3] <= hanging { // the kernel takes the connection, and nobody speaks
				hung.Add(1)
				to = bad
			}
			return new(net.Dialer).DialContext(ctx, network, to.Addr().String())
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	q, err := queue.Open(queue.Options{Dir: t.TempDir() + "/queue", Hostname: "mx.example.org", Transport: r, Grace: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	put := func(from string, domain int) {
		t.Helper()
		env := message.Envelope{Trace: observe.NewTrace(), ReversePath: from, Trusted: true, Recipients: []message.Recipient{{Address: fmt.Sprintf("u@d%d.example", domain)}}}
		if err := q.Enqueue(t.Context(), env, message.FromBytes([]byte("Subject: x\r\n\r\nhello\r\n"))); err != nil {
			t.Fatal(err)
		}
	}
	for i := range messages {
		put("bulk@example.org", i%domains)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	began := time.Now()
	go func() { defer close(done); q.Run(ctx) }()
	put("small@example.org", domains-1)

	want := int64(messages/domains*(domains-hanging)) + 1
	for sink.small.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	atSmall := sink.taken.Load()
	for sink.taken.Load() < want {
		if time.Since(began) > 3*time.Minute {
			t.Fatalf("only %d of %d have left", sink.taken.Load(), want)
		}
		time.Sleep(time.Millisecond)
	}
	took := time.Since(began)
	if messages > 2*domains && atSmall == want {
		t.Error("the message of the small sender was the last of all")
	}
	if hung.Load() < hanging {
		t.Errorf("only %d connections hang", hung.Load())
	}
	for wait := messages / domains * hanging; q.Stats().Items != wait; { // the last ones are being noted
		if time.Since(began) > 3*time.Minute {
			t.Fatalf("%d messages wait, want those for the hanging domains, %d", q.Stats().Items, wait)
		}
		time.Sleep(time.Millisecond)
	}
	t.Logf("%d messages for %d domains were out in %v (%.0f a second) while %d connections hung; the small sender's was number %d",
		want, domains-hanging, took.Round(time.Millisecond), float64(want)/took.Seconds(), hung.Load(), atSmall)
	stop()
	<-done
}

func loopback(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}
