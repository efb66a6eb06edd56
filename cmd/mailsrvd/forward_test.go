package main

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/emersion/go-smtp"

	"svc.plus/mailsrvd/cmd/mailsrvd/internal/dev"
	"svc.plus/mailsrvd/dkim"
	"svc.plus/mailsrvd/internal/message"
)

// verifyChain is dkimpy's judgement of the ARC chain of a message.
const verifyChain = `
import sys, dkim
zone = dict(line.split(" ", 1) for line in open(sys.argv[1]).read().splitlines())
def txt(name, timeout=5):
    return zone.get(name.decode().rstrip("."), "").encode() or None
cv, results, comment = dkim.arc_verify(sys.stdin.buffer.read(), dnsfunc=txt)
print((cv or b"ended").decode(), comment, results[0]["aar-value"].decode() if results else "")
`

// fromOutside lets others than this host reach port 25: only their mail is
// judged.
func fromOutside(t *testing.T, site *dev.Site) {
	t.Helper()
	edit(t, site.Config, `mx          = "`, `mx = ["192.0.2.200:25", "`)
	edit(t, site.Config, "\nsubmission ", "]\nsubmission ")
}

// client is one of a stranger at 192.0.2.7.
func (n *internet) client() *smtp.Client {
	n.t.Helper()
	var conn net.Conn
	var err error
	n.there.Do(func() {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP("192.0.2.7")}}
		conn, err = d.Dial("tcp", "192.0.2.200:25")
	})
	if err != nil {
		n.t.Fatal(err)
	}
	c := smtp.NewClient(conn)
	n.t.Cleanup(func() { c.Close() })
	return c
}

// sealByDkimpy puts dkimpy's ARC set before the message on standard input.
const sealByDkimpy = `
import sys, dkim
msg = sys.stdin.buffer.read()
domain = sys.argv[2].encode()
sets = dkim.arc_sign(msg, b"s", domain, open(sys.argv[1], "rb").read(), b"mx." + domain, linesep=b"\r\n")
sys.stdout.buffer.write(b"".join(s if s.endswith(b"\n") else s + b"\r\n" for s in sets) + msg)
`

// TestTrustedSealersThroughTheDaemon: two lists hand on mail of an author whose
// policy is to reject, sealed by dkimpy; one of them is trusted.
func TestTrustedSealersThroughTheDaemon(t *testing.T) {
	if exec.Command("/usr/bin/python3", "-c", "import dkim, authres").Run() != nil {
		t.Skip("missing: dkimpy with authres (Debian packages python3-dkim, python3-authres)")
	}
	n := newInternet(t, "", "list")
	key, err := dkim.GenerateKey(dkim.RSA)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "key")
	if err := key.WriteFile(file); err != nil {
		t.Fatal(err)
	}
	n.add(dkim.ZoneLine("list.example", "s", key) + "\n" + dkim.ZoneLine("other.example", "s", key) + "\n_dmarc.author.example TXT \"v=DMARC1; p=reject\"\nauthor.example TXT \"v=spf1 -all\"\n")
	o := n.startOutgoing("[inbound]\ndmarc = \"reject\"\narc_trusted = \"list.example\"\n", func(site *dev.Site) { fromOutside(t, site) })
	for domain, trusted := range map[string]bool{"list.example": true, "other.example": false} {
		cmd := exec.Command("/usr/bin/python3", "-c", sealByDkimpy, file, domain)
		cmd.Stdin = strings.NewReader("Authentication-Results: mx." + domain + "; dkim=pass header.d=author.example; dmarc=pass header.from=author.example\r\n" +
			"From: Ann <ann@author.example>\r\nTo: list@" + domain + "\r\nSubject: [list] by " + domain + "\r\nDate: Wed, 25 Nov 2026 03:47:32 +0000\r\nMessage-ID: <1@author.example>\r\n\r\nhello\r\n")
		sealed, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		err = n.client().SendMail("bounces@"+domain, []string{"alice@" + dev.Domain}, strings.NewReader(string(sealed)))
		got := o.with(t, "alice", "Subject: [list] by "+domain)
		if trusted && (err != nil || got != 1 || o.with(t, "alice", "dmarc=fail (p=reject dis=none arc=list.example)") != 1 || o.with(t, "alice", "arc=pass (i=1 by list.example)") != 1) {
			t.Errorf("%s: %v, %d messages: %q", domain, err, got, o.mailbox(t, "alice"))
		}
		if !trusted && (err == nil || !strings.Contains(err.Error(), "asks to reject") || got != 0) {
			t.Errorf("%s: %v, %d messages", domain, err, got)
		}
	}
	o.await(t, "arc=pass dmarc=fail")
}

