package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
)

// Config is the whole configuration. It is immutable: Load makes it, a reload
// makes another one.
type Config struct {
	// File is the path that it was read from.
	File string

	Server
	Listen     Listen
	TLS        TLS
	ACME       ACME
	Auth       Auth
	Mail       Mail
	LDA        LDA
	Quota      Quota
	Sieve      Sieve
	Index      Index
	Submission Submission
	IMAP       IMAP
	DKIM       []DKIM
	Queue      Queue
	Relay      Relay
	MTASTS     MTASTS
	TLSReports TLSReports
	DMARC      DMARCReports
	DNS        DNS
	Aliases    Aliases
	Inbound    Inbound
	Client     Client
	Limits     Limits
	Log        Log

	lines map[string]int
	// files are the paths that were given.
	files []string
}

// sections lists every section in the order of the reference, bound to c.
func (c *Config) sections() []section {
	return []section{
		c.Server.section(),
		c.Listen.section(),
		c.TLS.section(), c.TLS.extraSection(),
		c.ACME.section(),
		c.Auth.section(), c.Auth.PAM.section(), c.Auth.PasswdFile.section(),
		c.Mail.section(),
		c.LDA.section(),
		c.Quota.section(),
		c.Sieve.section(),
		c.Index.section(),
		c.Submission.section(),
		c.IMAP.section(), c.IMAP.userSection(),
		dkimSection(&c.DKIM),
		c.Queue.section(),
		c.Relay.section(), c.Relay.routeSection(),
		c.MTASTS.section(),
		c.TLSReports.section(), c.DMARC.section(),
		c.DNS.section(),
		c.Aliases.section(), c.Aliases.domainSection(),
		c.Inbound.section(), c.Inbound.filterSection(),
		c.Client.section(), c.Client.listSection(), c.Client.greySection(),
		c.Limits.section(),
		c.Log.section(),
	}
}

// Load reads and validates the file. Its error is Problems, or an error of the
// file system when the file cannot be read.
func Load(path string) (*Config, error) {
	c, problems, err := Read(path)
	if err != nil {
		return nil, err
	}
	if problems.HasErrors() {
		return nil, problems
	}
	return c, nil
}

// Read is Load for a checker: it also returns what could be understood of a
// faulty file, and the warnings of a good one. The error is one of reading the
// file; then there is no Config.
func Read(path string) (*Config, Problems, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, fmt.Errorf("reading the configuration: %w", err)
	}
	c, problems := Parse(path, string(b))
	return c, problems, nil
}

// Parse reads a configuration from text; file names it in problems and gives
// the directory of relative paths. The Config is never nil, but may only be
// used for work when the problems are no errors.
func Parse(file, text string) (*Config, Problems) {
	return parse(file, text, renames)
}

func parse(file, text string, renames []rename) (*Config, Problems) {
	dir, err := filepath.Abs(filepath.Dir(file))
	if err != nil {
		dir = filepath.Dir(file)
	}
	c := &Config{File: file, lines: map[string]int{}}
	l := &loader{c: c, renames: renames, env: env{dir: dir, files: &c.files}}
	c.setDefaults()

	var tree map[string]any
	if _, err := toml.Decode(text, &tree); err != nil {
		l.syntax(err)
		return c, l.problems
	}
	c.lines = keyLines(text)
	l.rename(tree)
	l.load(tree)
	for _, p := range c.crossCheck() {
		p.File, p.Line = c.File, c.line(p.Key)
		l.problems = append(l.problems, p)
	}
	l.problems.Sort()
	return c, l.problems
}

// setDefaults gives every key its documented default.
func (c *Config) setDefaults() {
	for _, s := range c.sections() {
		if s.each == nil {
			setDefaults(s.keys)
		}
	}
}

func setDefaults(keys []key) {
	for _, k := range keys {
		if k.def == "" {
			continue
		}
		var d map[string]any
		if _, err := toml.Decode("x = "+k.def, &d); err != nil {
			panic(fmt.Sprintf("default of %s: %v", k.name, err))
		}
		if err := k.set(env{}, d["x"]); err != nil {
			panic(fmt.Sprintf("default of %s: %v", k.name, err))
		}
	}
}

// crossCheck looks at what single keys cannot tell.
func (c *Config) crossCheck() Problems {
	return slices.Concat(
		c.Server.check(),
		c.Listen.check(),
		c.TLS.check(c),
		c.ACME.check(c),
		c.Auth.check(),
		checkDKIM(c.DKIM),
		c.Queue.check(),
		c.Relay.check(),
		c.Aliases.check(c.Domains, c.User),
		c.Inbound.check(),
		c.Limits.check(),
	)
}

// Where gives "file:line" of a key, or the file alone when the key is not in
// it.
func (c *Config) Where(key string) string {
	if n := c.line(key); n > 0 {
		return fmt.Sprintf("%s:%d", c.File, n)
	}
	return c.File
}

// line is the line of key, else that of the nearest heading above it.
func (c *Config) line(key string) int {
	for key != "" {
		if n := c.lines[key]; n > 0 {
			return n
		}
		i := strings.LastIndexAny(key, ".[")
		if i < 0 {
			break
		}
		key = key[:i]
	}
	return 0
}

