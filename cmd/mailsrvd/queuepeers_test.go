package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
	"golang.org/x/sys/unix"

	"svc.plus/mailsrvd/internal/dns"
	"svc.plus/mailsrvd/internal/peertest"
)

const (
	peerDomains  = 20 // that the mail goes to, each with an MX at an address of its own
	peerResolver = "192.0.2.53:53"
	peerSize     = 4 << 10
	peerConns    = 8
)

// TestQueuesSideBySide gives the same mail to mailsrvd, to Postfix and to chasquid,
// which all find the same hosts by MX records and hand it on to them. Nothing may
// be lost by any. How long each took is told: QUEUE_PEERS=2000 QUEUE_ROUNDS=5
// measures, in turns; make queue-peers does that. By default it is a small test that
// the comparison still works.
func TestQueuesSideBySide(t *testing.T) {
	messages, rounds := 40, 1
	if n, err := strconv.Atoi(os.Getenv("QUEUE_PEERS")); err == nil {
		messages = n
	}
	if n, err := strconv.Atoi(os.Getenv("QUEUE_ROUNDS")); err == nil {
		rounds = n
	}
	peertest.NeedProgram(t, "chasquid", "chasquid")
	postfix := peertest.NewPostfix(t)
	_, there := peertest.NewNetworks(t)
	useResolver(t)
	far := newFarSink(t, there)

	ca := peertest.NewAuthority(t)
	pair := ca.Issue(24*time.Hour, "mail.here.example")
	peers := []*queuePeer{startOurs(t), startPostfixQueue(t, postfix, pair), startChasquidQueue(t, pair)}
	for range rounds {
		for _, p := range peers {
			p.round(t, far, messages)
		}
	}
	t.Logf("%-9s %12s %12s %14s %10s", "", "accepted/s", "all gone/s", "CPU ms/message", "put off")
	for _, p := range peers {
		t.Logf("%-9s %12.0f %12.0f %14.2f %10d", p.name, median(p.accepted), median(p.gone), median(p.cpu), p.putOff.Load())
	}
}

// useResolver gives what is started from here an /etc/resolv.conf of its own. It
// needs a thread of its own, as NewNetworks has made it.
func useResolver(t *testing.T) {
	t.Helper()
	file := filepath.Join(peertest.SharedDir(t), "resolv.conf")
	host, _, _ := net.SplitHostPort(peerResolver)
	err := errors.Join(
		os.WriteFile(file, []byte("nameserver "+host+"\n"), 0o644),
		os.Chmod(file, 0o644),
		unix.Unshare(unix.CLONE_NEWNS),
		unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
		unix.Mount(file, "/etc/resolv.conf", "", unix.MS_BIND, ""),
	)
	if err != nil {
		t.Skipf("missing: the right to mount: %v", err)
	}
}

// farSink is every host on the other network: it takes all mail and counts it.
type farSink struct {
	mu   sync.Mutex
	seen map[string]int // by X-Id
	more chan struct{}
}

func newFarSink(t *testing.T, there *peertest.Network) *farSink {
	t.Helper()
	var zone strings.Builder
	for i := range peerDomains {
		fmt.Fprintf(&zone, "d%[1]d.example MX 10 mx.d%[1]d.example\nmx.d%[1]d.example A 192.0.2.%[2]d\n", i, i+1)
	}
	names, err := dns.NewFake(zone.String())
	if err != nil {
		t.Fatal(err)
	}
	f := &farSink{seen: map[string]int{}, more: make(chan struct{}, 1)}
	there.Do(func() {
		if _, err := names.Listen(t.Context(), peerResolver); err != nil {
			t.Fatal(err)
		}
		l, err := net.Listen("tcp4", ":25")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go f.serve(c)
			}
		}()
	})
	return f
}

// serve speaks as little SMTP as it takes, to cost little.
func (f *farSink) serve(c net.Conn) {
	defer c.Close()
	r, w := bufio.NewReaderSize(c, 16<<10), bufio.NewWriter(c)
	fmt.Fprint(w, "220 far.example\r\n")
	for {
		if r.Buffered() == 0 && w.Flush() != nil {
			return
		}
		line, err := r.ReadSlice('\n')
		if err != nil {
			return
		}
		switch verb := strings.ToUpper(string(line[:min(len(line), 4)])); verb {
		case "EHLO":
			fmt.Fprint(w, "250-far.example\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SIZE 50000000\r\n")
		case "DATA":
			fmt.Fprint(w, "354 go on\r\n")
			w.Flush()
			if !f.take(r) {
				return
			}
			fmt.Fprint(w, "250 2.0.0 taken\r\n")
		case "QUIT":
			fmt.Fprint(w, "221 2.0.0 bye\r\n")
			w.Flush()
			return
		default:
			fmt.Fprint(w, "250 2.0.0 ok\r\n")
		}
	}
}

