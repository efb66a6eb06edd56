package sieve

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"
)

// The files testdata/pigeonhole/*.txtar hold messages and scripts; Pigeonhole's
// sieve-test and sievec and we must make the same of them. The sections:
//
//	NAME.eml     a message
//	NAME.sieve   a script: the actions for each message of the file are compared
//	NAME.tests   a test a line: what each says of each message is compared
//	NAME.accept  a script a line: whether it compiles is compared
//	NAME         a script that others include
//
// Lines of the comment set the envelope ("from: ", "to: "). A line of .tests
// and .accept that begins with "! reason: " is known to differ; a .sieve whose
// first line is "# ! reason" too. Such a line that differs no more is an error.

// peer runs Pigeonhole.
type peer struct {
	t    *testing.T
	dir  string
	args []string
}

// newPeer prepares a directory for Pigeonhole, which drops root.
func newPeer(t *testing.T) *peer {
	dir, err := os.MkdirTemp("", "pigeonhole")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	user, group := fmt.Sprint(os.Getuid()), fmt.Sprint(os.Getgid())
	if os.Getuid() == 0 {
		user, group = "nobody", "nogroup"
	}
	p := &peer{t: t, dir: dir}
	p.write("dovecot.conf", fmt.Sprintf(`base_dir = %[1]s
state_dir = %[1]s
mail_location = maildir:%[1]s/Maildir
mail_uid = %[2]s
mail_gid = %[3]s
first_valid_uid = 1
postmaster_address = postmaster@example.com
hostname = host.example.com
ssl = no
log_path = /dev/stderr
namespace inbox {
  inbox = yes
  separator = /
}
plugin {
  sieve_extensions = +editheader +vacation-seconds +spamtest +spamtestplus +virustest
  sieve_vacation_min_period = 0
  sieve_dir = %[1]s/personal
  sieve = %[1]s/none.sieve
}
`, dir, user, group))
	p.args = []string{"-c", filepath.Join(dir, "dovecot.conf")}
	return p
}

// write makes a file that Pigeonhole can read.
func (p *peer) write(name, text string) {
	path := filepath.Join(p.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		p.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		p.t.Fatal(err)
	}
	for d := filepath.Dir(path); strings.HasPrefix(d, p.dir); d = filepath.Dir(d) {
		os.Chmod(d, 0o777)
	}
}

// run executes one of Pigeonhole's programs.
func (p *peer) run(name string, args ...string) (stdout, stderr string, err error) {
	cmd := exec.Command(name, append(slices.Clone(p.args), args...)...)
	cmd.Dir = p.dir
	cmd.Env = append(os.Environ(), "HOME="+p.dir, "TZ=UTC")
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	return out.String(), errs.String(), err
}

// accepts reports whether sievec compiles a script.
func (p *peer) accepts(script string) (bool, string) {
	p.write("script.sieve", script)
	_, errs, err := p.run("sievec", filepath.Join(p.dir, "script.sieve"), filepath.Join(p.dir, "script.svbin"))
	return err == nil && !strings.Contains(errs, ": error: "), errs
}

// outcome runs a script over a message with sieve-test.
func (p *peer) outcome(script, msg string, env Env) string {
	p.write("script.sieve", script)
	p.write("message.eml", msg)
	// It knows no way to say that the reverse-path is null.
	out, errs, err := p.run("sieve-test", "-C", "-f", env.From, "-a", env.To, "-r", env.To,
		filepath.Join(p.dir, "script.sieve"), filepath.Join(p.dir, "message.eml"))
	if strings.Contains(errs, "final result: fail") {
		return "keep after an error"
	}
	if err != nil {
		return "error: " + errs
	}
	return peerActions(out)
}

