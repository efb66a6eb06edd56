package web

import (
	"encoding/xml"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"
	"time"

	"svc.plus/mailsrvd/cmd/mailsrvd/internal/admin"
	"svc.plus/mailsrvd/cmd/mailsrvd/internal/zone"
	"svc.plus/mailsrvd/internal/message"
	"svc.plus/mailsrvd/internal/observe"
	"svc.plus/mailsrvd/smtpd/queue"
)

var site = &Site{
	Hostname: "mx.example.org", Domains: []string{"example.org", "second.example"},
	Submission: 587, Submissions: 465, IMAP: 143, IMAPS: 993,
	Policy: func(domain string) string {
		if domain == "example.org" {
			return "version: STSv1\n"
		}
		return ""
	},
	Proof: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Write([]byte("proof")) }),
}

func do(h http.Handler, method, url, body string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(method, url, strings.NewReader(body)))
	return w
}

const outlook = `<?xml version="1.0" encoding="utf-8"?><Autodiscover xmlns="http://schemas.microsoft.com/exchange/autodiscover/outlook/requestschema/2006"><Request><EMailAddress> ada@second.example </EMailAddress><AcceptableResponseSchema>http://schemas.microsoft.com/exchange/autodiscover/outlook/responseschema/2006a</AcceptableResponseSchema></Request></Autodiscover>`

func TestMailProgramsFindTheirSettings(t *testing.T) {
	h := site.Handler()
	for _, tt := range []struct {
		name, method, url, body string
		code                    int
		want                    []string
	}{
		{"Thunderbird", "GET", "https://autoconfig.example.org/mail/config-v1.1.xml?emailaddress=ada%40example.org", "", 200,
			[]string{`<emailProvider id="example.org">`, `<port>993</port>`, `<socketType>SSL</socketType>`, `<socketType>STARTTLS</socketType>`, `%EMAILADDRESS%`}},
		{"by the host name alone", "GET", "http://autoconfig.second.example/mail/config-v1.1.xml", "", 200, []string{`id="second.example"`}},
		{"the well-known place", "GET", "https://second.example/.well-known/autoconfig/mail/config-v1.1.xml?emailaddress=x@second.example", "", 200, []string{`id="second.example"`}},
		{"upper case", "GET", "https://AUTOCONFIG.Example.ORG:443/mail/config-v1.1.xml", "", 200, []string{`id="example.org"`}},
		{"not ours", "GET", "https://autoconfig.other.example/mail/config-v1.1.xml", "", 404, nil},
		{"an address that is not ours", "GET", "https://autoconfig.example.org/mail/config-v1.1.xml?emailaddress=a@other.example", "", 404, nil},
		{"Outlook", "POST", "https://autodiscover.example.org/autodiscover/autodiscover.xml", outlook, 200,
			[]string{"<Type>IMAP</Type>", "<Type>SMTP</Type>", "<Port>465</Port>", "<LoginName>ada@second.example</LoginName>", `xmlns="http://schemas.microsoft.com/exchange/autodiscover/outlook/responseschema/2006a"`}},
		{"Outlook in other letters", "POST", "https://mx.example.org/Autodiscover/Autodiscover.xml", outlook, 200, []string{"<Port>993</Port>"}},
		{"Outlook with nonsense", "POST", "https://autodiscover.example.org/autodiscover/autodiscover.xml", "{}", 400, nil},
		{"Outlook without an address", "POST", "https://autodiscover.example.org/autodiscover/autodiscover.xml", "<Autodiscover><Request/></Autodiscover>", 404, nil},
		{"Outlook without end", "POST", "https://autodiscover.example.org/autodiscover/autodiscover.xml", "<Autodiscover>" + strings.Repeat("<a>", 100000), 400, nil},
		{"Outlook's newer way", "GET", "https://autodiscover.example.org/autodiscover/autodiscover.json?Email=a@example.org&Protocol=AutodiscoverV1", "", 200,
			[]string{`"Url":"https://autodiscover.example.org/autodiscover/autodiscover.xml"`}},
		{"ActiveSync", "GET", "https://autodiscover.example.org/autodiscover/autodiscover.json?Email=a@example.org&Protocol=ActiveSync", "", 404, nil},
		{"Apple", "GET", "https://mx.example.org/apple.mobileconfig?email=a%26b@example.org", "", 200,
			[]string{"<string>a&amp;b@example.org</string>", "<integer>993</integer>", "<integer>465</integer>"}},
		{"Apple with no address", "GET", "https://mx.example.org/apple.mobileconfig", "", 404, nil},
		{"Apple with a name and an address", "GET", "https://mx.example.org/apple.mobileconfig?email=%22x%22%20%3Ca@example.org%3E", "", 404, nil},
		{"MTA-STS", "GET", "https://mta-sts.example.org/.well-known/mta-sts.txt", "", 200, []string{"version: STSv1\n"}},
		{"no MTA-STS", "GET", "https://mta-sts.second.example/.well-known/mta-sts.txt", "", 404, nil},
		{"ACME", "GET", "http://anything.example/.well-known/acme-challenge/x", "", 200, []string{"proof"}},
		{"a person", "GET", "https://example.org/", "", 200, []string{"Mail for example.org", "<code>mx.example.org</code>", "<td>993</td><td>TLS</td>"}},
		{"a person elsewhere", "GET", "https://[::1]:8443/", "", 404, nil},
		{"another page", "GET", "https://example.org/admin", "", 404, nil},
	} {
		w := do(h, tt.method, tt.url, tt.body)
		if w.Code != tt.code {
			t.Errorf("%s: %d, want %d: %s", tt.name, w.Code, tt.code, w.Body)
		}
		for _, want := range tt.want {
			if !strings.Contains(w.Body.String(), want) {
				t.Errorf("%s: no %q in\n%s", tt.name, want, w.Body)
			}
		}
		if strings.Contains(w.Header().Get("Content-Type"), "xml") && !wellFormed(w.Body.String()) {
			t.Errorf("%s: not well-formed:\n%s", tt.name, w.Body)
		}
	}
}

