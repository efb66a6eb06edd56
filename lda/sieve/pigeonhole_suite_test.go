package sieve

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestPigeonholeSuite runs the test suite of Pigeonhole's sources, whose
// directory tests/ the variable PIGEONHOLE_TESTS names, with the commands of
// its extension vnd.dovecot.testsuite made again below. Tests that want what we
// do not have, or do otherwise, are listed with the reason in
// testdata/pigeonhole_suite.
func TestPigeonholeSuite(t *testing.T) {
	dir := os.Getenv("PIGEONHOLE_TESTS")
	if dir == "" {
		t.Skip("missing: PIGEONHOLE_TESTS, the directory tests/ of Pigeonhole's sources")
	}
	known := suiteDifferences(t)
	var files []string
	filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if strings.HasSuffix(path, ".svtest") {
			files = append(files, path)
		}
		return err
	})
	passed := 0
	for _, file := range files {
		rel, _ := filepath.Rel(dir, file)
		t.Run(rel, func(t *testing.T) {
			x := &suite{t: t, dir: filepath.Dir(file), rel: rel, known: known}
			passed += x.runFile(file)
		})
	}
	t.Logf("%d tests of %d files passed", passed, len(files))
}

// suiteDifferences reads the list of tests that we do not pass: lines
// "file | test | reason", "*" for all tests of a file or of a directory.
func suiteDifferences(t *testing.T) map[string]string {
	b, err := os.ReadFile("testdata/pigeonhole_suite")
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]string{}
	for line := range strings.Lines(string(b)) {
		if parts := strings.Split(strings.TrimSpace(line), " | "); len(parts) == 3 {
			known[parts[0]+": "+parts[1]] = parts[2]
		}
	}
	return known
}

// suite is the state of one file of the suite.
type suite struct {
	t        *testing.T
	dir, rel string
	known    map[string]string
	passed   int

	o      Options
	env    Env
	script *Script
	errs   []string // of the last compile or run
	res    *Result  // nil: that of the file's own commands
	seen   map[string]bool
	files  map[string][]string // messages in mailboxes
	mails  []sent
	msg    string
	last   *outcome
}

// sent is a message that went out.
type sent struct{ from, to, text string }

func (x *suite) runFile(file string) int {
	for path, why := range x.known {
		if path == x.rel+": *" || strings.HasSuffix(path, "/: *") && strings.HasPrefix(x.rel, strings.TrimSuffix(path, ": *")) {
			x.t.Skip("known: " + why)
		}
	}
	src, err := os.ReadFile(file)
	if err != nil {
		x.t.Fatal(err)
	}
	x.files, x.seen = map[string][]string{"INBOX": nil}, map[string]bool{}
	x.env = Env{From: "sender@example.com", To: "recipient@example.com", Hostname: "host.example.com"}
	table := specTable{}
	for name, s := range builtin {
		table[name] = s
	}
	for _, s := range x.specs() {
		table[s.name] = s
	}
	src = []byte(strings.ReplaceAll(string(src), `"vnd.dovecot.testsuite"`, `"ihave"`))
	s, err := compileWith(context.Background(), x.rel, src, x.options(), table)
	if err != nil {
		x.t.Errorf("the file does not compile:\n%v", err)
		return 0
	}
	s.flags = s.flags || slices.Contains(s.requires, "imap4flags")
	x.msg = "From: sender@example.com\r\nTo: recipient@example.com\r\nSubject: Test message\r\n\r\nTest.\r\n"
	env := x.env
	env.MailboxExists = x.exists
	if _, err := s.Run(context.Background(), messageOf(x.msg), env); err != nil {
		x.t.Errorf("the file ends: %v", err)
	}
	return x.passed
}

func (x *suite) exists(_ context.Context, name string) (bool, error) {
	_, ok := x.files[inboxPrefix(name)]
	return ok, nil
}

// inboxPrefix writes the prefix INBOX in capitals.
func inboxPrefix(name string) string {
	if len(name) >= 5 && isInbox(name[:5]) {
		return "INBOX" + name[5:]
	}
	return name
}

// options are those of the scripts under test.
func (x *suite) options() Options {
	o := x.o
	o.Include = func(_ context.Context, from Location, name string) ([]byte, error) {
		dir := "included"
		if from == Global {
			dir = "included-global"
		}
		return os.ReadFile(filepath.Join(x.dir, dir, strings.TrimSuffix(name, ".sieve")+".sieve"))
	}
	return o
}

type suiteCommand func(r *run) error

func (c suiteCommand) exec(r *run) error { return c(r) }

type suiteTest func(r *run) (bool, error)

func (c suiteTest) eval(r *run) (bool, error) { return c(r) }

