package dkim

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"svc.plus/mailsrvd/internal/dns"
	"svc.plus/mailsrvd/internal/peertest"
)

// arcSymbol asks rspamd about a message and gives its symbol on ARC.
func arcSymbol(t *testing.T, r peertest.Rspamd, msg string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+r.HTTP+"/checkv2", strings.NewReader(msg))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var reply struct{ Symbols map[string]any }
	if err := json.NewDecoder(resp.Body).Decode(&reply); err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{"ARC_ALLOW", "ARC_REJECT", "ARC_INVALID", "ARC_DNSFAIL", "ARC_NA"} {
		if _, ok := reply.Symbols[s]; ok {
			return s
		}
	}
	return ""
}

func TestRspamdTakesOurChains(t *testing.T) {
	fake, err := dns.NewFake(ZoneLine("svc.plus", "rsa", testKeys[RSA]) + "\n")
	if err != nil {
		t.Fatal(err)
	}
	resolver, err := fake.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := peertest.StartRspamd(t, resolver, nil)
	s := testSigner(t)
	three := seal(t, s, seal(t, s, seal(t, s, received)))
	for name, c := range map[string]struct{ msg, want string }{
		"no chain":       {received, "ARC_NA"},
		"one set":        {seal(t, s, received), "ARC_ALLOW"},
		"three sets":     {three, "ARC_ALLOW"},
		"changed body":   {strings.Replace(three, "how are", "who are", 1), "ARC_REJECT"},
		"changed result": {strings.Replace(three, "dmarc=pass", "dmarc=none", 1), "ARC_REJECT"},
		"changed seal":   {strings.Replace(three, "cv=none", "cv=pass", 1), "ARC_INVALID"},
	} {
		if got := arcSymbol(t, r, c.msg); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}
