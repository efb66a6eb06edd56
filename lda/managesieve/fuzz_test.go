package managesieve

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
)

// readAll reads all commands of an input, until it ends or nobody knows where the
// next one begins.
func readAll(input []byte, b bounds) (commands [][]word, faults int, err error) {
	l := &lexer{r: bufio.NewReaderSize(bytes.NewReader(input), 16), bounds: b}
	for {
		words, err := l.command()
		var wrong *syntaxError
		switch {
		case err == nil:
			commands = append(commands, words)
		case errors.As(err, &wrong):
			faults++
		default:
			return commands, faults, err
		}
	}
}

// TestLexer: what is a word, and where a command ends.
func TestLexer(t *testing.T) {
	for _, tt := range []struct {
		input, want string
		faults      int
		err         error
	}{
		{"NOOP\r\n", "a:NOOP", 0, io.EOF},
		{"NOOP\n", "a:NOOP", 0, io.EOF},
		{"\r\n\r\n", "|", 0, io.EOF},
		{"HAVESPACE \"a b\" 12\r\n", "a:HAVESPACE t:a b n:12", 0, io.EOF},
		{"  A   \"x\"  \r\n", "a:A t:x", 0, io.EOF},
		{"A \"\\\"\\\\\"\r\n", `a:A t:"\`, 0, io.EOF},
		{"A {3+}\r\n\r\nx\r\nB\r\n", "a:A t:\r\nx|a:B", 0, io.EOF},
		{"A {0+}\r\n {1+}\r\n\" 1\r\n", "a:A t: t:\" n:1", 0, io.EOF},
		{"A {3+}\r\nabcdef\r\nB\r\n", "a:B", 1, io.EOF},
		{"{1+}\r\nA\r\n", "t:A", 0, io.EOF},
		{"A {1}\r\nB\r\n", "a:B", 1, io.EOF},
		{"A {1} {2+}\r\nXX\r\nB\r\n", "a:B", 1, io.EOF},
		{"A x{2+}\r\nXX\r\nB\r\n", "a:B", 1, io.EOF},
		{"A \"x\"{2+}\r\nXX\r\nB\r\n", "a:B", 1, io.EOF},
		{"A {2+} x\r\nB\r\n", "a:B", 1, io.EOF},
		{"A \"{2+}\"\r\nB\r\n", "a:A t:{2+}|a:B", 0, io.EOF},
		{"A \"x\r\nB\r\n", "a:B", 1, io.EOF},
		{"A \"x {2+}\r\nB\r\n", "", 0, errLost},
		{"A \"x\\", "", 0, io.ErrUnexpectedEOF},
		{"A {2+}\r\nx", "", 0, io.ErrUnexpectedEOF},
		{"A {-2+}\r\nB\r\n", "a:B", 1, io.EOF},
		{"A {+}\r\nB\r\n", "a:B", 1, io.EOF},
		{"A \xff\r\nB\x00\r\n", "", 2, io.EOF},
		{"A \"\xff\"\r\n", "", 1, io.EOF},
		{"A {101+}\r\n" + strings.Repeat("x", 101) + "\r\nB\r\n", "a:B", 1, io.EOF},
		{"A {1001+}\r\n", "", 0, errLost},
		{"A " + strings.Repeat("x", 200) + "\r\n", "", 0, errLost},
		{"A b c d e {2+}\r\nXX\r\nB\r\n", "a:B", 1, io.EOF},
	} {
		commands, faults, err := readAll([]byte(tt.input), bounds{line: 100, literal: 100, skip: 1000})
		var got []string
		for _, words := range commands {
			var one []string
			for _, w := range words {
				one = append(one, string(w.kind)+":"+string(w.text))
			}
			got = append(got, strings.Join(one, " "))
		}
		if strings.Join(got, "|") != tt.want || faults != tt.faults || err != tt.err {
			t.Errorf("%q: %q, %d faults, %v", tt.input, got, faults, err)
		}
	}
}

// FuzzCommands: no input makes the lexer hold more than it may, or lose a byte of
// what follows a whole command.
func FuzzCommands(f *testing.F) {
	for _, s := range []string{
		"NOOP\r\n", "PUTSCRIPT \"a\" {5+}\r\nkeep;\r\n", "AUTHENTICATE \"PLAIN\" \"AGEAYg==\"\r\n", "HAVESPACE \"a\" 5\r\n",
		"A {3} {2+}\r\nXX\r\n", "A \"x {2+}\r\n", "A \"\\\"\" {0+}\r\n\r\n", "A (x) %\r\n",
	} {
		f.Add([]byte(s))
	}
	limits := bounds{line: 1000, literal: 1000, skip: 4000}
	f.Fuzz(func(t *testing.T, input []byte) {
		commands, faults, err := readAll(input, limits)
		for _, words := range commands {
			if len(words) > maxWords {
				t.Fatalf("%d words", len(words))
			}
			for _, w := range words {
				if len(w.text) > 1000 || w.kind != atom && w.kind != number && w.kind != text {
					t.Fatalf("word %q", w)
				}
			}
		}
		if err == io.EOF { // all is whole: then a command behind it is found
			more, faultsMore, _ := readAll(append(bytes.Clone(input), "\r\nMARK\r\n"...), limits)
			if last := more[len(more)-1]; len(last) != 1 || string(last[0].text) != "MARK" || faultsMore != faults {
				t.Fatalf("the command behind is lost: %q", more)
			}
		}
		s := &session{srv: &Server{commands: commandTable()}}
		for _, words := range commands { // the dispatcher takes any of them
			s.lookUp(words)
		}
	})
}

// FuzzReply: whatever a text is, it comes as one string.
func FuzzReply(f *testing.F) {
	for _, s := range []string{"plain", `"quoted\"`, "two\r\nlines", "\x00\xff", strings.Repeat("x", 2000)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if s == "" {
			return
		}
		var b bytes.Buffer
		w := bufio.NewWriter(&b)
		no("", s).write(w)
		w.Flush()
		// Our own lexer reads it, when literals are a client's.
		input := b.String()
		if strings.HasPrefix(input, "NO {") {
			input = strings.Replace(input, "}", "+}", 1)
		}
		commands, faults, err := readAll([]byte(input), bounds{line: 1 << 20, literal: 1 << 20, skip: 1 << 20})
		if err != io.EOF || faults != 0 || len(commands) != 1 || len(commands[0]) != 2 || string(commands[0][1].text) != s {
			t.Fatalf("%q became %q: %q, %v", s, b.String(), commands, err)
		}
	})
}
