package zone

import (
	"encoding/json"
	"os/exec"
	"strings"
	"testing"

	mdns "github.com/miekg/dns"

	"svc.plus/mailsrvd/dkim"
)

// formatted has records of each type: two domains on one host, a long DKIM key,
// a certificate, and HTTPS.
func formatted(t *testing.T) []Record {
	t.Helper()
	rsa, err := dkim.GenerateKey(dkim.RSA)
	if err != nil {
		t.Fatal(err)
	}
	d := domain(rsa)
	d.HTTPS, d.Certificate = 443, testCertificate(t)
	return d.Records()
}

func write(t *testing.T, format string, records []Record) string {
	t.Helper()
	var b strings.Builder
	if err := Write(&b, format, records); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestBindFormIsAZoneFile(t *testing.T) {
	records := formatted(t)
	p := mdns.NewZoneParser(strings.NewReader(write(t, "bind", records)), "", "")
	n := 0
	for _, ok := p.Next(); ok; _, ok = p.Next() {
		n++
	}
	if p.Err() != nil || n != len(records) {
		t.Errorf("%d of %d records, %v", n, len(records), p.Err())
	}
}

// The parts must make up the record again.
func TestCloudflareFormHasEachRecord(t *testing.T) {
	records := formatted(t)
	var batch struct {
		Posts []struct {
			Type, Name, Content string
			Priority            *int
			Data                map[string]any
			TTL                 int
			Proxied             bool
		}
	}
	if err := json.Unmarshal([]byte(write(t, "cloudflare", records)), &batch); err != nil || len(batch.Posts) != len(records) {
		t.Fatalf("%d of %d records, %v", len(batch.Posts), len(records), err)
	}
	for i, p := range batch.Posts {
		r := records[i]
		ok := p.Name == r.Name && p.Type == r.Type && p.TTL == ttl && !p.Proxied
		switch r.Type {
		case "MX":
			ok = ok && *p.Priority == 10 && p.Content+"." == strings.Fields(r.Value)[1]
		case "SRV":
			ok = ok && p.Data["port"].(float64) > 0 && p.Data["target"] == "mail.example.org"
		case "TLSA":
			ok = ok && p.Data["usage"] == 3.0 && strings.HasSuffix(r.Value, p.Data["certificate"].(string))
		case "CNAME":
			ok = ok && p.Content == "mail.example.org"
		default:
			ok = ok && p.Content == r.Value
		}
		if !ok {
			t.Errorf("%s became %+v", r, p)
		}
	}
}

func TestRoute53FormGroupsValues(t *testing.T) {
	records := append(formatted(t), Record{Name: "mail.example.org", Type: "A", Value: "192.0.2.9"})
	var batch struct {
		Changes []struct {
			Action            string
			ResourceRecordSet struct {
				Name, Type      string
				TTL             int
				ResourceRecords []struct{ Value string }
			}
		}
	}
	if err := json.Unmarshal([]byte(write(t, "route53", records)), &batch); err != nil {
		t.Fatal(err)
	}
	values := 0
	for _, c := range batch.Changes {
		s := c.ResourceRecordSet
		values += len(s.ResourceRecords)
		if c.Action != "UPSERT" || s.TTL != ttl || !strings.HasSuffix(s.Name, ".") {
			t.Errorf("%+v", c)
		}
		if s.Type == "A" && len(s.ResourceRecords) != 2 {
			t.Errorf("the addresses are apart: %+v", s)
		}
		for _, v := range s.ResourceRecords {
			if _, err := mdns.NewRR(s.Name + " 3600 IN " + s.Type + " " + v.Value); err != nil {
				t.Errorf("%s: %v", v.Value, err)
			}
		}
	}
	if values != len(records) {
		t.Errorf("%d of %d values", values, len(records))
	}
}

// Terraform itself is not to be had here; its own formatter's rules are: blocks
// that close, unique names, and strings whose quotes are escaped.
func TestTerraformFormsAreResources(t *testing.T) {
	records := formatted(t)
	for format, resource := range map[string]string{"terraform-cloudflare": "cloudflare_dns_record", "terraform-route53": "aws_route53_record"} {
		text := write(t, format, records)
		names := map[string]bool{}
		for line := range strings.Lines(text) {
			if rest, ok := strings.CutPrefix(line, "resource \""+resource+"\" "); ok {
				names[rest] = true
			}
		}
		if n := strings.Count(text, "resource "); n != len(names) || n == 0 || strings.Count(text, "{\n") != strings.Count(text, "}\n") {
			t.Errorf("%s: %d resources, %d names in\n%s", format, n, len(names), text)
		}
		if !strings.Contains(text, `v=spf1 mx -all`) || !strings.Contains(text, "192.0.2.1") {
			t.Errorf("%s: something is missing in\n%s", format, text)
		}
	}
	if text := write(t, "terraform-route53", []Record{{"a.example", "TXT", quoted(strings.Repeat("x", 300)), ""}}); !strings.Contains(text, `x\" \"x`) {
		t.Errorf("a long text: %s", text)
	}
	if got := hcl("a${b}%{c}\"d"); got != `"a$${b}%%{c}\"d"` {
		t.Errorf("%s", got)
	}
}

func TestUnknownFormatIsRefused(t *testing.T) {
	if err := Write(new(strings.Builder), "powerdns", nil); err == nil || !strings.Contains(err.Error(), "want one of bind") {
		t.Error(err)
	}
}

// BIND's own checker agrees, where it is installed.
func TestBindTakesTheZone(t *testing.T) {
	checkzone, err := exec.LookPath("named-checkzone")
	if err != nil {
		t.Skip("missing: named-checkzone (package bind9-utils)")
	}
	c := exec.Command(checkzone, "example.org", "/dev/stdin")
	c.Stdin = strings.NewReader("example.org. 3600 IN SOA mail.example.org. hostmaster.example.org. 1 1 1 1 1\nexample.org. 3600 IN NS mail.example.org.\n" + write(t, "bind", formatted(t)))
	if out, err := c.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}
