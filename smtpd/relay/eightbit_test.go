package relay

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"svc.plus/mailsrvd/internal/dns"
	"svc.plus/mailsrvd/internal/message"
	"svc.plus/mailsrvd/internal/peertest"
	"svc.plus/mailsrvd/internal/status"
)

func TestAHostWithout8BITMIMEGetsSevenBits(t *testing.T) {
	const head = "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
	const text = head + "Content-Transfer-Encoding: 8bit\r\n\r\n.Grüße\r\n"
	const seven = head + "Content-Transfer-Encoding: quoted-printable\r\n\r\n.Gr=C3=BC=C3=9Fe\r\n"
	for _, caps := range [][]string{nil, {"PIPELINING", "SIZE 1000"}, {"CHUNKING", "SIZE 1000"}, {"8BITMIME", "SIZE 1000"}} {
		t.Run(strings.Join(caps, ","), func(t *testing.T) {
			s := newSink(t, caps...)
			w := newWorld(t, map[string]*sink{"192.0.2.1": s})
			want, words := seven, fmt.Sprintf("SIZE=%d", len(seven))
			if s.caps != nil && s.caps[0] == "8BITMIME" {
				want, words = text, fmt.Sprintf("SIZE=%d BODY=8BITMIME", len(text))
			}
			for range 2 { // on a connection of its own, and on one that is used again
				if out := w.sendEnv(t.Context(), from("alice@example.org", "bob@a.example"), text)[0]; out.Err != nil {
					t.Fatalf("%+v", out)
				}
			}
			got := s.got()
			if len(got) != 2 || got[0].text != want || got[1].text != want {
				t.Fatalf("got %+v", got)
			}
			if caps != nil && !strings.HasSuffix(got[0].from, "> "+words) {
				t.Errorf("MAIL %s, want %s", got[0].from, words)
			}
		})
	}
	t.Run("a file without CRLF at its end", func(t *testing.T) {
		s := newSink(t)
		newWorld(t, map[string]*sink{"192.0.2.1": s}).sendEnv(t.Context(), from("alice@example.org", "bob@a.example"), "S: x\n\né")
		if got := s.got(); len(got) != 1 || !strings.HasPrefix(got[0].text, "S: x\r\nMIME-Version: 1.0\r\n") || !strings.HasSuffix(got[0].text, "\r\n\r\n=C3=A9\r\n") {
			t.Errorf("%+v", got)
		}
	})
}

func TestTheConvertedSizeIsWhatCounts(t *testing.T) {
	text := "S: x\r\n\r\n" + strings.Repeat("é", 100) + "\r\n"
	w := newWorld(t, map[string]*sink{"192.0.2.1": newSink(t, "SIZE 300")})
	out := w.sendEnv(t.Context(), from("alice@example.org", "bob@a.example"), text)[0]
	if e := status.From(out.Err); e == nil || !strings.HasPrefix(e.Reply(), "552 5.3.4") {
		t.Errorf("%d bytes, which are more in quoted-printable: %+v", len(text), out)
	}
}

func TestWhatCannotBeConvertedGoesToAHostThatTakesIt(t *testing.T) {
	const text = "Content-Type: multipart/mixed; boundary=b\r\n\r\né\r\n"
	first := newSink(t)
	w := newWorld(t, map[string]*sink{"192.0.2.1": first})
	out := w.sendEnv(t.Context(), from("alice@example.org", "bob@a.example"), text)[0]
	e := status.From(out.Err)
	if e == nil || !strings.HasPrefix(e.Reply(), "554 5.6.3") || !strings.Contains(e.Text, "mx1.a.example[192.0.2.1] takes no 8-bit text") || !strings.Contains(e.Text, "a multipart has no parts") {
		t.Errorf("%+v", out)
	}
	if len(first.heard("MAIL")) != 0 {
		t.Error("MAIL was said all the same")
	}
	second := newSink(t, "8BITMIME")
	w = newWorld(t, map[string]*sink{"192.0.2.1": newSink(t), "192.0.2.2": second})
	if out := w.sendEnv(t.Context(), from("alice@example.org", "bob@a.example"), text)[0]; out.Err != nil || len(second.got()) != 1 {
		t.Errorf("%+v", out)
	}
}

