package daemon

import (
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"svc.plus/mailsrvd/config"
	"svc.plus/mailsrvd/internal/dns"
	"svc.plus/mailsrvd/smtpd/queue"
	"svc.plus/mailsrvd/smtpd/relay"
)

// smarthost is the next server: it keeps what it gets.
type smarthost struct {
	got    chan string // reverse-path, recipient and message
	refuse bool
}

func (s *smarthost) NewSession(*smtp.Conn) (smtp.Session, error) { return &delivery{s: s}, nil }

type delivery struct {
	s        *smarthost
	from, to string
}

func (d *delivery) Reset()        {}
func (d *delivery) Logout() error { return nil }
func (d *delivery) Mail(from string, _ *smtp.MailOptions) error {
	d.from = from
	return nil
}
func (d *delivery) Rcpt(to string, _ *smtp.RcptOptions) error {
	if d.s.refuse {
		return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "nobody of this name"}
	}
	d.to = to
	return nil
}
func (d *delivery) Data(r io.Reader) error {
	b, err := io.ReadAll(r)
	if err == nil {
		d.s.got <- "<" + d.from + "> <" + d.to + ">\n" + string(b)
	}
	return err
}

// running starts d's queue and ends it with the test.
func running(t *testing.T, d *Daemon) {
	t.Helper()
	run, cancel := context.WithCancel(ctx)
	done := make(chan error)
	go func() { done <- d.queue.Run(run) }()
	t.Cleanup(func() {
		cancel()
		<-done
	})
}

// withSmarthost makes a daemon whose mail goes to s, by a reload.
func withSmarthost(t *testing.T, s *smarthost) *Daemon {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := smtp.NewServer(s)
	srv.Domain = "smart.example"
	go srv.Serve(l)
	t.Cleanup(func() { srv.Close() })
	d := newDaemon(t)
	edit(t, d.cfg.File, "hold = true", "smarthost = \""+l.Addr().String()+"\"\ntls = \"none\"")
	if err := d.Reload(ctx); err != nil {
		t.Fatal(err)
	}
	running(t, d)
	return d
}

func TestMailGoesToTheSmarthostAfterAReload(t *testing.T) {
	s := &smarthost{got: make(chan string, 1)}
	d := withSmarthost(t, s)
	if err := d.queue.Enqueue(ctx, envelope("alice@example.test", "friend@example.net"), content("out it goes")); err != nil {
		t.Fatal(err)
	}
	select {
	case got := <-s.got:
		if !strings.HasPrefix(got, "<alice@example.test> <friend@example.net>\n") || !strings.Contains(got, "out it goes\r\n") {
			t.Errorf("got %q", got)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("nothing came")
	}
}

// TestRefusalByTheNextServerComesBack: the sender gets a report in his mailbox.
func TestRefusalByTheNextServerComesBack(t *testing.T) {
	d := withSmarthost(t, &smarthost{refuse: true})
	env := envelope("alice@example.test", "friend@example.net")
	env.User, env.Trusted = "alice", true
	if err := d.queue.Enqueue(ctx, env, content("comes back")); err != nil {
		t.Fatal(err)
	}
	for range 400 {
		if inbox(t, d, "alice", "nobody of this name") == 1 {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	if inbox(t, d, "alice", "nobody of this name") != 1 {
		items, err := d.queue.List(ctx, queue.Filter{})
		t.Errorf("alice has no report; queue: %+v, %v", items, err)
	}
}

func TestReleasedMailStaysWhileHoldIsOn(t *testing.T) {
	d := newDaemon(t)
	running(t, d)
	if err := d.queue.Enqueue(ctx, envelope("alice@example.test", "friend@example.net"), content("held")); err != nil {
		t.Fatal(err)
	}
	if n, err := d.queue.Release(ctx, queue.Filter{Held: true}); err != nil || n != 1 {
		t.Fatal(n, err)
	}
	for range 400 {
		items, err := d.queue.List(ctx, queue.Filter{})
		if err != nil || len(items) != 1 {
			t.Fatalf("%+v, %v", items, err)
		}
		if last := items[0].Recipients[0].Last; last != nil {
			if last.Code != 451 || !strings.Contains(last.Text, "hold") {
				t.Errorf("%+v", last)
			}
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Error("no attempt was made")
}

func TestPasswordOfTheSmarthostIsNeeded(t *testing.T) {
	d := newDaemon(t)
	edit(t, d.cfg.File, "hold = true", "smarthost = \"smart.example:465\"\nuser = \"u\"\npassword_file = \"pw\"")
	if err := d.Reload(ctx); err == nil || !strings.Contains(err.Error(), "password") {
		t.Errorf("without the file: %v", err)
	}
	if err := os.WriteFile(filepath.Join(filepath.Dir(d.cfg.File), "pw"), []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := d.Reload(ctx); err != nil {
		t.Error(err)
	}
}

func TestTLSPolicyFollowsTheConfiguration(t *testing.T) {
	const sts, tlsa = "_mta-sts.example.net", "_25._tcp.mx.example.net"
	zone, err := dns.NewFake("mx.example.net A 192.0.2.1\n")
	if err != nil {
		t.Fatal(err)
	}
	zone.Sign("mx.example.net")
	for _, tt := range []struct {
		relay config.Relay
		want  relay.Level
	}{
		{config.Relay{TLS: "opportunistic"}, relay.Opportunistic},
		{config.Relay{TLS: "opportunistic", MTASTS: true}, relay.Opportunistic},
		{config.Relay{TLS: "opportunistic", DANE: true}, relay.Opportunistic},
		{config.Relay{TLS: "required", MTASTS: true, DANE: true}, relay.Encrypted},
	} {
		c := &config.Config{Relay: tt.relay}
		askedSTS, askedTLSA := zone.Asked(sts), zone.Asked(tlsa)
		q, err := relay.Strictest(published(c, zone.Resolver(), t.TempDir(), nil), ours(c))(ctx, "example.net", relay.Host{Name: "mx.example.net", SecureMX: true})
		if err != nil || q.Level != tt.want {
			t.Errorf("%+v: %+v, %v", tt, q, err)
		}
		if (zone.Asked(sts) > askedSTS) != tt.relay.MTASTS || (zone.Asked(tlsa) > askedTLSA) != tt.relay.DANE {
			t.Errorf("%+v: a record was asked for, or not", tt)
		}
	}
}

func TestDANEWinsOverMTASTS(t *testing.T) {
	zone, err := dns.NewFake("mx.example.net A 192.0.2.1\n_25._tcp.mx.example.net TLSA 3 1 1 " + strings.Repeat("00", 32) + "\n")
	if err != nil {
		t.Fatal(err)
	}
	zone.Sign("mx.example.net")
	zone.Sign("_25._tcp.mx.example.net")
	c := &config.Config{Relay: config.Relay{TLS: "opportunistic", MTASTS: true, DANE: true}}
	q, err := relay.Strictest(published(c, zone.Resolver(), t.TempDir(), nil), ours(c))(ctx, "example.net", relay.Host{Name: "mx.example.net", SecureMX: true})
	if err != nil || q.Level != relay.Verified || q.Verify == nil || zone.Asked("_mta-sts.example.net") > 0 {
		t.Errorf("%+v, %v", q, err)
	}
}
