package auth

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
)

func TestErrorTexts(t *testing.T) {
	cases := []struct {
		kind      Kind
		reply     string
		imap      string
		temporary bool
	}{
		{Refused, "535 5.7.8", "AUTHENTICATIONFAILED", false},
		{Unavailable, "454 4.7.0", "UNAVAILABLE", true},
		{Expired, "535 5.7.8", "EXPIRED", false},
		{Disabled, "535 5.7.8", "AUTHORIZATIONFAILED", false},
		{Throttled, "454 4.7.0", "UNAVAILABLE", true},
		{Malformed, "501 5.5.2", "CLIENTBUG", false},
	}
	if len(cases) != len(kinds) {
		t.Errorf("%d kinds, %d cases", len(kinds), len(cases))
	}
	for _, c := range cases {
		e := Fail(c.kind, "secret: %w", io.EOF)
		if got := e.Status().Reply(); got != c.reply+" "+e.Text() || strings.Contains(got, "secret") {
			t.Errorf("%v: %q", c.kind, got)
		}
		if e.IMAPCode() != c.imap || e.Temporary() != c.temporary || e.Status().Temporary() != c.temporary {
			t.Errorf("%v: %s, temporary %v", c.kind, e.IMAPCode(), e.Temporary())
		}
		if !errors.Is(e, io.EOF) || !errors.Is(e.Status(), io.EOF) || !strings.Contains(e.Error(), "secret") {
			t.Errorf("%v: the cause is lost: %v", c.kind, e)
		}
	}
}

func TestAsErrorNeverBlamesTheClientForUnknownErrors(t *testing.T) {
	if e := AsError(io.EOF); e.Kind != Unavailable || !errors.Is(e, io.EOF) {
		t.Errorf("%v", e)
	}
	if e := AsError(fmt.Errorf("x: %w", Fail(Refused, "y"))); e.Kind != Refused {
		t.Errorf("%v", e)
	}
	if AsError(nil) != nil {
		t.Error("nil is no error")
	}
	if (&Error{Kind: Refused}).Error() != "authentication refused" {
		t.Error((&Error{Kind: Refused}).Error())
	}
}
