package lda

import (
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"svc.plus/mailsrvd/internal/status"
)

func TestReadHeader(t *testing.T) {
	for _, c := range []struct {
		name, in, id string
		delivered    []string
	}{
		{"empty", "", "", nil},
		{"usual", "Message-ID: <a@b>\r\nDelivered-To: Alice@Example.org\r\n\r\nDelivered-To: no@example.org\r\n", "<a@b>", []string{"alice@example.org"}},
		{"LF, case, spaces", "MESSAGE-id :\t<a@b> \ndelivered-TO:  <alice@example.ORG>\n\n", "<a@b>", []string{"alice@example.org"}},
		{"folded", "Message-ID:\r\n <a@b>\r\nDelivered-To:\r\n\talice@example.org\r\n", "<a@b>", []string{"alice@example.org"}},
		{"several", "Delivered-To: a@b\nDelivered-To: c@d\nX: y\n", "", []string{"a@b", "c@d"}},
		{"first id counts", "Message-ID: <1>\nMessage-ID: <2>\n", "<1>", nil},
		{"no colon", "garbage\nMessage-ID: <1>\n", "<1>", nil},
		{"begins folded", " x\nMessage-ID: <1>\n", "<1>", nil},
		{"body at once", "\nMessage-ID: <1>\n", "", nil},
		{"CRLF body at once", "\r\nMessage-ID: <1>\r\n", "", nil},
		{"no line end", "Message-ID: <1>", "<1>", nil},
		{"very long line before", "X: " + strings.Repeat("y", 100_000) + "\nMessage-ID: <1>\n", "<1>", nil},
		{"control characters do not reach the log", "Message-ID: <a\x1b[0mb\xff>\n", "<a?[0mb?>", nil},
		{"address literal and UTF-8", "Delivered-To: Grüße@BÜCHER.example\n", "", []string{"grüße@xn--bcher-kva.example"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			facts, err := readHeader(iotest.HalfReader(strings.NewReader(c.in)))
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for a := range facts.deliveredTo {
				got = append(got, a)
			}
			slices.Sort(got)
			if facts.messageID != c.id || !slices.Equal(got, c.delivered) {
				t.Errorf("id %q, delivered to %q", facts.messageID, got)
			}
		})
	}
	if got := (headerFacts{}).logID(); got != "unspecified" {
		t.Errorf("without an id the log says %s", got)
	}
}

func TestCheckLoopFindsTheSameAddressOnly(t *testing.T) {
	facts, err := readHeader(strings.NewReader("Delivered-To: alice@example.org\n\n"))
	if err != nil {
		t.Fatal(err)
	}
	for address, loop := range map[string]bool{
		"alice@example.org": true, "ALICE@EXAMPLE.ORG": true, "alice+x@example.org": false, "bob@example.org": false, "alice": false} {
		err := facts.checkLoop([]string{"eve@example.org", address})
		if s := status.From(err); (s != nil) != loop || (loop && s.Reply()[:9] != "554 5.4.6") {
			t.Errorf("%s: %v", address, err)
		}
	}
}

func TestTraceFieldsStayOnTheirLines(t *testing.T) {
	got := string(traceFields("a@b\r\nBcc: c@d", []string{"x@y\nz", "Grüße@z"}))
	want := "Return-Path: <a@b??Bcc: c@d>\r\nDelivered-To: x@y?z\r\nDelivered-To: Grüße@z\r\n"
	if got != want {
		t.Errorf("%q", got)
	}
	if got := string(traceFields("", nil)); got != "Return-Path: <>\r\n" {
		t.Errorf("null reverse-path: %q", got)
	}
}

func FuzzHeader(f *testing.F) {
	for _, s := range []string{"Message-ID: <a>\r\n\r\n", "Delivered-To:\n \n\n", ":\n", " \n", "\r\r\n", "Delivered-To: \"a b\"@c\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		facts, err := readHeader(strings.NewReader(in))
		if err != nil {
			t.Fatal(err)
		}
		if strings.ContainsAny(facts.messageID, "\r\n") {
			t.Errorf("%q", facts.messageID)
		}
		for a := range facts.deliveredTo {
			if !facts.deliveredTo[foldAddress(a)] {
				t.Errorf("folding %q again gives %q", a, foldAddress(a))
			}
		}
	})
}
