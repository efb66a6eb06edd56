package filter

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"svc.plus/mailsrvd/internal/message"
)

func TestApply(t *testing.T) {
	const header = "A: 1\r\nB: 2\r\n folded\r\nA: 3\r\n"
	for _, c := range []struct {
		name  string
		edits []edit
		want  string
	}{
		{"add", []edit{{add, "X", "v", 0}}, header + "X: v\r\n"},
		{"insert at the top", []edit{{insert, "X", " v", 0}}, "X: v\r\n" + header},
		{"insert in the middle", []edit{{insert, "X", "v", 1}}, "A: 1\r\nX: v\r\nB: 2\r\n folded\r\nA: 3\r\n"},
		{"insert too far", []edit{{insert, "X", "v", 99}}, header + "X: v\r\n"},
		{"change the second", []edit{{change, "a", "new", 2}}, "A: 1\r\nB: 2\r\n folded\r\na: new\r\n"},
		{"index 0 is the first", []edit{{change, "A", "new", 0}}, "A: new\r\nB: 2\r\n folded\r\nA: 3\r\n"},
		{"remove", []edit{{change, "B", "", 1}}, "A: 1\r\nA: 3\r\n"},
		{"remove what is not there", []edit{{change, "B", "", 2}}, header},
		{"change what is not there", []edit{{change, "B", "v", 2}}, header + "B: v\r\n"},
		{"remove all", []edit{{purge, "A", "", 0}}, "B: 2\r\n folded\r\n"},
		{"a folded value", []edit{{add, "X", "one\n\ttwo\r\n three\n", 0}}, header + "X: one\r\n\ttwo\r\n three\r\n"},
		{"a value that would be a field", []edit{{add, "X", "one\nEvil: two\n\nbody", 0}}, header + "X: one\r\n Evil: two\r\n body\r\n"},
		{"control characters", []edit{{add, "X", "a\x00b\x07", 0}}, header + "X: a?b?\r\n"},
		{"no name", []edit{{add, "X Y", "v", 0}, {add, "", "v", 0}, {insert, "X:", "v", 0}, {add, "X\r\n", "v", 0}}, header},
		{"several", []edit{{insert, "X", "1", 0}, {insert, "Y", "2", 0}, {change, "X", "", 1}}, "Y: 2\r\n" + header},
	} {
		if got := string(apply([]byte(header), c.edits)); got != c.want {
			t.Errorf("%s: %q", c.name, got)
		}
	}
	if got := string(apply([]byte("A: 1"), []edit{{add, "B", "2", 0}})); got != "A: 1\r\nB: 2\r\n" {
		t.Errorf("%q", got)
	}
}

