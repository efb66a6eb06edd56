package config

import (
	"strconv"
	"strings"
)

// keyLines finds the line of every key in a TOML text that the parser has
// accepted. The parser keeps no usable position for keys of a [[table]], and
// none at all once it has decoded.
//
// Names are full ones, with the index of arrays: "tls.key", "dkim[1].key".
// Headings are keys too. On a text that is not TOML the result is incomplete,
// never a panic.
func keyLines(text string) map[string]int {
	s := &lineScanner{text: text, line: 1, lines: map[string]int{}, count: map[string]int{}}
	for s.skipBlank(true); s.pos < len(s.text); s.skipBlank(true) {
		start := s.pos
		if s.peek() == '[' {
			s.heading()
		} else {
			s.assignment(s.prefix)
		}
		if s.pos == start { // not TOML; do not stand still
			s.next()
		}
	}
	return s.lines
}

type lineScanner struct {
	text   string
	pos    int
	line   int            // of pos, from 1
	prefix string         // the name of the current table
	lines  map[string]int // the result
	count  map[string]int // elements of each [[table]] so far
}

func (s *lineScanner) peek() byte {
	if s.pos < len(s.text) {
		return s.text[s.pos]
	}
	return 0
}

func (s *lineScanner) next() byte {
	c := s.peek()
	if s.pos < len(s.text) {
		s.pos++
	}
	if c == '\n' {
		s.line++
	}
	return c
}

// skipBlank moves over spaces and, with newlines, over line ends and comments.
func (s *lineScanner) skipBlank(newlines bool) {
	for s.pos < len(s.text) {
		switch c := s.peek(); {
		case c == ' ' || c == '\t' || c == '\r', c == '\n' && newlines:
			s.next()
		case c == '#' && newlines:
			for s.pos < len(s.text) && s.peek() != '\n' {
				s.next()
			}
		default:
			return
		}
	}
}

// heading reads [table] or [[table]] and makes it the prefix of what follows.
func (s *lineScanner) heading() {
	line := s.line
	s.next()
	many := s.peek() == '['
	if many {
		s.next()
	}
	parts := s.dotted()
	for s.peek() == ']' {
		s.next()
	}
	name := ""
	for i, p := range parts {
		name = join(name, p)
		s.note(name, line)
		last := i == len(parts)-1
		if last && many {
			s.count[name]++
		}
		// Below an array of tables a name means the latest element.
		if n := s.count[name]; n > 0 && (!last || many) {
			name += "[" + strconv.Itoa(n-1) + "]"
		}
	}
	s.note(name, line)
	s.prefix = name
}

// assignment reads key = value.
func (s *lineScanner) assignment(prefix string) {
	line, name := s.line, prefix
	for _, p := range s.dotted() {
		name = join(name, p)
		s.note(name, line)
	}
	s.skipBlank(false)
	if s.peek() != '=' {
		return
	}
	s.next()
	s.skipBlank(false)
	s.value(name)
}

// note keeps the first line on which a name occurs.
func (s *lineScanner) note(name string, line int) {
	if _, seen := s.lines[name]; !seen {
		s.lines[name] = line
	}
}

func join(prefix, name string) string {
	if prefix == "" {
		return name
	}
	return prefix + "." + name
}

// dotted reads a key of one or more parts, each bare or quoted.
func (s *lineScanner) dotted() []string {
	var parts []string
	for {
		s.skipBlank(false)
		start := s.pos
		switch s.peek() {
		case '"', '\'':
			s.str()
			part, err := strconv.Unquote(s.text[start:s.pos])
			if err != nil { // a literal string: no escapes
				part = strings.Trim(s.text[start:s.pos], "'\"")
			}
			parts = append(parts, part)
		default:
			for strings.IndexByte(" \t\r\n.=]#", s.peek()) < 0 && s.pos < len(s.text) {
				s.next()
			}
			parts = append(parts, s.text[start:s.pos])
		}
		s.skipBlank(false)
		if s.peek() != '.' {
			return parts
		}
		s.next()
	}
}

// value moves over one value; tables inside it have keys, too.
func (s *lineScanner) value(name string) {
	switch s.peek() {
	case '"', '\'':
		s.str()
	case '[':
		s.next()
		for i := 0; ; i++ {
			if s.skipBlank(true); s.peek() == ']' || s.pos == len(s.text) {
				s.next()
				return
			}
			before := s.pos
			s.value(name + "[" + strconv.Itoa(i) + "]")
			if s.skipBlank(true); s.peek() == ',' || s.pos == before {
				s.next()
			}
		}
	case '{':
		s.next()
		for {
			if s.skipBlank(true); s.peek() == '}' || s.pos == len(s.text) {
				s.next()
				return
			}
			before := s.pos
			s.assignment(name)
			if s.skipBlank(true); s.peek() == ',' || s.pos == before {
				s.next()
			}
		}
	default: // number, date, boolean
		for s.pos < len(s.text) && strings.IndexByte(",]}#\r\n", s.peek()) < 0 {
			s.next()
		}
	}
}

// str moves over a string of any of the four kinds.
func (s *lineScanner) str() {
	quote := s.peek()
	long := strings.Repeat(string(quote), 3)
	if strings.HasPrefix(s.text[s.pos:], long) {
		for range 3 {
			s.next()
		}
		for s.pos < len(s.text) && !strings.HasPrefix(s.text[s.pos:], long) {
			if s.next() == '\\' && quote == '"' {
				s.next()
			}
		}
		for s.peek() == quote && s.pos < len(s.text) { // up to two quotes may precede the end
			s.next()
		}
		return
	}
	for s.next(); s.pos < len(s.text) && s.peek() != quote && s.peek() != '\n'; {
		if s.next() == '\\' && quote == '"' {
			s.next()
		}
	}
	if s.peek() == quote {
		s.next()
	}
}
