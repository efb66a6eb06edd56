package sieve

import (
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
)

// eachPair gives f every script of the comparison with Pigeonhole with every
// message of its file. The tests of a file are one script, which sets a flag for
// each that holds.
func eachPair(t *testing.T, f func(name string, s *Script, msg string)) {
	t.Helper()
	files, err := filepath.Glob("testdata/pigeonhole/*.txtar")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	pairs := 0
	for _, file := range files {
		ar, err := txtar.ParseFile(file)
		if err != nil {
			t.Fatal(err)
		}
		messages, included := map[string]string{}, map[string]string{}
		for _, part := range ar.Files {
			switch filepath.Ext(part.Name) {
			case ".eml":
				messages[part.Name] = strings.ReplaceAll(string(part.Data), "\n", "\r\n")
			case "":
				included[part.Name] = string(part.Data)
			}
		}
		o := Options{Include: func(_ context.Context, _ Location, name string) ([]byte, error) {
			if s, ok := included[name]; ok {
				return []byte(s), nil
			}
			return nil, fs.ErrNotExist
		}}
		for _, part := range ar.Files {
			src := string(part.Data)
			switch filepath.Ext(part.Name) {
			case ".tests":
				src = flagging(src)
			case ".sieve":
			default:
				continue
			}
			name := filepath.Base(file) + "/" + part.Name
			s, err := Compile(t.Context(), name, []byte(src), o)
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			for _, m := range sortedKeys(messages) {
				pairs++
				f(name+", "+m, s, messages[m])
			}
		}
	}
	if pairs < 150 {
		t.Errorf("only %d pairs", pairs)
	}
}

// flagging makes a script of tests, a line each.
func flagging(lines string) string {
	var b strings.Builder
	b.WriteString(requireAll)
	n := 0
	for line := range strings.Lines(lines) {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		_, test := knownDifference(line)
		// At most 64 flags go into a list.
		fmt.Fprintf(&b, "if %s { fileinto \"t%d\"; }\n", test, n)
		n++
	}
	return b.String()
}

// outcomeOf runs a script with room for all its actions.
func outcomeOf(t *testing.T, s *Script, m *Message, env Env) string {
	t.Helper()
	roomy := *s
	roomy.limits.Actions = 1000
	env.From, env.To = "tim@example.org", "ann@example.com"
	res, err := roomy.Run(t.Context(), m, env)
	if err != nil {
		return "error: " + err.Error()
	}
	return describe(res)
}

// Line ends say nothing: a message with LF leads to the same as with CRLF. Only
// sizes differ.
func TestLineEndsDoNotMatter(t *testing.T) {
	eachPair(t, func(name string, s *Script, msg string) {
		if strings.Contains(name, "size.tests") {
			return
		}
		crlf := outcomeOf(t, s, messageOf(msg), Env{})
		if lf := outcomeOf(t, s, messageOf(strings.ReplaceAll(msg, "\r\n", "\n")), Env{}); lf != crlf {
			t.Errorf("%s:\nCRLF %s\nLF   %s", name, crlf, lf)
		}
	})
}

// What is kept of a message between runs changes nothing.
func TestAMessageCanBeJudgedAgain(t *testing.T) {
	last, kept := "", messageOf("")
	eachPair(t, func(name string, s *Script, msg string) {
		if msg != last {
			last, kept = msg, messageOf(msg)
		}
		fresh := outcomeOf(t, s, messageOf(msg), Env{})
		for range 2 {
			if again := outcomeOf(t, s, kept, Env{}); again != fresh {
				t.Errorf("%s:\nfresh %s\nagain %s", name, fresh, again)
			}
		}
	})
}

// Who watches changes nothing either, and every step has its place.
func TestTraceChangesNothing(t *testing.T) {
	eachPair(t, func(name string, s *Script, msg string) {
		steps := 0
		env := Env{Trace: func(st Step) {
			steps++
			if st.Line < 1 || st.Depth < 0 || st.Text == "" || strings.ContainsAny(st.Text, "\r\n") {
				t.Errorf("%s: step %+v", name, st)
			}
		}}
		if with, without := outcomeOf(t, s, messageOf(msg), env), outcomeOf(t, s, messageOf(msg), Env{}); with != without {
			t.Errorf("%s:\nwith    %s\nwithout %s", name, with, without)
		}
		if steps == 0 {
			t.Errorf("%s: no steps", name)
		}
	})
}

