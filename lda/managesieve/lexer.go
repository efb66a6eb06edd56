package managesieve

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strconv"
	"unicode/utf8"
)

// kind is what a word of a command is (RFC 5804 section 4).
type kind byte

const (
	atom   kind = 'a'
	number kind = 'n'
	text   kind = 't' // a quoted string or a literal
)

// word is one word of a command.
type word struct {
	kind kind
	text []byte
}

// maxWords is how many words of a command are kept; no command has more than
// three.
const maxWords = 4

// maxLiterals is how many literals of a command are read to be refused.
const maxLiterals = 16

// bounds limit what is read.
type bounds struct {
	line    int   // longest line in bytes, without its end
	literal int64 // longest literal in bytes
	skip    int64 // longest literal that is read to be refused
}

// boundsBeforeLogin are for strangers: enough for a long password.
var boundsBeforeLogin = bounds{line: 8 << 10, literal: 4 << 10, skip: 64 << 10}

// boundsAfterLogin are for a user whose scripts may have so many bytes.
func boundsAfterLogin(script int) bounds {
	return bounds{line: 64 << 10, literal: int64(script), skip: int64(script) + 16<<20}
}

// syntaxError is a command that is not understood. It was read to its end: the
// connection goes on.
type syntaxError struct{ code, text string }

func (e *syntaxError) Error() string { return e.text }

// errLost means that nobody can say where the next command begins: the connection
// cannot go on.
var errLost = errors.New("the end of the command cannot be found")

// lexer cuts what a client sends into commands. The literals of clients are never
// asked for (RFC 5804 section 4, literal-c2s): whatever is wrong with a command,
// they follow, and are read before it is refused, lest a script be taken for
// commands.
type lexer struct {
	r *bufio.Reader
	bounds
	begun bool // a command is under way
}

// command reads one command, or one response to a challenge, with its literals.
// Empty lines have no words.
func (l *lexer) command() ([]word, error) {
	l.begun = false
	var words []word
	var wrong error
	for literals := 0; ; literals++ {
		line, err := l.line()
		if err != nil {
			return nil, err
		}
		found, literal, err := scan(line, literals == 0)
		if err == errLost {
			return nil, err
		}
		wrong = firstOf(wrong, err)
		if words = append(words, found...); len(words) > maxWords {
			words, wrong = words[:maxWords], firstOf(wrong, &syntaxError{text: "Too many arguments"})
		}
		if literal < 0 {
			return words, wrong
		}
		if literal > l.skip || literals > maxLiterals {
			return nil, errLost
		}
		if literal > l.literal {
			wrong = firstOf(wrong, &syntaxError{"QUOTA/MAXSIZE", "The literal is longer than " + strconv.FormatInt(l.literal, 10) + " bytes"})
		}
		if wrong != nil || len(words) == maxWords {
			if _, err := io.CopyN(io.Discard, l.r, literal); err != nil {
				return nil, cutOff(err)
			}
			wrong = firstOf(wrong, &syntaxError{text: "Too many arguments"})
			continue
		}
		content := make([]byte, literal)
		if _, err := io.ReadFull(l.r, content); err != nil {
			return nil, cutOff(err)
		}
		words = append(words, word{text, content})
	}
}