// TestForwardedMailIsSealed: a signed message from outside, to an alias that
// leads to another server, arrives at that server with an ARC set that tells
// what we have seen of it.
func TestForwardedMailIsSealed(t *testing.T) {
	if exec.Command("/usr/bin/python3", "-c", "import dkim").Run() != nil {
		t.Skip("missing: dkimpy (Debian package python3-dkim)")
	}
	n := newInternet(t, "", "good")
	n.publish(destination{name: "good", mx: goodMX})
	key, err := dkim.GenerateKey(dkim.RSA)
	if err != nil {
		t.Fatal(err)
	}
	author, err := dkim.NewSigner([]dkim.Identity{{Domain: "author.example", Selector: "a", Key: key}})
	if err != nil {
		t.Fatal(err)
	}
	n.add(dkim.ZoneLine("author.example", "a", key) + "\n_dmarc.author.example TXT \"v=DMARC1; p=reject\"\nauthor.example TXT \"v=spf1 ip4:192.0.2.7 -all\"\n")
	o := n.startOutgoing("", func(site *dev.Site) {
		fromOutside(t, site)
		// Only RSA keys seal.
		file := filepath.Join(site.Dir, "dkim", dev.Domain+"."+dev.Selector+".key")
		if err := errors.Join(os.Remove(file), key.WriteFile(file)); err != nil {
			t.Fatal(err)
		}
		edit(t, filepath.Join(site.Dir, "aliases"), "hostmaster: alice", "hostmaster: alice\nelsewhere: bob@good.example\nboth-ways: alice, eve@good.example")
	})
	n.add(zoneOfKey(t, o.Site))
	zone := filepath.Join(t.TempDir(), "zone")
	if err := os.WriteFile(zone, []byte(dkim.RecordName(dev.Domain, dev.Selector)+" "+dkim.Record(key)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}

	text := "From: Ann <ann@author.example>\r\nTo: elsewhere@example.test\r\nSubject: handed on\r\nDate: Wed, 25 Nov 2026 03:47:32 +0000\r\nMessage-ID: <1@author.example>\r\n\r\nhello\r\n"
	head, err := author.Sign(t.Context(), "author.example", message.FromBytes([]byte(text)))
	if err != nil {
		t.Fatal(err)
	}
	if err := n.client().SendMail("ann@author.example", []string{"elsewhere@" + dev.Domain, "both-ways@" + dev.Domain}, strings.NewReader(string(head)+text)); err != nil {
		t.Fatal(err)
	}
	for _, to := range []string{"bob@good.example", "eve@good.example"} {
		got := strings.ReplaceAll(n.mailFor(to), "\n", "\r\n")
		cmd := exec.Command("/usr/bin/python3", "-c", verifyChain, zone)
		cmd.Stdin = strings.NewReader(got)
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.HasPrefix(string(out), "pass success i=1; mail.example.test; ") || !strings.Contains(string(out), "spf=pass") ||
			!strings.Contains(string(out), "dkim=pass") || !strings.Contains(string(out), "dmarc=pass (p=reject dis=none) header.from=author.example") {
			t.Errorf("%s: dkimpy says %s (%v) of\n%s", to, out, err, got)
		}
		a := dkim.VerifyARC(t.Context(), message.FromBytes([]byte(got)), n.dns.Resolver().TXT)
		if a.Value != dkim.Pass || len(a.Sealers) != 1 || a.Sealers[0].Domain != dev.Domain {
			t.Errorf("%s: %+v", to, a)
		}
	}
	if o.with(t, "alice", "Subject: handed on") != 1 || o.with(t, "alice", "ARC-Seal") != 0 {
		t.Error("the copy that stays here is none, or is sealed")
	}
	// What our own users send is theirs to sign.
	o.send(t, "elsewhere@"+dev.Domain)
	own := ""
	eventually(func() bool {
		mail := n.mail()
		i := slices.IndexFunc(mail, func(m string) bool { return strings.Contains(m, "Subject: by submission") })
		if i >= 0 {
			own = mail[i]
		}
		return i >= 0
	})
	if own == "" || strings.Contains(own, "ARC-Seal") || !strings.Contains(own, "DKIM-Signature") {
		t.Errorf("mail of our own user:\n%s", own)
	}
}
