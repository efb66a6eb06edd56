package lda

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// show writes entries in one line each, so that tables stay readable.
func show(entries []*aliasEntry) string {
	var lines []string
	for _, e := range entries {
		var to []string
		for _, t := range e.targets {
			switch t.kind {
			case toNothing:
				to = append(to, "NOTHING")
			case toUser:
				to = append(to, "USER "+t.local)
			case toInclude:
				to = append(to, "INCLUDE "+t.local)
			case toProgram:
				to = append(to, "RUN "+t.local)
			default:
				to = append(to, joinAddress(t.local, t.domain))
			}
		}
		lines = append(lines, fmt.Sprintf("%s=%s", e, strings.Join(to, ",")))
	}
	return strings.Join(lines, "\n")
}

func TestParseAliases(t *testing.T) {
	for _, c := range []struct {
		name, in, want string
	}{
		{"empty", "", ""},
		{"comments and blank lines", "# x\n\n   # y: z\n\t\n", ""},
		{"one", "postmaster: root\n", "postmaster=root"},
		{"no space, no final LF", "a:b", "a=b"},
		{"CRLF and a byte order mark", "\ufeffa: b\r\nc: d\r\n", "a=b\nc=d"},
		{"several", "a: b, c ,d@example.net\n", "a=b,c,d@example.net"},
		{"white space before the colon", "a  : b\n", "a=b"},
		{"names are folded, targets kept", "PostMaster: Root@Example.NET\n", "postmaster=Root@Example.NET"},
		{"continuation", "a: b,\n\tc,\n   d\ne: f\n", "a=b,c,d\ne=f"},
		{"continuation across a comment", "a: b,\n# not now\n\n c\n", "a=b,c"},
		{"the target in the next line", "a:\n b\n", "a=b"},
		{"comment at the end", "a: b # me\nc: d#e\n", "a=b\nc=d#e"},
		{"quoted name", `"john doe": "jane doe"` + "\n", `john doe="jane doe"`},
		{"quoted name with colon and hash", `"a:b #c": d` + "\n", `a:b #c=d`},
		{"quoted comma", `a: "b, c", d` + "\n", `a="b, c",d`},
		{"quoted local part", `a: "b c"@example.net` + "\n", `a="b c"@example.net`},
		{"whole address in quotes", `a: "b@example.net"` + "\n", `a=b@example.net`},
		{"angle brackets", "a: Bob B <b@example.net>, <c>\n", "a=b@example.net,c"},
		{"thrown away", "a: /dev/null\n", "a=NOTHING"},
		{"the real user", `a: \a, b` + "\n", "a=USER a,b"},
		{"include", "a: :include:/etc/list\n", "a=INCLUDE /etc/list"},
		{"include in quotes", `a: ":include:/etc/list"` + "\n", "a=INCLUDE /etc/list"},
		{"catch-all", "*: a\n", "*=a"},
		{"catch-all of a domain", "@Example.ORG: a\n", "*@example.org=a"},
		{"one domain", "info@Example.org.: a\n", "info@example.org=a"},
		{"UTF-8", "grüße: bücher@bücher.example\n", "grüße=bücher@bücher.example"},
		{"plus", "a+b: c+d\n", "a+b=c+d"},
		{"empty items", "a: ,b,,c,\n", "a=b,c"},
		{"backslash in quotes", `"a\"b": c` + "\n", `a"b=c`},
		{"program", "a: |/bin/x\n", "a=RUN /bin/x"},
		{"program with arguments", "a: b, | /bin/x -o  'y z' # me\n", "a=b,RUN /bin/x -o  'y z'"},
		{"program in quotes", `a: "|/bin/x y, z", b` + "\n", "a=RUN /bin/x y, z,b"},
		{"Sendmail's quotes", `a: |"/bin/x y, z"` + "\n", "a=RUN /bin/x y, z"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := &aliasParser{file: "f", programs: &Programs{Allowed: []string{"/bin/x"}}}
			p.parse(c.in)
			for _, problem := range p.problems {
				t.Error(problem)
			}
			if got := show(p.entries); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestParseAliasesReportsEveryProblem(t *testing.T) {
	for _, c := range []struct {
		name, in string
		line     int
		text     string
	}{
		{"no colon", "# x\npostmaster root\n", 2, `no ":" after the name`},
		{"no name", ": root\n", 1, "no name before the colon"},
		{"nothing behind", "a:\n", 1, "leads nowhere"},
		{"only a comment behind", "a: # b\n", 1, "leads nowhere"},
		{"nothing to continue", "  a: b\n", 1, "continues nothing"},
		{"command", "a: b\nm: |/usr/bin/procmail -d x\n", 2, "alias m: the program /usr/bin/procmail is not run, since pipe_programs of [aliases] does not name it; add it there"},
		{"command in quotes", `m: b, "|/usr/bin/vacation jane"` + "\n", 1, "pipe_programs of [aliases] does not name it"},
		{"a program beside the allowed one", "m: |/bin/x/../sh\n", 1, "not the whole path"},
		{"a relative program", "m: |x\n", 1, "x is not the whole path of a program"},
		{"no program", "m: |\n", 1, "no program after the |"},
		{"a comma that nobody understands", "m: |/bin/x y, z\n", 1, `in quotes ("|...")`},
		{"shell", "m: \"|/bin/x || exit 75\"\n", 1, "no shell is run"},
		{"variable of a shell", "m: |/bin/x $SENDER\n", 1, "no shell is run"},
		{"open quote in a command", "m: \"|/bin/x 'y\"\n", 1, "does not end"},
		{"file", "m: /var/mail/archive\n", 1, "not written to files (/var/mail/archive)"},
		{"relative include", "m: :include:list\n", 1, "not an absolute path"},
		{"Exim's words", "m: :blackhole:\n", 1, ":blackhole: is not known here"},
		{"missing comma", "m: a b\n", 1, "a comma is missing"},
		{"no local part", "m: @example.net\n", 1, "has no local part"},
		{"no domain", "m: a@\n", 1, "nothing after the @"},
		{"bad domain", "m: a@b..c\n", 1, "no domain"},
		{"bad name", "a b: c\n", 1, "needs quotes"},
		{"control character", "a: b\x01\n", 1, "control character"},
		{"not UTF-8", "a: b\xff\n", 1, "not UTF-8"},
		{"too long", "a: " + strings.Repeat("b", 600) + "\n", 1, "too long"},
		{"backslash and domain", `a: \a@b` + "\n", 1, "not a user's name"},
		{"after a continuation", "a: b,\n c\nd e\n", 3, "no "},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := &aliasParser{file: "f", programs: &Programs{Allowed: []string{"/bin/x"}}}
			p.parse(c.in)
			if len(p.problems) != 1 {
				t.Fatalf("problems: %v", p.problems)
			}
			got := p.problems[0]
			if got.Line != c.line || !strings.Contains(got.Text, c.text) {
				t.Errorf("%v", got)
			}
		})
	}
}

// write makes a file in a directory of this test.
func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// problemsOf loads one global file and gives its problems without the file's
// name.
func problemsOf(t *testing.T, text string, o Options) []string {
	t.Helper()
	path := write(t, "aliases", text)
	o.Aliases = append(o.Aliases, AliasFile{Path: path})
	var got []string
	for _, p := range loadAliases(context.Background(), o).problems {
		got = append(got, strings.TrimPrefix(p.Error(), path))
	}
	return got
}

func TestLoadAliasesFindsCirclesAndDoubles(t *testing.T) {
	long := ""
	for i := range maxDepth + 3 {
		long += fmt.Sprintf("n%d: n%d\n", i, i+1)
	}
	for _, c := range []struct {
		name, in string
		want     []string
	}{
		{"good", "a: b, c\nb: c\nc: d\n", nil},
		{"itself is the user", "a: a, b@example.net\n", nil},
		{"real user cuts the circle", "a: b\nb: \\a\n", nil},
		{"circle", "a: b\nb: c\nc: a, d\n", []string{":3: aliases lead in a circle: a -> b -> c -> a"}},
		{"circle by detail", "a: b+x\nb: a\n", []string{":2: aliases lead in a circle: a -> b -> a"}},
		{"two circles", "a: b\nb: a\nc: d\nd: c\n", []string{":2: aliases lead in a circle: a -> b -> a", ":4: aliases lead in a circle: c -> d -> c"}},
		{"double", "a: b\nA: c\n", []string{":2: alias a is there already, at /aliases:1; write all its targets in one place"}},
		{"a very long chain", long, []string{":20: alias n0: more than 20 aliases lead to one another"}},
		{"include not allowed", "a: :include:/etc/passwd\n", []string{":1: alias a: :include: is not allowed here; allow it in the configuration, or write the addresses into this file"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := problemsOf(t, c.in, Options{RecipientDelimiter: "+"})
			for i := range got { // the path in the text is another one each time
				if from := strings.Index(got[i], "at /"); from >= 0 {
					got[i] = got[i][:from] + "at " + got[i][strings.Index(got[i], "/aliases:"):]
				}
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
		})
	}
}

func TestLoadAliasesReadsFilesOfDomainsAndIncludes(t *testing.T) {
	list := write(t, "list", "# members\nbob, carol\n\ndave@example.net # away\n")
	domain := write(t, "org", "info: :include:"+list+"\n*: alice\nsales@example.org: bob\nx@example.net: y\n")
	o := Options{AllowInclude: true, Aliases: []AliasFile{
		{Path: domain, Domain: "Example.ORG"},
		{Path: filepath.Join(t.TempDir(), "none"), Optional: true},
		{Path: write(t, "global", "info: root\n@example.com: eve\n")},
	}}
	table := loadAliases(context.Background(), o)
	if len(table.problems) != 1 || !strings.HasSuffix(table.problems[0].Error(), ":4: the name x@example.net is not of the domain example.org that this file is for") {
		t.Errorf("problems: %v", table.problems)
	}
	for _, c := range []struct{ name, domain, want string }{
		{"info", "example.org", "info@example.org"},
		{"INFO", "example.org", "info@example.org"},
		{"info", "example.com", "info"},
		{"sales", "example.org", "sales@example.org"},
	} {
		if e := table.lookup(c.name, c.name, c.domain); e == nil || e.String() != c.want {
			t.Errorf("%s in %s: %v", c.name, c.domain, e)
		}
	}
	if e := table.lookup("*", "*", "example.org"); e != nil {
		t.Errorf("the address * is the catch-all: %v", e)
	}
	if got := table.targets(table.lookup("info", "info", "example.org")); len(got) != 3 || got[2].domain != "example.net" {
		t.Errorf("included: %+v", got)
	}
	for domain, want := range map[string]string{"example.org": "*@example.org", "example.com": "*@example.com", "example.net": ""} {
		got := ""
		if e := table.catchAll(domain); e != nil {
			got = e.String()
		}
		if got != want {
			t.Errorf("catch-all of %s is %q", domain, got)
		}
	}
}

func TestLoadAliasesReportsUnreadableFiles(t *testing.T) {
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	nested := write(t, "nested", ":include:/x\n|/bin/x\nok\n")
	o := Options{AllowInclude: true, Programs: &Programs{Allowed: []string{"/bin/x"}}, Aliases: []AliasFile{
		{Path: filepath.Join(dir, "none")},
		{Path: fifo}, // must not wait for a writer
		{Path: dir, Optional: true},
		{Path: write(t, "a", "a: :include:"+filepath.Join(dir, "none")+"\nb: :include:"+nested+"\n")},
	}}
	var all []string
	for _, p := range loadAliases(context.Background(), o).problems {
		all = append(all, p.Error())
	}
	text := strings.Join(all, "\n")
	for _, want := range []string{"none: open ", "fifo is not a regular file", dir + " is not a regular file", "alias a: open ",
		nested + ":1: an included file cannot include another", nested + ":2: an included file cannot name programs"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in\n%s", want, text)
		}
	}
}

func TestDebiansAliasesAreFine(t *testing.T) {
	got := problemsOf(t, `# /etc/aliases
mailer-daemon: postmaster
postmaster: root
nobody: root
hostmaster: root
usenet: root
news: root
webmaster: root
www: root
ftp: root
abuse: root
noc: root
security: root
root: alice
`, Options{})
	if len(got) > 0 {
		t.Error(got)
	}
}

func FuzzAliases(f *testing.F) {
	for _, s := range []string{"a: b\n", "\"a b\": \"c d\"@e, \\f\n g\n", "*: /dev/null # x", ":", "a:|x, y", "a: \"|/bin/x 'y\", b", "a: <b", "\"a\\", "\ufeffa: b\r\n", "a: :include:/x", "@x: y", "a:\"b\"@\"c\""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		p := &aliasParser{file: "f", programs: &Programs{Allowed: []string{"/bin/x"}}}
		p.parse(in)
		for _, e := range p.entries {
			if e.name == "" || len(e.targets) == 0 && len(p.problems) == 0 {
				t.Errorf("entry %+v", e)
			}
			for _, to := range e.targets {
				if to.kind == toProgram {
					if words, err := commandWords(to.local); err != nil || words[0] != "/bin/x" {
						t.Errorf("%q may run: %q, %v", to.local, words, err)
					}
				}
				if to.kind != toAddress {
					continue
				}
				// What was accepted must be the same when it is written again.
				again, err := parseTarget(joinAddress(to.local, to.domain))
				if err != nil && !strings.HasPrefix(to.local, "|") && !strings.HasPrefix(to.local, "/") && !strings.HasPrefix(to.local, ":") {
					t.Errorf("%q: %v", joinAddress(to.local, to.domain), err)
				}
				if err == nil && again.kind == toAddress && to.domain != "" && again != to {
					t.Errorf("%+v became %+v", to, again)
				}
			}
		}
		for i := 1; i < len(p.problems); i++ {
			if p.problems[i].Line < p.problems[i-1].Line {
				t.Error("problems are not in the order of lines")
			}
		}
	})
}
