package message

import (
	"reflect"
	"strings"
	"testing"
)

// findMessage has every kind of nesting; its parts say their section numbers in
// their text.
const findMessage = `Content-Type: multipart/mixed; boundary=a

--a

1
--a
Content-Type: message/rfc822

Content-Type: multipart/mixed; boundary=b
Subject: 2

--b

2.1
--b
Content-Type: message/rfc822

Subject: 2.2

2.2.1
--b--

--a
Content-Type: multipart/alternative; boundary=c

--c

3.1
--c
Content-Type: text/html

3.2
--c--

--a
Content-Type: message/rfc822

Content-Type: message/rfc822
Subject: 4

Subject: 4.1

4.1.1
--a--
`

func TestFindFollowsSectionNumbers(t *testing.T) {
	root := scanString(t, findMessage)
	text := func(p *Part) string { return strings.TrimSpace(findMessage[p.BodyStart:p.End]) }
	for _, tt := range []struct {
		path    []int
		text    string // the body; a leaf says its own number
		subject string // of the message inside
	}{
		{[]int{1}, "1", ""},
		{[]int{2}, "", "2"},
		{[]int{2, 1}, "2.1", ""},
		{[]int{2, 2}, "", "2.2"},
		{[]int{2, 2, 1}, "2.2.1", ""},
		{[]int{3}, "", ""},
		{[]int{3, 1}, "3.1", ""},
		{[]int{3, 2}, "3.2", ""},
		{[]int{4}, "", "4"},
		{[]int{4, 1}, "", "4.1"},
		{[]int{4, 1, 1}, "4.1.1", ""},
	} {
		p := root.Find(tt.path)
		if p == nil {
			t.Errorf("%v: not found", tt.path)
			continue
		}
		if tt.text != "" && text(p) != tt.text {
			t.Errorf("%v: body %q", tt.path, text(p))
		}
		if m := p.Message(); (m != nil) != (tt.subject != "") || m != nil && m.Summary.Subject != tt.subject {
			t.Errorf("%v: message %+v, want subject %q", tt.path, m, tt.subject)
		}
	}
	for _, path := range [][]int{{0}, {5}, {-1}, {1, 1}, {2, 3}, {2, 1, 1}, {2, 2, 2}, {3, 3}, {3, 2, 1}, {4, 2}, {4, 1, 1, 1}, {1 << 30}} {
		if p := root.Find(path); p != nil {
			t.Errorf("%v: found %q", path, text(p))
		}
	}
	if root.Find(nil) != root {
		t.Error("the empty path is not the message")
	}
}

func TestFindInAMessageWithoutParts(t *testing.T) {
	plain := scanString(t, "Subject: x\n\nbody\n")
	if plain.Find([]int{1}) != plain || plain.Find([]int{2}) != nil || plain.Find([]int{1, 1}) != nil {
		t.Error("part 1 of a plain message is not its body alone")
	}
	outer := scanString(t, "Content-Type: message/rfc822\n\nSubject: in\n\nbody\n")
	if outer.Find([]int{1}) != outer || outer.Find([]int{1, 1}) != outer.Children[0] || outer.Find([]int{1, 1, 1}) != nil {
		t.Error("part 1.1 of a message/rfc822 message is not the inner body")
	}
	empty := scanString(t, "Content-Type: multipart/mixed\n\nbody\n")
	if empty.Find([]int{1}) != nil {
		t.Error("a multipart without parts has a part 1")
	}
}

