package main

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"svc.plus/mailsrvd/cmd/mailsrvd/internal/dev"
	"svc.plus/mailsrvd/config"
	"svc.plus/mailsrvd/internal/dns"
	"svc.plus/mailsrvd/internal/peertest"
	"svc.plus/mailsrvd/smtpd/queue"
)

// The addresses of internet, each with what a certificate may have wrong.
const (
	goodMX    = "192.0.2.1"
	otherMX   = "192.0.2.2" // the certificate is for another name
	clearMX   = "192.0.2.3" // no STARTTLS
	foreignMX = "192.0.2.4" // the certificate is of an unknown authority
	oldMX     = "192.0.2.5" // the certificate has expired
	web       = "192.0.2.80"
	foreign   = "192.0.2.81" // a web server of the unknown authority
)

// internet is the world outside of a daemon under test: a resolver whose AD bit
// counts, a Postfix at five addresses on port 25 that takes mail for everybody,
// and web servers on port 443. It is on the network of the calling goroutine
// (peertest.NewNetworks) and on another.
type internet struct {
	t        *testing.T
	there    *peertest.Network
	dns      *dns.Fake
	resolver string
	ca       *peertest.Authority
	pair     map[string]*peertest.Pair // of an MX, by its address
	postfix  *peertest.Postfix
	mux      *http.ServeMux // of both web servers
}

// newInternet makes one for destinations with these domains: the MX of
// "<d>.example" is "mx.<d>.example", its policy host "mta-sts.<d>.example".
func newInternet(t *testing.T, zone string, domains ...string) *internet {
	t.Helper()
	n := &internet{t: t, postfix: peertest.NewPostfix(t), pair: map[string]*peertest.Pair{}, mux: http.NewServeMux()}
	_, n.there = peertest.NewNetworks(t)
	var err error
	if n.dns, err = dns.NewFake(zone); err != nil {
		t.Fatal(err)
	}
	if n.resolver, err = n.dns.Listen(t.Context(), "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	n.ca = peertest.NewAuthority(t)
	unknown := peertest.NewAuthority(t)
	var hosts, sites []string
	for _, d := range domains {
		hosts, sites = append(hosts, "mx."+d+".example"), append(sites, "mta-sts."+d+".example")
	}
	n.pair[goodMX], n.pair[otherMX] = n.ca.Issue(time.Hour, hosts...), n.ca.Issue(time.Hour, "mx.elsewhere.example")
	n.pair[foreignMX], n.pair[oldMX] = unknown.Issue(time.Hour, hosts...), n.ca.Issue(-time.Hour, hosts...)
	n.startPostfix()
	n.serveWeb(web, n.ca.Issue(time.Hour, append(sites, "reports.example")...))
	n.serveWeb(foreign, unknown.Issue(time.Hour, sites...))
	return n
}

func (n *internet) startPostfix() {
	n.t.Helper()
	listeners := []string{clearMX + ":25 -o smtpd_tls_security_level=none"}
	for addr, p := range n.pair {
		cert, key := p.Write(n.t, n.postfix.Dir, addr)
		listeners = append(listeners, fmt.Sprintf("%s:25 -o smtpd_tls_security_level=may -o smtpd_tls_cert_file=%s -o smtpd_tls_key_file=%s", addr, cert, key))
	}
	n.there.Do(func() {
		n.postfix.Start("myhostname = mx.example\nvirtual_mailbox_domains = static:all\nvirtual_mailbox_maps = static:box/\nsmtpd_tls_received_header = yes\n", listeners...)
	})
}

func (n *internet) serveWeb(addr string, p *peertest.Pair) {
	n.t.Helper()
	var l net.Listener
	var err error
	n.there.Do(func() { l, err = net.Listen("tcp", addr+":443") })
	if err != nil {
		n.t.Fatal(err)
	}
	srv := &http.Server{Handler: n.mux, TLSConfig: &tls.Config{Certificates: []tls.Certificate{p.TLS(n.t)}}}
	go srv.ServeTLS(l, "", "")
	n.t.Cleanup(func() { srv.Close() })
}

// add puts records into the zone and signs the names given.
func (n *internet) add(zone string, signed ...string) {
	n.t.Helper()
	if err := n.dns.Add(zone); err != nil {
		n.t.Fatal(err)
	}
	for _, name := range signed {
		n.dns.Sign(name)
	}
}

// policy publishes an MTA-STS policy on a web server.
func (n *internet) policy(domain, server, mode, mx string) {
	n.add(fmt.Sprintf("_mta-sts.%[1]s TXT \"v=STSv1; id=1;\"\nmta-sts.%[1]s A %[2]s\n", domain, server))
	n.mux.HandleFunc("mta-sts."+domain+"/.well-known/mta-sts.txt", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "version: STSv1\nmode: %s\nmx: %s\nmax_age: 86400\n", mode, mx)
	})
}

