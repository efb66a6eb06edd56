package migrate

import (
	"fmt"
	"strconv"
	"strings"
)

// field is one "key: value" of chasquid.conf.
type field struct {
	key, value string
	line       int
}

// parseTextproto reads the flat subset of protocol buffers' text format that
// chasquid.conf is: "key: value" with strings, numbers and words, "#" comments,
// and any white space between.
func parseTextproto(text string) ([]field, error) {
	s := protoScanner{text: text, line: 1}
	var fields []field
	for {
		s.space()
		if s.text == "" {
			return fields, nil
		}
		f := field{line: s.line, key: s.word()}
		s.space()
		if f.key == "" || !strings.HasPrefix(s.text, ":") {
			return nil, fmt.Errorf("line %d: expected \"key: value\"", f.line)
		}
		s.text = s.text[1:]
		s.space()
		var err error
		if f.value, err = s.value(); err != nil {
			return nil, fmt.Errorf("line %d: %s: %w", s.line, f.key, err)
		}
		fields = append(fields, f)
	}
}

type protoScanner struct {
	text string
	line int
}

// space skips white space, comments and the separators that may end a field.
func (s *protoScanner) space() {
	for s.text != "" {
		switch c := s.text[0]; {
		case c == '\n':
			s.line++
		case c == '#':
			end := strings.IndexByte(s.text, '\n')
			if end < 0 {
				s.text = ""
				return
			}
			s.text = s.text[end:]
			continue
		case c != ' ' && c != '\t' && c != '\r' && c != ',' && c != ';':
			return
		}
		s.text = s.text[1:]
	}
}

func (s *protoScanner) word() string {
	end := strings.IndexFunc(s.text, func(r rune) bool {
		return r != '_' && r != '-' && r != '.' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	})
	if end < 0 {
		end = len(s.text)
	}
	w := s.text[:end]
	s.text = s.text[end:]
	return w
}

// value is a word, or strings that stand side by side and are one.
func (s *protoScanner) value() (string, error) {
	var b strings.Builder
	for n := 0; ; n++ {
		if s.text == "" || s.text[0] != '"' && s.text[0] != '\'' {
			if n > 0 {
				return b.String(), nil
			}
			if w := s.word(); w != "" {
				return w, nil
			}
			return "", fmt.Errorf("expected a value")
		}
		part, err := s.str()
		if err != nil {
			return "", err
		}
		b.WriteString(part)
		s.space()
	}
}

func (s *protoScanner) str() (string, error) {
	quote := s.text[0]
	rest := s.text[1:]
	var b strings.Builder
	for rest != "" && rest[0] != '\n' {
		if rest[0] == quote {
			s.text = rest[1:]
			return b.String(), nil
		}
		r, multi, tail, err := strconv.UnquoteChar(rest, quote)
		if err != nil {
			return "", fmt.Errorf("a bad escape in a string")
		}
		if multi || r < 0x80 {
			b.WriteRune(r)
		} else {
			b.WriteByte(byte(r))
		}
		rest = tail
	}
	return "", fmt.Errorf("a string without end")
}
