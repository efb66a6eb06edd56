package sieve

import (
	"strings"
	"testing"
)

// editedBy runs a script and returns the message that its last action stores.
func editedBy(t *testing.T, script, msg string, o Options) string {
	t.Helper()
	s, err := Compile(t.Context(), "test", []byte(`require ["editheader", "fileinto", "variables", "copy"];`+script), o)
	if err != nil {
		t.Fatal(err)
	}
	res, err := s.Run(t.Context(), messageOf(msg), Env{})
	if err != nil {
		t.Fatal(err)
	}
	return applied(msg, editOf(res.Actions[len(res.Actions)-1]))
}

func editOf(a Action) *Edit {
	switch a := a.(type) {
	case *Keep:
		return a.Edit
	case *FileInto:
		return a.Edit
	case *Redirect:
		return a.Edit
	}
	return nil
}

func applied(msg string, e *Edit) string {
	if e == nil {
		return msg
	}
	return string(e.Header) + msg[e.Body:]
}

const short = "From: a@b.c\r\nX-A: one\r\nX-A: two\r\n  folded\r\nX-a: three\r\n\r\nBody\r\n"

func TestHeadersAreEdited(t *testing.T) {
	const body = "\r\nBody\r\n"
	for script, want := range map[string]string{
		``:                                                              short,
		`addheader "X-B" "new";`:                                        "X-B: new\r\nFrom: a@b.c\r\nX-A: one\r\nX-A: two\r\n  folded\r\nX-a: three\r\n" + body,
		`addheader :last "X-B" "new";`:                                  "From: a@b.c\r\nX-A: one\r\nX-A: two\r\n  folded\r\nX-a: three\r\nX-B: new\r\n" + body,
		`deleteheader "X-A";`:                                           "From: a@b.c\r\n" + body,
		`deleteheader "x-a" "two  folded";`:                             "From: a@b.c\r\nX-A: one\r\nX-a: three\r\n" + body,
		`deleteheader :contains "x-a" "T";`:                             "From: a@b.c\r\nX-A: one\r\n" + body,
		`deleteheader :matches "x-a" ["*wo*", "o*"];`:                   "From: a@b.c\r\nX-a: three\r\n" + body,
		`deleteheader :index 2 "x-a";`:                                  "From: a@b.c\r\nX-A: one\r\nX-a: three\r\n" + body,
		`deleteheader :index 1 :last "x-a";`:                            "From: a@b.c\r\nX-A: one\r\nX-A: two\r\n  folded\r\n" + body,
		`deleteheader :index 1 "x-a" "two";`:                            short,
		`deleteheader :index 7 "x-a";`:                                  short,
		`deleteheader "x-none";`:                                        short,
		`deleteheader "from"; deleteheader "x-a";`:                      body,
		`addheader "X-B" "1"; deleteheader "x-b"; addheader "X-B" "2";`: "X-B: 2\r\nFrom: a@b.c\r\nX-A: one\r\nX-A: two\r\n  folded\r\nX-a: three\r\n" + body,
		`addheader "Subject" "käse";`:                                   "Subject: =?utf-8?q?k=C3=A4se?=\r\nFrom: a@b.c\r\nX-A: one\r\nX-A: two\r\n  folded\r\nX-a: three\r\n" + body,
		"addheader \"X-B\" \"a\nBcc: x@y.z\n b\";":                      "X-B: a Bcc: x@y.z b\r\nFrom: a@b.c\r\nX-A: one\r\nX-A: two\r\n  folded\r\nX-a: three\r\n" + body,
	} {
		if got := editedBy(t, script, short, Options{}); got != want {
			t.Errorf("%s\ngot  %q\nwant %q", script, got, want)
		}
	}
}

func TestHeadersOfOddMessagesAreEdited(t *testing.T) {
	for msg, want := range map[string]string{
		"":                      "X: y\r\n\r\n",
		"\r\nbody":              "X: y\r\n\r\nbody",
		"\nbody":                "X: y\r\n\r\nbody",
		"A: b":                  "X: y\r\nA: b\r\n\r\n",
		"A: b\nC: d\n\nbody\n":  "X: y\r\nA: b\nC: d\n\r\nbody\n",
		"no field\r\n\r\nbody":  "X: y\r\nno field\r\n\r\nbody",
		" cont\r\nA: b\r\n\r\n": "X: y\r\n cont\r\nA: b\r\n\r\n",
	} {
		if got := editedBy(t, `addheader "X" "y";`, msg, Options{}); got != want {
			t.Errorf("%q\ngot  %q\nwant %q", msg, got, want)
		}
	}
}