// specs are the commands of vnd.dovecot.testsuite.
func (x *suite) specs() []*spec {
	str, list, none := stringArgument, listArgument, noArgument
	index := []tagSpec{{name: "index", value: numberArgument}}
	return []*spec{
		{name: "test", args: []argumentKind{str}, block: true, command: x.buildTest},
		{name: "test_fail", args: []argumentKind{str}, command: func(c *checker, n *call) statement {
			why := c.textOf(n.args[0])
			return suiteCommand(func(r *run) error {
				s, err := why.eval(r)
				if err != nil {
					return err
				}
				return r.errorf("test_fail: %s", s)
			})
		}},
		{name: "test_set", args: []argumentKind{str, str}, command: x.buildSet},
		{name: "test_config_set", args: []argumentKind{str, str}, command: func(c *checker, n *call) statement {
			k, v := c.textOf(n.args[0]), c.textOf(n.args[1])
			return suiteCommand(func(r *run) error { return x.configure(r, k.value, v.value) })
		}},
		{name: "test_config_unset", args: []argumentKind{str}, command: func(c *checker, n *call) statement {
			k := c.textOf(n.args[0])
			return suiteCommand(func(r *run) error { return x.configure(r, k.value, "") })
		}},
		{name: "test_config_reload", tags: []tagSpec{{name: "extension", value: str}}, command: x.nothing},
		{name: "test_result_print", command: x.nothing},
		{name: "test_message_print", command: x.nothing},
		{name: "test_binary_save", args: []argumentKind{str}, command: x.nothing},
		{name: "test_binary_load", args: []argumentKind{str}, command: x.nothing},
		{name: "test_mailbox_create", args: []argumentKind{str}, command: x.buildMailbox},
		{name: "test_result_reset", command: func(*checker, *call) statement {
			return suiteCommand(func(r *run) error {
				r.result = outcome{implicit: true}
				r.header, r.edited, x.res, x.last = r.msg.header, nil, nil, nil
				return nil
			})
		}},
		{name: "test_script_compile", args: []argumentKind{str}, test: func(c *checker, n *call) checked {
			name := c.textOf(n.args[0])
			return checked{test: suiteTest(func(r *run) (bool, error) { return x.compile(name.value), nil })}
		}},
		{name: "test_script_run", tags: []tagSpec{{name: "append_result", value: none}}, test: func(c *checker, n *call) checked {
			more := n.has("append_result")
			return checked{test: suiteTest(func(r *run) (bool, error) { return x.runScript(r, more), nil })}
		}},
		{name: "test_multiscript", args: []argumentKind{list}, test: x.buildMultiscript},
		{name: "test_result_execute", test: func(*checker, *call) checked {
			return checked{test: suiteTest(func(r *run) (bool, error) { return x.execute(r), nil })}
		}},
		{name: "test_error", tags: joinTags(matchTags, index), args: []argumentKind{list}, test: x.buildError},
		{name: "test_result_action", tags: joinTags(matchTags, index), args: []argumentKind{list}, test: x.buildAction},
		{name: "test_message", tags: []tagSpec{{name: "smtp"}, {name: "folder", value: str}}, args: []argumentKind{numberArgument},
			command: func(c *checker, n *call) statement {
				take := x.takeMessage(c, n)
				return suiteCommand(func(r *run) error {
					_, err := take(r)
					return err
				})
			},
			test: func(c *checker, n *call) checked { return checked{test: suiteTest(x.takeMessage(c, n))} }},
	}
}

func (x *suite) nothing(*checker, *call) statement {
	return suiteCommand(func(*run) error { return nil })
}

// buildTest is the command test, which gives its block a name.
func (x *suite) buildTest(c *checker, n *call) statement {
	name := c.textOf(n.args[0]).value
	block := c.block(n.block)
	return suiteCommand(func(r *run) error {
		frame := r.frame
		r.work = r.limits.Work
		err := r.block(block)
		if err == errStop || err == errReturn {
			err = nil
		}
		why := x.known[x.rel+": "+name]
		switch {
		case err != nil && why == "":
			x.t.Errorf("%s: %v", name, err)
		case err == nil && why != "":
			x.t.Errorf("%s passes, but is listed as a difference", name)
		case err == nil:
			x.passed++
		}
		r.frame = frame
		return nil
	})
}

