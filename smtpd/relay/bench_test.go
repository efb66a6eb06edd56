package relay

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/netip"
	"testing"

	"github.com/emersion/go-smtp"

	"svc.plus/mailsrvd/internal/dns"
	"svc.plus/mailsrvd/internal/message"
)

// BenchmarkAttempt delivers messages of 8 KiB over kept connections to go-smtp
// on loopback.
func BenchmarkAttempt(b *testing.B) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	srv := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return discard{}, nil }))
	go srv.Serve(ln)
	defer srv.Close()
	fake, err := dns.NewFake(relayZone)
	if err != nil {
		b.Fatal(err)
	}
	r, err := New(Options{
		Hostname: "mail.example.org", Resolver: fake.Resolver(), Self: func(netip.Addr) bool { return false },
		Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", ln.Addr().String())
		},
	})
	if err != nil {
		b.Fatal(err)
	}
	defer r.Close()
	env := from("alice@example.org", "bob@a.example")
	c := message.FromBytes(append([]byte("Subject: x\r\n\r\n"), bytes.Repeat([]byte("0123456789abcde\r\n"), 480)...))
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if out := r.Attempt(b.Context(), env, c, env.Recipients)[0]; out.Err != nil {
				b.Error(out.Err)
			}
		}
	})
}

// discard is a go-smtp session that takes everything.
type discard struct{}

func (discard) Reset()                               {}
func (discard) Logout() error                        { return nil }
func (discard) Mail(string, *smtp.MailOptions) error { return nil }
func (discard) Rcpt(string, *smtp.RcptOptions) error { return nil }
func (discard) Data(r io.Reader) error               { _, err := io.Copy(io.Discard, r); return err }
