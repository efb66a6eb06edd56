package status

import (
	"errors"
	"fmt"
	"io"
	"testing"
)

func TestFromClassifies(t *testing.T) {
	cases := []struct {
		name      string
		err       error
		reply     string
		temporary bool
	}{
		{"unknown errors may heal", io.ErrUnexpectedEOF, "451 4.3.0 Local error, try again later", true},
		{"a status stays itself", NoSuchUser("x@y"), "550 5.1.1 <x@y>: no such user here", false},
		{"also when wrapped", fmt.Errorf("delivering: %w", SystemFull(io.EOF)), "452 4.3.1 Insufficient system storage, try again later", true},
		{"full mailbox is final", MailboxFull(nil), "552 5.2.2 Mailbox is full", false},
		{"no relaying is final", RelayDenied("a@b"), "550 5.7.1 <a@b>: relay access denied", false},
		{"text cannot start a new line", New(550, 1, 1, "a\r\n250 ok\x00"), "550 5.1.1 a  250 ok ", false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			e := From(c.err)
			if got := e.Reply(); got != c.reply {
				t.Errorf("Reply = %q, want %q", got, c.reply)
			}
			if e.Temporary() != c.temporary || IsTemporary(c.err) != c.temporary {
				t.Errorf("Temporary = %v, want %v", e.Temporary(), c.temporary)
			}
			if e.Enhanced[0] != e.Code/100 {
				t.Errorf("enhanced class %d does not agree with code %d", e.Enhanced[0], e.Code)
			}
		})
	}
}

func TestFromNil(t *testing.T) {
	if From(nil) != nil || IsTemporary(nil) {
		t.Fatal("nil is not a failure")
	}
}

func TestErrorKeepsCauseForLogOnly(t *testing.T) {
	cause := errors.New("open /home/alice/secret: denied")
	e := Wrap(cause, 451, 3, 0, "Local error")
	if !errors.Is(e, cause) {
		t.Error("cause is lost")
	}
	if e.Reply() != "451 4.3.0 Local error" {
		t.Errorf("Reply gives away the cause: %q", e.Reply())
	}
	if e.Error() != "451 4.3.0 Local error: open /home/alice/secret: denied" {
		t.Errorf("Error = %q", e.Error())
	}
}

func TestEnhancedZeroIsEmpty(t *testing.T) {
	e := &Error{Code: 421, Text: "bye"}
	if e.Reply() != "421 bye" {
		t.Errorf("Reply = %q", e.Reply())
	}
}
