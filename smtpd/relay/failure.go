package relay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	"svc.plus/mailsrvd/internal/message"
	"svc.plus/mailsrvd/internal/status"
)

// failure is why a host, or a step with it, did not work out.
type failure struct {
	err *status.Error
	// remote and reply are as in message.Outcome.
	remote, reply string
	// broken says that the connection is of no more use.
	broken bool
	// unsure says that the host may have taken the message all the same.
	unsure bool
	// tls is set if TLS itself is what failed.
	tls TLSFailure
	// lacks says that the host is without an ability that this message needs,
	// and that another host may have it.
	lacks bool
}

func (f *failure) Error() string { return f.err.Error() }

func (f *failure) outcome() message.Outcome {
	return message.Outcome{Err: f.err, Remote: f.remote, Reply: f.reply}
}

// refused is a reply that says no. stage is the command it answers.
func refused(remote, stage string, r reply) *failure {
	code := r.code
	if code/100 != 4 && code/100 != 5 {
		code = 451 // 3yz or 2yz where it makes no sense
	}
	e := status.New(code, 0, 0, fmt.Sprintf("%s said: %s (in reply to %s)", remote, r, stage))
	if r.enhanced != (status.Enhanced{}) {
		e.Enhanced = r.enhanced
	}
	return &failure{err: e, remote: remote, reply: r.String(), broken: r.code == 421}
}

// lost is a connection that failed, or a peer that does not speak SMTP, in the
// middle of stage.
func lost(remote, stage string, err error) *failure {
	what, detail := "connection lost", 2 // RFC 3463: X.4.2 bad connection
	switch {
	case errors.Is(err, errBadReply):
		return &failure{err: status.Wrap(err, 451, 5, 0, fmt.Sprintf("%s does not speak SMTP (at %s)", remote, stage)), remote: remote, broken: true}
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		what = "no reply in time"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		what = "connection closed by the host"
	}
	return &failure{err: status.Wrap(err, 451, 4, detail, fmt.Sprintf("%s: %s (at %s)", remote, what, stage)), remote: remote, broken: true}
}

// unreached is a host that could not be connected to.
func unreached(remote string, err error) *failure {
	text := "cannot connect"
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		text = "connection timed out"
	}
	var op *net.OpError
	if errors.As(err, &op) && op.Err != nil && text == "cannot connect" {
		var sys *os.SyscallError
		if errors.As(op.Err, &sys) {
			text = sys.Err.Error()
		}
	}
	return &failure{err: status.Wrap(err, 451, 4, 1, fmt.Sprintf("%s: %s", remote, text)), remote: remote, broken: true}
}

// passing turns a final refusal into one that can be tried again, where the
// refusal is of our settings and not of the message.
func passing(f *failure) *failure {
	if !f.err.Temporary() {
		e := *f.err
		e.Code, e.Enhanced[0] = 451, 4
		f.err = &e
	}
	return f
}

// lacking is a host that cannot do what the message needs.
func lacking(remote string, code, subject, detail int, format string, args ...any) *failure {
	f := ours(remote, code, subject, detail, format, args...)
	f.lacks = true
	return f
}

// ours is a decision of our own about a host or a destination.
func ours(remote string, code, subject, detail int, format string, args ...any) *failure {
	return &failure{err: status.New(code, subject, detail, fmt.Sprintf(format, args...)), remote: remote}
}
