package main

import (
	"fmt"
	"strings"
	"testing"

	"svc.plus/mailsrvd/internal/peertest"
)

// TestDANEWithUnbound asks a real validating resolver about zones that were
// signed, that were changed afterwards, and that were never signed.
func TestDANEWithUnbound(t *testing.T) {
	peertest.NeedProgram(t, "unbound", "unbound")
	n := newInternet(t, "", "right", "none", "wrong", "changed")
	own := tlsaOf(n.pair[foreignMX].Leaf)
	wrong := "3 1 1 " + strings.Repeat("ab", 32)
	host := func(name, tlsa string) string {
		text := fmt.Sprintf("%[1]s. MX 10 mx.%[1]s.\nmx.%[1]s. A %[2]s\n", name, foreignMX)
		if tlsa != "" {
			text += "_25._tcp.mx." + name + ". TLSA " + tlsa + "\n"
		}
		return text
	}
	zone := host("right.example", own) + host("none.example", "") + host("wrong.example", wrong) + host("changed.example", "3 1 1 "+strings.Repeat("cd", 32)) +
		// No MX: the domain is its own host.
		fmt.Sprintf("implicit.example. A %[1]s\n_25._tcp.implicit.example. TLSA %[2]s\nimplicit-wrong.example. A %[1]s\n_25._tcp.implicit-wrong.example. TLSA %[3]s\n", foreignMX, own, wrong) +
		// The host is in a zone that nobody signed.
		"away.example. MX 10 mx.plain.\n"
	signed, anchor := peertest.SignZone(t, "example.", zone)
	changed := strings.Replace(signed, strings.Repeat("cd", 32), own[len("3 1 1 "):], 1)
	if changed == signed {
		t.Fatalf("nothing to change in\n%s", signed)
	}
	plain := peertest.ZoneHead("plain.") + host("plain", wrong) + host("unsigned.plain", wrong)
	n.resolver = peertest.StartUnbound(t, anchor, map[string]string{"example.": changed, "plain.": plain})
	o := n.startOutgoing("")
	cases := []struct{ domain, want string }{
		{"right.example", " verified=dane "},
		{"none.example", " verified=none "},
		{"wrong.example", "no certificate of the server matches its TLSA records"},
		{"changed.example", "Cannot look up the TLSA records of mx.changed.example"},
		{"implicit.example", " verified=dane "},
		{"implicit-wrong.example", "no certificate of the server matches its TLSA records"},
		{"away.example", " verified=none "},
		{"unsigned.plain", " verified=none "},
	}
	for _, c := range cases {
		o.send(t, "bob@"+c.domain)
	}
	for _, c := range cases {
		line := o.fate(t, "bob@"+c.domain)
		delivered := strings.HasPrefix(c.want, " ")
		if !strings.Contains(line, c.want) || strings.Contains(line, "msg=delivered") != delivered {
			t.Errorf("%s: %s", c.domain, line)
		}
		if delivered {
			n.mailFor("bob@" + c.domain)
		}
	}
}