func TestSummaryOfMessages(t *testing.T) {
	p := scanString(t, "Date: d\nSubject: s\nMessage-ID: <m>\nIn-Reply-To: <i>\nReferences: <r1>\n <r2>\nFrom: f\nSender: e\nReply-To: r\nTo: t1\nTo: t2\nto:\nCc: c\nBcc: b\nX-Other: x\n\n")
	want := Summary{Date: "d", Subject: "s", MessageID: "<m>", InReplyTo: "<i>", References: "<r1> <r2>",
		From: "f", Sender: "e", ReplyTo: "r", To: "t1, t2", Cc: "c", Bcc: "b", present: 1<<11 - 1, joined: 1}
	if !reflect.DeepEqual(*p.Summary, want) {
		t.Errorf("got %+v", *p.Summary)
	}
	for q := range scanString(t, findMessage).All() {
		if isLeafOfMultipart := strings.Contains(" 1 2.1 3.1 3.2 ", " "+strings.TrimSpace(findMessage[q.BodyStart:q.End])+" "); isLeafOfMultipart && q.Summary != nil {
			t.Errorf("a body part has a summary: %+v", q.Summary)
		}
	}
}

func TestFilename(t *testing.T) {
	for header, want := range map[string]string{
		`Content-Disposition: attachment; filename=a.txt`:                                               "a.txt",
		`Content-Disposition: attachment; filename="a b.txt"; filename*=utf-8''%C3%BC.txt`:              "a b.txt",
		`Content-Disposition: attachment; filename*=utf-8''%C3%BC.txt`:                                  "ü.txt",
		`Content-Disposition: attachment; filename*=iso-8859-1'de'%FC.txt`:                              "ü.txt",
		`Content-Disposition: attachment; filename*0*=utf-8''%C3; filename*1*=%BC; filename*2=".t%78t"`: "ü.t%78t",
		`Content-Disposition: attachment; filename*0="lo"; filename*1="ng.txt"`:                         "long.txt",
		`Content-Disposition: attachment; filename*0=100%; filename*1*=%41`:                             "100%A",
		`Content-Disposition: attachment; filename="=?utf-8?Q?=C3=BC.txt?="`:                            "ü.txt",
		`Content-Disposition: attachment; filename==?utf-8?Q?=C3=BC.txt?=`:                              "ü.txt",
		`Content-Disposition: attachment; filename=*''broken%zz`:                                        "*''broken%zz",
		`Content-Disposition: attachment; filename*=no-quotes%41`:                                       "no-quotesA",
		`Content-Disposition: inline`:                                                                   "",
		`Content-Type: text/plain; name=n.txt`:                                                          "n.txt",
		`Content-Type: text/plain; NAME*=utf-8''%E2%82%AC`:                                              "€",
	} {
		p := scanString(t, "MIME-Version: 1.0\n"+header+"\n\n")
		if got := p.Filename(); got != want {
			t.Errorf("%s: %q, want %q", header, got, want)
		}
	}
}

func TestAllStopsWhenAsked(t *testing.T) {
	root := scanString(t, findMessage)
	n := 0
	for range root.All() {
		if n++; n == 4 {
			break
		}
	}
	if n != 4 {
		t.Errorf("%d parts seen", n)
	}
}

func TestSizes(t *testing.T) {
	p := scanString(t, "A: b\n\nc\r\nd\n")
	if p.Size() != 11 || p.VSize() != 14 || p.Whole() != (Extent{0, 11, 14}) || p.Header() != (Extent{0, 6, 8}) || p.Body() != (Extent{6, 11, 6}) {
		t.Errorf("%v %v %v %d %d", p.Whole(), p.Header(), p.Body(), p.Size(), p.VSize())
	}
}

func TestKinds(t *testing.T) {
	for typ, want := range map[string]string{
		"text/plain": "text", "TEXT/Html": "text", "message/delivery-status": "text", "message/rfc822": "message",
		"Message/Global": "message", "multipart/mixed": "multipart", "application/pdf": "", "textual/x": "",
	} {
		p := scanString(t, "Content-Type: "+typ+"\n\nx\n")
		got := ""
		for kind, is := range map[string]bool{"text": p.IsText(), "message": p.IsMessage(), "multipart": p.IsMultipart()} {
			if is {
				got += kind
			}
		}
		if got != want {
			t.Errorf("%s is %q, want %q", typ, got, want)
		}
	}
}
