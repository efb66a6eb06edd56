package lda

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"svc.plus/mailsrvd/internal/message"
	"svc.plus/mailsrvd/internal/program"
	"svc.plus/mailsrvd/internal/status"
	"svc.plus/mailsrvd/maildir"
)

func TestCommandWords(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want []string
		err  string
	}{
		{"/bin/x", []string{"/bin/x"}, ""},
		{"  /bin/x  -a\t b ", []string{"/bin/x", "-a", "b"}, ""},
		{`/bin/x 'a b' "c d" ''`, []string{"/bin/x", "a b", "c d", ""}, ""},
		{`/bin/x a'b c'd`, []string{"/bin/x", "ab cd"}, ""},
		{`/bin/x '$HOME; rm' "it's"`, []string{"/bin/x", "$HOME; rm", "it's"}, ""},
		{"/bin/x *?[a]=%,ü", []string{"/bin/x", "*?[a]=%,ü"}, ""},
		{"/bin/x 'a", nil, "does not end"},
		{"/bin/x $A", nil, "no shell"},
		{"/bin/x `id`", nil, "no shell"},
		{"/bin/x >/tmp/y", nil, "no shell"},
		{"/bin/x a; b", nil, "no shell"},
		{`/bin/x a\ b`, nil, "no shell"},
		{"/bin/x\na", nil, "control character"},
		{"/bin/x " + strings.Repeat("a", maxCommand), nil, "too long"},
	} {
		got, err := commandWords(tt.in)
		if !slices.Equal(got, tt.want) || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%.40q: %q, %v", tt.in, got, err)
		}
	}
}

func TestProgramStatus(t *testing.T) {
	for _, tt := range []struct {
		out  program.Outcome
		want string
	}{
		{program.Outcome{Output: "5.1.1 talk is cheap"}, ""},
		{program.Outcome{Exit: 75}, "451 4.3.0 temporary failure"},
		{program.Outcome{Exit: 71}, "451 4.3.0 system resource problem"},
		{program.Outcome{Exit: 67, Output: "\n no such list \nmore"}, "550 5.1.1 user unknown: no such list"},
		{program.Outcome{Exit: 77, Output: "members\x07 only"}, "550 5.7.0 permission denied: members only"},
		{program.Outcome{Exit: 73}, "552 5.2.0 can't create user output file"},
		{program.Outcome{Exit: 65}, "554 5.6.0 data format error"},
		{program.Outcome{Exit: 1, Output: "Traceback"}, "554 5.3.0 program ended with status 1: Traceback"},
		{program.Outcome{Exit: 126}, "554 5.3.0 program ended with status 126"},
		{program.Outcome{Exit: 1, Output: "4.2.2 full for now"}, "451 4.2.2 full for now"},
		{program.Outcome{Exit: 75, Output: "5.7.1 closed list"}, "550 5.7.1 closed list"},
		{program.Outcome{Exit: 70, Output: "5.7.1"}, "550 5.7.1 refused by a program"},
		{program.Outcome{Exit: 70, Output: "2.0.0 fine"}, "554 5.3.0 internal software error: 2.0.0 fine"},
		{program.Outcome{Exit: 70, Output: "5.7.x no"}, "554 5.3.0 internal software error: 5.7.x no"},
		{program.Outcome{Exit: 70, Output: "5.70000.1 no"}, "554 5.3.0 internal software error: 5.70000.1 no"},
		{program.Outcome{Signal: syscall.SIGSEGV}, "451 4.3.0 Program was ended by a signal, try again later"},
		{program.Outcome{Exit: 69, Output: strings.Repeat("x", 4096)}, "554 5.3.0 service unavailable: " + strings.Repeat("x", maxRefusal)},
	} {
		got := ""
		if s := status.From(programStatus("/bin/x", tt.out)); s != nil {
			got = s.Reply()
			if s.Code/100 != s.Enhanced[0] {
				t.Errorf("%+v: classes of %s differ", tt.out, got)
			}
		}
		if got != tt.want {
			t.Errorf("%+v:\n got %s\nwant %s", tt.out, got, tt.want)
		}
	}
}