func wellFormed(s string) bool {
	d := xml.NewDecoder(strings.NewReader(s))
	for {
		if _, err := d.Token(); err != nil {
			return err.Error() == "EOF"
		}
	}
}

// Apple's own parser of property lists is not here; Python's is.
func TestAppleProfileIsAPropertyList(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("missing: python3, whose plistlib reads the profile")
	}
	w := do(site.Handler(), "GET", "https://mx.example.org/apple.mobileconfig?email=ada@example.org", "")
	read := exec.Command(python, "-c", `import plistlib, sys
p = plistlib.loads(sys.stdin.buffer.read())
a = p["PayloadContent"][0]
print(p["PayloadType"], a["EmailAddress"], a["IncomingMailServerPortNumber"], a["OutgoingMailServerHostName"], a["IncomingMailServerUseSSL"])`)
	read.Stdin = w.Body
	out, err := read.CombinedOutput()
	if err != nil || string(out) != "Configuration ada@example.org 993 mx.example.org True\n" {
		t.Errorf("%v: %s", err, out)
	}
	again := do(site.Handler(), "GET", "https://mx.example.org/apple.mobileconfig?email=ada@example.org", "")
	other := do(site.Handler(), "GET", "https://mx.example.org/apple.mobileconfig?email=bob@example.org", "")
	if id := uuidOf(again.Body.String()); id == "" || id == uuidOf(other.Body.String()) {
		t.Errorf("identifiers: %q", id)
	}
}

func uuidOf(s string) string {
	_, s, _ = strings.Cut(s, "<key>PayloadUUID</key><string>")
	s, _, _ = strings.Cut(s, "<")
	return s
}

func TestOnlyServicesThatAreOnAreNamed(t *testing.T) {
	s := &Site{Hostname: "mx.example.org", Domains: []string{"example.org"}, Submission: 587}
	if w := do(s.Handler(), "GET", "https://example.org/mail/config-v1.1.xml", ""); strings.Contains(w.Body.String(), "incomingServer") || !strings.Contains(w.Body.String(), "STARTTLS") {
		t.Errorf("%s", w.Body)
	}
	if w := do(s.Handler(), "GET", "https://example.org/apple.mobileconfig?email=a@example.org", ""); w.Code != 404 {
		t.Errorf("%d", w.Code)
	}
	if w := do(s.Handler(), "GET", "https://example.org/.well-known/mta-sts.txt", ""); w.Code != 404 {
		t.Errorf("%d", w.Code)
	}
}