// Problem makes a problem of a later check that blames key.
func (c *Config) Problem(key, text, mend string) Problem {
	return Problem{File: c.File, Line: c.line(key), Key: key, Text: text, Mend: mend}
}

// Files are the paths that the configuration names, given or by default, whether
// they exist or not: files to read, state_dir and run_dir.
func (c *Config) Files() []string {
	files := append(slices.Clone(c.files), c.Aliases.File, c.StateDir, c.RunDir)
	if c.Auth.Backend == "passwd-file" {
		files = append(files, c.Auth.PasswdFile.Path)
	}
	slices.Sort(files)
	return slices.DeleteFunc(slices.Compact(files), func(s string) bool { return s == "" })
}

// Given reports whether the file sets the key.
func (c *Config) Given(key string) bool { return c.lines[key] > 0 }

// loader walks the decoded text along the sections and collects problems.
type loader struct {
	c        *Config
	env      env
	problems Problems
	renames  []rename
	known    []string // full names of all sections and keys, for suggestions
}

func (l *loader) syntax(err error) {
	p := Problem{File: l.c.File, Text: err.Error(), Mend: "mend the TOML syntax of this line; see https://toml.io"}
	var pe toml.ParseError
	if errors.As(err, &pe) {
		p.Line = pe.Position.Line
		p.Text = pe.Message
		if p.Text == "" {
			p.Text = strings.TrimPrefix(pe.Error(), "toml: ")
		}
	}
	l.problems = append(l.problems, p)
}

func (l *loader) load(tree map[string]any) {
	all := l.c.sections()
	headings := map[string]section{}
	for _, s := range all {
		headings[s.name] = s
		l.known = append(l.known, s.name)
		keys := s.keys
		if s.each != nil {
			keys, _ = s.each()
		}
		for _, k := range keys {
			l.known = append(l.known, join(s.name, k.name))
		}
	}
	l.unknown("", "", tree, headings)
	for _, s := range all {
		l.section(s, find(tree, s.name))
	}
}

// find follows a dotted name down the tree; nil if a part is missing or is not
// a table (unknown reports that).
func find(tree map[string]any, name string) any {
	var v any = tree
	if name == "" {
		return v
	}
	for part := range strings.SplitSeq(name, ".") {
		m, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = m[part]
	}
	return v
}

func (l *loader) section(s section, v any) {
	if s.each == nil {
		m, _ := v.(map[string]any)
		l.keys(s.name, s.keys, m)
		return
	}
	for i, m := range tables(v) {
		keys, add := s.each()
		setDefaults(keys)
		l.keys(fmt.Sprintf("%s[%d]", s.name, i), keys, m)
		add()
	}
}

// tables gives the elements of an array of tables in either notation.
func tables(v any) []map[string]any {
	switch v := v.(type) {
	case []map[string]any:
		return v
	case []any:
		var out []map[string]any
		for _, e := range v {
			if m, ok := e.(map[string]any); ok {
				out = append(out, m)
			}
		}
		return out
	}
	return nil
}

func (l *loader) keys(prefix string, keys []key, m map[string]any) {
	for _, k := range keys {
		name := join(prefix, k.name)
		v, given := m[k.name]
		if !given {
			if k.required != "" {
				l.add(name, "is missing", k.required)
			}
			continue
		}
		if err := k.set(l.env, v); err != nil {
			var f *fault
			if !errors.As(err, &f) {
				f = &fault{text: err.Error()}
			}
			l.add(name, f.text, f.mend)
		}
	}
}

func (l *loader) add(key, text, mend string) {
	l.problems = append(l.problems, l.c.Problem(key, text, mend))
}

// unknown reports every key and table that no section has. place is the name
// with array indices, name the one without.
func (l *loader) unknown(place, name string, v map[string]any, headings map[string]section) {
	own := map[string]bool{}
	if s, ok := headings[name]; ok {
		keys := s.keys
		if s.each != nil {
			keys, _ = s.each()
		}
		for _, k := range keys {
			own[k.name] = true
		}
	}
	for part, child := range v {
		at, full := join(place, part), join(name, part)
		s, isSection := headings[full]
		switch {
		case own[part]:
		case isSection && s.each != nil:
			l.unknownEach(at, full, child, headings)
		case isSection || isParent(full, headings):
			if m, ok := child.(map[string]any); ok {
				l.unknown(at, full, m, headings)
			} else {
				l.add(at, "is "+typeName(child)+", but is the name of a section", "write ["+full+"] and its keys below")
			}
		default:
			l.unknownKey(at, full)
		}
	}
}

func (l *loader) unknownEach(at, full string, child any, headings map[string]section) {
	elements := tables(child)
	if elements == nil {
		l.add(at, "is "+typeName(child)+", but is a list of sections", "write [["+full+"]] (two brackets) and its keys below")
	}
	for i, m := range elements {
		l.unknown(fmt.Sprintf("%s[%d]", at, i), full, m, headings)
	}
}

func isParent(name string, headings map[string]section) bool {
	for h := range headings {
		if strings.HasPrefix(h, name+".") {
			return true
		}
	}
	return false
}

func (l *loader) unknownKey(at, full string) {
	mend := "remove it; the keys are listed in mailsrvd.toml(5)"
	if n := nearest(full, l.known); n != "" {
		mend = fmt.Sprintf("did you mean %q?", n)
	}
	l.add(at, "unknown key", mend)
}
