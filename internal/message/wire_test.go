package message

import (
	"strings"
	"testing"
)

func TestWireStrings(t *testing.T) {
	for _, tt := range []struct{ s, wire, utf8 string }{
		{"", `""`, `""`},
		{"abc", `"abc"`, `"abc"`},
		{`a"b\c`, `"a\"b\\c"`, `"a\"b\\c"`},
		{"NIL", `"NIL"`, `"NIL"`},
		{"a\tb\x01\x7f", "\"a\tb\x01\x7f\"", "\"a\tb\x01\x7f\""},
		{"a\r\nb", "{4}\r\na\r\nb", "{4}\r\na\r\nb"},
		{"ü", "{2}\r\nü", `"ü"`},
		{`ü"`, "{3}\r\nü\"", `"ü\""`},
		{"\xfc", "{1}\r\n\xfc", "{1}\r\n\xfc"},
		{"a\x00b", "{5}\r\na\ufffdb", "\"a\ufffdb\""},
	} {
		for _, mode := range []bool{false, true} {
			w := wireWriter{utf8: mode}
			want := tt.wire
			if mode {
				want = tt.utf8
			}
			if w.string(tt.s); string(w.b) != want {
				t.Errorf("%q, UTF-8 %v: %q, want %q", tt.s, mode, w.b, want)
			}
		}
	}
	w := wireWriter{}
	if w.nstring(""); string(w.b) != "NIL" {
		t.Errorf("empty nstring is %q", w.b)
	}
}

func TestAppendEnvelope(t *testing.T) {
	const a, c = `((NIL NIL "a" "x"))`, `((NIL NIL "c" "x"))`
	for _, tt := range []struct{ header, want string }{
		{"", `(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)`},
		{"From: a@x", `(NIL NIL ` + a + ` ` + a + ` ` + a + ` NIL NIL NIL NIL NIL)`},
		{"From: a@x\nSender: c@x", `(NIL NIL ` + a + ` ` + c + ` ` + a + ` NIL NIL NIL NIL NIL)`},
		{"From: a@x\nReply-To: c@x\nSender:", `(NIL NIL ` + a + ` ` + a + ` ` + c + ` NIL NIL NIL NIL NIL)`},
		{"Sender: c@x", `(NIL NIL NIL ` + c + ` NIL NIL NIL NIL NIL NIL)`},
		{"To: a@x\nCc: c@x\nBcc: a@x", `(NIL NIL NIL NIL NIL ` + a + ` ` + c + ` ` + a + ` NIL NIL)`},
		{"Date: d\nSubject: s\nIn-Reply-To: i\nMessage-ID: m", `("d" "s" NIL NIL NIL NIL NIL NIL "i" "m")`},
		{"Date:\nSubject: \nIn-Reply-To:\nMessage-ID:", `("" "" NIL NIL NIL NIL NIL NIL "" "")`},
		{"Subject: =?utf-8?Q?=C3=BC?=\n =?utf-8?Q?x?=", `(NIL "=?utf-8?Q?=C3=BC?= =?utf-8?Q?x?=" NIL NIL NIL NIL NIL NIL NIL NIL)`},
		{"Subject: ü", "(NIL {2}\r\nü NIL NIL NIL NIL NIL NIL NIL NIL)"},
		{"To: foo", `(NIL NIL NIL NIL NIL ((NIL NIL "foo" "MISSING_DOMAIN")) NIL NIL NIL NIL)`},
		{"To: Foo Bar", `(NIL NIL NIL NIL NIL (("Foo Bar" NIL "MISSING_MAILBOX" "MISSING_DOMAIN")) NIL NIL NIL NIL)`},
		{"To: G: a@x;", `(NIL NIL NIL NIL NIL ((NIL NIL "G" NIL)(NIL NIL "a" "x")(NIL NIL NIL NIL)) NIL NIL NIL NIL)`},
		{"To: \"A  \\\"B\\\"\" <@r:a@x>", `(NIL NIL NIL NIL NIL (("A \"B\"" "@r" "a" "x")) NIL NIL NIL NIL)`},
	} {
		p := scanString(t, strings.TrimPrefix(tt.header+"\n\n", "\n"))
		if got := string(p.AppendEnvelope([]byte("x "))); got != "x "+tt.want {
			t.Errorf("%q:\ngot  %s\nwant %s", tt.header, got, tt.want)
		}
	}
	p := scanString(t, "Subject: ü\n\n")
	if got := string(p.AppendEnvelopeUTF8(nil)); got != `(NIL "ü" NIL NIL NIL NIL NIL NIL NIL NIL)` {
		t.Errorf("UTF-8: %s", got)
	}
}

func TestAppendBodyStructure(t *testing.T) {
	for _, tt := range []struct{ msg, body, structure string }{
		{"\nx\n", `("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 3 1)`,
			`("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 3 1 NIL NIL NIL NIL)`},
		{"Content-Type: Image/PNG; Name=x\nContent-MD5: m\n\nx", `("Image" "PNG" ("Name" "x") NIL NIL "7bit" 1)`,
			`("Image" "PNG" ("Name" "x") NIL NIL "7bit" 1 "m" NIL NIL NIL)`},
		{"Content-Type: multipart/x\n\n", `(("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 0 0) "x")`,
			`(("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 0 0 NIL NIL NIL NIL) "x" NIL NIL NIL NIL)`},
		{"Content-Type: text/plain; format=flowed\nContent-Language: de, en\nContent-Location: l\n\n",
			`("text" "plain" ("format" "flowed" "charset" "us-ascii") NIL NIL "7bit" 0 0)`,
			`("text" "plain" ("format" "flowed" "charset" "us-ascii") NIL NIL "7bit" 0 0 NIL NIL ("de" "en") "l")`},
		{"Content-Type: message/rfc822\n\nSubject: s\n\nx\ny\n",
			`("message" "rfc822" NIL NIL NIL "7bit" 20 (NIL "s" NIL NIL NIL NIL NIL NIL NIL NIL) ("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 6 2) 4)`,
			`("message" "rfc822" NIL NIL NIL "7bit" 20 (NIL "s" NIL NIL NIL NIL NIL NIL NIL NIL) ("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 6 2 NIL NIL NIL NIL) 4 NIL NIL NIL NIL)`},
		{"Content-Type: text/x; name=\"ü\"\nContent-Disposition: inline\n\n",
			"(\"text\" \"x\" (\"name\" {2}\r\nü \"charset\" \"us-ascii\") NIL NIL \"7bit\" 0 0)",
			"(\"text\" \"x\" (\"name\" {2}\r\nü \"charset\" \"us-ascii\") NIL NIL \"7bit\" 0 0 NIL (\"inline\" NIL) NIL NIL)"},
	} {
		p := scanString(t, tt.msg)
		if got := string(p.AppendBodyStructure(nil, false)); got != tt.body {
			t.Errorf("%q: BODY\ngot  %s\nwant %s", tt.msg, got, tt.body)
		}
		if got := string(p.AppendBodyStructure(nil, true)); got != tt.structure {
			t.Errorf("%q: BODYSTRUCTURE\ngot  %s\nwant %s", tt.msg, got, tt.structure)
		}
	}
	p := scanString(t, "Content-Type: x/y; name=\"ü\"\n\n")
	if got := string(p.AppendBodyStructureUTF8(nil, false)); got != `("x" "y" ("name" "ü") NIL NIL "7bit" 0)` {
		t.Errorf("UTF-8: %s", got)
	}
}