// cutOff is the error of an end in the middle of a command.
func cutOff(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// firstOf keeps the first error.
func firstOf(old, err error) error {
	if old != nil {
		return old
	}
	return err
}

// line reads a line without its end, which is LF or CRLF. The result is its own.
func (l *lexer) line() ([]byte, error) {
	var line []byte
	for {
		piece, err := l.r.ReadSlice('\n')
		l.begun = l.begun || len(piece) > 0
		line = append(line, piece...)
		if err == nil {
			line = bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r"))
		}
		if len(line) > l.bounds.line {
			return nil, errLost
		}
		if err == nil {
			return line, nil
		}
		if err != bufio.ErrBufferFull {
			if l.begun {
				err = cutOff(err)
			}
			return nil, err
		}
	}
}

// scan cuts a line into words. literal is the size of the literal that begins
// after it, -1 for none. It goes on after a mistake, to find out about that; if it
// cannot, the error is errLost. first is false for what follows a literal.
func scan(line []byte, first bool) (words []word, literal int64, wrong error) {
	bad := func(text string) { wrong = firstOf(wrong, &syntaxError{text: text}) }
	apart := first // whether a word may begin here
	for len(line) > 0 {
		c := line[0]
		if c == ' ' {
			line, apart = line[1:], true
			continue
		}
		if !apart {
			bad("There must be a space between arguments")
		}
		apart = false
		switch {
		case c == '"':
			value, rest, ok := quoted(line[1:])
			if rest == nil {
				if literalAt(line) {
					return nil, 0, errLost
				}
				bad("A quoted string has no end")
				return words, -1, wrong
			}
			if !ok {
				bad("Invalid character in a quoted string")
			}
			words, line = append(words, word{text, value}), rest
		case c == '{':
			end := bytes.IndexAny(line, " \"")
			if end < 0 {
				end = len(line)
			}
			n, sync, ok := literalHeader(line[:end])
			switch {
			case ok && !sync && n < 0 && end == len(line):
				return nil, 0, errLost
			case ok && !sync && end == len(line):
				return words, n, wrong
			case ok && sync:
				bad("A literal must be written {n+}, since nobody asks for it")
			default:
				bad("Invalid literal")
			}
			line = line[end:]
		default:
			end := bytes.IndexAny(line, " \"{")
			if end < 0 {
				end = len(line)
			}
			w := bare(line[:end])
			if w.kind == 0 {
				bad("Invalid character")
			}
			words, line = append(words, w), line[end:]
		}
	}
	return words, -1, wrong
}

// quoted reads a quoted string behind its first quote. rest is nil if it has no
// end; ok is false if it holds what it may not (RFC 5804 section 4, QUOTED-CHAR).
func quoted(line []byte) (value, rest []byte, ok bool) {
	ok = true
	for i := 0; i < len(line); i++ {
		switch c := line[i]; c {
		case '"':
			return value, line[i+1:], ok && utf8.Valid(value)
		case '\\':
			if i++; i == len(line) {
				return nil, nil, false
			}
			if line[i] != '"' && line[i] != '\\' {
				ok = false
			}
			value = append(value, line[i])
		case 0, '\r':
			ok = false
		default:
			value = append(value, c)
		}
	}
	return nil, nil, false
}

// literalHeader reads "{n+}" or "{n}". n is negative if the size is beyond what can
// be counted.
func literalHeader(line []byte) (n int64, sync, ok bool) {
	inner, ok := bytes.CutSuffix(line[1:], []byte("}"))
	if !ok {
		return 0, false, false
	}
	digits, plus := bytes.CutSuffix(inner, []byte("+"))
	if !allDigits(digits) {
		return 0, false, false
	}
	n, err := strconv.ParseInt(string(digits), 10, 64)
	if err != nil {
		n = -1
	}
	return n, !plus, true
}

// literalAt reports whether a line looks as if a literal began after it.
func literalAt(line []byte) bool {
	i := bytes.LastIndexByte(line, '{')
	if i < 0 {
		return false
	}
	_, sync, ok := literalHeader(line[i:])
	return ok && !sync
}

// bare is an atom or a number; its kind is 0 if it is neither.
func bare(b []byte) word {
	w := word{atom, bytes.Clone(b)}
	if allDigits(b) {
		w.kind = number
		return w
	}
	for _, c := range b {
		if c <= ' ' || c >= 0x7f || bytes.IndexByte([]byte(`(){}"\%*`), c) >= 0 {
			w.kind = 0
		}
	}
	return w
}

func allDigits(b []byte) bool {
	for _, c := range b {
		if c < '0' || c > '9' {
			return false
		}
	}
	return len(b) > 0
}