func TestWithLF(t *testing.T) {
	long := strings.Repeat("0123456789abcde\r\n", 5000)
	for in, want := range map[string]string{
		"": "", "a\r\nb\r\n": "a\nb\n", "a\rb\r\r\nc\r": "a\rb\r\nc\r", "\r\n\r\n": "\n\n", "x\n\r": "x\n\r", long: strings.ReplaceAll(long, "\r", ""),
	} {
		for name, r := range map[string]io.Reader{"whole": strings.NewReader(in), "by bytes": iotest.OneByteReader(strings.NewReader(in))} {
			got, err := io.ReadAll(withLF(r))
			if err != nil || string(got) != want {
				t.Errorf("%.20q %s: %.40q, %v", in, name, got, err)
			}
			if got, err := io.ReadAll(iotest.OneByteReader(withLF(strings.NewReader(in)))); err != nil || string(got) != want {
				t.Errorf("%.20q into bytes: %.40q, %v", in, got, err)
			}
		}
	}
	if _, err := io.ReadAll(withLF(iotest.ErrReader(errors.New("broken")))); err == nil || err.Error() != "broken" {
		t.Error(err)
	}
}

// workshop has a script that programs of aliases may run, and a directory that
// everybody may write to.
func workshop(t *testing.T) (script, dir string) {
	t.Helper()
	needRoot(t)
	base := publicDir(t)
	script, dir = filepath.Join(base, "script"), filepath.Join(base, "out")
	text := "#!/bin/sh\nout=" + dir + `
case $1 in
take) n=$(ls $out | wc -l); cat >$out/$n-$RECIPIENT; env | sort >$out/env; id >$out/id; pwd >>$out/id ;;
fail) echo "${3-}" >&2; exit $2 ;;
slow) echo >>$out/slow; exec sleep 1000 ;;
once) [ -e $out/once ] || { >$out/once; exit 75; }; cat >$out/took ;;
esac
`
	if err := errors.Join(os.WriteFile(script, []byte(text), 0o755), os.Chmod(script, 0o755), os.Mkdir(dir, 0o777), os.Chmod(dir, 0o777)); err != nil {
		t.Fatal(err)
	}
	return script, dir
}

// piping makes an Agent with aliases that name the script as SCRIPT.
func piping(t *testing.T, script, aliases string, change ...func(*Options)) (*Agent, fakeAccounts) {
	t.Helper()
	return deliverAgent(t, maildir.Options{}, append([]func(*Options){func(o *Options) {
		o.Programs = &Programs{Allowed: []string{script}, User: "nobody", Time: 20 * time.Second}
		o.Aliases = []AliasFile{{Path: write(t, "pipes", strings.ReplaceAll(aliases, "SCRIPT", script))}}
	}}, change...)...)
}