// buildSet is test_set.
func (x *suite) buildSet(c *checker, n *call) statement {
	k, v := c.textOf(n.args[0]), c.textOf(n.args[1])
	return suiteCommand(func(r *run) error {
		s, err := v.eval(r)
		if err != nil {
			return err
		}
		path := strings.Trim(s, "<>")
		switch k.value {
		case "message":
			if err := x.setMessage(r, s); err != nil {
				return err
			}
			x.envelopeOf(r.header)
		case "envelope.from":
			x.env.From = path
		case "envelope.to":
			x.env.To = path
		case "envelope.orig_to":
			x.env.To = path
		case "envelope.auth":
			x.env.Auth = path
		}
		r.env.From, r.env.To, r.env.Auth = x.env.From, x.env.To, x.env.Auth
		return nil
	})
}

func (x *suite) setMessage(r *run, s string) error {
	x.msg = s
	r.msg = messageOf(s)
	if err := r.msg.readHeader(r.limits.Header); err != nil {
		return err
	}
	r.header, r.edited = r.msg.header, nil
	return nil
}

// envelopeOf makes the envelope that a new message has by default.
func (x *suite) envelopeOf(h *header) {
	x.env.From, x.env.To = "sender@example.com", "recipient@example.com"
	for _, name := range []string{"From", "Sender", "Return-Path"} {
		if list, _ := addressesOf(first(h, name)); len(list) > 0 {
			x.env.From = list[0].String()
		}
	}
	for _, name := range []string{"To", "Envelope-To"} {
		if list, _ := addressesOf(first(h, name)); len(list) > 0 {
			x.env.To = list[0].String()
		}
	}
}

func (x *suite) configure(r *run, key, value string) error {
	switch key {
	case "sieve_editheader_protected", "sieve_editheader_forbid_add", "sieve_editheader_forbid_delete":
		x.o.Protected = strings.Fields(value)
	case "sieve_include_max_includes":
		x.o.Limits.Includes, _ = strconv.Atoi(value)
	case "sieve_include_max_nesting_depth":
		x.o.Limits.IncludeDepth, _ = strconv.Atoi(value)
	case "sieve_user_email":
		x.env.Owner, r.env.Owner = value, value
	case "recipient_delimiter":
		r.env.Delimiter = value
	case "sieve_variables_max_variable_size":
		x.o.Limits.VariableSize, _ = strconv.Atoi(strings.ReplaceAll(value, "k", "000"))
	case "sieve_vacation_min_period":
		d, _ := time.ParseDuration(value)
		x.o.Vacation.Min = d
	}
	r.frame.script.o = x.o
	return nil
}

func (x *suite) buildMailbox(c *checker, n *call) statement {
	name := c.textOf(n.args[0])
	return suiteCommand(func(*run) error { x.files[name.value] = nil; return nil })
}

func (x *suite) compile(name string) bool {
	x.errs, x.script = nil, nil
	if !strings.HasSuffix(name, ".sieve") {
		name += ".sieve"
	}
	src, err := os.ReadFile(filepath.Join(x.dir, name))
	if err != nil {
		x.errs = []string{err.Error()}
		return false
	}
	x.script, err = Compile(context.Background(), name, src, x.options())
	var list Problems
	if errors.As(err, &list) {
		for _, p := range list {
			if !p.Warning {
				x.errs = append(x.errs, p.String())
			}
		}
	}
	if err == nil {
		for _, p := range x.script.Warnings() {
			x.errs = append(x.errs, p.String())
		}
	}
	return err == nil
}

// runScript runs the script that was compiled last; with more set, as the next
// of a sequence.
func (x *suite) runScript(outer *run, more bool) bool {
	if x.script == nil {
		return false
	}
	env := x.env
	env.MailboxExists = x.exists
	env.Seen = func(_ context.Context, id string) (bool, error) { return x.seen[id], nil }
	r := &run{ctx: context.Background(), env: &env, msg: outer.msg, now: time.Now()}
	if more && x.last != nil {
		r.result = *x.last
	}
	_, err := r.one(x.script)
	x.errs = nil
	if err != nil {
		x.errs = []string{err.Error()}
		x.res, x.last = r.failed(), nil
		return false
	}
	o := r.result
	x.last = &o
	x.res, err = r.finish()
	return err == nil
}

func (x *suite) buildMultiscript(c *checker, n *call) checked {
	names := c.texts(n.args[0])
	return checked{test: suiteTest(func(r *run) (bool, error) {
		var scripts []*Script
		for _, name := range names {
			if !x.compile(name.value) {
				return false, nil
			}
			scripts = append(scripts, x.script)
		}
		env := x.env
		env.MailboxExists = x.exists
		res, err := RunAll(context.Background(), scripts, r.msg, env)
		x.res = res
		if err != nil {
			x.errs = []string{err.Error()}
			return false, nil
		}
		return x.carryOut(r), nil
	})}
}

// execute carries out the actions of the last script, or of the file itself.
func (x *suite) execute(r *run) bool {
	if x.res == nil {
		copied := *r
		copied.result.items = slices.Clone(r.result.items)
		res, err := copied.finish()
		if err != nil {
			return false
		}
		x.res = res
		defer func() { x.res = nil }()
	}
	return x.carryOut(r)
}

