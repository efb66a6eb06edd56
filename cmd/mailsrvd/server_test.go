package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"svc.plus/mailsrvd/cmd/mailsrvd/internal/admin"
	"svc.plus/mailsrvd/cmd/mailsrvd/internal/dev"
	"svc.plus/mailsrvd/config"
	"svc.plus/mailsrvd/internal/acme/pebble"
	"svc.plus/mailsrvd/smtpd/queue"
)

// trial is a whole server, as mailsrvd dev runs it, inside this process.
type trial struct {
	*dev.Site
	cfg  *config.Config
	log  *lockedBuffer
	stop func() error // ends it and returns what serve returned
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// readyWriter closes ready when the instructions are printed.
type readyWriter struct {
	lockedBuffer
	once  sync.Once
	ready chan struct{}
}

func (r *readyWriter) Write(p []byte) (int, error) {
	n, err := r.lockedBuffer.Write(p)
	if strings.Contains(r.String(), "queue list --config") {
		r.once.Do(func() { close(r.ready) })
	}
	return n, err
}

// startDev runs mailsrvd dev in a directory of its own. change may edit the
// site's files before.
func startDev(t *testing.T, change func(*dev.Site)) *trial {
	t.Helper()
	site := devSite(t)
	if change != nil {
		change(site)
	}
	out := &readyWriter{ready: make(chan struct{})}
	tr := &trial{Site: site, log: &lockedBuffer{}}
	a := &app{stdin: strings.NewReader(""), stdout: out, stderr: tr.log, stopSignals: func() {}}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.runDev(ctx, devOptions{dir: site.Dir}) }()
	select {
	case <-out.ready:
	case err := <-done:
		cancel()
		t.Fatalf("dev ended: %v\n%s", err, tr.log)
	}
	tr.stop = sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	t.Cleanup(func() {
		if err := tr.stop(); err != nil {
			t.Errorf("the server ended with %v", err)
		}
		if t.Failed() {
			t.Logf("log of the server:\n%s", tr.log)
		}
	})
	var err error
	if tr.cfg, err = config.Load(site.Config); err != nil {
		t.Fatal(err)
	}
	return tr
}

// tls trusts the site's certificate.
func (tr *trial) tls(t *testing.T) *tls.Config {
	t.Helper()
	pem, err := os.ReadFile(tr.Dir + "/cert.pem")
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	return &tls.Config{RootCAs: roots, ServerName: dev.Hostname}
}

// submit logs in as user and sends a message.
func (tr *trial) submit(t *testing.T, user, from string, to ...string) error {
	t.Helper()
	c, err := smtp.DialTLS(tr.cfg.Listen.Submissions[0], tr.tls(t))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Auth(sasl.NewPlainClient("", user, tr.Passwords[user])); err != nil {
		t.Fatal(err)
	}
	return c.SendMail(from, to, strings.NewReader("From: <"+from+">\r\nSubject: by submission\r\n\r\nhello\r\n"))
}

// submitText logs in as user and sends that user a message of its own.
func (tr *trial) submitText(t *testing.T, user, text string) error {
	t.Helper()
	c, err := smtp.DialTLS(tr.cfg.Listen.Submissions[0], tr.tls(t))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Auth(sasl.NewPlainClient("", user, tr.Passwords[user])); err != nil {
		t.Fatal(err)
	}
	address := user + "@" + dev.Domain
	return c.SendMail(address, []string{address}, strings.NewReader("From: <"+address+">\r\n"+text))
}

// outside sends a message to the MX.
func (tr *trial) outside(t *testing.T, to ...string) error {
	t.Helper()
	c, err := smtp.Dial(tr.cfg.Listen.MX[0])
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return c.SendMail("someone@example.net", to, strings.NewReader("Subject: from outside\r\n\r\nhello\r\n"))
}