// through routes an address and delivers to all that is local of it.
func through(t *testing.T, a *Agent, address string, recipients ...message.Recipient) []error {
	t.Helper()
	r, err := a.Route(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	env := message.Envelope{Trace: "t1", ReversePath: "eve@example.net", Recipients: recipients}
	return a.Deliver(t.Context(), env, content(testMail), r.Local)
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestAliasPipesMailIntoAProgram(t *testing.T) {
	script, dir := workshop(t)
	a, accounts := piping(t, script, "tickets: \"|SCRIPT take\", bob\n")
	if err := errors.Join(through(t, a, "Tickets+new@example.org", message.Recipient{Address: "tickets+NEW@example.org", ORcpt: "rfc822;first@example.com"})...); err != nil {
		t.Fatal(err)
	}
	want := "Return-Path: <eve@example.net>\nDelivered-To: Tickets+new@example.org\n" + storedMail
	if got := read(t, filepath.Join(dir, "0-Tickets+new@example.org")); got != want {
		t.Errorf("the program got %q", got)
	}
	if got := mail(t, accounts["bob"].Owner.Home); len(got) != 1 {
		t.Errorf("bob got %q", got)
	}
	nobody, err := (&Programs{User: "nobody"}).owner()
	if err != nil {
		t.Fatal(err)
	}
	if got := read(t, filepath.Join(dir, "id")); !strings.HasPrefix(got, "uid="+strconv.Itoa(nobody.UID)+"(nobody) gid="+strconv.Itoa(nobody.GID)+"(") || strings.Contains(got, ",") || !strings.HasSuffix(got, "\n/\n") {
		t.Errorf("it ran as %s", got)
	}
	for _, line := range []string{"SENDER=eve@example.net", "RECIPIENT=Tickets+new@example.org", "ORIGINAL_RECIPIENT=first@example.com",
		"LOCAL=Tickets+new", "DOMAIN=example.org", "EXTENSION=new", "USER=nobody", "PATH=/usr/local/bin:/usr/bin:/bin"} {
		if env := read(t, filepath.Join(dir, "env")); !strings.Contains("\n"+env, "\n"+line+"\n") {
			t.Errorf("no %s in\n%s", line, env)
		}
	}
}

func TestProgramRunsForEachAddress(t *testing.T) {
	script, dir := workshop(t)
	a, _ := piping(t, script, "sales: |SCRIPT take\nsupport: |SCRIPT take\nboth: sales, support, sales\n")
	var locals []message.Local
	for _, address := range []string{"sales@example.org", "support@example.org", "sales@example.org", "both@example.org"} {
		r, err := a.Route(t.Context(), address)
		if err != nil || len(r.Local) != 1 {
			t.Fatalf("%s: %+v, %v", address, r, err)
		}
		locals = append(locals, r.Local...)
	}
	if err := errors.Join(a.Deliver(t.Context(), message.Envelope{}, content(testMail), locals)...); err != nil {
		t.Fatal(err)
	}
	got, _ := filepath.Glob(filepath.Join(dir, "*@*"))
	for i := range got {
		_, got[i], _ = strings.Cut(filepath.Base(got[i]), "-")
	}
	slices.Sort(got)
	if !slices.Equal(got, []string{"both@example.org", "sales@example.org", "support@example.org"}) {
		t.Errorf("runs for %q", got)
	}
}

func TestProgramDecidesWhatTheSenderHears(t *testing.T) {
	script, dir := workshop(t)
	a, _ := piping(t, script, "later: |SCRIPT fail 75 busy\nno: |SCRIPT fail 67\nown: \"|SCRIPT fail 1 '5.7.1 members only'\"\nslow: |SCRIPT slow\n",
		func(o *Options) { o.Programs.Time = time.Second })
	for user, want := range map[string]string{
		"later": "451 4.3.0 temporary failure: busy", "no": "550 5.1.1 user unknown", "own": "550 5.7.1 members only",
		"slow": "451 4.3.0 Program did not end in time, try again later",
	} {
		errs := through(t, a, user+"@example.org")
		if s := status.From(errs[0]); s == nil || s.Reply() != want {
			t.Errorf("%s: %v", user, errs[0])
		}
	}
	if got := read(t, filepath.Join(dir, "slow")); got != "\n" {
		t.Errorf("the slow program ran %d times", len(got))
	}
	loop := message.FromBytes([]byte("Delivered-To: NO@Example.ORG\r\n" + testMail))
	r, err := a.Route(t.Context(), "no@example.org")
	if err != nil {
		t.Fatal(err)
	}
	if s := status.From(a.Deliver(t.Context(), message.Envelope{}, loop, r.Local)[0]); s == nil || s.Enhanced != (status.Enhanced{5, 4, 6}) {
		t.Errorf("a loop: %v", s)
	}
}

// TestProgramThatIsNoLongerAllowed: what waits in the queue is not run after the
// administrator has said no.
func TestProgramThatIsNoLongerAllowed(t *testing.T) {
	script, dir := workshop(t)
	l := []message.Local{{Program: script + " take", Address: "x@example.org"}}
	other, _ := piping(t, "/bin/true", "")
	none, _ := deliverAgent(t, maildir.Options{})
	for name, a := range map[string]*Agent{"another": other, "none": none} {
		if s := status.From(a.Deliver(t.Context(), message.Envelope{}, content(testMail), l)[0]); s == nil || s.Temporary() || s.Cause == nil || !strings.Contains(s.Cause.Error(), "pipe_programs") {
			t.Errorf("%s: %v", name, s)
		}
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("it ran: %v", left)
	}
}

func TestTooManyProgramsWait(t *testing.T) {
	script, _ := workshop(t)
	a, _ := piping(t, script, "x: |SCRIPT fail 0\n", func(o *Options) { o.Programs.Time = 100 * time.Millisecond })
	for range maxPrograms {
		a.runner.slots <- struct{}{}
	}
	if s := status.From(through(t, a, "x@example.org")[0]); s == nil || s.Reply() != "451 4.3.2 Too many programs are at work, try again later" {
		t.Errorf("%v", s)
	}
}

func TestProgramsCheck(t *testing.T) {
	base := publicDir(t)
	file := func(name string, mode os.FileMode) string {
		path := filepath.Join(base, name)
		if err := errors.Join(os.WriteFile(path, []byte("#!/bin/sh\n"), mode), os.Chmod(path, mode)); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, tt := range []struct {
		p    *Programs
		want string
	}{
		{nil, ""},
		{&Programs{User: "no-such-user-here"}, ""},
		{&Programs{User: "nobody", Allowed: []string{file("good", 0o755)}}, ""},
		{&Programs{User: "no-such-user-here", Allowed: []string{file("good", 0o755)}}, "looking up the user"},
		{&Programs{User: "root", Allowed: []string{file("good", 0o755)}}, "root"},
		{&Programs{User: "nobody", Allowed: []string{base + "/none"}}, "no such file"},
		{&Programs{User: "nobody", Allowed: []string{file("plain", 0o644)}}, "no executable file"},
		{&Programs{User: "nobody", Allowed: []string{base}}, "no executable file"},
		{&Programs{User: "nobody", Allowed: []string{file("open", 0o757)}}, "everybody may write"},
	} {
		got := fmt.Sprint(errors.Join(tt.p.check()...))
		if tt.want == "" && got != "<nil>" || !strings.Contains(got, tt.want) {
			t.Errorf("%+v: %s", tt.p, got)
		}
	}
}

// TestForwardPipesMailIntoAProgramOfTheUser: as he himself, in his home, and only
// where both keys allow it.
func TestForwardPipesMailIntoAProgramOfTheUser(t *testing.T) {
	script, dir := workshop(t)
	for _, tt := range []struct {
		name, forward string
		change        func(*Programs)
		kept          bool
		log           string
		refused       string
	}{
		{"runs", `"|SCRIPT take"`, func(*Programs) {}, false, "saved mail to |SCRIPT", ""},
		{"and a copy", `\alice, "|SCRIPT take"`, func(*Programs) {}, true, "saved mail to INBOX, |SCRIPT", ""},
		{"refuses", `\alice, "|SCRIPT fail 77 no"`, func(*Programs) {}, false, "save failed", "550 5.7.0 permission denied: no"},
		{"puts off", `\alice, "|SCRIPT fail 75"`, func(*Programs) {}, false, "save failed", "451 4.3.0 temporary failure"},
		{"not allowed in ~/.forward", `"|SCRIPT take"`, func(p *Programs) { p.Forward = false }, true, "programs are run only with forward_pipes of [lda]", ""},
		{"another program", `"|/bin/true"`, func(*Programs) {}, true, "/bin/true is not run, since pipe_programs", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, f := range []string{"env", "id"} {
				os.Remove(filepath.Join(dir, f))
			}
			var log strings.Builder
			a, accounts := piping(t, script, "", func(o *Options) {
				o.Programs.Forward = true
				tt.change(o.Programs)
				o.Sieve, o.Logger = &Sieve{NoScripts: true, Forward: true}, logTo(&log)
			})
			alice := accounts["alice"]
			writeAs(t, alice, ".forward", strings.ReplaceAll(tt.forward, "SCRIPT", script))
			err := send(t, a, testMail)
			if s := status.From(err); s == nil && tt.refused != "" || s != nil && s.Reply() != tt.refused {
				t.Errorf("answer: %v", err)
			}
			if got := mail(t, alice.Owner.Home); (len(got) == 1) != tt.kept {
				t.Errorf("kept: %q", got)
			}
			if want := strings.ReplaceAll(tt.log, "SCRIPT", script); !strings.Contains(log.String(), want) {
				t.Errorf("no %q in the log:\n%s", want, log.String())
			}
			id, err := os.ReadFile(filepath.Join(dir, "id"))
			if ran := err == nil; ran != strings.Contains(tt.log, "|SCRIPT") || ran && (!strings.HasPrefix(string(id), "uid=20001 gid=20001") || !strings.Contains(string(id), alice.Owner.Home)) {
				t.Errorf("it ran as %s (%v)", id, err)
			}
		})
	}
}

// TestCommandPipesAsTheUser: `mailsrvd lda` run by the user has no aliases, and does
// not ask whom their programs run as.
func TestCommandPipesAsTheUser(t *testing.T) {
	script, dir := workshop(t)
	for _, allowed := range []bool{true, false} {
		b := newBench(t, maildir.Options{})
		b.opts.Agent.Programs = &Programs{Allowed: []string{script}, User: "no-such-user-here", Forward: allowed}
		b.opts.Agent.Sieve = &Sieve{NoScripts: true, Forward: true}
		b.opts.Agent.Domains = []string{"example.org"}
		writeAs(t, b.alice, ".forward", `"|`+script+` take"`)
		os.Remove(filepath.Join(dir, "id"))
		if code, text := b.run(testMail, "-a", "alice+x@example.org"); code != 0 {
			t.Errorf("exit %d, %q", code, text)
		}
		id, err := os.ReadFile(filepath.Join(dir, "id"))
		if (err == nil) != allowed || allowed && !strings.HasPrefix(string(id), "uid=20001 gid=20001") {
			t.Errorf("%v: it ran as %s (%v)", allowed, id, err)
		}
		if got := mail(t, b.alice.Owner.Home); (len(got) == 0) != allowed {
			t.Errorf("%v: kept %q", allowed, got)
		}
	}
}

// TestForwardOfAnAccountWithoutAnIdentity: the daemon's own rights are for no
// program.
func TestForwardOfAnAccountWithoutAnIdentity(t *testing.T) {
	a := &Agent{runner: &runner{Programs: Programs{Allowed: []string{"/bin/true"}, Forward: true}}}
	acct := people("alice")["alice"]
	if err := a.mayPipe(acct, "/bin/true"); err != nil {
		t.Error(err)
	}
	acct.Self = true
	if err := a.mayPipe(acct, "/bin/true"); err == nil {
		t.Error("a program would run as the daemon")
	}
}

func TestRouteNamesPrograms(t *testing.T) {
	a := newAgent(t, "x: |/bin/true a\ny: x, alice, \"|/bin/true b\"\n*: x\n", func(o *Options) {
		o.Programs = &Programs{Allowed: []string{"/bin/true"}, User: "nobody"}
	})
	for address, want := range map[string]string{
		"x@example.org": "|/bin/true a", "y+d@example.org": "|/bin/true a(d) alice(d) |/bin/true b(d)", "anybody@example.org": "|/bin/true a",
	} {
		r, err := a.Route(t.Context(), address)
		if err != nil || showRoute(r) != want {
			t.Errorf("%s: %q, %v", address, showRoute(r), err)
		}
	}
}

func FuzzCommand(f *testing.F) {
	for _, s := range []string{"/bin/x", `"/bin/x 'a b'"`, "/bin/x $A", `/bin/x "it's" ''`, "/bin/../x", "\x00", "'"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		command, err := commandText(s)
		if err != nil {
			return
		}
		words, err := commandWords(command)
		if err != nil || len(words) == 0 || !filepath.IsAbs(words[0]) {
			t.Errorf("%q: %q, %v", s, words, err)
		}
		for _, w := range words {
			if strings.ContainsRune(w, 0) {
				t.Errorf("%q has a NUL", w)
			}
		}
		if err := (&Programs{Allowed: []string{"/bin/x"}}).mayRun(command); (err == nil) != (words[0] == "/bin/x") {
			t.Errorf("%q: %v", words, err)
		}
	})
}

func FuzzProgramStatus(f *testing.F) {
	f.Add(67, 0, "5.1.1 no such list\nmore")
	f.Add(75, 0, "4.2.2")
	f.Add(0, 9, "\xff\x00")
	f.Fuzz(func(t *testing.T, exit, signal int, output string) {
		err := programStatus("/bin/x", program.Outcome{Exit: exit, Signal: syscall.Signal(signal), Output: output})
		if s := status.From(err); s != nil && (s.Code/100 != s.Enhanced[0] || strings.ContainsAny(s.Reply(), "\r\n\x00") || len(s.Reply()) > 500) {
			t.Errorf("%q", s.Reply())
		}
	})
}
