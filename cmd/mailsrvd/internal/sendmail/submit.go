package sendmail

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"github.com/emersion/go-smtp"

	"svc.plus/mailsrvd/internal/message"
)

// Sender is who calls, and where the message goes.
type Sender struct {
	// Socket is the daemon's submission socket.
	Socket string
	// User is the login name, Name its full name; Domain completes addresses
	// without one.
	User, Name, Domain string
	// Stdin has the message; Stdout and Stderr are the command's.
	Stdin          io.Reader
	Stdout, Stderr io.Writer
}

// Error is a failure with its exit code.
type Error struct {
	Code int
	Err  error
}

func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

func failf(code int, format string, args ...any) error {
	return &Error{code, fmt.Errorf(format, args...)}
}

// Submit reads the message and hands it to the daemon. Its error is an *Error.
// Recipients that the daemon refuses are named in it; the others have the
// message then.
func (s Sender) Submit(ctx context.Context, o Options) error {
	m, err := readMail(s.Stdin, o.DotIsText)
	if err != nil {
		return failf(ExitData, "%w", err)
	}
	to := o.Recipients
	if o.FromHeader {
		to = append(to, m.recipients()...)
	}
	to = s.qualifyAll(to)
	if len(to) == 0 {
		return failf(ExitUsage, "no recipient: name one, or use -t to take them from the message")
	}
	from := ""
	if !m.has("From") && !m.has("Resent-From") {
		from = s.fromField(o)
	}
	c, err := s.dial(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	return s.transaction(c, o, m, to, from)
}

func (s Sender) dial(ctx context.Context) (*smtp.Client, error) {
	conn, err := (&net.Dialer{Timeout: 30 * time.Second}).DialContext(ctx, "unix", s.Socket)
	if err != nil {
		return nil, failf(ExitTempFail, "the mail server does not answer: %w", err)
	}
	context.AfterFunc(ctx, func() { conn.Close() })
	c := smtp.NewClient(conn)
	if err := c.Hello("localhost"); err != nil {
		c.Close()
		return nil, smtpError(ExitRefused, "greeting", err)
	}
	return c, nil
}

// transaction sends one message (RFC 5321 section 3.3).
func (s Sender) transaction(c *smtp.Client, o Options, m *mail, to []string, from string) error {
	sender := s.reversePath(o)
	opts := &smtp.MailOptions{EnvelopeID: o.EnvID, Return: smtp.DSNReturn(o.Ret)}
	if ok, _ := c.Extension("8BITMIME"); ok {
		opts.Body = smtp.Body8BitMIME
	}
	if ok, _ := c.Extension("SMTPUTF8"); ok {
		opts.UTF8 = m.eightBit || !ascii(sender) || !ascii(strings.Join(to, ""))
	}
	if err := c.Mail(sender, opts); err != nil {
		return smtpError(ExitNoPerm, "sender "+sender, err)
	}
	refused, err := recipients(c, o, to)
	if err != nil {
		return err
	}
	if len(refused) == len(to) {
		return &Error{ExitNoUser, errors.Join(refused...)}
	}
	w, err := c.Data()
	if err != nil {
		return smtpError(ExitRefused, "message", err)
	}
	if _, err := io.Copy(w, m.reader(from)); err != nil {
		return failf(ExitTempFail, "sending the message: %w", err)
	}
	if err := w.Close(); err != nil {
		return smtpError(ExitRefused, "message", err)
	}
	c.Quit()
	if len(refused) > 0 {
		return &Error{ExitNoUser, fmt.Errorf("sent, but not to all:\n%w", errors.Join(refused...))}
	}
	return nil
}

// recipients names all recipients and collects the final refusals. A passing
// failure ends the transaction: nobody has the message, and the caller's retry
// gives nobody two.
func recipients(c *smtp.Client, o Options, to []string) (refused []error, err error) {
	opts := &smtp.RcptOptions{}
	for _, n := range o.Notify {
		opts.Notify = append(opts.Notify, smtp.DSNNotify(n))
	}
	for _, r := range to {
		err := c.Rcpt(r, opts)
		if err == nil {
			continue
		}
		failure := smtpError(ExitNoUser, "recipient "+r, err)
		if e := new(Error); errors.As(failure, &e) && e.Code == ExitTempFail {
			return nil, failure
		}
		refused = append(refused, failure)
	}
	return refused, nil
}

// smtpError turns a reply into an exit code: permanent for 5yz, try again for
// everything else, a broken connection too.
func smtpError(permanent int, what string, err error) error {
	var reply *smtp.SMTPError
	if errors.As(err, &reply) && reply.Code/100 == 5 {
		return failf(permanent, "%s: %w", what, err)
	}
	return failf(ExitTempFail, "%s: %w", what, err)
}

// reversePath is -f, or the user.
func (s Sender) reversePath(o Options) string {
	if o.SenderSet {
		if o.Sender == "" {
			return ""
		}
		return s.qualify(o.Sender)
	}
	return s.qualify(s.User)
}

// fromField is the From field of a message that has none.
func (s Sender) fromField(o Options) string {
	name := o.FullName
	if name == "" {
		name = s.Name
	}
	address := s.reversePath(o)
	if address == "" {
		address = s.qualify(s.User)
	}
	if name == "" || !ascii(name) || strings.ContainsAny(name, "\r\n") {
		return address
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(name) + `" <` + address + ">"
}

// qualify adds the domain to a bare name.
func (s Sender) qualify(address string) string {
	if strings.Contains(address, "@") {
		return address
	}
	return address + "@" + s.Domain
}

// qualifyAll makes whole addresses, each once.
func (s Sender) qualifyAll(list []string) []string {
	var out []string
	seen := map[string]bool{}
	for _, entry := range list {
		for _, a := range message.ParseAddressList(entry) {
			if a.Kind != message.Individual || a.Mailbox == "" {
				continue
			}
			if q := s.qualify(a.String()); !seen[q] {
				seen[q] = true
				out = append(out, q)
			}
		}
	}
	return out
}

func ascii(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r > 0x7e }) < 0
}

// Relay connects standard input and output with the daemon's socket (-bs).
func (s Sender) Relay(ctx context.Context) error {
	conn, err := (&net.Dialer{Timeout: 30 * time.Second}).DialContext(ctx, "unix", s.Socket)
	if err != nil {
		return failf(ExitTempFail, "the mail server does not answer: %w", err)
	}
	defer conn.Close()
	go func() {
		io.Copy(conn, s.Stdin)
		if u, ok := conn.(*net.UnixConn); ok {
			u.CloseWrite()
		}
	}()
	if _, err := io.Copy(s.Stdout, conn); err != nil && !errors.Is(err, os.ErrClosed) {
		return failf(ExitTempFail, "speaking SMTP: %w", err)
	}
	return nil
}
