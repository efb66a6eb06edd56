package lda

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestForwardSendsMailElsewhere(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		mode       os.FileMode
		sieve      string
		kept       string // the folder, "" if none
		sent       string // the addresses
	}{
		{"elsewhere", "friend@example.com\n", 0o600, "", "", "friend@example.com"},
		{"and a copy", "alice, friend@example.com", 0o600, "", ".", "friend@example.com"},
		{"a copy by backslash", "# away\n\\alice\nfriend@example.com\n", 0o644, "", ".", "friend@example.com"},
		{"a copy by address", "ALICE@example.org, a@x.example, bob", 0o600, "", ".", "a@x.example bob@example.org"},
		{"the copy is filtered", "\\alice, friend@example.com", 0o600, `require ["fileinto","mailbox"]; fileinto :create "F";`, ".F", "friend@example.com"},
		{"nothing", "/dev/null", 0o600, "", "", ""},
		{"empty", "\n# no more\n", 0o600, "", ".", ""},
		{"a command", "|/usr/bin/procmail", 0o600, "", ".", ""},
		{"a file", "/home/alice/mbox", 0o600, "", ".", ""},
		{"an include", ":include:/etc/passwd", 0o600, "", ".", ""},
		{"others may write it", "friend@example.com", 0o666, "", ".", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, alice, out := filtering(t, func(s *Sieve) { s.Forward = true })
			writeAs(t, alice, ".forward", tt.text)
			if err := os.Chmod(filepath.Join(alice.Owner.Home, ".forward"), tt.mode); err != nil {
				t.Fatal(err)
			}
			if tt.sieve != "" {
				writeAs(t, alice, ".dovecot.sieve", tt.sieve)
			}
			if err := send(t, a, fmt.Sprintf(subject, "x")); err != nil {
				t.Fatal(err)
			}
			var sent []string
			for _, s := range out.list {
				_, to, _ := strings.Cut(s, " to ")
				to, _, _ = strings.Cut(to, " ")
				sent = append(sent, to)
			}
			kept := ""
			if list := mail(t, alice.Owner.Home); len(list) > 0 {
				kept, _, _ = strings.Cut(list[0], ":")
			}
			if kept != tt.kept || strings.Join(sent, " ") != tt.sent {
				t.Errorf("kept in %q, sent to %q", kept, sent)
			}
		})
	}
}

func FuzzForward(f *testing.F) {
	f.Add("alice, b@c, \\d, |x, /dev/null\n")
	a := &Agent{o: Options{MaxTargets: 10}.withDefaults()}
	f.Fuzz(func(t *testing.T, text string) {
		if got, err := a.parseForward("alice", text); err == nil && got != nil && len(got.to) > 10 {
			t.Errorf("%d targets", len(got.to))
		}
	})
}