// peerActions reads the actions that sieve-test prints.
func peerActions(out string) string {
	var list []string
	add := func(s string) { list[len(list)-1] += s }
	quoted := false
	for line := range strings.Lines(out) {
		line = strings.TrimSuffix(line, "\n")
		switch s := strings.TrimSpace(line); {
		case s == "START MESSAGE":
			quoted = true
		case s == "END MESSAGE":
			quoted = false
		case quoted:
		case strings.HasPrefix(line, " * store message in folder: "):
			list = append(list, "store "+strings.TrimPrefix(line, " * store message in folder: "))
		case strings.HasPrefix(line, " * redirect message to: "):
			list = append(list, "redirect "+strings.Trim(strings.TrimPrefix(line, " * redirect message to: "), "<>"))
		case strings.HasPrefix(line, " * reject message with reason: "):
			list = append(list, "reject "+strings.TrimPrefix(line, " * reject message with reason: "))
		case strings.HasPrefix(line, " * send vacation message:"):
			list = append(list, "vacation")
		case strings.HasPrefix(s, "=> seconds : "):
			add(" " + strings.TrimPrefix(s, "=> seconds : "))
		case strings.HasPrefix(s, "=> subject : "):
			add(" subject=" + strings.TrimPrefix(s, "=> subject : "))
		case strings.HasPrefix(s, "+ add IMAP flags: "):
			add(flagWords(strings.Fields(strings.TrimPrefix(s, "+ add IMAP flags: "))))
		case strings.HasPrefix(s, "+ create mailbox"):
			add(" create")
		}
	}
	return strings.Join(list, "; ")
}

// flagWords writes flags in an order of their own.
func flagWords(flags []string) string {
	flags = slices.Clone(flags)
	for i := range flags {
		flags[i] = strings.ToLower(flags[i])
	}
	slices.Sort(flags)
	return " flags=" + strings.Join(flags, ",")
}

// ourActions writes a result as peerActions does.
func ourActions(res *Result, y *reply) string {
	var list []string
	store := func(mailbox string, flags []string, create bool) {
		s := "store " + mailbox
		if create {
			s += " create"
		}
		if len(flags) > 0 {
			s += flagWords(flags)
		}
		list = append(list, s)
	}
	for _, a := range res.Actions {
		switch a := a.(type) {
		case *Keep:
			store("INBOX", a.Flags, false)
		case *FileInto:
			store(a.Mailbox, a.Flags, a.Create)
		case *Redirect:
			list = append(list, "redirect "+a.Address)
		case *Reject:
			list = append(list, "reject "+strings.NewReplacer("\r", "?", "\n", "?").Replace(a.Text))
		}
	}
	if y != nil {
		s := fmt.Sprintf("vacation %d", int(y.period.Seconds()))
		if y.subject != "" {
			s += " subject=" + y.subject
		}
		list = append(list, s)
	}
	return strings.Join(list, "; ")
}

// sortedActions makes the order of actions not matter: vacation is last here.
func sortedActions(s string) string {
	list := strings.Split(s, "; ")
	slices.Sort(list)
	return strings.Join(list, "; ")
}

// archive is one file of the comparison.
type archive struct {
	p        *peer
	name     string
	env      Env
	messages map[string]string
	scripts  map[string]string // that are included
	pairs    int
}

func TestPigeonholeMakesTheSameOfScripts(t *testing.T) {
	if _, err := exec.LookPath("sieve-test"); err != nil {
		t.Skip("missing: sieve-test")
	}
	files, _ := filepath.Glob("testdata/pigeonhole/*.txtar")
	var pairs atomic.Int64
	t.Cleanup(func() { t.Logf("%d pairs of script and message, %d files", pairs.Load(), len(files)) })
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			t.Parallel()
			ar, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			a := &archive{p: newPeer(t), name: file, env: Env{From: "tim@example.org", To: "ann@example.com"}}
			a.load(ar)
			for _, f := range ar.Files {
				a.section(t, f)
			}
			pairs.Add(int64(a.pairs))
		})
	}
}

// load takes the messages, the included scripts and the envelope.
func (a *archive) load(ar *txtar.Archive) {
	a.messages, a.scripts = map[string]string{}, map[string]string{}
	for line := range strings.Lines(string(ar.Comment)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		switch key {
		case "from":
			a.env.From = value
		case "to":
			a.env.To = value
		}
	}
	for _, f := range ar.Files {
		switch filepath.Ext(f.Name) {
		case ".eml":
			a.messages[f.Name] = strings.ReplaceAll(string(f.Data), "\n", "\r\n")
		case "":
			a.scripts[f.Name] = string(f.Data)
			a.p.write("personal/"+f.Name+".sieve", string(f.Data))
		}
	}
}

func (a *archive) options() Options {
	return Options{Vacation: Period{Min: 1}, Include: func(_ context.Context, _ Location, name string) ([]byte, error) {
		if s, ok := a.scripts[name]; ok {
			return []byte(s), nil
		}
		return nil, fs.ErrNotExist
	}}
}