func TestActionsTakeTheHeaderOfTheirTime(t *testing.T) {
	res := runOn(t, `require ["editheader", "fileinto", "copy"];
fileinto :copy "a"; addheader "X-B" "1"; fileinto :copy "b"; redirect :copy "c@d.e"; addheader "X-B" "2";`, short, Env{})
	var got []string
	for _, a := range res.Actions {
		first, _, _ := strings.Cut(applied(short, editOf(a)), "\r\n")
		got = append(got, first)
	}
	if s := strings.Join(got, ", "); s != "From: a@b.c, X-B: 1, X-B: 1, X-B: 2" {
		t.Error(s)
	}
}

func TestProtectedFieldsStay(t *testing.T) {
	msg := "Received: x\r\nAuto-Submitted: no\r\nX-Spam: yes\r\nSubject: s\r\n\r\n"
	o := Options{Protected: []string{"x-spam", "subject"}}
	for script, want := range map[string]string{
		`deleteheader "received"; deleteheader :contains "auto-submitted" "";`: msg,
		`deleteheader "X-SPAM"; addheader "X-Spam" "no";`:                      msg,
		`set "a" "x-spam"; deleteheader "${a}"; addheader "${a}" "no";`:        msg,
		`set "a" "received"; deleteheader "${a}";`:                             msg,
		`deleteheader "subject";`:                                              "Received: x\r\nAuto-Submitted: no\r\nX-Spam: yes\r\n\r\n",
		`addheader "Received" "y";`:                                            "Received: y\r\n" + msg,
	} {
		if got := editedBy(t, script, msg, o); got != want {
			t.Errorf("%s\ngot  %q\nwant %q", script, got, want)
		}
	}
}

func TestTestsSeeTheEditedHeader(t *testing.T) {
	res := runOn(t, `require ["editheader", "fileinto", "date", "envelope", "relational"];
deleteheader "Date"; addheader "Date" "Thu, 01 Jan 1970 12:00:00 +0000"; addheader :last "To" "new@example.com";
if allof(date :originalzone "date" "year" "1970", address :is "to" "new@example.com", header :count "eq" "to" "2", size :over 50) { discard; }`, plain, Env{})
	if got := describe(res); got != "discard" {
		t.Error(got)
	}
	grown := `require "editheader"; addheader "X" "0123456789"; if size :over ` + "%d" + ` { discard; }`
	for n, want := range map[string]string{"535": "discard"} {
		res := runOn(t, strings.Replace(grown, "%d", n, 1), strings.Repeat("A: b\r\n", 90)+"\r\n", Env{})
		if got := describe(res); got != want {
			t.Errorf("%s: %s", n, got)
		}
	}
}

func TestEditsAreBounded(t *testing.T) {
	script := `require "editheader";` + strings.Repeat(`addheader "X-A" "b";`, maxAddedFields+1)
	if _, err := compile(t, script).Run(t.Context(), messageOf(plain), Env{}); err == nil || !strings.Contains(err.Error(), "more than 100 header fields are added") {
		t.Errorf("got %v", err)
	}
	long := `require ["editheader", "variables"]; set "a" "` + strings.Repeat("a", 1500) + `"; addheader "X-A" "${a}${a}";`
	if _, err := compile(t, long).Run(t.Context(), messageOf(plain), Env{}); err == nil || !strings.Contains(err.Error(), "it is too long") {
		t.Errorf("got %v", err)
	}
	huge := strings.Repeat("X-Filler: 0123456789\r\n", 60000) + "\r\n"
	if _, err := compile(t, `require "editheader"; addheader "X" "y";`).Run(t.Context(), messageOf(huge), Env{}); err == nil || !strings.Contains(err.Error(), "too long to be edited") {
		t.Errorf("got %v", err)
	}
}

func TestHeaderLen(t *testing.T) {
	for block, want := range map[string]int{"": 0, "\n": 1, "\r\nx": 2, "A: b\n\nx": 6, "A: b\r\n\r\nx": 8, "A: b": 4, "A: b\r\n": 6, "A\n\r\nx": 4, "\r": 1} {
		if got, _ := headerLen([]byte(block)); got != want {
			t.Errorf("%q: got %d, want %d", block, got, want)
		}
	}
}