func TestReplyCode(t *testing.T) {
	for text, want := range map[string]string{
		"550 5.7.1 Go away":        "550 5.7.1 Go away",
		"451 4.7.1 Later":          "451 4.7.1 Later",
		"554 no code":              "554 5.7.1 no code",
		"550 4.7.1 Wrong class":    "550 5.7.1 4.7.1 Wrong class",
		"550-5.7.1 one\r\n550 two": "550 5.7.1 one",
		"550":                      "550 5.7.1 The message is refused because of its content",
		"550 5.7.1 a\x07\u00e9":    "550 5.7.1 a??",
		"250 ok":                   "",
		"x":                        "",
		"999 5.7.1 x":              "",
	} {
		got := ""
		if e := replyCode(text); e != nil {
			got = e.Reply()
		}
		if got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

// script is a milter that agrees on steps and answers the n-th packet that asks
// for an answer with the n-th of answers; the packets it got are in got.
func script(t testing.TB, steps uint32, answers ...string) (addr string, got func() string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	var log bytes.Buffer
	done := make(chan struct{})
	go func() {
		defer close(done)
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		for {
			var head [5]byte
			if _, err := io.ReadFull(c, head[:]); err != nil {
				return
			}
			data := make([]byte, binary.BigEndian.Uint32(head[:])-1)
			io.ReadFull(c, data)
			switch head[4] {
			case 'D', 'Q':
				continue
			case 'O':
				answer := binary.BigEndian.AppendUint32(nil, 6)
				answer = binary.BigEndian.AppendUint32(answer, milterActions)
				c.Write(packet('O', string(binary.BigEndian.AppendUint32(answer, steps))))
				continue
			}
			fmt.Fprintf(&log, "%c%q\n", head[4], strings.ReplaceAll(string(data), "\x00", "|"))
			if len(answers) == 0 {
				return
			}
			c.Write([]byte(answers[0]))
			answers = answers[1:]
		}
	}()
	return path, func() string { <-done; return log.String() }
}

func packet(code byte, data string) []byte {
	return append(append(binary.BigEndian.AppendUint32(nil, uint32(len(data)+1)), code), data...)
}

func p(code byte, data ...string) string { return string(packet(code, strings.Join(data, ""))) }

func small() Mail {
	m := newMail("A: 1\r\nB:2\r\n folded\r\n", "body\r\n")
	m.Recipients = m.Recipients[:1]
	return m
}

func TestMilterSeesEverythingInOrder(t *testing.T) {
	c := p('c')
	addr, got := script(t, 0, c, c, c, c, c, c, c, c, c, p('p')+p('c'))
	r := chain(t, Spec{Name: "m", Protocol: Milter, Address: addr}).Run(t.Context(), small())
	if r.Action != Accept || fmt.Sprint(r.Attrs) != "[filter_m accept]" {
		t.Errorf("%v %v", r.Action, r.Attrs)
	}
	const want = `C"client.example|4\x00\x00192.0.2.1|"
H"client.example|"
M"<a@good.example>|"
R"<alice@here.test>|"
T""
L"A|1|"
L"B|2\n folded|"
N""
B"body\r\n"
E""
`
	if g := strings.ReplaceAll(got(), "4||192", `4\x00\x00192`); g != want {
		t.Errorf("%s", g)
	}
}

func TestMilterAnswers(t *testing.T) {
	c, all := p('c'), uint32(0)
	silent := uint32(milterSteps &^ (noConnect | noHELO | noMail | noRcpt | noBody | noHeader | noEOH | noData))
	index := string(binary.BigEndian.AppendUint32(nil, 1))
	for _, tt := range []struct {
		name    string
		steps   uint32
		answers []string
		want    string
		header  string
	}{
		{"refused at once", all, []string{p('r')}, "reject 550", ""},
		{"put off at HELO", all, []string{c, p('t')}, "defer 451", ""},
		{"a reply of its own", all, []string{c, c, p('y', "550 5.7.9 no\x00")}, "reject 550", ""},
		{"a temporary one", all, []string{c, c, c, p('y', "450 4.7.9 no\x00")}, "defer 450", ""},
		{"accepted early", all, []string{c, c, p('a')}, "accept ", ""},
		{"discarded", all, []string{c, c, p('d')}, "reject 550", ""},
		{"shut down", all, []string{c, p('4')}, "defer 451", ""},
		{"no more body", all, []string{c, c, c, c, c, c, c, c, p('s'), p('a')}, "accept ", ""},
		{"silent until the end", silent, []string{"", "", "", "", "", "", "", "", "", p('r')}, "reject 550", ""},
		{"changes", silent, []string{"", "", "", "", "", "", "", "", "",
			p('h', "X\x00new\x00") + p('i', index, "Y\x00y\x00") + p('m', index, "A\x00\x00") + p('c')}, "accept ", "Y: y\r\nB:2\r\n folded\r\nX: new\r\n"},
		{"quarantine", silent, []string{"", "", "", "", "", "", "", "", "", p('q', "bad\x00") + p('a')}, "junk ", ""},
		{"spam by a field", silent, []string{"", "", "", "", "", "", "", "", "", p('h', "X-Spam\x00 Yes\x00") + p('a')}, "junk ", "A: 1\r\nB:2\r\n folded\r\nX-Spam: Yes\r\n"},
		{"changes the body", silent, []string{"", "", "", "", "", "", "", "", "", p('b', "x")}, "failed ", ""},
		{"hangs up", all, []string{c, c}, "failed ", ""},
		{"talks nonsense", all, []string{"HTTP/1.1 400 Bad Request"}, "failed ", ""},
		{"unknown answer", all, []string{p('Z')}, "failed ", ""},
		{"broken reply", all, []string{p('y', "250 ok")}, "failed ", ""},
		{"an endless packet", all, []string{"\xff\xff\xff\xffc"}, "failed ", ""},
		{"an empty packet", all, []string{"\x00\x00\x00\x00c"}, "failed ", ""},
		{"broken change", silent, []string{"", "", "", "", "", "", "", "", "", p('m', "x")}, "failed ", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			addr, _ := script(t, tt.steps, tt.answers...)
			m := small()
			r := chain(t, Spec{Name: "m", Protocol: Milter, Address: addr}).Run(t.Context(), m)
			word, _, _ := strings.Cut(r.Attrs[1].(string), " ")
			got := word + " "
			if r.Err != nil {
				got += fmt.Sprint(r.Err.Code)
			}
			if got != tt.want {
				t.Errorf("got %q, %v", got, r.Attrs)
			}
			if tt.header == "" {
				tt.header = string(m.Header)
			}
			if string(r.Header) != tt.header {
				t.Errorf("header %q", r.Header)
			}
		})
	}
}

func TestDeadFilter(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0") // accepts nothing, says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	for _, protocol := range []Protocol{Milter, Rspamd} {
		for name, address := range map[string]string{"missing": filepath.Join(t.TempDir(), "none"), "silent": silent.Addr().String()} {
			for _, deferred := range []bool{false, true} {
				t.Run(fmt.Sprint(protocol, name, deferred), func(t *testing.T) {
					reg := prometheus.NewRegistry()
					c, err := New(Options{Registerer: reg, Filters: []Spec{{Name: "f", Protocol: protocol, Address: address, Timeout: 30 * time.Millisecond, Defer: deferred}}})
					if err != nil {
						t.Fatal(err)
					}
					r := c.Run(t.Context(), small())
					if deferred != (r.Action == Defer) || deferred != (r.Err != nil && r.Err.Code == 451) {
						t.Errorf("%v, %v", r.Action, r.Err)
					}
					if !strings.HasPrefix(r.Attrs[1].(string), "failed") {
						t.Errorf("%v", r.Attrs)
					}
					if n := testutil.ToFloat64(c.metrics.results.WithLabelValues("f", "failed")); n != 1 {
						t.Errorf("counted %v", n)
					}
				})
			}
		}
	}
}

