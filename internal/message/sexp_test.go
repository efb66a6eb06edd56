package message

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
)

// parseWire parses IMAP data: lists become []any, strings string, NIL nil,
// other atoms atom. It returns what follows.
func parseWire(b []byte) (value any, rest []byte, err error) {
	switch {
	case len(b) == 0:
		return nil, nil, fmt.Errorf("data ends")
	case b[0] == '(':
		return parseWireList(b[1:])
	case b[0] == '"':
		return parseWireQuoted(b[1:])
	case b[0] == '{':
		return parseWireLiteral(b, false)
	case bytes.HasPrefix(b, []byte("~{")):
		return parseWireLiteral(b[1:], true)
	}
	n := bytes.IndexAny(b, " ()\"{\r\n")
	if n < 0 {
		n = len(b)
	}
	if n == 0 {
		return nil, nil, fmt.Errorf("unexpected %q", b[0])
	}
	if word := string(b[:n]); word != "NIL" {
		value = atom(word)
	}
	return value, b[n:], nil
}

type atom string

func parseWireList(b []byte) (any, []byte, error) {
	list := []any{}
	for {
		if len(b) > 0 && b[0] == ')' {
			return list, b[1:], nil
		}
		// Addresses and body parts follow each other without a space.
		if len(list) > 0 && !bytes.HasPrefix(b, []byte("(")) {
			if !bytes.HasPrefix(b, []byte(" ")) {
				return nil, nil, fmt.Errorf("no space before %.20q", b)
			}
			b = b[1:]
		}
		v, rest, err := parseWire(b)
		if err != nil {
			return nil, nil, err
		}
		list, b = append(list, v), rest
	}
}

func parseWireQuoted(b []byte) (any, []byte, error) {
	var s strings.Builder
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case c == '"':
			return s.String(), b[i+1:], nil
		case c == '\\' && i+1 < len(b) && (b[i+1] == '"' || b[i+1] == '\\'):
			i++
			s.WriteByte(b[i])
		case c == '\\' || c == '\r' || c == '\n' || c == 0:
			return nil, nil, fmt.Errorf("%q in a quoted string", c)
		default:
			s.WriteByte(c)
		}
	}
	return nil, nil, fmt.Errorf("quoted string does not end")
}

func parseWireLiteral(b []byte, nul bool) (any, []byte, error) {
	head, rest, ok := bytes.Cut(b[1:], []byte("}\r\n"))
	n, err := strconv.Atoi(string(head))
	if !ok || err != nil || n > len(rest) {
		return nil, nil, fmt.Errorf("broken literal %.20q", b)
	}
	if !nul && bytes.IndexByte(rest[:n], 0) >= 0 {
		return nil, nil, fmt.Errorf("NUL in a literal")
	}
	return string(rest[:n]), rest[n:], nil
}
