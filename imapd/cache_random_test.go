package imapd

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"svc.plus/mailsrvd/maildir"
	"svc.plus/mailsrvd/maildir/index"
)

var randomWords = []string{"report", "quarter", "Grüße", "invoice", "ab", "x", "日本", "REPORT", "re: report", "nothing at all", "ORT Q", "übung"}

// randomMail is a message of any kind with words of randomWords in it.
func randomMail(r *rand.Rand, n int) string {
	word := func() string { return randomWords[r.IntN(len(randomWords))] }
	var b strings.Builder
	fmt.Fprintf(&b, "Message-ID: <%d@x>\r\n", n)
	subject := word() + " " + word()
	switch r.IntN(4) {
	case 0:
		fmt.Fprintf(&b, "Subject: Re: %s\r\n", subject)
	case 1:
		fmt.Fprintf(&b, "Subject: =?utf-8?q?%s?=\r\n", strings.ReplaceAll(fmt.Sprintf("=%X", subject[:1])+subject[1:], " ", "_"))
	case 2:
		fmt.Fprintf(&b, "Subject: %s\r\n folded %s\r\n", subject, word())
	}
	fmt.Fprintf(&b, "From: %s <u%d@example.org>\r\n", []string{"Ada", "bob", `"Ö, O"`, ""}[r.IntN(4)], r.IntN(5))
	if r.IntN(2) == 0 {
		fmt.Fprintf(&b, "To: list: a%d@x, b@y;, c@z\r\nCc: D <d%d@x>\r\n", r.IntN(3), r.IntN(3))
	}
	if r.IntN(4) > 0 {
		fmt.Fprintf(&b, "Date: %s\r\n", time.Date(2020, 1, 1+r.IntN(50), r.IntN(24), 0, 0, 0, time.FixedZone("", 3600*(r.IntN(20)-10))).Format(time.RFC1123Z))
	}
	if n > 0 && r.IntN(2) == 0 {
		fmt.Fprintf(&b, "References: <%d@x>\r\n <%d@x>\r\n", r.IntN(n), r.IntN(n))
	}
	fmt.Fprintf(&b, "X-Odd: %s\r\n", word())
	switch r.IntN(4) {
	case 0:
		fmt.Fprintf(&b, "Content-Type: text/html; charset=utf-8\r\n\r\n<p>%s</p><b>%s</b>&amp; %s\r\n", word(), word(), word())
	case 1:
		fmt.Fprintf(&b, "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n%s=\r\n%s\r\n--b\r\n"+
			"Content-Type: application/pdf; name=\"%s.pdf\"\r\nContent-Transfer-Encoding: base64\r\n\r\nJVBERi0xLjQK\r\n--b--\r\n", word(), word(), word())
	case 2:
		b.WriteString("\r\n" + strings.Repeat(word()+" "+word()+"\r\n", r.IntN(50)))
	default:
		b.WriteString("\r\n")
	}
	return b.String()
}

// randomKey is a search key, nested up to depth.
func randomKey(r *rand.Rand, depth, n int) string {
	word := func() string { return fmt.Sprintf("%q", randomWords[r.IntN(len(randomWords))]) }
	day := func() string { return fmt.Sprintf("%d-Jan-2020", 1+r.IntN(31)) }
	if depth > 0 {
		switch r.IntN(6) {
		case 0:
			return "NOT " + randomKey(r, depth-1, n)
		case 1:
			return "OR " + randomKey(r, depth-1, n) + " " + randomKey(r, depth-1, n)
		case 2:
			return "(" + randomKey(r, depth-1, n) + " " + randomKey(r, depth-1, n) + " " + randomKey(r, depth-1, n) + ")"
		}
	}
	return []func() string{
		func() string { return "TEXT " + word() }, func() string { return "BODY " + word() }, func() string { return "TEXT " + word() },
		func() string { return "SUBJECT " + word() }, func() string { return "FROM " + []string{"ada", "bob", "example.org", "U1@", `"ö, o"`}[r.IntN(5)] },
		func() string { return "CC d1" }, func() string { return "TO a2" },
		func() string { return "HEADER X-Odd " + word() }, func() string { return "HEADER Message-ID 1@" }, func() string { return "HEADER References 2@x" },
		func() string { return "HEADER Content-Type pdf" }, func() string { return "HEADER X-None \"\"" }, func() string { return "HEADER Subject \"\"" },
		func() string { return "SENTBEFORE " + day() }, func() string { return "SENTON " + day() }, func() string { return "SENTSINCE " + day() },
		func() string { return fmt.Sprintf("LARGER %d", 200+r.IntN(400)) }, func() string { return "SEEN" }, func() string { return "UNSEEN" },
		func() string { return fmt.Sprintf("%d:%d", 1+r.IntN(n), 1+r.IntN(n)) }, func() string { return fmt.Sprintf("UID %d:*", 1+r.IntN(n)) },
	}[r.IntN(21)]()
}

