package wire

import (
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

var testLimits = Limits{Line: 200, Literal: 50, Literals: 80, NonSync: 20, Discard: 100, Depth: 5}

// newTestDecoder reads input; continuations are counted in *asked.
func newTestDecoder(input string, asked *int) *Decoder {
	return NewDecoder(strings.NewReader(input), Hooks{
		BeforeRead: func(bool) error { return nil },
		Continue:   func() error { *asked++; return nil },
	}, testLimits)
}

func TestDecoderTakesTokens(t *testing.T) {
	for _, c := range []struct {
		name, line string
		parse      func(*Decoder) any
		want       any
	}{
		{"atom", "abc", func(d *Decoder) any { return d.Atom() }, "abc"},
		{"atom with signs", "$Label1/+.x", func(d *Decoder) any { return d.Atom() }, "$Label1/+.x"},
		{"word in upper case", "header.Fields", func(d *Decoder) any { return d.Word() }, "HEADER.FIELDS"},
		{"tag", "A.1]", func(d *Decoder) any { return d.Tag() }, "A.1]"},
		{"astring atom", "a]b", func(d *Decoder) any { return d.AString() }, "a]b"},
		{"astring quoted", `"a \"b\\ c"`, func(d *Decoder) any { return d.AString() }, `a "b\ c`},
		{"astring empty", `""`, func(d *Decoder) any { return d.AString() }, ""},
		{"quoted 8-bit", "\"p\xe4ss\"", func(d *Decoder) any { return d.AString() }, "p\xe4ss"},
		{"literal", "{5}\r\na\r\nb\x00", func(d *Decoder) any { return d.AString() }, "a\r\nb\x00"},
		{"literal of nothing", "{0}\r\n", func(d *Decoder) any { return d.String() }, ""},
		{"non-sync literal", "{3+}\r\n{3}", func(d *Decoder) any { return d.String() }, "{3}"},
		{"literal8", "~{3+}\r\na\x00b", func(d *Decoder) any { return d.String() }, "a\x00b"},
		{"pattern", "a%*]", func(d *Decoder) any { return d.ListMailbox() }, "a%*]"},
		{"nstring NIL", "nil", func(d *Decoder) any { s, ok := d.NString(); return fmt.Sprint(s, ok) }, "false"},
		{"nstring", `"NIL"`, func(d *Decoder) any { s, ok := d.NString(); return fmt.Sprint(s, ok) }, "NILtrue"},
		{"number", "4294967295", func(d *Decoder) any { return d.Number() }, uint32(4294967295)},
		{"number64", "9223372036854775807", func(d *Decoder) any { return d.Number64() }, int64(9223372036854775807)},
		{"flags in parentheses", `(\Seen $x)`, func(d *Decoder) any { return d.Flags() }, []string{`\Seen`, "$x"}},
		{"flags without", `\Seen foo`, func(d *Decoder) any { return d.Flags() }, []string{`\Seen`, "foo"}},
		{"flags of Dovecot's imapc", `( $x  \Seen )`, func(d *Decoder) any { return d.FlagList() }, []string{"$x", `\Seen`}},
		{"no flags", "()", func(d *Decoder) any { return d.FlagList() }, []string(nil)},
		{"date", "1-feb-1994", func(d *Decoder) any { return d.Date().Format(time.DateOnly) }, "1994-02-01"},
		{"date quoted", `"01-Feb-1994"`, func(d *Decoder) any { return d.Date().Format(time.DateOnly) }, "1994-02-01"},
		{"date-time", `" 1-Feb-1994 21:52:25 -0800"`, func(d *Decoder) any { return d.DateTime().Format(time.RFC3339) }, "1994-02-01T21:52:25-08:00"},
		{"set", "1,3:5,7:*,*:9", func(d *Decoder) any { return d.Set() }, Set{Ranges: []Range{{1, 1}, {3, 5}, {7, 0}, {0, 9}}}},
		{"saved set", "$", func(d *Decoder) any { return d.Set() }, Set{Saved: true}},
		{"accepted word", "RETURN (x)", func(d *Decoder) any {
			return d.AcceptWord("return") && d.AcceptSP() && d.Accept('(') && d.AcceptWord("X") && d.Accept(')')
		}, true},
		{"part of a word", "RETURNS", func(d *Decoder) any { ok := d.AcceptWord("return"); d.Atom(); return ok }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			var asked int
			d := newTestDecoder(c.line+"\r\nnext\r\n", &asked)
			if err := d.Start(); err != nil {
				t.Fatal(err)
			}
			got := c.parse(d)
			if err := d.End(); err != nil {
				t.Fatalf("End: %v", err)
			}
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %#v, want %#v", got, c.want)
			}
			if err := d.Start(); err != nil || d.Atom() != "next" {
				t.Errorf("the next command was lost: %v", err)
			}
		})
	}
}

