package managesieve

import (
	"bufio"
	"strconv"
	"strings"
	"unicode/utf8"
)

// reply is the answer to a command (RFC 5804 section 1.2).
type reply struct {
	word string // OK, NO or BYE
	code string // response code without parentheses (section 1.3); may be empty
	text string // for the user

	// then is run after the reply is written; its error ends the connection.
	then func() error
}

func ok(code, text string) reply { return reply{word: "OK", code: code, text: text} }
func no(code, text string) reply { return reply{word: "NO", code: code, text: text} }

// maxQuoted is how long a quoted string may be, in bytes (RFC 5804 section 4).
const maxQuoted = 1024

// quote writes a string as a quoted one if it can be one, else as a literal.
func quote(s string) string {
	if len(s) > maxQuoted || !utf8.ValidString(s) || strings.ContainsAny(s, "\x00\r\n") {
		return "{" + strconv.Itoa(len(s)) + "}\r\n" + s
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// write writes the reply's line.
func (r reply) write(w *bufio.Writer) {
	w.WriteString(r.word)
	if r.code != "" {
		w.WriteString(" (" + r.code + ")")
	}
	if r.text != "" {
		w.WriteString(" " + quote(r.text))
	}
	w.WriteString("\r\n")
}

// refusal is the error of what cannot be done for a reason that the client shall
// hear.
type refusal struct{ code, text string }

func (e *refusal) Error() string { return e.text }

// The refusals that have a code of their own and are told apart by tests and
// callers.
var (
	errNoScript   = &refusal{"NONEXISTENT", "There is no script of that name"}
	errTaken      = &refusal{"ALREADYEXISTS", "There is a script of that name already"}
	errIsActive   = &refusal{"ACTIVE", "The active script cannot be deleted; activate another one first"}
	errNoSpace    = &refusal{"QUOTA", "There is no space left for the script"}
	errBadName    = &refusal{"", "That cannot be the name of a script"}
	errNameLength = &refusal{"", "The name of the script is too long"}
)
