package wire

import (
	"errors"
	"strings"
	"testing"
	"testing/iotest"
)

// FuzzDecoder parses whatever comes as a run of commands of every shape, and
// holds the Decoder to three promises: it ends, the position never runs ahead
// of the input, and chunking makes no difference.
func FuzzDecoder(f *testing.F) {
	for _, seed := range []string{
		"a NOOP\r\n",
		"a LOGIN {5}\r\nalice {3+}\r\nabc\r\nb NOOP\r\n",
		"a SEARCH (OR (1:5,9:* \"x\\\"y\") ~{2+}\r\n\x00a)\r\n",
		"a STORE 1 \\Seen {99999999999999999999+}\r\n",
		"a \"{3+}\r\nabc{4+}\r\nabcd\r\nb x\r\n",
		"((((((((((((\r\n\n\r\n \r\n{0}\r\n\r\n{}\r\n{+}\r\n~{1}\r\n",
		"a x " + strings.Repeat("y", 190) + "\r\n",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, input string) {
		var asked int
		whole := run(newTestDecoder(input, &asked))
		d := newTestDecoder(input, &asked)
		d.src = iotest.OneByteReader(d.src)
		if pieces := run(d); pieces != whole {
			t.Errorf("in pieces:\n%s\nas a whole:\n%s", pieces, whole)
		}
	})
}

// run parses all commands and returns what was understood.
func run(d *Decoder) string {
	var out strings.Builder
	for d.Start() == nil {
		out.WriteString(d.Tag())
		for d.Err() == nil && !d.AtEnd() {
			d.SP()
			out.WriteString(" " + token(d))
		}
		err := d.End()
		var syntax *SyntaxError
		if err != nil {
			out.WriteString("!")
			if !errors.As(err, &syntax) {
				break
			}
		}
		if d.Discard() != nil {
			break
		}
		out.WriteString("\n")
	}
	return out.String()
}

func token(d *Decoder) string {
	switch c := d.Peek(); {
	case c == '(':
		var items []string
		d.List(func() { items = append(items, token(d)) })
		return "(" + strings.Join(items, " ") + ")"
	case c == '\\':
		return d.Flag()
	case c >= '0' && c <= '9' || c == '$':
		return string(AppendNumbers(nil, []uint32{uint32(len(d.Set().Resolve(9)))}))
	default:
		return d.AString()
	}
}