// Results of random scripts are sound: nothing is stored twice, nothing lost,
// nothing beyond the limits.
func TestResultsAreSound(t *testing.T) {
	for i := range 3000 {
		w := writer{rand.New(rand.NewPCG(7, uint64(i)))}
		src := w.script()
		s := compile(t, src)
		msg := w.message()
		res, err := s.Run(t.Context(), messageOf(msg), Env{From: "a@b.example", To: "ab@c.example"})
		if err != nil {
			t.Fatalf("%v\n%s", err, src)
		}
		places := map[string]bool{}
		for _, a := range res.Actions {
			place := ""
			var flags []string
			switch a := a.(type) {
			case *Keep:
				place, flags = "INBOX", a.Flags
			case *FileInto:
				place, flags = a.Mailbox, a.Flags
			default:
				t.Fatalf("%v\n%s", a, src)
			}
			if places[place] {
				t.Fatalf("stored twice in %s\n%s", place, src)
			}
			places[place] = true
			if len(flags) > maxFlags || !slices.Equal(flagSet(flags...), flags) {
				t.Fatalf("flags %q\n%s", flags, src)
			}
		}
		if len(places) == 0 {
			t.Fatalf("lost\n%s", src)
		}
	}
}

// Every command and test refuses arguments of the wrong kind, too many and too
// few, and says so with a place in the script.
func TestEveryCommandRefusesWrongArguments(t *testing.T) {
	kinds := map[argumentKind][]string{
		numberArgument: {`"a"`, `["a"]`}, stringArgument: {`1`, `["a", "b"]`}, listArgument: {`1`},
	}
	for _, name := range sortedKeys(builtin) {
		s := builtin[name]
		wrap := func(args string) string {
			call := name + " " + args
			switch s.tests {
			case oneTest:
				call += " true"
			case testList:
				call += " (true, false)"
			}
			switch {
			case s.test != nil:
				return requireAll + "if " + call + " {}"
			case s.block:
				if name != "if" {
					call = "if true {} " + call
				}
				return requireAll + call + " {}"
			}
			return requireAll + call + ";"
		}
		var bad []string
		right := make([]string, len(s.args))
		for i, k := range s.args {
			right[i] = map[argumentKind]string{numberArgument: "1", stringArgument: `"a"`, listArgument: `["a"]`}[k]
		}
		for i, k := range s.args {
			for _, w := range kinds[k] {
				args := slices.Clone(right)
				args[i] = w
				bad = append(bad, strings.Join(args, " "))
			}
		}
		bad = append(bad, strings.Join(append(slices.Clone(right), `"too many"`), " "), ":nonsense "+strings.Join(right, " "))
		if len(right) > 0 && !s.optional {
			bad = append(bad, strings.Join(right[1:], " "))
		}
		for _, tag := range s.tags {
			if tag.value != noArgument {
				bad = append(bad, ":"+tag.name)
			}
			bad = append(bad, fmt.Sprintf(":%[1]s :%[1]s", tag.name))
			for _, other := range s.tags {
				if tag.group != "" && other.group == tag.group && other.name != tag.name {
					bad = append(bad, exampleOf(tag)+" "+exampleOf(other)+" "+strings.Join(right, " "))
				}
			}
		}
		for _, args := range bad {
			list := problemsOf(t, wrap(args), Options{})
			if len(list) == 0 {
				t.Errorf("%s %s is taken", name, args)
			}
			for _, p := range list {
				if !strings.Contains(p, "2:") {
					t.Errorf("%s %s: %s", name, args, p)
				}
			}
		}
	}
}

// exampleOf writes a tag with its value.
func exampleOf(t tagSpec) string {
	value := map[argumentKind]string{noArgument: "", numberArgument: " 1", stringArgument: ` "ge"`, listArgument: ` ["a"]`}[t.value]
	return ":" + t.name + value
}

// Commands and tests of an extension say which, when it is not in use.
func TestEveryExtensionMustBeRequired(t *testing.T) {
	for _, name := range sortedKeys(builtin) {
		s := builtin[name]
		if s.ext != "" {
			src := name + ";"
			if s.test != nil {
				src = "if " + name + " {}"
			}
			want := "is not in use; " + needs(s.ext)
			if list := problemsOf(t, src, Options{}); !slices.ContainsFunc(list, func(p string) bool { return strings.Contains(p, want) }) {
				t.Errorf("%s: %q", name, list)
			}
		}
		for _, tag := range s.tags {
			if tag.ext == "" {
				continue
			}
			src := name + " " + exampleOf(tag) + ";"
			if s.test != nil {
				src = "if " + name + " " + exampleOf(tag) + " {}"
			}
			if s.ext != "" {
				src = `require "` + firstOf(s.ext) + `"; ` + src
			}
			want := fmt.Sprintf("the tag :%s is not in use; %s", tag.name, needs(tag.ext))
			if list := problemsOf(t, src, Options{}); !slices.ContainsFunc(list, func(p string) bool { return strings.Contains(p, want) }) {
				t.Errorf("%s: %q", src, list)
			}
		}
	}
}
