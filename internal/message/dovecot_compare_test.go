package message

import (
	"bytes"
	"fmt"
	"math/rand"
	"sort"
	"strconv"
	"strings"
	"testing"
)

// TestDovecotAgreesOnDamagedMail takes body lines of multiparts away, doubles
// and swaps them, and compares what is left of the structure.
func TestDovecotAgreesOnDamagedMail(t *testing.T) {
	names, messages := messageFiles(t)
	var whole [][]byte
	for i, name := range names {
		if deliberate[name] == "" && strings.HasPrefix(name, "boundary-") || strings.HasPrefix(name, "nested") || strings.HasPrefix(name, "ends-") {
			// The end of a message inside is counted differently: see deliberate.
			whole = append(whole, bytes.ReplaceAll(messages[i], []byte("message/rfc822"), []byte("text/x-message")))
		}
	}
	random := rand.New(rand.NewSource(1))
	damaged := make([][]byte, 600)
	for i := range damaged {
		damaged[i] = damage(random, whole[i%len(whole)])
	}
	dovecot := newPeer(t, damaged)
	for i, msg := range damaged {
		got := dovecot.fetch(t, i+1, "BODYSTRUCTURE")
		p := scanString(t, string(msg))
		if found := diff(nil, "BODYSTRUCTURE", got["BODYSTRUCTURE"], wireValue(t, p.AppendBodyStructure(nil, true))); len(found) > 0 {
			t.Errorf("%q:\n%s", msg, strings.Join(found, "\n"))
		}
	}
}

// damage changes up to four lines of the body.
func damage(random *rand.Rand, msg []byte) []byte {
	head, body, _ := bytes.Cut(msg, []byte("\n\n"))
	lines := bytes.SplitAfter(body, []byte("\n"))
	for range 1 + random.Intn(4) {
		i, j := random.Intn(len(lines)), random.Intn(len(lines))
		switch random.Intn(3) {
		case 0:
			if len(lines) > 1 {
				lines = append(lines[:i:i], lines[i+1:]...)
			}
		case 1:
			lines[i], lines[j] = lines[j], lines[i]
		case 2:
			lines = append(lines[:i:i], append([][]byte{lines[j]}, lines[i:]...)...)
		}
	}
	return append(append(bytes.Clone(head), "\n\n"...), bytes.Join(lines, nil)...)
}

// TestDovecotAgreesOnBaseSubjects groups subjects as Dovecot's THREAD does.
func TestDovecotAgreesOnBaseSubjects(t *testing.T) {
	var messages [][]byte
	want := map[string][]int{}
	for i, tt := range subjectTests {
		messages = append(messages, []byte("Date: Tue, 3 Mar 2026 10:11:12 +0100\nSubject: "+tt.subject+"\n\nx\n"))
		base, _ := BaseSubject(DecodeText(tt.subject))
		base = FoldString(base)
		want[base] = append(want[base], i+1)
	}
	data := string(newPeer(t, messages).command(t, "THREAD ORDEREDSUBJECT UTF-8 ALL"))
	var ours, theirs []string
	for _, group := range want {
		ours = append(ours, fmt.Sprint(group))
	}
	for _, group := range threads(strings.TrimPrefix(data, "* THREAD ")) {
		theirs = append(theirs, fmt.Sprint(group))
	}
	sort.Strings(ours)
	sort.Strings(theirs)
	if a, b := strings.Join(theirs, "\n"), strings.Join(ours, "\n"); a != b {
		t.Errorf("Dovecot\n%s\nours\n%s\nin %s", a, b, data)
	}
}

// threads returns the numbers in each outermost list, sorted.
func threads(s string) (groups [][]int) {
	depth, number := 0, 0
	for _, c := range s {
		if '0' <= c && c <= '9' {
			number = number*10 + int(c-'0')
			continue
		}
		if number > 0 {
			groups[len(groups)-1] = append(groups[len(groups)-1], number)
			number = 0
		}
		switch c {
		case '(':
			if depth++; depth == 1 {
				groups = append(groups, nil)
			}
		case ')':
			depth--
		}
	}
	for _, g := range groups {
		sort.Ints(g)
	}
	return groups
}

// searchedOtherwise are the messages in which we find something else than
// Dovecot 2.3.19, and why.
var searchedOtherwise = map[string]string{
	"addresses":                    "the headers of messages inside are body",
	"boundary-empty":               deliberate["boundary-empty"],
	"latin1-header":                "raw 8-bit headers that are not UTF-8 are read as Windows-1252",
	"nested-no-break-between-ends": "the headers of messages inside are body",
	"nul-in-header":                deliberate["nul-in-header"],
	"rfc2231":                      "extended parameters are decoded",
	"rfc822-in-multipart":          "the headers of messages inside are body",
	"rfc822-in-rfc822":             "the headers of messages inside are body",
	"text-html":                    "markup is no text",
}

func TestDovecotAgreesOnSearch(t *testing.T) {
	names, messages := messageFiles(t)
	names, messages = append(names, "searchMessage"), append(messages, []byte(searchMessage))
	dovecot := newPeer(t, messages)
	used := map[string]bool{}
	for _, needle := range []string{"html", "Hello", "one", "grüße", "café", "inner", "body", "body text", "Content-Type", "hello bob",
		"ü", "text", "9000", "ABC", "plain", "--", "secret", "example.org", "subject: test", "pdf", "Jörg", "résumé", "naïve"} {
		m := NewMatcher(needle)
		for key, match := range map[string]func(*Part, []byte) (bool, error){
			"BODY":    func(p *Part, msg []byte) (bool, error) { return p.MatchBody(bytes.NewReader(msg), m) },
			"TEXT":    func(p *Part, msg []byte) (bool, error) { return p.MatchText(bytes.NewReader(msg), m) },
			"SUBJECT": func(p *Part, _ []byte) (bool, error) { return m.MatchString(DecodeText(p.Summary.Subject)), nil },
			"FROM":    func(p *Part, _ []byte) (bool, error) { return m.MatchString(DecodeText(p.Summary.From)), nil },
		} {
			theirs := map[string]bool{}
			for _, word := range strings.Fields(string(dovecot.command(t, fmt.Sprintf("SEARCH CHARSET UTF-8 %s {%d+}\r\n%s", key, len(needle), needle)))) {
				theirs[word] = true
			}
			for i, msg := range messages {
				ours, err := match(scanString(t, string(msg)), msg)
				if err != nil {
					t.Fatal(err)
				}
				switch their := theirs[strconv.Itoa(i+1)]; {
				case ours == their:
				case searchedOtherwise[names[i]] == "":
					t.Errorf("%s %q in %s: Dovecot %v, ours %v", key, needle, names[i], their, ours)
				default:
					used[names[i]] = true
				}
			}
		}
	}
	for name := range searchedOtherwise {
		if !used[name] {
			t.Errorf("%s: no difference any more: take it off the list", name)
		}
	}
}
