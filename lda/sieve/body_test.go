package sieve

import (
	"slices"
	"strings"
	"testing"
)

// letter is a message with all that a body can have.
const letter = "Content-Type: multipart/mixed; boundary=out\r\n\r\n" +
	"Prologue\r\nof two lines\r\n" +
	"--out\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<p>Hello <b>you</b></p>\r\n" +
	"--out\r\nContent-Type: application/xhtml+xml\r\n\r\n<p>Hello <i>them</i></p>\r\n" +
	"--out\r\nContent-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: 8bit\r\n\r\nK\xe4se\r\n" +
	"--out\r\nContent-Type: text/plain\r\nContent-Transfer-Encoding: x-unknown\r\n\r\nUnreadable\r\n" +
	"--out\r\nContent-Type: message/rfc822\r\n\r\nSubject: inner\r\nX-In: side\r\n\r\nInner body\r\n" +
	"--out\r\nContent-Type: multipart/alternative; boundary=in\r\n\r\n--in\r\n\r\nPlain part\r\n--in--\r\nEpilogue within\r\n" +
	"--out\r\nContent-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\niVBORw==\r\n" +
	"--out--\r\nEpilogue\r\n"

func TestTextsOfABody(t *testing.T) {
	got, err := messageOf(letter).texts(1 << 20)
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range got {
		got[i] = strings.Join(strings.Fields(s), " ")
	}
	if want := []string{"Hello you", "Hello them", "Käse", "Inner body", "Plain part"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestContentsOfABody(t *testing.T) {
	for types, want := range map[string][]string{
		"text":                  {"<p>Hello <b>you</b></p>", "Käse", "Unreadable", "Inner body", "Plain part"},
		"text/html":             {"<p>Hello <b>you</b></p>"},
		"TEXT/Plain":            {"Käse", "Unreadable", "Inner body", "Plain part"},
		"message/rfc822":        {"Subject: inner\r\nX-In: side\r\n"},
		"message":               {"Subject: inner\r\nX-In: side\r\n"},
		"multipart/mixed":       {"Prologue\r\nof two lines", "Epilogue\r\n"},
		"multipart/alternative": {"", "Epilogue within"},
		"image":                 {"\x89PNG"},
		"application/xhtml+xml": {"<p>Hello <i>them</i></p>"},
		"audio":                 nil,
		"text/":                 nil,
		"image/jpeg, image/png": {"\x89PNG"},
	} {
		got, err := messageOf(letter).contents(strings.Split(types, ", "), 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		for i, s := range got {
			if types != "message" && types != "message/rfc822" && types != "multipart/mixed" {
				got[i] = strings.TrimSuffix(s, "\r\n")
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s\ngot  %q\nwant %q", types, got, want)
		}
	}
	all, err := messageOf(letter).contents([]string{""}, 1<<20)
	if err != nil || len(all) != 12 {
		t.Errorf("all: %q, %v", all, err)
	}
}

func TestRawBody(t *testing.T) {
	_, body, _ := strings.Cut(letter, "\r\n\r\n")
	for _, msg := range []string{letter, strings.ReplaceAll(letter, "\r\n", "\n")} {
		if got, err := messageOf(msg).body(bodyKey{form: bodyRaw}, 1<<20); err != nil || got != body {
			t.Errorf("got %q, %v", got, err)
		}
	}
	for _, msg := range []string{"", "Subject: a", "Subject: a\r\n", "Subject: a\r\n\r\n"} {
		if got, err := messageOf(msg).body(bodyKey{form: bodyRaw}, 1<<20); err != nil || got != "" {
			t.Errorf("%q: got %q, %v", msg, got, err)
		}
	}
}

func TestBodiesShareTheirLimit(t *testing.T) {
	m := messageOf(letter)
	const limit = 40
	for range 2 {
		if _, err := m.texts(limit); err != nil {
			t.Fatal(err)
		}
		if _, err := m.contents([]string{""}, limit); err != nil {
			t.Fatal(err)
		}
	}
	total := 0
	for _, s := range m.bodies.known {
		total += len(s)
	}
	// Line ends and charsets may make a text longer than what was read of it.
	if total > 2*limit {
		t.Errorf("%d bytes are kept", total)
	}
}

func TestMultipartsWithoutParts(t *testing.T) {
	for _, msg := range []string{
		"Content-Type: multipart/mixed; boundary=b\r\n\r\nnothing here\r\n",
		"Content-Type: multipart/mixed\r\n\r\n--b\r\n\r\nx\r\n",
		"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b--\r\n",
		"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n",
	} {
		if _, err := messageOf(msg).contents([]string{"", "multipart"}, 1<<20); err != nil {
			t.Errorf("%q: %v", msg, err)
		}
	}
}
