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
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"svc.plus/mailsrvd/internal/dns"
	"svc.plus/mailsrvd/internal/message"
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

func awaitListener(t *testing.T, addr string) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if c, err := net.Dial("tcp", addr); err == nil {
			c.Close()
			return
		}
	}
	t.Fatalf("nobody listens on %s", addr)
}

func needProgram(t *testing.T, name string) string {
	t.Helper()
	for _, dir := range []string{"/usr/sbin", "/usr/bin"} {
		if path := filepath.Join(dir, name); exec.Command("test", "-x", path).Run() == nil {
			return path
		}
	}
	t.Skipf("missing: %s (Debian package of that name)", name)
	return ""
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("missing: root, which starts the server")
	}
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

// tempDir is a directory that other users may enter.
func tempDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "peer")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	os.Chmod(dir, 0o755)
	return dir
}

func TestDeliveryToPostfix(t *testing.T) {
	postfix := needProgram(t, "postfix")
	needRoot(t)
	ca := newAuthority(t)
	p := startPostfix(t, postfix, ca)
	t.Run("verified TLS", func(t *testing.T) {
		deliverToPeer(t, p, level(Verified), func(o *Options) { o.RootCAs = ca.pool })
	})
	t.Run("opportunistic", func(t *testing.T) { deliverToPeer(t, p) })
}

func startPostfix(t *testing.T, postfix string, ca *authority) peer {
	t.Helper()
	dir := tempDir(t)
	owner, err := user.Lookup("postfix")
	if err != nil {
		t.Skip("missing: user postfix")
	}
	p := peer{addr: freeAddr(t), dir: filepath.Join(dir, "mail")}
	uid, _ := strconv.Atoi(owner.Uid)
	gid, _ := strconv.Atoi(owner.Gid)
	for _, d := range []string{"conf", "spool", "data", "mail"} {
		os.Mkdir(filepath.Join(dir, d), 0o755)
	}
	for _, d := range []string{"data", "mail"} {
		os.Chown(filepath.Join(dir, d), uid, gid)
	}
	cert, key := ca.writePair(t, dir, "mx.peer.example")
	main := fmt.Sprintf(`compatibility_level = 3.6
queue_directory = %[1]s/spool
data_directory = %[1]s/data
maillog_file = /dev/stdout
myhostname = mx.peer.example
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 192.0.2.0/32
smtpd_relay_restrictions = reject_unauth_destination
virtual_mailbox_domains = peer.example
virtual_mailbox_maps = inline:{ bob@peer.example=bob/ }
virtual_mailbox_base = %[1]s/mail
virtual_uid_maps = static:%[2]d
virtual_gid_maps = static:%[3]d
virtual_minimum_uid = 1
message_size_limit = 20000000
virtual_mailbox_limit = 0
smtpd_tls_cert_file = %[4]s
smtpd_tls_key_file = %[5]s
smtpd_tls_security_level = may
`, dir, uid, gid, cert, key)
	_, port, _ := net.SplitHostPort(p.addr)
	master := "127.0.0.1:" + port + " inet n - n - - smtpd\n"
	for _, s := range []string{"pickup unix n - n 60 1 pickup", "cleanup unix n - n - 0 cleanup", "qmgr unix n - n 300 1 qmgr",
		"tlsmgr unix - - n 1000? 1 tlsmgr", "rewrite unix - - n - - trivial-rewrite", "bounce unix - - n - 0 bounce",
		"defer unix - - n - 0 bounce", "trace unix - - n - 0 bounce", "verify unix - - n - 1 verify", "flush unix n - n 1000? 0 flush",
		"proxymap unix - - n - - proxymap", "virtual unix - n n - - virtual", "anvil unix - - n - 1 anvil", "scache unix - - n - 1 scache",
		"error unix - - n - - error", "retry unix - - n - - error", "showq unix n - n - - showq", "smtp unix - - n - - smtp",
		"postlog unix-dgram n - n - 1 postlogd"} {
		master += s + "\n"
	}
	os.WriteFile(filepath.Join(dir, "conf", "main.cf"), []byte(main), 0o644)
	os.WriteFile(filepath.Join(dir, "conf", "master.cf"), []byte(master), 0o644)
	cmd := exec.Command(postfix, "-c", filepath.Join(dir, "conf"), "start-fg")
	cmd.Stdout, cmd.Stderr = testWriter{t}, testWriter{t}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		exec.Command(postfix, "-c", filepath.Join(dir, "conf"), "stop").Run()
		cmd.Wait()
	})
	awaitListener(t, p.addr)
	return p
}

func TestDeliveryToChasquid(t *testing.T) {
	chasquid := needProgram(t, "chasquid")
	ca := newAuthority(t)
	dir := tempDir(t)
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
	awaitListener(t, p.addr)
	deliverToPeer(t, p, level(Verified), func(o *Options) { o.RootCAs = ca.pool })
}
