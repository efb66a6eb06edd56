package inbound

import (
	"bytes"
	"strings"
	"testing"

	"svc.plus/mailsrvd/internal/message"
)

func TestForgedResultsAreTakenOut(t *testing.T) {
	const rest = "From: a@x.example\r\nSubject: y\r\n"
	for _, c := range []struct {
		field string
		kept  bool
	}{
		{"Authentication-Results: mx.test; spf=pass\r\n", false},
		{"authentication-results: MX.TEST 1; spf=pass\r\n", false},
		{"Authentication-Results : mx.test;\r\n\tspf=pass\r\n", false},
		{"Authentication-Results:\r\n mx.test\r\n ; spf=pass\r\n", false},
		{"Authentication-Results: (a (nested) \\) comment) mx.test(x); none\r\n", false},
		{"Authentication-Results: \"mx.t\\est\"; none\r\n", false},
		{"Authentication-Results: mx.test.; none\r\n", false},
		{"Authentication-Results: mx.test\r\n", false},
		{"Authentication-Results: (never closed mx.test; none\r\n", false},
		{"Authentication-Results: \"never closed\r\n", false},
		{"Authentication-Results: ;\r\n", false},
		{"Authentication-Results:\r\n", false},
		{"Authentication-Results: other.test; spf=pass\r\n", true},
		{"Authentication-Results: other.test (mx.test); spf=pass\r\n", true},
		{"Authentication-Results: mx.test.evil.example; spf=pass\r\n", true},
		{"X-Authentication-Results: mx.test; spf=pass\r\n", true},
		{"ARC-Authentication-Results: i=1; mx.test; spf=pass\r\n", true},
	} {
		want := rest
		if c.kept {
			want = c.field + rest
		}
		for _, header := range []string{c.field + rest, c.field + c.field + rest} {
			if c.kept && header != want {
				continue
			}
			if got := withoutResults([]byte(header), "mx.test"); string(got) != want {
				t.Errorf("%q: %q", c.field, got)
			}
		}
		if got := withoutResults([]byte("junk\r\n"+rest+c.field), "mx.test"); c.kept != strings.HasSuffix(string(got), c.field) || !strings.HasPrefix(string(got), "junk\r\n"+rest) {
			t.Errorf("behind a line that is no field: %q", got)
		}
	}
}

func TestTextsOfStrangersStayInTheirPlace(t *testing.T) {
	evil := "x\"; dmarc=pass\r\nInjected: \\(yes) \x00\xff" + strings.Repeat("z", 5000)
	field := resultsField("mx.test", []Verdict{{Check: "spf", Result: fail, Reason: evil, Comment: evil, Properties: []Property{{"smtp.mailfrom", evil}, {"header.b", ""}}}})
	fields := message.ParseHeader(field)
	if len(fields) != 1 || bytes.Contains(field, []byte("\r\nInjected")) || bytes.ContainsAny(field, "\x00\xff") {
		t.Errorf("%q", field)
	}
	for line := range strings.SplitSeq(string(field), "\r\n") {
		if len(line) > 998 {
			t.Errorf("a line of %d bytes", len(line))
		}
	}
	if got := string(resultsField("mx.test", nil)); got != "Authentication-Results: mx.test; none\r\n" {
		t.Errorf("%q", got)
	}
}

func FuzzClean(f *testing.F) {
	for _, s := range []string{"Authentication-Results: mx.test; x\r\nFrom: a\r\n", "a\r\nAuthentication-Results:(((\"\\\r\n x", "Authentication-Results: \"a\\"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, header []byte) {
		before := bytes.Clone(header)
		got := withoutResults(header, "mx.test")
		if !bytes.Equal(header, before) {
			t.Error("the header was changed in place")
		}
		if again := withoutResults(got, "mx.test"); !bytes.Equal(again, got) {
			t.Errorf("%q cleaned again is %q", got, again)
		}
		for name, raw := range message.EachField(got) {
			if bytes.EqualFold(name, []byte(fieldName)) && claims(raw, "mx.test") {
				t.Errorf("%q stays", raw)
			}
		}
	})
}

func BenchmarkClean(b *testing.B) {
	header := []byte(strings.Repeat("Received: from a by b with c; some date\r\n", 20) + "Authentication-Results: mx.test; spf=pass\r\nFrom: a@x.example\r\n")
	b.SetBytes(int64(len(header)))
	b.ReportAllocs()
	for b.Loop() {
		withoutResults(header, "mx.test")
	}
}