func (f *farSink) take(r *bufio.Reader) bool {
	id := ""
	for {
		line, err := r.ReadSlice('\n')
		switch {
		case err != nil:
			return false
		case string(line) == ".\r\n":
			f.mu.Lock()
			f.seen[id]++
			f.mu.Unlock()
			select {
			case f.more <- struct{}{}:
			default:
			}
			return true
		case bytes.HasPrefix(line, []byte("X-Id: ")):
			id = strings.TrimSpace(string(line[6:]))
		}
	}
}

// await waits until n messages of a run have come, and tells how many came twice.
func (f *farSink) await(t *testing.T, run string, n int) (twice int) {
	t.Helper()
	limit := time.After(5 * time.Minute)
	for {
		f.mu.Lock()
		came, copies := 0, 0
		for id, k := range f.seen {
			if strings.HasPrefix(id, run+"-") {
				came, copies = came+1, copies+k
			}
		}
		f.mu.Unlock()
		if came == n {
			return copies - n
		}
		select {
		case <-f.more:
			if n-came > 50 { // no need to count at each message
				time.Sleep(5 * time.Millisecond)
			}
		case <-limit:
			t.Fatalf("%s: %d of %d messages have come", run, came, n)
		}
	}
}

// queuePeer is a server that takes mail of a user and sends it on.
type queuePeer struct {
	name, addr, from string
	tls              *tls.Config
	auth             func() sasl.Client // nil for a client that is known by its address
	pid              int

	runs                int
	accepted, gone, cpu []float64 // of each round
	putOff              atomic.Int64
}

// round sends n messages by several connections, and waits until all have arrived.
func (p *queuePeer) round(t *testing.T, far *farSink, n int) {
	t.Helper()
	p.runs++
	run := fmt.Sprintf("%s%d", p.name, p.runs)
	var clients []*smtp.Client
	for range peerConns {
		clients = append(clients, p.connect(t))
	}
	filler := strings.Repeat("0123456789 0123456789 0123456789 0123456789 0123456789\r\n", peerSize/56)
	cpu, begun := treeCPU(t, p.pid), time.Now()
	var wg sync.WaitGroup
	for k, c := range clients {
		wg.Go(func() {
			for i := k; i < n; i += peerConns {
				text := fmt.Sprintf("From: <%s>\r\nTo: <u@d%d.example>\r\nDate: Wed, 25 Nov 2026 12:00:00 +0000\r\nMessage-ID: <%[4]s-%[3]d@here.example>\r\nX-Id: %[4]s-%[3]d\r\n\r\n%[5]s",
					p.from, i%peerDomains, i, run, filler)
				if !p.submit(t, c, i, text) {
					return
				}
			}
			c.Quit()
		})
	}
	wg.Wait()
	accepted := time.Since(begun)
	if twice := far.await(t, run, n); twice > 0 {
		t.Errorf("%s: %d copies too many", run, twice)
	}
	gone := time.Since(begun)
	p.accepted = append(p.accepted, float64(n)/accepted.Seconds())
	p.gone = append(p.gone, float64(n)/gone.Seconds())
	p.cpu = append(p.cpu, (treeCPU(t, p.pid)-cpu).Seconds()*1000/float64(n))
	t.Logf("%s: accepted in %v, gone after %v", run, accepted.Round(time.Millisecond), gone.Round(time.Millisecond))
	time.Sleep(time.Duration(n) * time.Millisecond / 2) // it may have to tidy up
}

// submit sends one message, again and again while the server puts it off.
func (p *queuePeer) submit(t *testing.T, c *smtp.Client, i int, text string) bool {
	to := fmt.Sprintf("u@d%d.example", i%peerDomains)
	for range 100000 {
		err := c.SendMail(p.from, []string{to}, strings.NewReader(text))
		var se *smtp.SMTPError
		if err == nil {
			return true
		}
		if !errors.As(err, &se) || se.Code/100 != 4 {
			t.Errorf("%s: message %d: %v", p.name, i, err)
			return false
		}
		p.putOff.Add(1)
		time.Sleep(5 * time.Millisecond)
	}
	t.Errorf("%s: message %d is put off for ever", p.name, i)
	return false
}

