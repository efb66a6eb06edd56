package queue

import (
	"bufio"
	"encoding/json"
	"flag"
	"io"
	"net/textproto"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	gomessage "github.com/emersion/go-message"

	"svc.plus/mailsrvd/internal/message"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestGoldenReports composes a report for each testdata/dsn/NAME.json about
// NAME.msg (or plain.msg), compares it with NAME.want, and reads it back with
// another MIME library. A new case needs no Go.
func TestGoldenReports(t *testing.T) {
	names, err := filepath.Glob("testdata/dsn/*.json")
	if err != nil || len(names) == 0 {
		t.Fatal("no cases", err)
	}
	for _, name := range names {
		base := strings.TrimSuffix(name, ".json")
		t.Run(filepath.Base(base), func(t *testing.T) { goldenReport(t, base) })
	}
}

func goldenReport(t *testing.T, base string) {
	var c struct {
		Kind  Report
		Limit int64
		Item  *Item
	}
	b, err := os.ReadFile(base + ".json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &c); err != nil {
		t.Fatal(err)
	}
	text := crlf(t, base+".msg")
	if text == "" {
		text = crlf(t, "testdata/dsn/plain.msg")
	}
	o := Options{Hostname: "mail.example.org", ReturnLimit: c.Limit}.withDefaults()
	d := newDSN(o, c.Item, c.Kind, c.Item.Recipients, time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
	d.id = "UNIQUE0123456789ABCDEFGHIJ"
	got, err := d.compose(message.FromBytes([]byte(text)))
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		os.WriteFile(base+".want", []byte(strings.ReplaceAll(string(got), "\r\n", "\n")), 0o644)
	}
	if want := crlf(t, base+".want"); string(got) != want {
		t.Errorf("got:\n%s", got)
	}
	readReport(t, string(got), c.Item, c.Kind)
}

func crlf(t *testing.T, name string) string {
	b, err := os.ReadFile(name)
	if os.IsNotExist(err) {
		return ""
	}
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(b), "\n", "\r\n")
}

// readReport reads a report as a mail program would.
func readReport(t *testing.T, text string, it *Item, kind Report) {
	t.Helper()
	for line := range strings.SplitSeq(text, "\r\n") {
		if len(line) > 998 || strings.ContainsAny(line, "\r\n\x00") {
			t.Errorf("bad line %.80q", line)
		}
	}
	e, err := gomessage.Read(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	typ, params, err := e.Header.ContentType()
	if err != nil || typ != "multipart/report" || params["report-type"] != "delivery-status" {
		t.Fatalf("type %s %v, %v", typ, params, err)
	}
	if e.Header.Get("Auto-Submitted") != "auto-replied" || e.Header.Get("To") != "<"+it.Envelope.ReversePath+">" {
		t.Error("header fields are wrong")
	}
	var types []string
	mr := e.MultipartReader()
	for {
		p, err := mr.NextPart()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		typ, _, _ := p.Header.ContentType()
		types = append(types, typ)
		body, _ := io.ReadAll(p.Body)
		if strings.HasSuffix(typ, "delivery-status") {
			readStatus(t, string(body), it, kind)
		}
	}
	if len(types) != 3 || types[0] != "text/plain" {
		t.Errorf("parts %v", types)
	}
}

// readStatus reads the groups of fields of a delivery-status part.
func readStatus(t *testing.T, body string, it *Item, kind Report) {
	t.Helper()
	r := textproto.NewReader(bufio.NewReader(strings.NewReader(body + "\r\n\r\n")))
	var groups []textproto.MIMEHeader
	for {
		g, err := r.ReadMIMEHeader()
		if len(g) == 0 {
			break
		}
		if err != nil {
			t.Fatalf("status: %v", err)
		}
		groups = append(groups, g)
	}
	if len(groups) != 1+len(it.Recipients) || groups[0].Get("Reporting-MTA") != "dns; mail.example.org" {
		t.Fatalf("groups %v", groups)
	}
	class := map[Report]string{ReportFailure: "45", ReportDelay: "4", ReportSuccess: "2"}[kind]
	for _, g := range groups[1:] {
		if g.Get("Final-Recipient") == "" || g.Get("Action") == "" || !strings.ContainsAny(g.Get("Status")[:1], class) {
			t.Errorf("group %v", g)
		}
	}
}

func TestReportsHaveTheNullReversePath(t *testing.T) {
	it := newItem("x", envelope("bob@a.example"), 0, time.Now())
	it.Envelope.RequireTLS = true
	env := newDSN(Options{}.withDefaults(), it, ReportFailure, it.Recipients, time.Now()).envelope([]byte("é"))
	if env.ReversePath != "" || !env.EightBit || !env.RequireTLS || env.Trusted || !validID(env.Trace) || env.Recipients[0].Notify[0] != "NEVER" {
		t.Errorf("%+v", env)
	}
}

func TestTextsCannotBreakOut(t *testing.T) {
	it := newItem("x", envelope("bob\r\nBcc: eve@x\r\n@a.example"), 0, time.Now())
	it.Envelope.EnvID = "1\r\nX: y"
	r := &it.Recipients[0]
	r.ORcpt, r.State = "rfc822;a\r\nX: y", Failed
	r.Last = &Result{Code: 550, Text: "no\r\nX: y\r\n\r\n--", Remote: "mx\r\nX: y[1]", Reply: strings.Repeat("é\n", 5000)}
	d := newDSN(Options{Hostname: "mail.example.org"}.withDefaults(), it, ReportFailure, it.Recipients, time.Now())
	got, err := d.compose(message.FromBytes([]byte("S: x\r\nMessage-ID: <a\r\n b>\r\n\r\n")))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.SplitSeq(string(got), "\r\n") {
		if strings.HasPrefix(line, "X:") || strings.HasPrefix(line, "Bcc:") || len(line) > 998 {
			t.Errorf("line %.90q", line)
		}
	}
}

func FuzzHeaderBlock(f *testing.F) {
	f.Add([]byte("Message-ID: <1@x>\r\n\r\nbody"))
	f.Add([]byte("\r\n"))
	f.Add([]byte("message-id:\t<a b>\r\nX"))
	f.Fuzz(func(t *testing.T, b []byte) {
		h := headerBlock(b)
		if len(h) > len(b) || len(h) > 0 && h[len(h)-1] != '\n' {
			t.Fatalf("header %q", h)
		}
		if id := messageID(h); strings.ContainsAny(id, "\r\n \t") || id != "" && (id[0] != '<' || id[len(id)-1] != '>') {
			t.Fatalf("id %q", id)
		}
	})
}