func (a *archive) section(t *testing.T, f txtar.File) {
	switch filepath.Ext(f.Name) {
	case ".sieve":
		first, _, _ := strings.Cut(string(f.Data), "\n")
		why, known := strings.CutPrefix(first, "# ! ")
		differs := 0
		for _, name := range sortedKeys(a.messages) {
			a.pairs++
			ours, theirs := a.outcomes(t, string(f.Data), a.messages[name])
			if ours != theirs {
				differs++
				if !known {
					t.Errorf("%s, %s:\nours:   %s\ntheirs: %s", f.Name, name, ours, theirs)
				}
			}
		}
		if known && differs == 0 {
			t.Errorf("%s differs no more: %s", f.Name, why)
		}
	case ".tests":
		for _, name := range sortedKeys(a.messages) {
			a.pairs++
			a.tests(t, f, name)
		}
	case ".accept":
		a.accept(t, f)
	}
}

// outcomes returns what we and Pigeonhole make of a script and a message.
func (a *archive) outcomes(t *testing.T, script, msg string) (ours, theirs string) {
	theirs = a.p.outcome(script, msg, a.env)
	s, err := Compile(t.Context(), "script", []byte(script), a.options())
	if err != nil {
		return "error: " + err.Error(), theirs
	}
	r := &run{ctx: t.Context(), env: &a.env, msg: messageOf(msg), now: time.Now().UTC()}
	if _, err := r.one(s); err != nil {
		return "keep after an error", theirs
	}
	y := r.result.reply
	r.result.reply = nil
	res, err := r.finish()
	if err != nil {
		t.Fatal(err)
	}
	return sortedActions(ourActions(res, y)), sortedActions(theirs)
}

// common are the extensions that both have.
func common() string {
	list := slices.DeleteFunc(slices.Clone(extensions), func(e string) bool {
		return strings.HasPrefix(e, "comparator-i;unicode") || e == "special-use" || e == "ereject" || strings.HasPrefix(e, "spam") || e == "virustest"
	})
	return `require ["` + strings.Join(list, `", "`) + `"];` + "\n"
}

// tests compares the tests of a section, by flags that they set.
func (a *archive) tests(t *testing.T, f txtar.File, message string) {
	script, all := common(), []string{}
	for line := range strings.Lines(string(f.Data)) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		_, test := knownDifference(line)
		script += fmt.Sprintf("if %s { addflag \"t%d\"; }\n", test, len(all))
		all = append(all, line)
	}
	ours, theirs := a.outcomes(t, script, a.messages[message])
	if !strings.HasPrefix(ours, "store INBOX") || !strings.HasPrefix(theirs, "store INBOX") {
		t.Errorf("%s, %s:\nours:   %s\ntheirs: %s", f.Name, message, ours, theirs)
		return
	}
	for i, line := range all {
		flag := fmt.Sprintf("t%d", i)
		we, they := hasWord(ours, flag), hasWord(theirs, flag)
		known, test := knownDifference(line)
		if we != they && known == "" {
			t.Errorf("%s, %s: %s\nours: %s, theirs: %s", f.Name, message, test, yesNo(we), yesNo(they))
		}
	}
}

func hasWord(s, word string) bool {
	return slices.Contains(strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == '=' || r == ' ' }), word)
}

// knownDifference splits "! reason: rest".
func knownDifference(line string) (why, rest string) {
	if s, ok := strings.CutPrefix(line, "! "); ok {
		why, rest, _ = strings.Cut(s, ": ")
		return why, rest
	}
	return "", line
}

// accept compares which scripts compile.
func (a *archive) accept(t *testing.T, f txtar.File) {
	for line := range strings.Lines(string(f.Data)) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		a.pairs++
		why, script := knownDifference(line)
		script = strings.NewReplacer(`\n`, "\n", `\0`, "\x00", `\e`, "\xff").Replace(script)
		_, err := Compile(t.Context(), "script", []byte(script), a.options())
		they, errs := a.p.accepts(script)
		switch {
		case (err == nil) != they && why == "":
			t.Errorf("%s: %s\nours:   %v\ntheirs: %s", f.Name, script, err, errs)
		case (err == nil) == they && why != "":
			t.Errorf("%s: %s\ndiffers no more: %s", f.Name, script, why)
		}
	}
}
