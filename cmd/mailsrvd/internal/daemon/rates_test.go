package daemon

import (
	"testing"
	"time"

	"svc.plus/mailsrvd/config"
	"svc.plus/mailsrvd/smtpd/queue"
)

func TestWhichDestinationsShareARate(t *testing.T) {
	ten, two := config.Rate{Messages: 10, Period: time.Minute}, config.Rate{Messages: 2, Period: time.Hour}
	c := &config.Config{}
	c.Domains = []string{"Ours.example"}
	c.Relay.Rate = ten
	c.Relay.Route = []config.Route{
		{Domains: []string{"slow.example", ".slow.example"}, Rate: two},
		{Domains: []string{"gate.example", "gate2.example"}, Host: "gate:25"},
		{Domains: []string{"strict.example"}, TLS: "required"},
	}
	for _, smart := range []string{"", "smart.example:587"} {
		c.Relay.Smarthost = smart
		for domain, want := range map[string]struct {
			name string
			rate config.Rate
		}{
			"ours.example":     {"ours.example", config.Rate{}},
			"slow.example":     {"route slow.example", two},
			"a.b.slow.example": {"route slow.example", two},
			"gate.example":     {"route gate.example", ten},
			"gate2.example":    {"route gate.example", ten},
			"strict.example":   {"domain strict.example", ten},
			"other.example":    {"domain other.example", ten},
		} {
			if smart != "" && domain == "other.example" {
				want.name = "smarthost"
			}
			if name, rate := newRates(c).to(domain); name != want.name || rate != queue.Rate(want.rate) {
				t.Errorf("%s (smarthost %q): %s, %v; want %v", domain, smart, name, rate, want)
			}
		}
	}
}