func TestRspamdReplies(t *testing.T) {
	for _, tt := range []struct{ reply, want, header string }{
		{`{"action":"no action","score":1,"required_score":15}`, "accept ", "X-Rspamd-Score: 1.00 / 15.00"},
		{`{"action":"add header","score":7}`, "junk ", "X-Spam: Yes\r\nX-Rspamd-Score"},
		{`{"action":"rewrite subject","subject":"[spam] x"}`, "accept ", "Subject: [spam] x"},
		{`{"action":"soft reject","messages":{"smtp_message":"slow down"}}`, "defer 451 4.7.1 slow down", ""},
		{`{"action":"greylist"}`, "defer 451 4.7.1 Try again later", ""},
		{`{"action":"reject","messages":{"smtp_message":"Gtube\r\npattern"}}`, "reject 550 5.7.1 Gtube??pattern", ""},
		{`{"action":"discard"}`, "reject 550 5.7.1 The message is refused because of its content", ""},
		{`{"action":"quarantine"}`, "junk ", "X-Spam: Yes"},
		{`{"action":"dance"}`, "failed ", ""},
		{`{"error":"no"}`, "failed ", ""},
		{`[]`, "failed ", ""},
		{`{"action":"no action","milter":{"add_headers":{"X-A":"1","X-B":{"value":"2","order":0},"X-C":[{"value":"3"},"4"],"X-D":5},"remove_headers":{"B":0,"A":1}}}`,
			"accept ", "X-B: 2\r\nX-A: 1\r\nX-C: 3\r\nX-C: 4\r\nX-Rspamd-Score: 0.00 / 0.00\r\n"},
	} {
		var asked http.Header
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			asked = r.Header
			io.Copy(io.Discard, r.Body)
			io.WriteString(w, tt.reply)
		}))
		r := chain(t, Spec{Name: "r", Protocol: Rspamd, Address: s.URL}).Run(t.Context(), small())
		s.Close()
		word, _, _ := strings.Cut(r.Attrs[1].(string), " ")
		got := word + " "
		if r.Err != nil {
			got += r.Err.Reply()
		}
		if got != tt.want || !strings.Contains(string(r.Header), tt.header) {
			t.Errorf("%s: %q\n%s", tt.reply, got, r.Header)
		}
		if asked.Get("IP") != "192.0.2.1" || asked.Get("Rcpt") != "alice@here.test" || asked.Get("From") != "a@good.example" || asked.Get("Helo") != "client.example" {
			t.Errorf("%v", asked)
		}
	}
}

