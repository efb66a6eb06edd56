package filter

import (
	"net/netip"
	"strings"
	"testing"

	"svc.plus/mailsrvd/dkim"
	"svc.plus/mailsrvd/internal/dns"
	"svc.plus/mailsrvd/internal/message"
	"svc.plus/mailsrvd/internal/peertest"
)

// Real filters, as Debian ships them.

func newMail(header, body string) Mail {
	return Mail{
		Trace: "t1", Remote: netip.MustParseAddr("192.0.2.1"), RemoteName: "client.example", HELO: "client.example",
		ReversePath: "a@good.example", Recipients: []string{"alice@here.test", "bob@here.test"},
		Header: []byte(header), Content: message.FromBytes([]byte(header + "\r\n" + body)),
	}
}

const plainHeader = "From: a@good.example\r\nTo: alice@here.test\r\nDate: Wed, 25 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1@good.example>\r\nSubject: x\r\n"

func chain(t testing.TB, specs ...Spec) *Chain {
	t.Helper()
	c, err := New(Options{Filters: specs, Hostname: "mx.test"})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestRspamd(t *testing.T) {
	fake, err := dns.NewFake(`good.example TXT "v=spf1 ip4:192.0.2.1 -all"`)
	if err != nil {
		t.Fatal(err)
	}
	resolver, err := fake.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := peertest.StartRspamd(t, resolver, map[string]string{
		"milter_headers.conf": `use = ["x-spamd-bar", "authentication-results"];`,
		"actions.conf":        "reject = 15; add_header = 6; greylist = null;\n",
	})
	for _, spec := range []Spec{
		{Name: "http", Protocol: Rspamd, Address: r.HTTP},
		{Name: "milter", Protocol: Milter, Address: r.Milter},
	} {
		t.Run(spec.Name, func(t *testing.T) {
			c := chain(t, spec)
			bad := c.Run(t.Context(), newMail(plainHeader, peertest.GTUBE+"\r\n"))
			if bad.Action != Reject || bad.Err.Temporary() || !strings.Contains(strings.ToLower(bad.Err.Text), "gtube") {
				t.Errorf("GTUBE: %v, %v, %v", bad.Action, bad.Err, bad.Attrs)
			}
			good := c.Run(t.Context(), newMail(plainHeader, "hello\r\n"))
			if good.Action != Accept || !strings.Contains(string(good.Header), "X-Spamd-Bar:") || !strings.Contains(string(good.Header), "spf=pass") {
				t.Errorf("%v, %v, %v\n%s", good.Action, good.Err, good.Attrs, good.Header)
			}
			if !strings.HasPrefix(good.Attrs[1].(string), "accept") {
				t.Errorf("%v", good.Attrs)
			}
		})
	}
}

func TestClamAV(t *testing.T) {
	c := chain(t, Spec{Name: "clamav", Protocol: Milter, Address: peertest.StartClamAV(t)})
	virus := newMail(plainHeader+"MIME-Version: 1.0\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n",
		"WDVPIVAlQEFQWzRcUFpYNTQoUF4pN0NDKTd9JEVJQ0FSLVNUQU5EQVJELUFOVElWSVJVUy1URVNU\r\nLUZJTEUhJEgrSCo=\r\n")
	if r := c.Run(t.Context(), virus); r.Action != Reject || !strings.Contains(r.Err.Text, "Eicar-Test") {
		t.Errorf("%v, %v, %v", r.Action, r.Err, r.Attrs)
	}
	if r := c.Run(t.Context(), newMail(plainHeader, "hello\r\n")); r.Action != Accept || !strings.Contains(string(r.Header), "X-Virus-Status: Clean") {
		t.Errorf("%v, %v, %v\n%s", r.Action, r.Err, r.Attrs, r.Header)
	}
	// More than one packet of body, ended by the virus.
	long := newMail(plainHeader, strings.Repeat("a line of text\r\n", 20000)+peertest.EICAR+"\r\n")
	if r := c.Run(t.Context(), long); r.Action != Reject {
		t.Errorf("%v, %v, %v", r.Action, r.Err, r.Attrs)
	}
}

func TestOpenDKIM(t *testing.T) {
	key, err := dkim.GenerateKey(dkim.RSA)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := dkim.NewSigner([]dkim.Identity{{Domain: "good.example", Selector: "s1", Key: key}})
	if err != nil {
		t.Fatal(err)
	}
	c := chain(t, Spec{Name: "opendkim", Protocol: Milter,
		Address: peertest.StartOpenDKIM(t, "filter.test", dkim.RecordName("good.example", "s1")+" "+dkim.Record(key)+"\n")})
	m := newMail(plainHeader+"X-Folded: one\r\n two  three\r\n\tfour\r\n", "hello\r\n\r\nworld \r\n\r\n\r\n")
	signature, err := signer.Sign(t.Context(), "good.example", m.Content)
	if err != nil {
		t.Fatal(err)
	}
	m.Header, m.Content = append(signature, m.Header...), m.Content.WithPrefix(signature)
	r := c.Run(t.Context(), m)
	if !strings.HasPrefix(string(r.Header), "Authentication-Results: filter.test;") || !strings.Contains(string(r.Header), "dkim=pass") {
		t.Errorf("%v, %v, %v\n%s", r.Action, r.Err, r.Attrs, r.Header)
	}
	if !strings.HasSuffix(string(r.Header), string(m.Header)) {
		t.Errorf("the rest of the header changed:\n%s", r.Header)
	}
}
