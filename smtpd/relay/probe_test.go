package relay

import (
	"slices"
	"strings"
	"testing"
)

func TestProbeSendsNothing(t *testing.T) {
	ca := newAuthority(t)
	one, two := newSink(t), newSink(t)
	one.tls = ca.server("mx1.a.example")
	misbehave(two, "greeting", func(c *sinkConn) { c.say("554 5.7.1 not you") })
	w := newWorld(t, map[string]*sink{"192.0.2.1": one, "192.0.2.2": two}, level(Encrypted))
	got, err := w.Probe(t.Context(), "a.example")
	if err != nil || len(got) != 2 {
		t.Fatal(got, err)
	}
	if p := got[0]; p.Err != nil || p.Remote != "mx1.a.example[192.0.2.1]" || p.TLS.Version != "TLS 1.3" || p.Demand != Encrypted {
		t.Errorf("%+v", p)
	}
	if p := got[1]; p.Err == nil || !strings.Contains(p.Err.Error(), "not you") {
		t.Errorf("%+v", p)
	}
	if len(one.heard("MAIL"))+len(one.got()) > 0 || !slices.Equal(one.heard("QUIT"), []string{"QUIT"}) {
		t.Errorf("heard %q", one.lines)
	}
	for domain, want := range map[string]string{"missing.example": "does not exist", "..": "no domain name"} {
		if got, err := w.Probe(t.Context(), domain); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %+v, %v", domain, got, err)
		}
	}
}