func (p *queuePeer) connect(t *testing.T) *smtp.Client {
	t.Helper()
	conn, err := net.Dial("tcp", p.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	c, err := smtp.NewClientStartTLS(conn, p.tls)
	if err == nil && p.auth != nil {
		err = c.Auth(p.auth())
	}
	if err != nil {
		t.Fatalf("%s: %v", p.name, err)
	}
	c.SubmissionTimeout = time.Minute
	return c
}

// startOurs runs the daemon. It signs nothing, as the others do.
func startOurs(t *testing.T) *queuePeer {
	t.Helper()
	site := devSite(t)
	edit(t, site.Config, "hold = true", "hold = false")
	edit(t, site.Config, "[relay]", fmt.Sprintf("[dns]\nresolver = %q\n[relay]", peerResolver))
	b, err := os.ReadFile(site.Config)
	if err != nil {
		t.Fatal(err)
	}
	b = regexp.MustCompile(`(?m)^\[\[dkim\]\]\n(.+\n)*`).ReplaceAll(b, nil)
	if err := os.WriteFile(site.Config, b, 0o600); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(site.Dir, "mailsrvd")
	if out, err := exec.Command("cp", os.Args[0], program).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	p := startServe(t, site, program, nil)
	tr := &trial{Site: site, cfg: p.cfg}
	return &queuePeer{
		name: "mailsrvd", addr: p.cfg.Listen.Submission[0], from: "alice@" + p.cfg.Domain(), tls: tr.tls(t), pid: p.Process.Pid,
		auth: func() sasl.Client { return sasl.NewPlainClient("", "alice", site.Passwords["alice"]) },
	}
}

func startPostfixQueue(t *testing.T, postfix *peertest.Postfix, pair *peertest.Pair) *queuePeer {
	t.Helper()
	cert, key := pair.Write(t, postfix.Dir, "here")
	const addr = "127.0.0.1:2587"
	postfix.Start(fmt.Sprintf(`myhostname = mail.here.example
mynetworks = 127.0.0.0/8
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_tls_cert_file = %s
smtpd_tls_key_file = %s
smtpd_tls_security_level = may
smtp_tls_security_level = may
`, cert, key), addr)
	pid, err := os.ReadFile(filepath.Join(postfix.Dir, "spool", "pid", "master.pid"))
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(pid)))
	if err != nil {
		t.Fatal(err)
	}
	return &queuePeer{name: "Postfix", addr: addr, from: "alice@here.example", tls: &tls.Config{InsecureSkipVerify: true}, pid: n}
}

func startChasquidQueue(t *testing.T, pair *peertest.Pair) *queuePeer {
	t.Helper()
	const addr = "127.0.0.1:2687"
	dir := peertest.SharedDir(t)
	certs := filepath.Join(dir, "certs", "mail.here.example")
	for _, d := range []string{certs, filepath.Join(dir, "domains", "here.example"), filepath.Join(dir, "data")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	cert, key := pair.Write(t, dir, "pair")
	err := errors.Join(
		os.Rename(cert, filepath.Join(certs, "fullchain.pem")), os.Rename(key, filepath.Join(certs, "privkey.pem")),
		os.WriteFile(filepath.Join(dir, "chasquid.conf"), fmt.Appendf(nil,
			"hostname: %q\nsmtp_address: \"127.0.0.1:2625\"\nsubmission_address: %q\nmonitoring_address: \"\"\nmail_delivery_agent_bin: \"/bin/false\"\ndata_dir: %q\nmail_log_path: %q\n",
			"mail.here.example", addr, filepath.Join(dir, "data"), filepath.Join(dir, "mail.log")), 0o644))
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(peertest.NeedProgram(t, "chasquid-util", "chasquid"), "-C="+dir, "user-add", "alice@here.example", "--password=secret").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	cmd := exec.Command(peertest.NeedProgram(t, "chasquid", "chasquid"), "-config_dir="+dir)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	peertest.AwaitListener(t, addr)
	return &queuePeer{
		name: "chasquid", addr: addr, from: "alice@here.example", tls: &tls.Config{InsecureSkipVerify: true}, pid: cmd.Process.Pid,
		auth: func() sasl.Client { return sasl.NewPlainClient("", "alice@here.example", "secret") },
	}
}

// treeCPU is the processor time of a process and all that it has started, also of
// those that have ended and been waited for.
func treeCPU(t *testing.T, root int) time.Duration {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	parent, ticks := map[int]int{}, map[int]int{}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		b, err := os.ReadFile("/proc/" + e.Name() + "/stat")
		if err != nil {
			continue // it has ended
		}
		f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
		parent[pid], _ = strconv.Atoi(f[1])
		for _, s := range f[11:15] { // utime, stime, cutime, cstime
			n, _ := strconv.Atoi(s)
			ticks[pid] += n
		}
	}
	sum := 0
	for pid := range ticks {
		for p := pid; p > 1; p = parent[p] {
			if p == root {
				sum += ticks[pid]
				break
			}
		}
	}
	return time.Duration(sum) * time.Second / 100 // USER_HZ
}

func median(list []float64) float64 {
	s := slices.Sorted(slices.Values(list))
	return s[len(s)/2]
}
