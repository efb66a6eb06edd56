package clienttest

import (
	"strings"
	"testing"

	"svc.plus/mailsrvd/maildir"
)

// TestCurl reads, searches, stores and changes mail by imaps URLs.
func TestCurl(t *testing.T) {
	curl := need(t, "curl", "curl")
	s := newServer(t)
	big := strings.ReplaceAll(mail("big"), "A line", strings.Repeat("A long line. ", 100_000))
	for _, text := range []string{mail("one"), mail("two"), big} {
		s.append("INBOX", text, maildir.Delivery{})
	}
	s.must(s.store().Create(t.Context(), "Füß/a b"))
	base := "imaps://localhost:" + s.port
	do := func(path string, args ...string) string {
		t.Helper()
		args = append([]string{"-sS", "--max-time", "30", "--cacert", s.cert, "-u", user + ":" + password}, args...)
		return run(t, s.dir, curl, append(args, base+path)...)
	}
	file := s.dir + "/upload"
	write(t, file, mail("uploaded"))
	for _, c := range []struct {
		path string
		args []string
		want string // what the answer is, or contains after "~"
	}{
		{"/INBOX;UID=1", nil, mail("one")},
		{"/INBOX;MAILINDEX=2", nil, mail("two")},
		{"/INBOX;UID=3", nil, big},
		{"/INBOX;UID=2;SECTION=TEXT", nil, strings.SplitAfterN(mail("two"), "\r\n\r\n", 2)[1]},
		{"/INBOX;UID=2;SECTION=HEADER.FIELDS%20(SUBJECT)", nil, "Subject: number two\r\n\r\n"},
		{"/INBOX;UID=1;PARTIAL=0.4", nil, "From"},
		{"/INBOX?SUBJECT%20two", nil, "* SEARCH 2\r\n"},
		{"/INBOX", []string{"-X", "UID SEARCH LARGER 100000"}, "* SEARCH 3\r\n"},
		{"/", nil, "~* LIST (\\HasNoChildren) \"/\" \"F&APwA3w-/a b\"\r\n"},
		{"/INBOX", []string{"-X", "STORE 1 +FLAGS (\\Flagged)"}, "~* 1 FETCH (FLAGS ("},
		{"/INBOX", []string{"-X", "COPY 1:2 \"F&APwA3w-/a b\""}, ""},
		{"/F%26APwA3w-%2Fa%20b", []string{"-X", "FETCH 1:* UID"}, "* 1 FETCH (UID 1)\r\n* 2 FETCH (UID 2)\r\n"},
		{"/INBOX", []string{"-T", file}, ""},
		{"/INBOX;UID=4", nil, mail("uploaded")},
		{"", []string{"-X", "NAMESPACE"}, "* NAMESPACE ((\"\" \"/\")) NIL NIL\r\n"},
		{"/INBOX", []string{"-X", "EXAMINE INBOX"}, "~* 4 EXISTS\r\n"},
		{"/INBOX;UID=1", []string{"--login-options", "AUTH=PLAIN"}, mail("one")},
		{"/INBOX;UID=1", []string{"--login-options", "AUTH=LOGIN"}, mail("one")},
		{"/INBOX;UID=1", []string{"--sasl-ir", "--login-options", "AUTH=PLAIN"}, mail("one")},
	} {
		got := do(c.path, c.args...)
		if part, contains := strings.CutPrefix(c.want, "~"); contains && !strings.Contains(got, part) || !contains && got != c.want {
			t.Errorf("%s %q: got %.300q", c.path, c.args, got)
		}
	}
	for path, args := range map[string][]string{
		"/Nowhere;UID=1":  nil,
		"/INBOX;UID=99":   nil,
		"/INBOX":          {"-X", "NONSENSE"},
		"/INBOX;UID=1/x?": {"-u", user + ":wrong"},
	} {
		args = append([]string{"-sS", "--cacert", s.cert, "-u", user + ":" + password}, args...)
		if out, err := try(t, s.dir, "", curl, append(args, base+path)...); err == nil {
			t.Errorf("%s %q succeeded: %q", path, args, out)
		}
	}
	if out, err := try(t, s.dir, "", curl, "-sS", "-u", user+":"+password, base+"/"); err == nil {
		t.Errorf("curl trusts our certificate: %q", out)
	}
}