// TestPostfixConvertsAlike gives the same mail to a Postfix without 8BITMIME and to
// one that has it and hands the mail on to the other. Both ways the other must
// store 7 bits that mean the same.
func TestPostfixConvertsAlike(t *testing.T) {
	postfix := peertest.NewPostfix(t)
	seven, eight := freeAddr(t), freeAddr(t)
	host, port, _ := net.SplitHostPort(seven)
	postfix.Start(fmt.Sprintf(`myhostname = mx.peer.example
virtual_mailbox_domains = peer.example
virtual_mailbox_maps = inline:{ {us@peer.example=us/} {them@peer.example=them/} }
relay_domains = via.example
transport_maps = inline:{ {via.example=smtp:[%s]:%s} }
smtp_generic_maps = inline:{ {them@via.example=them@peer.example} }
`, host, port), seven+" -o smtpd_discard_ehlo_keywords=8bitmime,chunking,smtputf8 -o myhostname=mx7.peer.example", eight)

	fake, err := dns.NewFake("peer.example MX 10 mx.peer.example\nmx.peer.example A 192.0.2.1\nvia.example MX 10 mx.via.example\nmx.via.example A 192.0.2.2\n")
	if err != nil {
		t.Fatal(err)
	}
	r, err := New(Options{
		Hostname: "client.example", Resolver: fake.Resolver(), Self: func(netip.Addr) bool { return false },
		Dial: func(ctx context.Context, _, addr string) (net.Conn, error) {
			to := seven
			if strings.HasPrefix(addr, "192.0.2.2:") {
				to = eight
			}
			return new(net.Dialer).DialContext(ctx, "tcp", to)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	const mime = peerHead + "MIME-Version: 1.0\r\n"
	for name, text := range map[string]string{
		"text":      mime + "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\nGrüße = x \r\n.\r\n-- \r\n" + strings.Repeat("ä", 500) + "\r\n",
		"multipart": mime + "Content-Type: multipart/mixed; boundary=\"=b\"\r\nContent-Transfer-Encoding: 8bit\r\n\r\nold reader\r\n--=b\r\nContent-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n<p>é</p>\r\n--=b\r\n\r\nplain\r\n--=b--\r\n",
		"attached":  mime + "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: message/rfc822\r\nContent-Transfer-Encoding: 8bit\r\n\r\nMIME-Version: 1.0\r\nContent-Transfer-Encoding: 8bit\r\n\r\né\r\n--b--\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			for _, to := range []string{"us@peer.example", "them@via.example"} {
				env := from("alice@example.org", to)
				if out := r.Attempt(t.Context(), env, message.FromBytes([]byte(text)), env.Recipients)[0]; out.Err != nil {
					t.Fatalf("%s: %+v", to, out)
				}
			}
			us, them := awaitStored(t, filepath.Join(postfix.Dir, "mail", "us")), awaitStored(t, filepath.Join(postfix.Dir, "mail", "them"))
			if has8bit(us) || has8bit(them) {
				t.Errorf("8-bit bytes were stored:\n%s\n%s", us, them)
			}
			want := readParts(t, []byte(strings.ReplaceAll(text, "\r\n", "\n")))
			if got := readParts(t, us); got != want {
				t.Errorf("ours means\n%s\nnot\n%s", got, want)
			}
			if got := readParts(t, them); got != want {
				t.Errorf("Postfix's means\n%s\nnot\n%s", got, want)
			}
		})
	}
}

// awaitStored takes the one message out of a Maildir.
func awaitStored(t *testing.T, dir string) []byte {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		files, _ := fs.Glob(os.DirFS(dir), "new/*")
		if len(files) == 0 {
			continue
		}
		path := filepath.Join(dir, files[0])
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		os.Remove(path)
		return b
	}
	t.Fatalf("nothing arrived in %s", dir)
	return nil
}

// readParts gives the decoded text of each leaf of a message.
func readParts(t *testing.T, text []byte) string {
	t.Helper()
	root, err := message.Scan(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	for p := range root.All() {
		if len(p.Children) > 0 {
			continue
		}
		r, err := p.BinaryReader(bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(r)
		fmt.Fprintf(&out, "%s/%s: %q\n", p.Type, p.Subtype, b)
	}
	return out.String()
}