func TestDecoderRefuses(t *testing.T) {
	for _, c := range []struct {
		name, line string
		parse      func(*Decoder)
	}{
		{"empty atom", "", func(d *Decoder) { d.Atom() }},
		{"control in atom", "a\x01", func(d *Decoder) { d.Atom() }},
		{"8-bit atom", "\xe4", func(d *Decoder) { d.Atom() }},
		{"trailing words", "a b", func(d *Decoder) { d.Atom() }},
		{"trailing space", "a ", func(d *Decoder) { d.Atom() }},
		{"plus in tag", "+", func(d *Decoder) { d.Tag() }},
		{"quoted without end", `"abc`, func(d *Decoder) { d.AString() }},
		{"quoted ending in escape", `"abc\"`, func(d *Decoder) { d.AString() }},
		{"bad escape", `"a\b"`, func(d *Decoder) { d.AString() }},
		{"NUL in quoted", "\"a\x00\"", func(d *Decoder) { d.AString() }},
		{"CR in quoted", "\"a\rb\"", func(d *Decoder) { d.AString() }},
		{"zero", "0", func(d *Decoder) { d.NZNumber() }},
		{"number of 33 bits", "4294967296", func(d *Decoder) { d.Number() }},
		{"number of 20 digits", "99999999999999999999", func(d *Decoder) { d.Number64() }},
		{"zero in set", "0", func(d *Decoder) { d.Set() }},
		{"empty set item", "1,,2", func(d *Decoder) { d.Set() }},
		{"open range", "1:", func(d *Decoder) { d.Set() }},
		{"empty list", "()", func(d *Decoder) { d.NonEmptyList(func() { d.Atom() }) }},
		{"list without end", "(a b", func(d *Decoder) { d.List(func() { d.Atom() }) }},
		{"list nested too deeply", "((((((a))))))", func(d *Decoder) {
			var nested func()
			nested = func() {
				if d.Peek() == '(' {
					d.List(nested)
				} else {
					d.Atom()
				}
			}
			nested()
		}},
		{"date with bad month", "1-Foo-1994", func(d *Decoder) { d.Date() }},
		{"date-time as atom", "1-Feb-1994", func(d *Decoder) { d.DateTime() }},
		{"date-time without zone", `" 1-Feb-1994 21:52:25"`, func(d *Decoder) { d.DateTime() }},
		{"literal over the limit", "{51}", func(d *Decoder) { d.AString() }},
		{"literals over the limit", "{50}\r\n" + strings.Repeat("a", 50) + "{50}", func(d *Decoder) { d.AString(); d.AString() }},
		{"literal without size", "{}", func(d *Decoder) { d.AString() }},
		{"literal in an atom", "a{3}", func(d *Decoder) { d.AString() }},
		{"literal expected", "a", func(d *Decoder) { d.Literal() }},
		{"flags without a space", `(\Seen\Draft)`, func(d *Decoder) { d.FlagList() }},
		{"flags without end", `(\Seen `, func(d *Decoder) { d.FlagList() }},
		{"bare backslash", `\`, func(d *Decoder) { d.Flag() }},
	} {
		t.Run(c.name, func(t *testing.T) {
			var asked int
			d := newTestDecoder(c.line+"\r\nnext\r\n", &asked)
			if err := d.Start(); err != nil {
				t.Fatal(err)
			}
			c.parse(d)
			var syntax *SyntaxError
			if err := d.End(); !errors.As(err, &syntax) {
				t.Fatalf("End: %v, want a SyntaxError", err)
			}
			if err := d.Discard(); err != nil {
				t.Fatalf("Discard: %v", err)
			}
			if err := d.Start(); err != nil || d.Atom() != "next" {
				t.Errorf("the next command was lost: %v", err)
			}
		})
	}
}

// A refused literal is text that a client passed on for somebody else; it must
// never run as commands.
func TestRefusedLiteralIsNeverACommand(t *testing.T) {
	evil := "x1 CREATE pwned\r\n"
	for name, c := range map[string]struct {
		input string
		asked int
		fatal bool
	}{
		"sync literal is not asked for":       {"a SEARCH {99}\r\nnext\r\n", 0, false},
		"non-sync literal over the limit":     {"a SEARCH {51+}\r\n" + strings.Repeat("y", 34) + evil + "\r\nnext\r\n", 0, false},
		"literal in an unfinished string":     {"a SEARCH \"{17+}\r\n" + evil + "\r\nnext\r\n", 0, false},
		"literal where none may be":           {"a SEARCH abc{17+}\r\n" + evil + "\r\nnext\r\n", 0, false},
		"second literal of a refused command": {"a SEARCH x y{17+}\r\n" + evil + " {17+}\r\n" + evil + "\r\nnext\r\n", 0, false},
		"literal beyond what is discarded":    {"a SEARCH {101+}\r\n" + evil, 0, true},
		"literals beyond what is discarded":   {"a SEARCH x{60+}\r\n" + strings.Repeat("y", 60) + "{60+}\r\n" + evil, 0, true},
		"literal of 2^64 bytes":               {"a SEARCH {18446744073709551616+}\r\n" + evil, 0, true},
		"literal of 2 GiB, not asked for":     {"a SEARCH {2147483647}\r\nnext\r\n", 0, false},
		"literal of 2 GiB, on its way":        {"a SEARCH {2147483647+}\r\n" + evil, 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			var asked int
			d := newTestDecoder(c.input, &asked)
			if err := d.Start(); err != nil {
				t.Fatal(err)
			}
			d.Tag()
			d.SP()
			d.Word()
			d.SP()
			d.AString()
			if d.End() == nil {
				t.Fatal("the command was accepted")
			}
			err := d.Discard()
			if c.fatal {
				if !errors.Is(err, ErrTooLong) {
					t.Fatalf("Discard: %v, want ErrTooLong", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := d.Start(); err != nil || d.Atom() != "next" {
				t.Errorf("the command was not skipped to its end: %v", err)
			}
			if asked != c.asked {
				t.Errorf("asked for %d literals, want %d", asked, c.asked)
			}
		})
	}
}

func TestOverlongLineIsFatal(t *testing.T) {
	for name, input := range map[string]string{
		"in one piece":           "a NOOP " + strings.Repeat("x", 300) + "\r\nb CREATE pwned\r\n",
		"without end":            strings.Repeat("x", 30000),
		"in sum of its segments": "a x {1}\r\ny" + strings.Repeat("x", 150) + " {1}\r\ny" + strings.Repeat("x", 150) + "\r\n",
	} {
		var asked int
		d := newTestDecoder(input, &asked)
		err := d.Start()
		for range 2 {
			if err == nil {
				for d.Peek() != '{' && d.Peek() != 0 {
					d.line = d.line[1:]
				}
				d.AString()
				err = d.fatal()
			}
		}
		if !errors.Is(err, ErrTooLong) {
			t.Errorf("%s: %v, want ErrTooLong", name, err)
		}
		if err := d.Discard(); d.err != nil && !errors.Is(err, ErrTooLong) {
			t.Errorf("%s: Discard hid the error: %v", name, err)
		}
	}
}

func TestStreamedLiteral(t *testing.T) {
	var asked int
	d := newTestDecoder("a {120}\r\n"+strings.Repeat("m", 120)+" b\r\nnext\r\n", &asked)
	d.src = iotest.HalfReader(d.src)
	if err := d.Start(); err != nil {
		t.Fatal(err)
	}
	d.Tag()
	d.SP()
	lit := d.Literal()
	if lit != (Literal{Size: 120}) || asked != 0 {
		t.Fatalf("got %+v, asked %d", lit, asked)
	}
	r, err := d.OpenLiteral()
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(r)
	if err != nil || string(got) != strings.Repeat("m", 120) || asked != 1 {
		t.Fatalf("read %d bytes, %v, asked %d", len(got), err, asked)
	}
	if err := d.CloseLiteral(); err != nil {
		t.Fatal(err)
	}
	d.SP()
	if d.Atom() != "b" || d.End() != nil {
		t.Errorf("the line after the literal was lost: %v", d.Err())
	}
}

func TestDiscardReadsTheRestOfAnOpenedLiteral(t *testing.T) {
	var asked int
	d := newTestDecoder("a {90}\r\n"+strings.Repeat("m", 90)+" {3+}\r\nabc x\r\nnext\r\n", &asked)
	d.Start()
	d.Tag()
	d.SP()
	d.Literal()
	r, _ := d.OpenLiteral()
	io.ReadFull(r, make([]byte, 7))
	if err := d.Discard(); err != nil {
		t.Fatal(err)
	}
	if err := d.Start(); err != nil || d.Atom() != "next" {
		t.Errorf("not at the next command: %v", err)
	}
}

func TestConnectionLostInsideLiteral(t *testing.T) {
	var asked int
	d := newTestDecoder("a {10+}\r\nabc", &asked)
	d.Start()
	d.Tag()
	d.SP()
	d.AString()
	if err := d.End(); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("End: %v", err)
	}
	if err := d.Discard(); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("Discard: %v", err)
	}
}

func TestReplaceDropsWhatCameInTheClear(t *testing.T) {
	var asked int
	d := newTestDecoder("a STARTTLS\r\nb CREATE pwned\r\n", &asked)
	d.Start()
	if !d.Buffered() {
		t.Fatal("nothing to drop")
	}
	d.Replace(strings.NewReader("c NOOP\r\n"))
	if err := d.Start(); err != nil || d.Tag() != "c" {
		t.Errorf("clear text survived: %v", err)
	}
}

func TestWrapLosesNothing(t *testing.T) {
	var asked int
	d := newTestDecoder("a COMPRESS\r\nb NOOP\r\n", &asked)
	d.Start()
	d.Wrap(func(r io.Reader) io.Reader { return r })
	if err := d.Start(); err != nil || d.Tag() != "b" {
		t.Errorf("buffered bytes lost: %v", err)
	}
}

// errWake stands for a moved deadline.
var errWake = errors.New("wake")

type wakingReader struct {
	parts []string
}

func (r *wakingReader) Read(p []byte) (int, error) {
	if len(r.parts) == 0 {
		return 0, io.EOF
	}
	part := r.parts[0]
	r.parts = r.parts[1:]
	if part == "" {
		return 0, errWake
	}
	return copy(p, part), nil
}

func TestStartMayBeInterrupted(t *testing.T) {
	var idles []bool
	d := NewDecoder(&wakingReader{parts: []string{"", "DO", "", "NE\r\n"}}, Hooks{
		BeforeRead: func(idle bool) error { idles = append(idles, idle); return nil },
	}, testLimits)
	for range 2 {
		if err := d.Start(); err != errWake {
			t.Fatalf("Start: %v", err)
		}
	}
	if err := d.Start(); err != nil || string(d.Rest()) != "DONE" {
		t.Fatalf("Start: %v", err)
	}
	if want := []bool{true, true, false, false}; !reflect.DeepEqual(idles, want) {
		t.Errorf("idle = %v, want %v", idles, want)
	}
}

func TestIdleDecoderHoldsNoBuffer(t *testing.T) {
	var held bool
	var d *Decoder
	d = NewDecoder(strings.NewReader("a NOOP\r\n"), Hooks{BeforeRead: func(idle bool) error {
		held = held || idle && d.buf != nil
		return nil
	}}, testLimits)
	d.Start()
	d.Rest()
	d.Start()
	if held {
		t.Error("a buffer was held while waiting")
	}
}

func TestSetResolve(t *testing.T) {
	for _, c := range []struct {
		in      []Range
		largest uint32
		want    []Range
	}{
		{[]Range{{1, 1}}, 5, []Range{{1, 1}}},
		{[]Range{{4, 0}, {1, 2}, {3, 3}}, 9, []Range{{1, 9}}},
		{[]Range{{9, 0}}, 5, []Range{{5, 9}}}, // "9:*" is "5:9": the last one is always in it
		{[]Range{{0, 0}}, 0, []Range{}},
		{[]Range{{1, 0}}, 0, []Range{{1, 1}}},
		{[]Range{{7, 2}, {20, 30}, {8, 8}}, 5, []Range{{2, 8}, {20, 30}}},
		{[]Range{{1, 4294967295}, {5, 6}}, 5, []Range{{1, 4294967295}}},
	} {
		got := Set{Ranges: c.in}.Resolve(c.largest)
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%v with %d: got %v, want %v", c.in, c.largest, got, c.want)
		}
	}
}

func TestSetContains(t *testing.T) {
	ranges := []Range{{2, 4}, {8, 8}, {10, 20}}
	for n := uint32(0); n < 25; n++ {
		want := n >= 2 && n <= 4 || n == 8 || n >= 10 && n <= 20
		if Contains(ranges, n) != want {
			t.Errorf("Contains(%d) = %v", n, !want)
		}
	}
}

func TestAppendNumbers(t *testing.T) {
	for want, in := range map[string][]uint32{
		"":            nil,
		"7":           {7},
		"1:3":         {1, 2, 3},
		"1:2,5,9:11":  {1, 2, 5, 9, 10, 11},
		"9,3:4,1":     {9, 3, 4, 1},
		"4294967295":  {4294967295},
		"5,5":         {5, 5},
		"3,2,1,10:11": {3, 2, 1, 10, 11},
	} {
		if got := string(AppendNumbers(nil, in)); got != want {
			t.Errorf("%v: got %q, want %q", in, got, want)
		}
	}
}

func TestLongLineTakesALargerBuffer(t *testing.T) {
	var asked int
	long := strings.Repeat("1,", 20_000) + "1"
	d := newTestDecoder("a NOOP\r\nb FETCH "+long+" x\r\nnext\r\n", &asked)
	d.src = iotest.HalfReader(d.src)
	d.SetLimits(Limits{Line: 64 << 10})
	if d.Limits().Line != 64<<10 {
		t.Fatal("limits were not taken")
	}
	d.Start()
	d.Discard()
	if err := d.Start(); err != nil {
		t.Fatal(err)
	}
	d.Tag()
	d.SP()
	d.Word()
	d.SP()
	if n := len(d.Set().Ranges); n != 20_001 {
		t.Errorf("%d numbers, %v", n, d.Err())
	}
	d.SP()
	d.Atom()
	if err := d.End(); err != nil {
		t.Fatal(err)
	}
	if err := d.Start(); err != nil || d.Atom() != "next" {
		t.Errorf("the next command was lost: %v", err)
	}
	d.Close()
}

func TestAcceptText(t *testing.T) {
	var asked int
	d := newTestDecoder("PREVIEW (lazy) (LAZY)x\r\n", &asked)
	d.Start()
	d.Word()
	if !d.AcceptText(" (LAZY)") || d.AcceptText(" (LAZY))") || !d.AcceptText(" (lazy)x") || !d.AtEnd() {
		t.Error("text was not compared as it should")
	}
}

func TestAtLiteral(t *testing.T) {
	var asked int
	d := newTestDecoder("a {1}\r\nb\r\n", &asked)
	d.Start()
	if d.AtLiteral() {
		t.Error("a tag is no literal")
	}
	d.Tag()
	d.SP()
	if !d.AtLiteral() || asked != 0 {
		t.Error("the literal was not seen, or asked for")
	}
}

func TestSilentSourceIsNoEndlessLoop(t *testing.T) {
	d := NewDecoder(silentReader{}, Hooks{BeforeRead: func(bool) error { return nil }}, testLimits)
	if err := d.Start(); !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("Start: %v", err)
	}
}

type silentReader struct{}

func (silentReader) Read([]byte) (int, error) { return 0, nil }

func TestHookErrorEndsTheRead(t *testing.T) {
	d := NewDecoder(strings.NewReader("a NOOP\r\n"), Hooks{BeforeRead: func(bool) error { return errWake }}, testLimits)
	if err := d.Start(); err != errWake {
		t.Errorf("Start: %v", err)
	}
	var asked int
	d = newTestDecoder("a {1}\r\nb\r\n", &asked)
	d.hooks.Continue = func() error { return errWake }
	d.Start()
	d.Tag()
	d.SP()
	if d.AString(); d.End() != errWake || d.Discard() != errWake {
		t.Errorf("the error of Continue got lost: %v", d.Err())
	}
}

func TestAppendRanges(t *testing.T) {
	got := string(AppendRanges([]byte("x "), []Range{{1, 1}, {3, 5}, {7, 4294967295}}))
	if want := "x 1,3:5,7:4294967295"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestErrorsAreForTheClient(t *testing.T) {
	for line, want := range map[string]string{
		"":         "Expected an atom, found end of command",
		" x":       "Expected an atom, found space",
		"\x07":     "Expected an atom, found byte 0x07",
		"(":        "Expected an atom, found '('",
		"\xffabc":  "Expected an atom, found byte 0xff",
		"a\r\nb c": "",
	} {
		var asked int
		d := newTestDecoder(line+"\r\n", &asked)
		d.Start()
		d.Atom()
		err := d.End()
		if (err == nil) != (want == "") || err != nil && err.Error() != want {
			t.Errorf("%q: %v, want %q", line, err, want)
		}
	}
}
