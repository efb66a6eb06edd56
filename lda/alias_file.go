package lda

// The format is that of aliases(5), as Sendmail made it and Postfix keeps it:
//
//	# a comment
//	postmaster: root
//	root:       alice, "bob the builder", admin@example.net
//	sales:      alice,          # continued on the
//	            bob+sales       # next line
//	"odd name": \alice          # the user alice, whatever alias she has
//	noreply:    /dev/null       # accepted and thrown away
//	info@svc.plus: carol        # for one domain only
//	@svc.plus:  alice           # whoever has neither alias nor account there
//	*:          alice           # the same for every local domain
//	tickets:    |/usr/local/bin/ticket --new    # if the configuration allows it
//	both:       "|/usr/local/bin/ticket", alice # quotes, since more follows
//
// In the file of one domain every name is of that domain. Files that Sendmail
// writes (/file) are refused: such mail would be handled with rights that the
// daemon does not have.

import (
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Problem is one mistake in an alias file.
type Problem struct {
	// File and Line say where it is; Line counts from 1 and is 0 when it is
	// about the whole file.
	File string
	Line int
	// Text says what is wrong and, where there is one, the mend.
	Text string
}

// Error gives "file:line: text".
func (p *Problem) Error() string {
	if p.Line == 0 {
		return p.File + ": " + p.Text
	}
	return fmt.Sprintf("%s:%d: %s", p.File, p.Line, p.Text)
}

// catchAll is the name of the entry for addresses that nobody has.
const catchAll = "*"

// aliasEntry is one logical line.
type aliasEntry struct {
	file string
	line int
	// name is the local part in lower case, or catchAll.
	name string
	// domain is set for entries of one domain, in canonical form.
	domain  string
	targets []target
}

// String gives the entry's name as its file has it.
func (e *aliasEntry) String() string {
	if e.domain != "" {
		return e.name + "@" + e.domain
	}
	return e.name
}

// targetKind says what a target is.
type targetKind int

const (
	// toAddress is a name or an address, which may be an alias itself.
	toAddress targetKind = iota
	// toUser is a real user, whatever aliases there are.
	toUser
	// toNothing throws the mail away.
	toNothing
	// toInclude is a file with more targets.
	toInclude
	// toProgram is a command that gets the mail on its standard input.
	toProgram
)

// target is one of the right-hand sides of an entry.
type target struct {
	kind targetKind
	// local is the name or local part, the path of an included file, or a command.
	local string
	// domain is empty for a bare name, else as written.
	domain string
}

// String gives the target as a file could have it.
func (t target) String() string {
	switch t.kind {
	case toNothing:
		return "/dev/null"
	case toUser:
		return `\` + joinAddress(t.local, "")
	case toInclude:
		return ":include:" + t.local
	case toProgram:
		return "|" + t.local
	}
	return joinAddress(t.local, t.domain)
}

// aliasParser collects the entries and problems of one file.
type aliasParser struct {
	file   string
	domain string // of a file for one domain
	// programs are those that may be run; nil is none.
	programs *Programs
	entries  []*aliasEntry
	// problems are all mistakes found, in the order of lines.
	problems []*Problem
}

func (p *aliasParser) problem(line int, format string, args ...any) {
	p.problems = append(p.problems, &Problem{File: p.file, Line: line, Text: fmt.Sprintf(format, args...)})
}

// maxAliasFile bounds an alias file in bytes.
const maxAliasFile = 16 << 20

// readAliasFile reads a regular file whole. It does not wait for a FIFO.
func readAliasFile(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !fi.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxAliasFile+1))
	if err == nil && len(b) > maxAliasFile {
		err = fmt.Errorf("%s is larger than %d MiB", path, maxAliasFile>>20)
	}
	return b, err
}

// parse reads a whole file. Mistakes do not stop it.
func (p *aliasParser) parse(text string) {
	for _, l := range logicalLines(text) {
		p.parseLine(l)
	}
}

// logicalLine is a line with its continuations.
type logicalLine struct {
	number int // of the first physical line
	text   string
	// continued says that the first line began with white space, although
	// there was nothing to continue.
	continued bool
}

// logicalLines takes comments away and joins what is continued: a line that
// begins with white space belongs to the one before, across comments and empty
// lines.
func logicalLines(text string) []logicalLine {
	var lines []logicalLine
	number := 0
	for line := range strings.Lines(text) {
		number++
		line = strings.TrimRight(line, "\r\n")
		if number == 1 {
			line = strings.TrimPrefix(line, "\ufeff") // some editors leave one
		}
		body := strings.TrimSpace(cutComment(line))
		if body == "" {
			continue
		}
		indented := line[0] == ' ' || line[0] == '\t'
		if indented && len(lines) > 0 {
			lines[len(lines)-1].text += " " + body
			continue
		}
		lines = append(lines, logicalLine{number, body, indented})
	}
	return lines
}

// cutComment removes a comment: a # at the start or after white space, and not
// in quotes.
func cutComment(line string) string {
	quoted := false
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case c == '#' && !quoted && (i == 0 || line[i-1] == ' ' || line[i-1] == '\t'):
			return line[:i]
		}
	}
	return line
}

// parseLine reads "name: target, target".
func (p *aliasParser) parseLine(l logicalLine) {
	if l.continued {
		p.problem(l.number, "the line begins with white space but continues nothing")
		return
	}
	key, rest, ok := cutKey(l.text)
	if !ok {
		p.problem(l.number, "no %q after the name; write name: target, target", ":")
		return
	}
	e := &aliasEntry{file: p.file, line: l.number}
	if err := p.setKey(e, key); err != nil {
		p.problem(l.number, "%v", err)
		return
	}
	for _, item := range splitTargets(rest) {
		t, err := parseTarget(item)
		if err == nil && t.kind == toProgram {
			err = p.programs.mayRun(t.local)
		}
		if err != nil {
			p.problem(l.number, "alias %s: %v", e, err)
			continue
		}
		e.targets = append(e.targets, t)
	}
	if len(e.targets) == 0 && !p.hasProblemAt(l.number) {
		p.problem(l.number, "alias %s leads nowhere; write /dev/null to throw its mail away", e)
	}
	p.entries = append(p.entries, e)
}

func (p *aliasParser) hasProblemAt(line int) bool {
	return len(p.problems) > 0 && p.problems[len(p.problems)-1].Line == line
}

// cutKey splits a line at the first colon that is not in quotes.
func cutKey(line string) (key, rest string, ok bool) {
	quoted := false
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case c == ':' && !quoted:
			return strings.TrimSpace(line[:i]), line[i+1:], true
		}
	}
	return "", "", false
}

// setKey gives the entry its name and domain.
func (p *aliasParser) setKey(e *aliasEntry, key string) error {
	local, domain, err := splitAddress(key)
	if err != nil {
		return fmt.Errorf("the name %s: %w", key, err)
	}
	e.name, e.domain = strings.ToLower(local), p.domain
	if local == "" {
		if domain == "" {
			return fmt.Errorf("there is no name before the colon")
		}
		e.name = catchAll // "@domain"
	}
	if domain == "" {
		return nil
	}
	domain = canonicalDomain(domain)
	if p.domain != "" && domain != p.domain {
		return fmt.Errorf("the name %s is not of the domain %s that this file is for", key, p.domain)
	}
	e.domain = domain
	return nil
}

// splitTargets splits at commas that are neither in quotes nor in angle
// brackets. A command that has no quotes around it takes the rest of the line.
func splitTargets(s string) []string {
	var items []string
	start, quoted, angle := 0, false, false
	add := func(end int) {
		if item := strings.TrimSpace(s[start:end]); item != "" {
			items = append(items, item)
		}
	}
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '<' || c == '>':
			angle = c == '<'
		case c == '|' && strings.TrimSpace(s[start:i]) == "":
			add(len(s))
			return items
		case c == ',' && !angle:
			add(i)
			start = i + 1
		}
	}
	add(len(s))
	return items
}

// parseTarget reads one target.
func parseTarget(item string) (target, error) {
	text := item
	if whole, ok := unquote(item); ok {
		text = whole
	}
	switch {
	case strings.HasPrefix(text, "|"):
		return parseProgram(item, text)
	case text == "/dev/null":
		return target{kind: toNothing}, nil
	case strings.HasPrefix(text, "/"):
		return target{}, fmt.Errorf("mail is not written to files (%s); name an account, or /dev/null to throw it away", text)
	case strings.HasPrefix(text, ":include:"):
		return parseInclude(text[len(":include:"):])
	case strings.HasPrefix(text, ":"):
		return target{}, fmt.Errorf("%s is not known here; write /dev/null to throw mail away", text)
	case strings.HasPrefix(item, `\`):
		return parseUser(item[1:])
	case strings.Contains(text, "@"):
		item = text // "alice@example.net", quotes that nobody needs
	}
	if i := strings.LastIndexByte(item, '<'); i >= 0 && strings.HasSuffix(item, ">") {
		item = strings.TrimSpace(item[i+1 : len(item)-1]) // Name <address>
	}
	local, domain, err := splitAddress(item)
	switch {
	case err != nil:
		return target{}, fmt.Errorf("%s: %w", item, err)
	case local == "":
		return target{}, fmt.Errorf("%s has no local part", item)
	}
	return target{local: local, domain: domain}, nil
}

// parseProgram reads a command. Without quotes around it nobody knows whether a
// comma ends it, as it does in Postfix, or is of it, as it is in Sendmail.
func parseProgram(item, text string) (target, error) {
	if item == text && strings.ContainsRune(item, ',') && !strings.HasPrefix(item, `|"`) {
		return target{}, fmt.Errorf(`write a command with a comma in quotes ("|..."), and what follows it after them (%s)`, text)
	}
	command, err := commandText(text[1:])
	if err != nil {
		return target{}, fmt.Errorf("%s: %w", text, err)
	}
	return target{kind: toProgram, local: command}, nil
}

func parseInclude(path string) (target, error) {
	if !strings.HasPrefix(path, "/") {
		return target{}, fmt.Errorf(":include:%s is not an absolute path", path)
	}
	return target{kind: toInclude, local: path}, nil
}

// parseUser reads the name after a backslash.
func parseUser(name string) (target, error) {
	local, domain, err := splitAddress(name)
	if err != nil || local == "" || domain != "" {
		return target{}, fmt.Errorf(`\%s is not a user's name`, name)
	}
	return target{kind: toUser, local: local}, nil
}