func randomCommand(r *rand.Rand, n int) string {
	sorts := []string{"SUBJECT", "FROM", "TO", "CC", "DATE", "ARRIVAL", "SIZE", "DISPLAYFROM", "DISPLAYTO", "REVERSE SUBJECT", "REVERSE DATE"}
	switch r.IntN(5) {
	case 0:
		return fmt.Sprintf("SORT (%s %s) UTF-8 %s", sorts[r.IntN(len(sorts))], sorts[r.IntN(len(sorts))], randomKey(r, 1, n))
	case 1:
		return fmt.Sprintf("UID THREAD %s UTF-8 %s", []string{"REFERENCES", "REFS", "ORDEREDSUBJECT"}[r.IntN(3)], randomKey(r, 1, n))
	case 2:
		return "FETCH 1:* (UID RFC822.SIZE ENVELOPE BODYSTRUCTURE BODY.PEEK[HEADER.FIELDS (" + []string{"Subject", "X-Odd References", "To"}[r.IntN(3)] + ")])"
	}
	return "UID SEARCH RETURN (ALL) CHARSET UTF-8 " + randomKey(r, 2, n)
}

// TestNoCacheChangesAnAnswer asks the same at random of servers whose cache is in
// every state: none, whole, of half of the messages, without full text, damaged
// while it is in use, and of another mailbox.
func TestNoCacheChangesAnAnswer(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	const messages, commands = 60, 400
	mails := make([]string, messages)
	for i := range mails {
		mails[i] = randomMail(r, i)
	}
	kinds := []string{"none", "whole", "half", "no text", "damaged", "foreign"}
	conns := make([]*testConn, len(kinds))
	dirs := make([]string, len(kinds))
	for i, kind := range kinds {
		storage := maildir.Options{}
		if kind != "none" {
			dirs[i] = t.TempDir()
			x, err := index.Open(index.Options{Dir: dirs[i], NoText: kind == "no text"})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { x.Close() })
			storage.Index = x
		}
		h := newHarnessOn(t, storage, nil)
		fill := func() {
			box, err := h.store().Open(t.Context(), "INBOX")
			if err == nil {
				err = box.Sync(t.Context())
			}
			if err == nil {
				err = box.Reindex(t.Context(), nil)
			}
			if err != nil {
				t.Fatal(err)
			}
			box.Close()
		}
		for k, text := range mails {
			if kind == "half" && k == messages/2 {
				fill()
			}
			h.deliverAt("INBOX", text, time.Date(2021, 1, 1, 0, k, 0, 0, time.UTC))
		}
		switch kind {
		case "whole", "damaged", "foreign":
			fill()
		}
		h.login(kind)
		h.talk(fmt.Sprintf("C%s: u ENABLE UTF8=ACCEPT\nS%s: ~u OK ...", kind, kind))
		conns[i] = h.conns[kind]
	}
	for n := range commands {
		if n%20 == 10 {
			damage(t, r, dirs[slices.Index(kinds, "damaged")])
		}
		if n == commands/2 {
			mixUp(t, r, dirs[slices.Index(kinds, "foreign")], dirs[slices.Index(kinds, "half")])
		}
		command := randomCommand(r, messages)
		if n%10 == 0 {
			for _, c := range conns {
				ask(t, c, fmt.Sprintf("STORE %d +FLAGS (\\Seen)", n%messages+1))
			}
		}
		want := ask(t, conns[0], command)
		for i, c := range conns[1:] {
			if got := ask(t, c, command); got != want {
				t.Fatalf("seed %d, %s, cache %q:\n%s\nwithout a cache:\n%s", seed, command, kinds[i+1], got, want)
			}
		}
	}
}

// ask returns the untagged answers to a command, which must succeed.
func ask(t *testing.T, c *testConn, command string) string {
	t.Helper()
	fmt.Fprintf(c, "a %s\r\n", command)
	var b strings.Builder
	for {
		line := c.line(t)
		if strings.HasPrefix(line, "a ") {
			if !strings.HasPrefix(line, "a OK") {
				t.Fatalf("%s: %s", command, line)
			}
			return b.String()
		}
		b.WriteString(line + "\n")
	}
}

func cacheFiles(t *testing.T, dir string) (files []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			files = append(files, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// damage flips bits, and now and then cuts a file off.
func damage(t *testing.T, r *rand.Rand, dir string) {
	t.Helper()
	for _, file := range cacheFiles(t, dir) {
		f, err := os.OpenFile(file, os.O_RDWR, 0)
		if err != nil {
			continue // removed meanwhile
		}
		if fi, err := f.Stat(); err == nil && fi.Size() > 0 {
			b := []byte{0}
			at := r.Int64N(fi.Size())
			if _, err := f.ReadAt(b, at); err == nil {
				b[0] ^= 1 << r.IntN(8)
				f.WriteAt(b, at)
			}
			if r.IntN(10) == 0 {
				f.Truncate(at)
			}
		}
		f.Close()
	}
}

// mixUp puts files of another cache in the place of ours.
func mixUp(t *testing.T, r *rand.Rand, dir, other string) {
	t.Helper()
	theirs := cacheFiles(t, other)
	for _, file := range cacheFiles(t, dir) {
		var same []string
		for _, f := range theirs {
			if filepath.Base(f) == filepath.Base(file) {
				same = append(same, f)
			}
		}
		if len(same) == 0 || filepath.Base(file) == "lock" {
			continue
		}
		if b, err := os.ReadFile(same[r.IntN(len(same))]); err == nil {
			os.WriteFile(file, b, 0o600)
		}
	}
}