// tlsaOf is a record's text for a certificate's key, 3 1 1.
func tlsaOf(c *x509.Certificate) string {
	sum := sha256.Sum256(c.RawSubjectPublicKeyInfo)
	return "3 1 1 " + hex.EncodeToString(sum[:])
}

// mail are the messages that Postfix has delivered.
func (n *internet) mail() []string {
	n.t.Helper()
	files, err := filepath.Glob(filepath.Join(n.postfix.Dir, "mail", "box", "new", "*"))
	if err != nil {
		n.t.Fatal(err)
	}
	var all []string
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			n.t.Fatal(err)
		}
		all = append(all, string(b))
	}
	return all
}

// mailFor waits for a message to an address.
func (n *internet) mailFor(address string) string {
	n.t.Helper()
	found := ""
	if !eventually(func() bool {
		for _, m := range n.mail() {
			if strings.Contains("\n"+m, "\nDelivered-To: "+address+"\n") {
				found = m
			}
		}
		return found != ""
	}) {
		n.t.Fatalf("no mail for %s arrived", address)
	}
	return found
}

// outgoing is a daemon whose mail leaves into an internet.
type outgoing struct {
	*trial
	process *process
	env     []string
}

// startOutgoing runs the daemon on the network of the calling goroutine, with
// more at the end of its configuration; change may edit the site before.
func (n *internet) startOutgoing(more string, change ...func(*dev.Site)) *outgoing {
	n.t.Helper()
	site := devSite(n.t)
	cfg, err := config.Load(site.Config)
	if err != nil {
		n.t.Fatal(err)
	}
	// A socket reaches out of the network that the daemon is in.
	edit(n.t, site.Config, cfg.Listen.Metrics[0], "./run/metrics")
	edit(n.t, site.Config, "hold = true", "hold = false")
	edit(n.t, site.Config, "[relay]", fmt.Sprintf("%s\n[dns]\nresolver = %q\n[relay]", more, n.resolver))
	ca := filepath.Join(site.Dir, "authorities.pem")
	n.ca.Write(ca)
	for _, c := range change {
		c(site)
	}
	o := &outgoing{trial: &trial{Site: site}, env: []string{"SSL_CERT_FILE=" + ca, "SSL_CERT_DIR=" + site.Dir + "/none"}}
	o.start(n.t)
	return o
}

func (o *outgoing) start(t *testing.T) {
	t.Helper()
	o.process = startServe(t, o.Site, os.Args[0], o.env)
	o.cfg, o.log = o.process.cfg, o.process.log
}

// fate waits for the log's line on a recipient and returns it.
func (o *outgoing) fate(t *testing.T, to string) string {
	t.Helper()
	found := ""
	if !eventually(func() bool {
		for line := range strings.Lines(o.log.String()) {
			if strings.Contains(line, " to="+to+" ") && strings.Contains(line, " queue_id=") {
				found = line
				break
			}
		}
		return found != ""
	}) {
		t.Fatalf("nothing became of the mail to %s", to)
	}
	return found
}

// metrics gets the metrics' text.
func (o *outgoing) metrics(t *testing.T) string {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", o.cfg.RunDir+"/metrics")
	}}}
	resp, err := client.Get("http://metrics/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// child runs a command as a process of its own, on this network.
func (o *outgoing) child(t *testing.T, args ...string) (code int, out string) {
	t.Helper()
	cmd := exec.Command(os.Args[0], append(args, "--config", o.Config)...)
	cmd.Env = append(append(os.Environ(), "MAILSRVD_TEST_MAIN=1"), o.env...)
	b, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(b)
}

// queued lists the queue.
func (o *outgoing) queued(t *testing.T) []queue.Item {
	t.Helper()
	code, stdout, stderr := o.command(t, "", "queue", "list", "--json")
	var items []queue.Item
	if err := json.Unmarshal([]byte(stdout), &items); err != nil || code != 0 {
		t.Fatalf("exit %d, %v: %s%s", code, err, stdout, stderr)
	}
	return items
}

// send submits a message of alice's.
func (o *outgoing) send(t *testing.T, to ...string) {
	t.Helper()
	if err := o.submit(t, "alice", "alice@"+dev.Domain, to...); err != nil {
		t.Fatal(err)
	}
}
