package sieve

import (
	"context"
	"strings"
	"testing"
)

// plain is the message of most tests.
const plain = "Return-Path: <tim@example.org>\r\n" +
	"Received: from mx.example.net by mail.example.com; Tue, 25 Nov 2025 10:20:30 +0100\r\n" +
	"From: Tim Tester <tim@example.org>\r\n" +
	"To: Ann <ann+lists@example.com>, \"Bob\" <bob@example.com>\r\n" +
	"Cc: cee@example.net\r\n" +
	"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?= from the zoo\r\n" +
	"X-Count: 10\r\n" +
	"Date: Tue, 25 Nov 2025 10:15:00 +0100\r\n" +
	"Message-ID: <one@example.org>\r\n" +
	"\r\n" +
	"The quick brown fox\r\njumps over the lazy dog.\r\n"

// compile compiles a script that must be right.
func compile(t testing.TB, script string) *Script {
	t.Helper()
	s, err := Compile(context.Background(), "test", []byte(script), Options{})
	if err != nil {
		t.Fatalf("%v\n%s", err, script)
	}
	return s
}

// runOn runs a script on a message, and returns what it leads to.
func runOn(t testing.TB, script, msg string, env Env) *Result {
	t.Helper()
	res, err := compile(t, script).Run(t.Context(), messageOf(msg), env)
	if err != nil {
		t.Fatalf("%v\n%s", err, script)
	}
	return res
}

func messageOf(s string) *Message { return NewMessage(strings.NewReader(s), int64(len(s))) }

// describe shows the actions of a result on one line.
func describe(res *Result) string {
	var words []string
	for _, a := range res.Actions {
		words = append(words, a.String())
	}
	return strings.Join(words, "; ")
}

// requireAll begins a script with all extensions.
var requireAll = `require ["` + strings.Join(extensions, `", "`) + `"];` + "\n"

// holds reports whether a test says yes of a message.
func holds(t testing.TB, test, msg string, env Env) bool {
	t.Helper()
	res := runOn(t, requireAll+"if "+test+" { discard; }", msg, env)
	_, discarded := res.Actions[0].(*Discard)
	return discarded
}