// mailbox lists the messages in the INBOX of user, as text.
func (tr *trial) mailbox(t *testing.T, user string) []string {
	t.Helper()
	var out []string
	for _, sub := range []string{"new", "cur"} {
		files, err := filepath.Glob(filepath.Join(tr.Dir, "home", user, "Maildir", sub, "*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, string(b))
		}
	}
	return out
}

// with counts the messages of user that contain text.
func (tr *trial) with(t *testing.T, user, text string) int {
	t.Helper()
	n := 0
	for _, m := range tr.mailbox(t, user) {
		if strings.Contains(m, text) {
			n++
		}
	}
	return n
}

// command runs mailsrvd with the site's configuration.
func (tr *trial) command(t *testing.T, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	return runCommand(t, stdin, append(args, "--config", tr.Config)...)
}

func TestDevServer(t *testing.T) {
	tr := startDev(t, nil)
	for _, sub := range []struct {
		name string
		test func(*testing.T, *trial)
	}{
		{"everybody has a welcome message", func(t *testing.T, tr *trial) {
			if tr.with(t, "alice", "Welcome to mailsrvd") != 1 || tr.with(t, "bob", "Welcome to mailsrvd") != 1 {
				t.Errorf("alice: %q", tr.mailbox(t, "alice"))
			}
		}},
		{"probe goes through submission and IMAP", testProbe},
		{"welcome is read by IMAP", testIMAP},
		{"mail from outside reaches an alias of two", func(t *testing.T, tr *trial) {
			if err := tr.outside(t, "both@"+dev.Domain); err != nil {
				t.Fatal(err)
			}
			if tr.with(t, "alice", "from outside") != 1 || tr.with(t, "bob", "from outside") != 1 {
				t.Error("not delivered to both")
			}
		}},
		{"unknown users and relaying are refused", func(t *testing.T, tr *trial) {
			for to, want := range map[string]string{"nobody@" + dev.Domain: "no such user", "x@example.net": "elay"} {
				if err := tr.outside(t, to); err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("%s: %v", to, err)
				}
			}
		}},
		{"a user sends as himself and his aliases only", testSenders},
		{"remote mail is signed and held", testHeld},
		{"sendmail submits without a password", testSendmail},
		{"lda delivers", testLDA},
		{"a reload takes over aliases or changes nothing", testReload},
		{"status and check-config see the running server", testStatus},
		{"no login without TLS", testPlaintext},
	} {
		t.Run(sub.name, func(t *testing.T) { sub.test(t, tr) })
	}
}

func testProbe(t *testing.T, tr *trial) {
	t.Setenv("MAILSRVD_PASSWORD", tr.Passwords["alice"])
	if code, stdout, stderr := tr.command(t, "", "probe", "--user", "alice"); code != 0 || !strings.Contains(stdout, "delete it") {
		t.Errorf("exit %d: %s%s", code, stdout, stderr)
	}
	// The same with STARTTLS, by the full address.
	if code, stdout, stderr := tr.command(t, "", "probe", "--user", "alice@"+dev.Domain, "--insecure",
		"--smtp", tr.cfg.Listen.Submission[0], "--imap", tr.cfg.Listen.IMAP[0]); code != 0 {
		t.Errorf("STARTTLS: exit %d: %s%s", code, stdout, stderr)
	}
	t.Setenv("MAILSRVD_PASSWORD", "wrong")
	if code, _, stderr := tr.command(t, "", "probe", "--user", "alice"); code != 1 || !strings.Contains(stderr, "could not log in") {
		t.Errorf("wrong password: exit %d: %s", code, stderr)
	}
}

