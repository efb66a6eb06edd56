package relay

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"svc.plus/mailsrvd/internal/dns"
	"svc.plus/mailsrvd/internal/message"
	"svc.plus/mailsrvd/internal/peertest"
	"svc.plus/mailsrvd/internal/status"
)

// The tests of this file deliver to mail servers that others wrote. Each runs
// on loopback with a configuration and a spool of its own.

// peer is such a server.
type peer struct {
	addr string // host:port
	dir  string // below which delivered messages lie, one a file
}

// peerHead has what a server would otherwise add.
const peerHead = "From: a@example.org\r\nDate: Wed, 25 Nov 2026 03:47:32 +0000\r\nMessage-ID: <1@example.org>\r\n"

var peerMessages = map[string]string{
	"plain":         peerHead + "Subject: plain\r\n\r\nhello\r\n",
	"dots":          peerHead + "Subject: dots\r\n\r\n.\r\n..\r\n...x\r\n.\r\n",
	"eight bit":     peerHead + "Subject: eight\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\nGrüße\r\n",
	"empty body":    peerHead + "Subject: empty\r\n\r\n",
	"trailing dots": peerHead + "Subject: trail\r\n\r\nx\r\n.\r\n\r\n.",
	"long":          peerHead + "Subject: long\r\n\r\n" + strings.Repeat("0123456789 abcdef\r\n", 100000),
}

func deliverToPeer(t *testing.T, p peer, change ...func(*Options)) {
	t.Helper()
	fake, err := dns.NewFake("peer.example MX 10 mx.peer.example\nmx.peer.example A 192.0.2.1\n")
	if err != nil {
		t.Fatal(err)
	}
	o := Options{
		Hostname: "client.example", Resolver: fake.Resolver(), Self: func(netip.Addr) bool { return false },
		Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", p.addr)
		},
	}
	for _, c := range change {
		c(&o)
	}
	r, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for name, text := range peerMessages {
		t.Run(name, func(t *testing.T) {
			env := from("alice@example.org", "bob@peer.example", "nobody@peer.example")
			env.EightBit = true
			outs := r.Attempt(t.Context(), env, message.FromBytes([]byte(text)), env.Recipients)
			if outs[0].Err != nil || !strings.HasPrefix(outs[0].Reply, "250 ") {
				t.Fatalf("bob: %+v", outs[0])
			}
			if e := status.From(outs[1].Err); e == nil || e.Temporary() || e.Enhanced != [3]int{5, 1, 1} {
				t.Errorf("nobody: %+v", outs[1])
			}
			p.await(t, text)
		})
	}
}

// await waits for a message to arrive, byte for byte but for the line ends.
func (p peer) await(t *testing.T, text string) {
	t.Helper()
	want := []byte(strings.ReplaceAll(text, "\r\n", "\n"))
	if !bytes.HasSuffix(want, []byte("\n")) {
		want = append(want, '\n')
	}
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		found := false
		filepath.WalkDir(p.dir, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() {
				b, _ := os.ReadFile(path)
				found = found || bytes.HasSuffix(bytes.ReplaceAll(b, []byte("\r\n"), []byte("\n")), want)
			}
			return nil
		})
		if found {
			return
		}
	}
	t.Fatal("the message did not arrive as it was sent")
}

func freeAddr(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// writePair writes a certificate and its key as PEM files.
func (a *authority) writePair(t *testing.T, dir string, names ...string) (cert, key string) {
	t.Helper()
	k, _, der := a.issue(&x509.Certificate{DNSNames: names})
	b, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, "fullchain.pem"), filepath.Join(dir, "privkey.pem")
	os.WriteFile(cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644)
	os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: b}), 0o644)
	return cert, key
}

func TestDeliveryToPostfix(t *testing.T) {
	ca := newAuthority(t)
	p := startPostfix(t, ca)
	t.Run("verified TLS", func(t *testing.T) {
		deliverToPeer(t, p, level(Verified), func(o *Options) { o.RootCAs = ca.pool })
	})
	t.Run("opportunistic", func(t *testing.T) { deliverToPeer(t, p) })
}

func startPostfix(t *testing.T, ca *authority) peer {
	t.Helper()
	postfix := peertest.NewPostfix(t)
	p := peer{addr: freeAddr(t), dir: filepath.Join(postfix.Dir, "mail")}
	cert, key := ca.writePair(t, postfix.Dir, "mx.peer.example")
	postfix.Start(fmt.Sprintf(`myhostname = mx.peer.example
virtual_mailbox_domains = peer.example
virtual_mailbox_maps = inline:{ bob@peer.example=bob/ }
smtpd_tls_cert_file = %s
smtpd_tls_key_file = %s
smtpd_tls_security_level = may
`, cert, key), p.addr)
	return p
}

func TestDeliveryToChasquid(t *testing.T) {
	chasquid := peertest.NeedProgram(t, "chasquid", "chasquid")
	ca := newAuthority(t)
	dir := peertest.SharedDir(t)
	p := peer{addr: freeAddr(t), dir: filepath.Join(dir, "mail")}
	certs := filepath.Join(dir, "certs", "mx.peer.example")
	domain := filepath.Join(dir, "domains", "peer.example")
	for _, d := range []string{p.dir, certs, domain, filepath.Join(dir, "data")} {
		os.MkdirAll(d, 0o755)
	}
	ca.writePair(t, certs, "mx.peer.example")
	os.WriteFile(filepath.Join(domain, "aliases"), []byte("bob: robert@peer.example\n"), 0o644)
	mda := filepath.Join(dir, "mda")
	os.WriteFile(mda, []byte("#!/bin/sh\nexec cat > $(mktemp "+p.dir+"/XXXXXXXX)\n"), 0o755)
	conf := fmt.Sprintf("hostname: %q\nsmtp_address: %q\nmonitoring_address: \"\"\nmail_delivery_agent_bin: %q\nmail_delivery_agent_args: \"%%to%%\"\ndata_dir: %q\nmail_log_path: \"<stderr>\"\n",
		"mx.peer.example", p.addr, mda, filepath.Join(dir, "data"))
	os.WriteFile(filepath.Join(dir, "chasquid.conf"), []byte(conf), 0o644)
	cmd := exec.Command(chasquid, "-config_dir="+dir)
	cmd.Stdout, cmd.Stderr = testWriter{t}, testWriter{t}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	peertest.AwaitListener(t, p.addr)
	deliverToPeer(t, p, level(Verified), func(o *Options) { o.RootCAs = ca.pool })
}
