package lda

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// showArguments writes what a command line means, without what is not given.
func showArguments(a *arguments) string {
	var w []string
	add := func(name, value string) {
		if value != "" {
			w = append(w, name+"="+value)
		}
	}
	add("user", a.user)
	if a.sender != nil {
		w = append(w, "sender=<"+*a.sender+">")
	}
	add("original", a.original)
	add("final", a.final)
	add("mailbox", a.mailbox)
	add("path", a.path)
	add("config", a.config)
	for _, f := range []struct {
		name string
		set  bool
	}{{"reason", a.reason}, {"ignore", a.ignoreConfig}, {"help", a.help}} {
		if f.set {
			w = append(w, f.name)
		}
	}
	for _, s := range a.settings {
		add(s.name, s.value)
	}
	if len(a.warnings) > 0 {
		w = append(w, fmt.Sprintf("warnings:%d", len(a.warnings)))
	}
	return strings.Join(w, " ")
}

func TestParseArguments(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{nil, ""},
		{[]string{"--"}, ""},
		{[]string{"-d", "alice"}, "user=alice"},
		{[]string{"-dalice"}, "user=alice"},
		{[]string{"-d", ""}, ""},
		{[]string{"-ed", "alice"}, "user=alice reason"},
		{[]string{"-ekmLists.Go", "-d", "alice"}, "user=alice mailbox=Lists.Go reason"},
		{[]string{"-f", "bob@example.net", "-a", "alice+x@example.org", "-r", "alice@example.org"}, "sender=<bob@example.net> original=alice+x@example.org final=alice@example.org"},
		{[]string{"-f", "<bob@example.net>", "-a", "<alice@example.org>"}, "sender=<bob@example.net> original=alice@example.org"},
		{[]string{"-f", ""}, "sender=<>"},
		{[]string{"-f", "<>"}, "sender=<>"},
		{[]string{"-f", "MAILER-DAEMON"}, "sender=<MAILER-DAEMON>"},
		{[]string{"-f", "a b"}, "sender=<> warnings:1"},
		{[]string{"-f", "<@relay.example:a@b>"}, "sender=<a@b>"},
		{[]string{"-a", "grüße@example.org"}, "original=grüße@example.org"},
		{[]string{"-a", "alice"}, "original=alice"},
		{[]string{"-m", ""}, ""},
		{[]string{"-m", "Füße/ä"}, "mailbox=Füße/ä"},
		{[]string{"-p", "-"}, "path=-"},
		{[]string{"-c", "/etc/x", "-O", "-k", "-L", "-i", "two"}, "config=/etc/x ignore"},
		{[]string{"--config", "/etc/x"}, "config=/etc/x"},
		{[]string{"--config=/etc/x", "-e"}, "config=/etc/x reason"},
		{[]string{"--help"}, "help"},
		{[]string{"-h"}, "help"},
		{[]string{"-o", "a=b", "-oc=d=e", "-o", "f="}, "a=b c=d=e"},
		{[]string{"-d", "first", "-d", "last"}, "user=last"},
		{[]string{"-d", "-e"}, "user=-e"},
	} {
		a, err := parseArguments(c.args)
		if err != nil {
			t.Errorf("%q: %v", c.args, err)
			continue
		}
		if got := showArguments(a); got != c.want {
			t.Errorf("%q: %s; want %s", c.args, got, c.want)
		}
	}
}

func TestParseArgumentsRefuses(t *testing.T) {
	for _, c := range []struct {
		args  []string
		exit  int
		text  string
		usage bool
	}{
		{[]string{"alice"}, 64, "Unknown argument: alice", true},
		{[]string{"-d", "alice", "bob"}, 64, "Unknown argument: bob", true},
		{[]string{"--", "bob"}, 64, "Unknown argument: bob", true},
		{[]string{"-"}, 64, "Unknown argument: -", true},
		{[]string{""}, 64, "Unknown argument: ", true},
		{[]string{"-Z"}, 64, "invalid option -- 'Z'", true},
		{[]string{"-eZ"}, 64, "invalid option -- 'Z'", true},
		{[]string{"-\xff"}, 64, "invalid option", true},
		{[]string{"--verbose"}, 64, "invalid option: --verbose", true},
		{[]string{"--config"}, 64, "invalid option: --config", true},
		{[]string{"--help=x"}, 64, "invalid option: --help", true},
		{[]string{"-d"}, 64, "option requires an argument -- 'd'", true},
		{[]string{"-em"}, 64, "option requires an argument -- 'm'", true},
		{[]string{"-f", "<"}, 64, "Invalid -f parameter", false},
		{[]string{"-f", "<a@b"}, 64, "Invalid -f parameter: missing '>' at end of path", false},
		{[]string{"-f", " a@b"}, 64, "Invalid -f parameter", false},
		{[]string{"-f", "a\x01b"}, 64, "Invalid -f parameter", false},
		{[]string{"-f", `"a`}, 64, "Invalid -f parameter: premature end of quoted string", false},
		{[]string{"-a", ""}, 64, "Invalid -a parameter: path is empty string", false},
		{[]string{"-a", "<>"}, 64, "Invalid -a parameter: null path not allowed", false},
		{[]string{"-a", "a b"}, 64, "Invalid -a parameter", false},
		{[]string{"-a", "@@"}, 64, "Invalid -a parameter", false},
		{[]string{"-a", "a@"}, 64, "Invalid -a parameter: missing domain after '@'", false},
		{[]string{"-r", "a@b c"}, 64, "Invalid -r parameter", false},
		{[]string{"-m", "\xff"}, 75, "Mailbox name not UTF-8", false},
		{[]string{"-o", "name"}, 75, "Invalid -o parameter name: Missing '='", false},
	} {
		_, err := parseArguments(c.args)
		var bad *argumentError
		if !errors.As(err, &bad) || bad.exit != c.exit || bad.usage != c.usage || !strings.Contains(bad.text, c.text) {
			t.Errorf("%q: %#v", c.args, err)
		}
	}
}

func FuzzArguments(f *testing.F) {
	for _, s := range []string{"-d\x00alice", "-ef\x00<a@b>", "--config=x\x00--", "-o\x00a=b\x00-m\x00\xff", "-a\x00\"a@b", "-r\x00@:a"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		args := strings.Split(line, "\x00")
		a, err := parseArguments(args)
		if err != nil {
			if bad, ok := errors.AsType[*argumentError](err); !ok || (bad.exit != ExitUsage && bad.exit != ExitTempFail) {
				t.Errorf("%q: %v", args, err)
			}
			return
		}
		for _, address := range []string{a.original, a.final} {
			if strings.ContainsAny(address, "\r\n\x00") {
				t.Errorf("%q: address %q", args, address)
			}
		}
		if a.sender != nil && strings.ContainsAny(*a.sender, "\r\n\x00") {
			t.Errorf("%q: sender %q", args, *a.sender)
		}
		if slices.Contains(args, "") && a.user == "" && len(args) == 1 {
			t.Errorf("an empty argument was accepted")
		}
	})
}