func TestPlainHTTPLeadsToHTTPS(t *testing.T) {
	for _, tt := range []struct {
		url, to string
		port    int
	}{
		{"http://example.org/", "https://example.org/", 443},
		{"http://example.org:8080/a?b=c", "https://example.org/a?b=c", 443},
		{"http://example.org/", "https://example.org:8443/", 8443},
		{"http://[::1]:80/", "https://[::1]:8443/", 8443},
	} {
		w := do(Secure(site.Handler(), tt.port), "GET", tt.url, "")
		if w.Code != http.StatusMovedPermanently || w.Header().Get("Location") != tt.to {
			t.Errorf("%s: %d to %s", tt.url, w.Code, w.Header().Get("Location"))
		}
	}
	for _, url := range []string{"http://x.example/.well-known/acme-challenge/t", "http://autoconfig.example.org/mail/config-v1.1.xml"} {
		if w := do(Secure(site.Handler(), 443), "GET", url, ""); w.Code != 200 {
			t.Errorf("%s: %d", url, w.Code)
		}
	}
}

func overview() Overview {
	now := time.Now()
	line := func(level slog.Level, text string) observe.Record {
		return observe.Record{Time: now, Level: level, Text: text, Fields: []observe.Field{{Key: "to", Value: "<script>"}, {Key: "empty"}}}
	}
	it := queue.Item{ID: "q1", Created: now.Add(-3 * time.Hour), Size: 2 << 20}
	it.Recipients = []queue.Recipient{
		{Recipient: message.Recipient{Address: "done@example.net"}, State: queue.Delivered},
		{Recipient: message.Recipient{Address: "late@example.net"}, State: queue.Pending, Next: now.Add(10 * time.Minute), Last: &queue.Result{Code: 451, Text: "try later"}},
	}
	return Overview{
		Now: now,
		Status: admin.Status{Version: "v1", Started: now.Add(-50 * time.Hour), Problem: "disk full", Listeners: []admin.Listener{{Name: "mx", Address: ":25"}},
			Certificates: []admin.Certificate{{Names: []string{"a.example"}, NotAfter: now.Add(48*time.Hour + time.Minute)}}},
		Queue: []queue.Item{it}, Mail: []observe.Record{line(slog.LevelInfo, "message")}, Failures: []observe.Record{line(slog.LevelError, "broken")},
		DNS: &Zones{At: now, Findings: []zone.Finding{{About: "SPF", Text: "no record", Means: "mail is suspected", Mend: "add one"}}},
	}
}

func TestStatusPageShowsWhatMatters(t *testing.T) {
	o := overview()
	w := do(StatusPage("mx.example.org", func(*http.Request) (Overview, error) { return o, nil }), "GET", "http://127.0.0.1:9926/", "")
	body := w.Body.String()
	for _, want := range []string{"disk full", "up 2 days", "late@example.net", "in 10 min", "2.0 MiB", "try later", "no record", "mail is suspected", "add one", "broken", "&lt;script&gt;", `class="t bad"`, "in 2 days"} {
		if w.Code != 200 || !strings.Contains(body, want) {
			t.Errorf("%d, no %q in\n%s", w.Code, want, body)
		}
	}
	if strings.Contains(body, "done@example.net") || strings.Contains(body, "<script>") || strings.Contains(body, "empty") {
		t.Error("too much is shown")
	}
	if !strings.Contains(w.Header().Get("Content-Security-Policy"), "default-src 'none'") {
		t.Error("the page may load something")
	}
}

func TestStatusPageIsNotForForeignNames(t *testing.T) {
	h := StatusPage("mx.example.org", func(*http.Request) (Overview, error) { return overview(), nil })
	for url, code := range map[string]int{
		"http://localhost:9926/": 200, "http://[::1]:9926/": 200, "http://MX.example.org/": 200, "http://evil.example:9926/": 403, "http://localhost/x": 404,
	} {
		if w := do(h, "GET", url, ""); w.Code != code {
			t.Errorf("%s: %d, want %d", url, w.Code, code)
		}
	}
	if w := do(h, "POST", "http://localhost/", ""); w.Code != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", w.Code)
	}
	broken := StatusPage("mx.example.org", func(*http.Request) (Overview, error) { return Overview{}, errors.New("no queue") })
	if w := do(broken, "GET", "http://localhost/", ""); w.Code != 500 || !strings.Contains(w.Body.String(), "no queue") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestLinesOfMailAndFailuresAreChosen(t *testing.T) {
	for text, want := range map[string]bool{"message": true, "delivered": true, "msgid=<x@y>: saved mail to INBOX": true, "session ended": false} {
		if IsMail(observe.Record{Text: text}) != want {
			t.Errorf("%s: %v", text, !want)
		}
	}
	if !IsFailure(observe.Record{Level: slog.LevelWarn}) || IsFailure(observe.Record{Level: slog.LevelInfo}) {
		t.Error("levels")
	}
}