func TestChain(t *testing.T) {
	c := p('c')
	yes := []string{c, c, c, c, c, c, c, c, c, p('h', "X\x00new\x00") + p('a')}
	one, _ := script(t, 0, yes...)
	two, saw := script(t, 0, append([]string{c}, yes...)...)
	three, _ := script(t, 0, p('r'))
	m := small()
	r := chain(t,
		Spec{Name: "one", Protocol: Milter, Address: one},
		Spec{Name: "big", Protocol: Milter, Address: "/none", MaxSize: 5},
		Spec{Name: "two", Protocol: Milter, Address: two},
		Spec{Name: "three", Protocol: Milter, Address: three},
		Spec{Name: "four", Protocol: Milter, Address: "/none"},
	).Run(t.Context(), m)
	const want = "[filter_one accept filter_big skipped (the message is too big) filter_two accept filter_three reject (The message is refused because of its content)]"
	if fmt.Sprint(r.Attrs) != want || r.Action != Reject {
		t.Errorf("%v %v", r.Action, r.Attrs)
	}
	if !strings.Contains(saw(), `L"X|new|"`) {
		t.Errorf("the second saw\n%s", saw())
	}
	m.User = "alice"
	if r := chain(t, Spec{Name: "mx", Protocol: Milter, Address: "/none", Defer: true}).Run(t.Context(), m); r.Action != Accept || r.Attrs != nil {
		t.Errorf("a user's mail is shown to a filter for strangers: %v", r.Attrs)
	}
	if r := chain(t, Spec{Name: "all", Protocol: Milter, Address: "/none", Defer: true, Submission: true}).Run(t.Context(), m); r.Action != Defer {
		t.Errorf("%v", r.Attrs)
	}
}

func TestCheck(t *testing.T) {
	for _, s := range []Spec{
		{Name: "", Protocol: Milter, Address: "/s"}, {Name: "a b", Protocol: Milter, Address: "/s"},
		{Name: "a", Protocol: "smtp", Address: "/s"}, {Name: "a", Protocol: Milter, Address: "host"},
		{Name: "a", Protocol: Milter, Address: ":1"}, {Name: "a", Protocol: Rspamd, Address: "http://u:p@h/"},
		{Name: "a", Protocol: Milter, Address: "/s", Timeout: -1},
	} {
		if _, err := New(Options{Filters: []Spec{s}}); err == nil {
			t.Errorf("%+v is taken", s)
		}
	}
	good := Spec{Name: "a", Protocol: Milter, Address: "unix:/s"}
	if _, err := New(Options{Filters: []Spec{good, good}}); err == nil {
		t.Error("two of one name are taken")
	}
}

// FuzzMilter lets a milter say anything at all.
func FuzzMilter(f *testing.F) {
	for _, s := range []string{"", p('c'), p('h', "X\x00y\x00") + p('a'), p('y', "550 x\x00"), p('i', "\xff\xff\xff\xffX\x00"), "\xff\xff\xff\xff"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, said []byte) {
		a, b := net.Pipe()
		go io.Copy(io.Discard, b)
		go func() { b.Write(said); b.Close() }()
		s := newMilterSession(a)
		m := small()
		if v, ok := s.end(m).(*verdict); ok {
			checkHeader(t, apply(m.Header, v.edits))
		}
		a.Close()
	})
}

// FuzzRspamd lets rspamd say anything at all.
func FuzzRspamd(f *testing.F) {
	f.Add([]byte(`{"action":"reject","messages":{"smtp_message":"x"},"milter":{"add_headers":{"X":[{"value":"v\nw","order":-1}]},"remove_headers":{"A":1}}}`))
	f.Fuzz(func(t *testing.T, said []byte) {
		var r rspamdReply
		if json.Unmarshal(said, &r) != nil {
			return
		}
		if a, err := r.answer(); err == nil {
			checkHeader(t, apply(small().Header, a.edits))
		}
	})
}

// checkHeader fails for a header that is not fields alone.
func checkHeader(t *testing.T, header []byte) {
	t.Helper()
	n := 0
	for name, raw := range message.EachField(header) {
		n += len(raw)
		if len(name) == 0 || !bytes.HasSuffix(raw, []byte("\r\n")) || bytes.ContainsAny(raw, "\x00") {
			t.Errorf("%q", raw)
		}
	}
	if n != len(header) {
		t.Errorf("the header ends early: %q", header)
	}
}
