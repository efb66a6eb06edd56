package sieve

import (
	"context"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"time"
)

// library offers scripts to others; names of global ones begin with "global:".
func library(scripts map[string]string) Options {
	return Options{Include: func(_ context.Context, from Location, name string) ([]byte, error) {
		if from == Global {
			name = "global:" + name
		}
		if s, ok := scripts[name]; ok {
			return []byte(s), nil
		}
		return nil, fmt.Errorf("open %s: %w", name, fs.ErrNotExist)
	}}
}

func includes(t *testing.T, script string, o Options) (string, error) {
	t.Helper()
	s, err := Compile(t.Context(), "main", []byte(`require ["include", "variables", "fileinto"];`+"\n"+script), o)
	if err != nil {
		return "", err
	}
	res, err := s.Run(t.Context(), messageOf(plain), Env{})
	return describe(res), err
}

func TestScriptsInclude(t *testing.T) {
	o := library(map[string]string{
		"file":        `require "fileinto"; fileinto "file";`,
		"global:file": `require "fileinto"; fileinto "global file";`,
		"return":      `require "include"; return; discard;`,
		"inner":       `require ["include", "fileinto"]; include "return"; fileinto "inner";`,
		"stop":        `stop;`,
		"set":         `require ["include", "variables"]; global ["g"]; set "g" "${g}+"; set "l" "theirs";`,
		"once":        `require ["include", "fileinto"]; fileinto "once"; include :once "once";`,
		"match":       `require ["variables", "fileinto"]; if string :matches "ab" "a*" { fileinto "${1}"; }`,
	})
	for script, want := range map[string]string{
		`include "file";`:                       `store in mailbox "file"`,
		`include :personal "file";`:             `store in mailbox "file"`,
		`include :global "file";`:               `store in mailbox "global file"`,
		`include "file"; include :once "file";`: `store in mailbox "file"`,
		`include "return"; discard;`:            `discard`,
		`include "inner";`:                      `store in mailbox "inner"`,
		`include "stop"; discard;`:              `keep (implicit)`,
		`return; discard;`:                      `keep (implicit)`,
		`include :optional "none"; discard;`:    `discard`,
		`global "g"; set "g" "a"; set "l" "mine"; include "set"; include "set"; fileinto "${g}${l}${global.g}";`: `store in mailbox "a++minea++"`,
		`include "once";`: `store in mailbox "once"`,
		`if string :matches "xyz" "x*" {} include "match"; fileinto "${1}";`: `store in mailbox "b"; store in mailbox "yz"`,
	} {
		if got, err := includes(t, script, o); err != nil || got != want {
			t.Errorf("%s\ngot  %s, %v\nwant %s", script, got, err, want)
		}
	}
}

func TestProblemsOfIncludedScriptsNameThem(t *testing.T) {
	o := library(map[string]string{"bad": "keep;\nfoo;", "loop": `require "include"; include "loop";`, "a": `require "include"; include "b";`, "b": `require "include"; include "a";`})
	for script, want := range map[string]string{
		`include "bad";`:  `bad:2:1: error: "foo" is no command`,
		`include "none";`: `main:2:9: error: there is no script "none"; add it, or write :optional`,
		`include "loop";`: `loop:1:28: error: the script "loop" includes itself`,
		`include "a";`:    `b:1:28: error: the script "a" includes itself`,
		`include "../x";`: `main:2:9: error: "../x" cannot name a script`,
		`include "${a}";`: `main:2:9: error: the name of a script must not be made of variables`,
	} {
		if _, err := includes(t, script, o); err == nil || err.Error() != want {
			t.Errorf("%s\ngot  %v\nwant %s", script, err, want)
		}
	}
}

// A script that is uploaded before the one it includes is right; running it is
// not.
func TestMissingScriptsMayBeAllowed(t *testing.T) {
	o := library(nil)
	o.Missing = true
	s, err := Compile(t.Context(), "main", []byte(`require "include"; include "later"; discard;`), o)
	if err != nil || len(s.Warnings()) != 1 {
		t.Fatal(err)
	}
	res, err := s.Run(t.Context(), messageOf(plain), Env{})
	if err == nil || describe(res) != "keep (implicit)" {
		t.Errorf("%v, %s", err, describe(res))
	}
	if _, err := Compile(t.Context(), "main", []byte(`require "include"; include "later";`), Options{}); err == nil {
		t.Error("without a hook there is a script")
	}
}

func TestIncludesAreBounded(t *testing.T) {
	chain := map[string]string{}
	for i := range 20 {
		chain[fmt.Sprint("c", i)] = fmt.Sprintf(`require "include"; include "c%d";`, i+1)
	}
	if _, err := includes(t, `include "c0";`, library(chain)); err == nil || !strings.Contains(err.Error(), "more than 10 deep") {
		t.Errorf("got %v", err)
	}
	if _, err := includes(t, strings.Repeat(`include "x";`, 300), library(map[string]string{"x": ""})); err == nil || !strings.Contains(err.Error(), "more than 255 include commands") {
		t.Errorf("got %v", err)
	}
	// Ten levels of 25 includes each are few commands, and 25 to the power of ten
	// executions.
	tree := map[string]string{"t9": "keep;"}
	for i := range 9 {
		tree[fmt.Sprint("t", i)] = `require "include";` + strings.Repeat(fmt.Sprintf(`include "t%d";`, i+1), 25)
	}
	start := time.Now()
	if got, err := includes(t, `include "t0";`, library(tree)); err == nil || !strings.Contains(err.Error(), "too much work") || got != "keep (implicit)" {
		t.Errorf("got %s, %v", got, err)
	}
	t.Logf("compiled and ran for %v", time.Since(start))
}

func TestScriptNames(t *testing.T) {
	for name, want := range map[string]bool{"a": true, "A b-ä.sieve": true, "": false, ".": false, "..": false, ".hidden": false, "a/b": false, "a\x00": false, "a\n": false, "\x7f": false, "\u0085": false, "\u2028": false, "\xff": false, strings.Repeat("a", 513): false} {
		if IsScriptName(name) != want {
			t.Errorf("%q: not %v", name, want)
		}
	}
}