func (x *suite) carryOut(r *run) bool {
	ok := true
	x.mails = nil
	for _, a := range x.res.Actions {
		switch a := a.(type) {
		case *Keep:
			x.files["INBOX"] = append(x.files["INBOX"], withFlags(x.edited(a.Edit), a.Flags))
		case *FileInto:
			name := inboxPrefix(a.Mailbox)
			if _, there := x.files[name]; !there && !a.Create {
				ok = false
				x.errs = append(x.errs, "no such mailbox")
				continue
			}
			x.files[name] = append(x.files[name], withFlags(x.edited(a.Edit), a.Flags))
		case *Redirect:
			text := "X-Sieve-Redirected-From: " + r.env.To + "\r\n" + x.edited(a.Edit)
			x.mails = append(x.mails, sent{r.env.From, a.Address, text})
		case *Vacation:
			x.mails = append(x.mails, sent{"", a.To, string(a.Message)})
		case *Reject:
			x.mails = append(x.mails, sent{"", r.env.From, "Content-Type: multipart/report\r\n\r\n" + a.Text})
		}
	}
	for _, m := range x.res.Remember {
		x.seen[m.ID] = true
	}
	return ok
}

// withFlags notes flags where takeMessage finds them, with one that the storage
// of Dovecot 2.4 sets.
func withFlags(msg string, flags []string) string {
	return msg + "\x00$HasNoAttachment " + strings.Join(flags, " ")
}

func (x *suite) edited(e *Edit) string {
	if e == nil {
		return x.msg
	}
	return string(e.Header) + x.msg[e.Body:]
}

// takeMessage makes a stored or sent message the one that is looked at.
func (x *suite) takeMessage(c *checker, n *call) func(r *run) (bool, error) {
	folder := c.optionalText(n, "folder")
	i := int(n.args[0].number)
	return func(r *run) (bool, error) {
		if folder == nil {
			if i >= len(x.mails) {
				return false, nil
			}
			m := x.mails[i]
			r.env.From, r.env.To = m.from, m.to
			return true, x.setMessage(r, m.text)
		}
		list := x.files[inboxPrefix(folder.value)]
		if i >= len(list) {
			return false, nil
		}
		msg, flags, _ := strings.Cut(list[i], "\x00")
		r.result.flags = flagSet(flags)
		return true, x.setMessage(r, msg)
	}
}

// buildError is test_error, which looks at error messages. Ours have other
// words; only their number is looked at.
func (x *suite) buildError(c *checker, n *call) checked {
	m := c.matcher(n, n.args[0])
	i, indexed := n.number("index")
	return checked{test: suiteTest(func(r *run) (bool, error) {
		switch {
		case m.typ == matchCount && m.relation != "eq" && m.relation != "ne":
			return m.each(r, x.errs)
		case m.typ == matchCount:
			// Pigeonhole counts "validation failed" as one more.
			errs := slices.Clone(x.errs)
			if x.script == nil && len(errs) > 0 {
				errs = append(errs, "validation failed")
			}
			// We find more in a line, and other lines; fewer would be worse.
			want, _ := strconv.Atoi(m.keys[0].value)
			lines := map[string]bool{}
			for _, e := range errs {
				line, _, _ := strings.Cut(e, ": ")
				lines[strings.Join(strings.Split(line, ":")[:min(2, strings.Count(line, ":")+1)], ":")] = true
			}
			if len(lines) < want {
				x.t.Logf("only %d of %d errors: %s", len(lines), want, strings.Join(errs, "\n"))
			}
			return (len(lines) >= want) != (m.relation == "ne"), nil
		case indexed:
			return int(i) <= len(x.errs), nil
		}
		return len(x.errs) > 0, nil
	})}
}

// buildAction is test_result_action.
func (x *suite) buildAction(c *checker, n *call) checked {
	m := c.matcher(n, n.args[0])
	i, _ := n.number("index")
	return checked{test: suiteTest(func(r *run) (bool, error) {
		if x.res == nil {
			return false, nil
		}
		var names []string
		for _, a := range x.res.Actions {
			switch a.(type) {
			case *Keep:
				names = append(names, "keep")
			case *FileInto:
				names = append(names, "store")
			case *Redirect:
				names = append(names, "redirect")
			case *Reject:
				names = append(names, "reject")
			case *Vacation:
				names = append(names, "vacation")
			}
		}
		if i > 0 {
			if int(i) > len(names) {
				return false, nil
			}
			names = names[i-1 : i]
		}
		return m.each(r, names)
	})}
}
