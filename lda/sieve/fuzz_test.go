package sieve

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
)

// FuzzRun compiles and runs any script over any message. Whatever they are, the
// run ends, and there is something to be done with the message.
func FuzzRun(f *testing.F) {
	f.Add([]byte(`require ["fileinto", "variables"]; if header :matches "subject" "*a*" { fileinto "${1}"; }`), []byte(plain))
	f.Add([]byte(`require ["body", "regex"]; if body :content "" :regex "(a|b)+" { discard; }`), []byte("Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nab\r\n--b--"))
	f.Add([]byte(`require ["editheader", "vacation"]; addheader "X" "y"; vacation :mime "a: b"; deleteheader :index 1 "x";`), []byte("To: a@b.c\n\n"))
	seeds(f)
	f.Fuzz(func(t *testing.T, script, msg []byte) {
		if len(script) > 4096 || len(msg) > 16384 {
			return
		}
		o := Options{Limits: Limits{Work: 20_000, Body: 4096, Header: 4096}}
		o.Include = func(context.Context, Location, string) ([]byte, error) { return nil, fs.ErrNotExist }
		s, err := Compile(t.Context(), "fuzz", script, o)
		if err != nil {
			var list Problems
			if !errors.As(err, &list) || len(list) == 0 {
				t.Fatalf("no problems: %v", err)
			}
			return
		}
		env := Env{From: "a@b.c", To: "d@e.f", Trace: func(Step) {}, Seen: func(context.Context, string) (bool, error) { return false, nil }}
		res, err := s.Run(t.Context(), messageOf(string(msg)), env)
		if len(res.Actions) == 0 {
			t.Fatal("nothing is to be done")
		}
		var run *RunError
		if err != nil && (!errors.As(err, &run) || strings.Contains(err.Error(), "the interpreter failed")) {
			t.Fatal(err)
		}
		for _, a := range res.Actions {
			checkAction(t, a, int64(len(msg)))
		}
	})
}

// checkAction checks what callers rely on.
func checkAction(t *testing.T, a Action, size int64) {
	if e := editOf(a); e != nil && (e.Body < 0 || e.Body > size || !strings.HasSuffix(string(e.Header), "\r\n")) {
		t.Fatalf("edit: %d, %q", e.Body, e.Header)
	}
	switch a := a.(type) {
	case *FileInto:
		if badMailbox(a.Mailbox) != "" {
			t.Fatalf("mailbox %q", a.Mailbox)
		}
	case *Redirect:
		if _, err := parseAddrSpec(a.Address); err != nil {
			t.Fatalf("redirect to %q: %v", a.Address, err)
		}
	case *Vacation:
		for line := range strings.SplitSeq(string(a.Message), "\r\n") {
			if line == "" {
				break
			}
			if strings.ContainsAny(line, "\r\n") {
				t.Fatalf("line %q", line)
			}
		}
	}
}

// seeds adds the scripts and messages of the comparison with Pigeonhole.
func seeds(f *testing.F) {
	files, _ := filepath.Glob("testdata/pigeonhole/*.txtar")
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		var scripts, messages [][]byte
		for _, part := range txtar.Parse(b).Files {
			switch filepath.Ext(part.Name) {
			case ".sieve":
				scripts = append(scripts, part.Data)
			case ".tests":
				for line := range strings.Lines(string(part.Data)) {
					_, test := knownDifference(line)
					scripts = append(scripts, []byte(requireAll+"if "+strings.TrimSpace(test)+" { discard; }"))
				}
			case ".eml":
				messages = append(messages, part.Data)
			}
		}
		for i, s := range scripts {
			f.Add(s, messages[i%len(messages)])
		}
	}
}