func testIMAP(t *testing.T, tr *trial) {
	c, err := imapclient.DialTLS(tr.cfg.Listen.IMAPS[0], &imapclient.Options{TLSConfig: tr.tls(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Login("bob", tr.Passwords["bob"]).Wait(); err != nil {
		t.Fatal(err)
	}
	data, err := c.Select("INBOX", nil).Wait()
	if err != nil || data.NumMessages < 1 {
		t.Errorf("%+v, %v", data, err)
	}
}

func testSenders(t *testing.T, tr *trial) {
	for from, fine := range map[string]bool{
		"alice@" + dev.Domain: true, "hostmaster@" + dev.Domain: true, "alice+x@" + dev.Domain: true,
		"bob@" + dev.Domain: false, "alice@example.net": false,
	} {
		err := tr.submit(t, "alice", from, "bob@"+dev.Domain)
		if (err == nil) != fine {
			t.Errorf("alice as %s: %v", from, err)
		}
	}
}

func testHeld(t *testing.T, tr *trial) {
	if err := tr.submit(t, "alice", "alice@"+dev.Domain, "friend@example.net"); err != nil {
		t.Fatal(err)
	}
	code, stdout, stderr := tr.command(t, "", "queue", "list", "--json", "--recipient", "friend@example.net")
	var items []queue.Item
	if err := json.Unmarshal([]byte(stdout), &items); err != nil || code != 0 || len(items) != 1 {
		t.Fatalf("exit %d: %s%s %v", code, stdout, stderr, err)
	}
	if !items[0].Held || items[0].Envelope.User != "alice" {
		t.Errorf("%+v", items[0])
	}
	_, stdout, _ = tr.command(t, "", "queue", "show", "--message", items[0].ID)
	if !strings.Contains(stdout, "DKIM-Signature: ") || !strings.Contains(stdout, "d="+dev.Domain) || !strings.HasSuffix(stdout, "hello\r\n") {
		t.Errorf("message: %s", stdout)
	}
	if _, stdout, _ = tr.command(t, "", "queue", "list"); !strings.Contains(stdout, "held") || !strings.Contains(stdout, "-> friend@example.net") {
		t.Errorf("list: %s", stdout)
	}
	if code, stdout, _ := tr.command(t, "", "queue", "remove", items[0].ID); code != 0 || stdout != "1 messages removed\n" {
		t.Errorf("remove: exit %d: %s", code, stdout)
	}
}

func testSendmail(t *testing.T, tr *trial) {
	t.Setenv("MAILSRVD_CONFIG", tr.Config)
	args := []string{"sendmail", "-t", "-i"}
	if os.Geteuid() == 0 { // root may send as anybody
		args = append(args, "-f", "bob@"+dev.Domain)
	}
	code, _, stderr := runCommand(t, "To: alice\nBcc: hidden@"+dev.Domain+", bob\nSubject: by sendmail\n\ntext\n", args...)
	if code != 67 || !strings.Contains(stderr, "hidden@") {
		t.Errorf("an unknown recipient: exit %d: %s", code, stderr)
	}
	if tr.with(t, "alice", "by sendmail") != 1 || tr.with(t, "bob", "by sendmail") != 1 || tr.with(t, "alice", "Bcc") != 0 {
		t.Errorf("alice has %q", tr.mailbox(t, "alice"))
	}
	if os.Geteuid() == 0 && tr.with(t, "alice", "Return-Path: <bob@") == 0 {
		t.Error("-f was not taken")
	}
}

func testLDA(t *testing.T, tr *trial) {
	t.Setenv("MAILSRVD_CONFIG", tr.Config)
	code, _, stderr := runCommand(t, "Subject: by lda\n\ntext\n", "lda", "-d", "alice", "-f", "x@example.net")
	if code != 0 || tr.with(t, "alice", "by lda") != 1 {
		t.Errorf("exit %d: %s", code, stderr)
	}
	if code, _, _ := runCommand(t, "x\n", "lda", "-d", "nobody-here"); code != 67 {
		t.Errorf("unknown user: exit %d", code)
	}
	if code, _, _ := runCommand(t, "x\n", "lda", "-Z"); code != 64 {
		t.Errorf("wrong option: exit %d", code)
	}
}

func testReload(t *testing.T, tr *trial) {
	file := filepath.Join(tr.Dir, "aliases")
	edit(t, file, "hostmaster: alice\n", "hostmaster: alice\nfresh: bob\n")
	if code, stdout, stderr := tr.command(t, "", "reload"); code != 0 || stdout != "reloaded\n" {
		t.Fatalf("exit %d: %s%s", code, stdout, stderr)
	}
	if err := tr.outside(t, "fresh@"+dev.Domain); err != nil {
		t.Error(err)
	}
	// Whatever is wrong, nothing changes.
	for _, spoil := range []struct{ file, old, with, want string }{
		{file, "fresh: bob\n", "fresh: bob\nnot an alias\n", "aliases:"},
		{tr.Config, "[relay]", "[relai]", "unknown key"},
		{tr.Config, "dkim/example.test.dev.key", "dkim/none.key", "no such file"},
		{tr.Config, `certificate = "cert.pem"`, `certificate = "passwd"`, "passwd"},
	} {
		edit(t, spoil.file, spoil.old, spoil.with)
		code, _, stderr := tr.command(t, "", "reload")
		if code == 0 || !strings.Contains(stderr, spoil.want) {
			t.Errorf("%s: exit %d: %s", spoil.with, code, stderr)
		}
		edit(t, spoil.file, spoil.with, spoil.old)
		if err := tr.outside(t, "fresh@"+dev.Domain); err != nil {
			t.Errorf("after a refused reload (%s): %v", spoil.with, err)
		}
	}
	if code, _, stderr := tr.command(t, "", "reload"); code != 0 {
		t.Errorf("at the end: %s", stderr)
	}
}

func testStatus(t *testing.T, tr *trial) {
	code, stdout, stderr := tr.command(t, "", "status", "--json")
	var s admin.Status
	if err := json.Unmarshal([]byte(stdout), &s); err != nil || code != 0 || s.PID != os.Getpid() || len(s.Listeners) < 8 || len(s.Certificates) != 1 {
		t.Errorf("exit %d: %s%s %v", code, stdout, stderr, err)
	}
	if _, stdout, _ := tr.command(t, "", "status"); !strings.Contains(stdout, "imaps          "+tr.cfg.Listen.IMAPS[0]) {
		t.Errorf("status: %s", stdout)
	}
	if code, stdout, _ := tr.command(t, "", "check-config", "--strict"); code != 0 {
		t.Errorf("check-config: exit %d: %s", code, stdout)
	}
}

func testPlaintext(t *testing.T, tr *trial) {
	for name, tt := range map[string]struct{ addr, say, want string }{
		"IMAP": {tr.cfg.Listen.IMAP[0], "a LOGIN alice x\r\nb LOGOUT\r\n", "a NO [PRIVACYREQUIRED]"},
		"SMTP": {tr.cfg.Listen.Submission[0], "EHLO x.example\r\nAUTH PLAIN AGFsaWNlAHg=\r\nQUIT\r\n", "5.7"},
	} {
		conn, err := net.Dial("tcp", tt.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprint(conn, tt.say)
		answer, _ := io.ReadAll(conn)
		if !strings.Contains(string(answer), tt.want) {
			t.Errorf("%s: %s", name, answer)
		}
	}
}

// TestFurtherListeners: LMTP on a socket, metrics and health by HTTP.
func TestFurtherListeners(t *testing.T) {
	tr := startDev(t, func(s *dev.Site) {
		edit(t, s.Config, "[listen]\n", "[listen]\nlmtp = \"./run/lmtp.sock\"\n")
	})
	conn, err := net.Dial("unix", tr.cfg.Listen.LMTP[0])
	if err != nil {
		t.Fatal(err)
	}
	c := smtp.NewClientLMTP(conn)
	defer c.Close()
	if err := c.SendMail("x@example.net", []string{"alice@" + dev.Domain}, strings.NewReader("Subject: by LMTP\r\n\r\nx\r\n")); err != nil {
		t.Error(err)
	}
	if tr.with(t, "alice", "by LMTP") != 1 {
		t.Error("not delivered")
	}
	s, err := admin.GetStatus(context.Background(), tr.cfg.Socket("control"))
	if err != nil {
		t.Fatal(err)
	}
	var metrics string
	for _, l := range s.Listeners {
		if l.Name == "metrics" {
			metrics = "http://" + l.Address
		}
	}
	for path, want := range map[string]string{
		"/healthz": `{"status":"ok"}`, "/metrics": "mailsrvd_build_info",
	} {
		r, err := http.Get(metrics + path)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r.Body)
		r.Body.Close()
		if err != nil || !strings.Contains(string(b), want) {
			t.Errorf("%s: %v %s", path, err, b)
		}
		if path == "/metrics" {
			for _, room := range []string{"listen", "smtpd", "lda", "maildir", "queue", "imapd", "auth"} {
				if !strings.Contains(string(b), "mailsrvd_"+room+"_") {
					t.Errorf("no metrics of %s", room)
				}
			}
		}
	}
}

// TestMessageIsFollowed: the id of the 250 answer leads to all that became of
// the message, on the command line and on the status page.
func TestMessageIsFollowed(t *testing.T) {
	tr := startDev(t, nil)
	if err := tr.submit(t, "alice", "alice@"+dev.Domain, "bob@"+dev.Domain, "friend@example.net"); err != nil {
		t.Fatal(err)
	}
	_, stdout, _ := tr.command(t, "", "queue", "list", "--json")
	var items []queue.Item
	if err := json.Unmarshal([]byte(stdout), &items); err != nil || len(items) != 1 {
		t.Fatalf("%v: %s", err, stdout)
	}
	for _, id := range []string{items[0].ID, items[0].Envelope.Trace} {
		code, stdout, stderr := tr.command(t, "", "trace", id)
		for _, want := range []string{"saved mail to INBOX", "queued", "message", "user=alice"} {
			if code != 0 || !strings.Contains(stdout, want) {
				t.Errorf("%s: exit %d, no %q in\n%s%s", id, code, want, stdout, stderr)
			}
		}
	}
	if code, _, stderr := tr.command(t, "", "trace", "m0000000000000"); code != 1 || !strings.Contains(stderr, "nothing is known") {
		t.Errorf("exit %d: %s", code, stderr)
	}
	r, err := http.Get("http://" + tr.cfg.Listen.Status[0] + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	for _, want := range []string{items[0].ID, "friend@example.net", "held", items[0].Envelope.Trace, "Working."} {
		if err != nil || !strings.Contains(string(b), want) {
			t.Errorf("status page: %v, no %q in\n%s", err, want, b)
		}
	}
}

// TestMailboxesAreReindexedAndChecked by their commands.
func TestMailboxesAreReindexedAndChecked(t *testing.T) {
	tr := startDev(t, nil)
	for range 3 {
		if err := tr.outside(t, "both@"+dev.Domain); err != nil {
			t.Fatal(err)
		}
	}
	code, stdout, stderr := tr.command(t, "", "mailbox", "reindex", "--all", "--json")
	var done []admin.Reindexed
	if err := json.Unmarshal([]byte(stdout), &done); err != nil || code != 0 || len(done) != 2 || done[0].Messages != 4 || done[0].Folders != 1 {
		t.Errorf("exit %d: %s%s %v", code, stdout, stderr, err)
	}
	if code, _, stderr := tr.command(t, "", "mailbox", "reindex", "nobody"); code != 1 || !strings.Contains(stderr, "no such user") {
		t.Errorf("exit %d: %s", code, stderr)
	}
	if code, stdout, stderr := tr.command(t, "", "mailbox", "check", "alice"); code != 0 || !strings.Contains(stdout, "1 folders, 4 messages, 0 faults") {
		t.Errorf("exit %d: %s%s", code, stdout, stderr)
	}
	if err := tr.stop(); err != nil {
		t.Fatal(err)
	}
	if code, _, _ := tr.command(t, "", "mailbox", "reindex", "alice"); code != 69 {
		t.Errorf("without a daemon: exit %d", code)
	}
	box := filepath.Join(tr.Dir, "home/alice/Maildir")
	files, err := filepath.Glob(box + "/*/*S=*")
	if err != nil || len(files) != 4 {
		t.Fatalf("%q, %v", files, err)
	}
	if err := errors.Join(os.Truncate(files[0], 10), os.WriteFile(box+"/dovecot-uidlist", []byte("garbage\n"), 0o600)); err != nil {
		t.Fatal(err)
	}
	code, stdout, stderr = tr.command(t, "", "mailbox", "check", "alice")
	for _, want := range []string{"has 10 bytes", "uidlist", "1 folders, 4 messages, "} {
		if code != 1 || !strings.Contains(stdout, want) {
			t.Errorf("exit %d, no %q in\n%s%s", code, want, stdout, stderr)
		}
	}
}

// TestFiltersOfUsers: a script files, sends on, answers and refuses, in the SMTP
// transaction; sieve check and test tell about it.
func TestFiltersOfUsers(t *testing.T) {
	tr := startDev(t, nil)
	home := filepath.Join(tr.Dir, "home/alice")
	script := home + "/sieve/main.sieve"
	const text = `require ["fileinto","mailbox","vacation","reject","envelope"];
if envelope :localpart "from" "eve" { reject "no mail of yours"; stop; }
if header :contains "subject" "outside" { fileinto :create "Outside"; }
if envelope :localpart "from" "boss" { redirect "friend@example.net"; vacation "away"; }
`
	if err := errors.Join(os.Mkdir(home+"/sieve", 0o700), os.WriteFile(script, []byte(text), 0o600), os.Symlink("sieve/main.sieve", home+"/.dovecot.sieve")); err != nil {
		t.Fatal(err)
	}
	send := func(from string) error {
		c, err := smtp.Dial(tr.cfg.Listen.MX[0])
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return c.SendMail(from, []string{"alice@" + dev.Domain}, strings.NewReader("Subject: from outside\r\nTo: alice@"+dev.Domain+"\r\n\r\nx\r\n"))
	}
	if err := errors.Join(send("ann@example.net"), send("boss@example.net")); err != nil {
		t.Fatal(err)
	}
	if err := send("eve@example.net"); err == nil || !strings.Contains(err.Error(), "no mail of yours") {
		t.Errorf("eve: %v", err)
	}
	if files, _ := filepath.Glob(home + "/Maildir/.Outside/new/*"); len(files) != 2 {
		t.Errorf("Outside has %d messages", len(files))
	}
	_, stdout, _ := tr.command(t, "", "queue", "list")
	for _, want := range []string{"-> friend@example.net", "-> boss@example.net"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("no %q in the queue:\n%s", want, stdout)
		}
	}
	mail := filepath.Join(t.TempDir(), "m.eml")
	if err := os.WriteFile(mail, []byte("Subject: from outside\n\nx\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, stdout, stderr := runCommand(t, "", "sieve", "test", script, mail, "--from", "eve@x"); code != 0 || !strings.Contains(stdout, "refuse") && !strings.Contains(stdout, "reject") {
		t.Errorf("sieve test: exit %d: %s%s", code, stdout, stderr)
	}
	if code, stdout, _ := runCommand(t, "From: x\n\n", "sieve", "test", script, "-", "--json"); code != 0 || !strings.Contains(stdout, `"actions": [`) {
		t.Errorf("sieve test --json: exit %d: %s", code, stdout)
	}
	if err := os.WriteFile(script, []byte("keep"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, stdout, _ := runCommand(t, "", "sieve", "check", script); code != 1 || !strings.Contains(stdout, "main.sieve:1:") {
		t.Errorf("sieve check: exit %d: %s", code, stdout)
	}
}

// TestCertificateOfItsOwn: a server without any certificate gets one from an
// ACME server, and all listeners use it at once.
func TestCertificateOfItsOwn(t *testing.T) {
	p := pebble.Start(t, dev.Hostname+". A 127.0.0.1\n")
	tr := startDev(t, func(s *dev.Site) {
		edit(t, s.Config, "[tls]\ncertificate = \"cert.pem\"\nkey         = \"key.pem\"\n",
			"[acme]\ndirectory = \""+p.Directory+"\"\nca_file = \""+p.CAFile+"\"\n")
		edit(t, s.Config, "[listen]\n", "[listen]\nhttp = \"127.0.0.1:"+p.HTTPPort+"\"\n")
	})
	issuer := func(addr string) string {
		c, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true, ServerName: dev.Hostname})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return c.ConnectionState().PeerCertificates[0].Issuer.CommonName
	}
	if !eventually(func() bool { return strings.Contains(issuer(tr.cfg.Listen.IMAPS[0]), "Pebble") }) {
		t.Fatalf("the issuer is %q", issuer(tr.cfg.Listen.IMAPS[0]))
	}
	for _, addr := range []string{tr.cfg.Listen.Submissions[0], tr.cfg.Listen.HTTPS[0]} {
		if i := issuer(addr); !strings.Contains(i, "Pebble") {
			t.Errorf("%s: the issuer is %q", addr, i)
		}
	}
}

// TestSecondDevExplainsBusyPorts: the error names the key and the way out.
func TestSecondDevExplainsBusyPorts(t *testing.T) {
	tr := startDev(t, nil)
	other := devSite(t)
	b, err := os.ReadFile(tr.Config)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(other.Config, b, 0o600); err != nil { // the same ports
		t.Fatal(err)
	}
	code, _, stderr := runCommand(t, "", "dev", "--dir", other.Dir)
	for _, want := range []string{"listen.mx", "in use", "--port-base"} {
		if code != 1 || !strings.Contains(stderr, want) {
			t.Errorf("exit %d, no %q: %s", code, want, stderr)
		}
	}
}

// TestStopTellsIdleClients: the end of the server is a word to clients, and no
// hang.
func TestStopTellsIdleClients(t *testing.T) {
	tr := startDev(t, nil)
	c, err := imapclient.DialTLS(tr.cfg.Listen.IMAPS[0], &imapclient.Options{TLSConfig: tr.tls(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Login("alice", tr.Passwords["alice"]).Wait(); err != nil {
		t.Fatal(err)
	}
	mx, err := net.Dial("tcp", tr.cfg.Listen.MX[0])
	if err != nil {
		t.Fatal(err)
	}
	defer mx.Close()
	greeting := make([]byte, 3)
	if _, err := io.ReadFull(mx, greeting); err != nil || string(greeting) != "220" {
		t.Fatalf("%q, %v", greeting, err)
	}
	if err := tr.stop(); err != nil {
		t.Error(err)
	}
	rest, err := io.ReadAll(mx)
	if err != nil || !strings.Contains(string(rest), "\n421 ") {
		t.Errorf("SMTP: %q, %v", rest, err)
	}
	select {
	case <-c.Closed():
	default:
		if err := c.Noop().Wait(); err == nil {
			t.Error("IMAP still answers")
		}
	}
}

// TestRestartKeepsMailAndQueue: the next start has the mail and the
// queue.
func TestRestartKeepsMailAndQueue(t *testing.T) {
	tr := startDev(t, nil)
	if err := tr.submit(t, "bob", "bob@"+dev.Domain, "friend@example.net", "alice@"+dev.Domain); err != nil {
		t.Fatal(err)
	}
	if err := tr.stop(); err != nil {
		t.Fatal(err)
	}
	// Without a daemon the commands read the directory.
	if code, stdout, stderr := tr.command(t, "", "queue", "list"); code != 0 || !strings.Contains(stdout, "friend@example.net") {
		t.Errorf("offline: exit %d: %s%s", code, stdout, stderr)
	}
	a := &app{stdin: strings.NewReader(""), stdout: &readyWriter{ready: make(chan struct{})}, stderr: tr.log, stopSignals: func() {}}
	ready := a.stdout.(*readyWriter).ready
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.runDev(ctx, devOptions{dir: tr.Dir}) }()
	select {
	case <-ready:
	case err := <-done:
		t.Fatal(err)
	}
	if _, stdout, _ := tr.command(t, "", "queue", "list"); !strings.Contains(stdout, "friend@example.net") {
		t.Errorf("after a restart: %s", stdout)
	}
	if tr.with(t, "alice", "by submission") != 1 || tr.with(t, "alice", "Welcome") != 1 {
		t.Errorf("alice has %q", tr.mailbox(t, "alice"))
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
