package zone

import (
	"strings"
	"testing"

	"svc.plus/mailsrvd/internal/dns"
)

// TestNamesOfSettings: those that are not there or lead elsewhere are told, if HTTPS
// is on; none of them is an error, since delivery goes on.
func TestNamesOfSettings(t *testing.T) {
	const name = "autoconfig.example.org"
	for _, tt := range []struct {
		about, remove, add, fail string
		port                     int
		want                     string
	}{
		{about: "as printed", port: 443},
		{about: "not there", remove: name, port: 443, want: "autoconfig.example.org does not exist"},
		{about: "elsewhere", remove: name, add: name + " A 192.0.2.77", port: 443, want: "leads to 192.0.2.77, not"},
		{about: "by address", remove: name, add: name + " A 192.0.2.1", port: 443},
		{about: "no answer", fail: name, port: 443, want: "could not be looked up"},
		{about: "no HTTPS", remove: name},
	} {
		d := domain(testKey(t))
		d.HTTPS = tt.port
		f, err := dns.NewFake(good(d))
		if err != nil {
			t.Fatal(err)
		}
		if tt.remove != "" {
			f.Remove(tt.remove)
		}
		if err := f.Add(tt.add); err != nil {
			t.Fatal(err)
		}
		if tt.fail != "" {
			f.Fail(tt.fail)
		}
		findings := d.Check(t.Context(), f.Resolver(), noFetch)
		switch {
		case tt.want == "" && len(findings) == 0:
		case len(findings) != 1, tt.want == "", !findings[0].Warning, findings[0].About != "autoconfig", findings[0].Means == "", !strings.Contains(findings[0].Text, tt.want):
			t.Errorf("%s: %+v", tt.about, findings)
		}
	}
}
