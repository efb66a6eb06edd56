package sendmail

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/emersion/go-smtp"
)

func TestParse(t *testing.T) {
	for _, tt := range []struct {
		args string
		want Options
	}{
		{"", Options{}},
		{"a b@c", Options{Recipients: []string{"a", "b@c"}}},
		{"-t", Options{FromHeader: true}},
		{"-ti", Options{FromHeader: true, DotIsText: true}},
		{"-oi a", Options{DotIsText: true, Recipients: []string{"a"}}},
		{"-o i -t", Options{DotIsText: true, FromHeader: true}},
		{"-fa@b c", Options{Sender: "a@b", SenderSet: true, Recipients: []string{"c"}}},
		{"-f a@b c", Options{Sender: "a@b", SenderSet: true, Recipients: []string{"c"}}},
		{"-f <> c", Options{SenderSet: true, Recipients: []string{"c"}}},
		{"-r <a@b> c", Options{Sender: "a@b", SenderSet: true, Recipients: []string{"c"}}},
		{"-ifa@b -FName c", Options{DotIsText: true, Sender: "a@b", SenderSet: true, FullName: "Name", Recipients: []string{"c"}}},
		{"-i -- -odd", Options{DotIsText: true, Recipients: []string{"-odd"}}},
		{"-bm -odb -oem -B8BITMIME a", Options{Recipients: []string{"a"}}},
		{"-bs", Options{Mode: SMTP}},
		{"-bp", Options{Mode: List}},
		{"-bi", Options{Mode: Nothing}},
		{"-q", Options{Mode: Flush}},
		{"-q15m", Options{Mode: Flush}},
		{"-N success,delay -R hdrs -V id a", Options{Notify: []string{"SUCCESS", "DELAY"}, Ret: "HDRS", EnvID: "id", Recipients: []string{"a"}}},
		{"-C file a", Options{Config: "file", Recipients: []string{"a"}}},
		{"-v -U a", Options{Verbose: true, Recipients: []string{"a"}}},
		{"- a", Options{Recipients: []string{"-", "a"}}},
	} {
		got, err := Parse(strings.Fields(tt.args))
		if err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%q: %+v, %v", tt.args, got, err)
		}
	}
	for _, args := range []string{"-f", "-bz", "-Z", "-N sometimes", "-N never,delay", "-R some"} {
		if got, err := Parse(strings.Fields(args)); err == nil {
			t.Errorf("%q passed: %+v", args, got)
		}
	}
}

func TestMessageIsSentWithoutBcc(t *testing.T) {
	for _, tt := range []struct {
		name, in, from, want string
		dotIsText            bool
		to                   []string
	}{
		{name: "plain", in: "To: a\nSubject: x\n\nbody\n", want: "To: a\nSubject: x\n\nbody\n", to: []string{"a"}},
		{name: "bcc goes", in: "To: a\nBcc: b,\n c@d\nCc: e\n\nbody\n", want: "To: a\nCc: e\n\nbody\n", to: []string{"a", "e", "b", "c@d"}},
		{name: "from added", in: "To: a\n\nbody\n", from: "u@d", want: "From: u@d\nTo: a\n\nbody\n", to: []string{"a"}},
		{name: "no header", in: "just text\nmore\n", want: "\njust text\nmore\n"},
		{name: "leading space", in: " just text\n", want: "\n just text\n"},
		{name: "no body", in: "To: a\n", want: "To: a\n\n", to: []string{"a"}},
		{name: "no last line end", in: "To: a", want: "To: a\n\n", to: []string{"a"}},
		{name: "empty", in: "", want: "\n"},
		{name: "CRLF", in: "To: a\r\nBcc: b\r\n\r\nx\r\n", want: "To: a\r\n\r\nx\r\n", to: []string{"a", "b"}},
		{name: "dot ends", in: "To: a\n\nx\n.\nnot sent\n", want: "To: a\n\nx\n", to: []string{"a"}},
		{name: "dot at the end of input", in: "To: a\n\nx\n.", want: "To: a\n\nx\n", to: []string{"a"}},
		{name: "dot inside a line", in: "To: a\n\nx.\n.y\n", want: "To: a\n\nx.\n.y\n", to: []string{"a"}},
		{name: "dot is text", in: "To: a\n\nx\n.\nsent\n", dotIsText: true, want: "To: a\n\nx\n.\nsent\n", to: []string{"a"}},
		{name: "mbox line", in: "From x Mon Jan 1\nTo: a\n\nb\n", want: "To: a\n\nb\n", to: []string{"a"}},
		{name: "resent wins", in: "To: a\nResent-To: r@s, t\nResent-Bcc: u\n\nb\n", want: "To: a\nResent-To: r@s, t\n\nb\n", to: []string{"r@s", "t", "u"}},
		{name: "names and groups", in: "To: \"A, B\" <a@b>, friends: c@d, e;\n\n", want: "To: \"A, B\" <a@b>, friends: c@d, e;\n\n", to: []string{"a@b", "c@d", "e"}},
		{name: "space before colon", in: "To : a\n\nb\n", want: "To : a\n\nb\n", to: []string{"a"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m, err := readMail(strings.NewReader(tt.in), tt.dotIsText)
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(m.reader(tt.from))
			if err != nil || string(got) != tt.want {
				t.Errorf("got %q, want %q (%v)", got, tt.want, err)
			}
			if to := m.recipients(); !slices.Equal(to, tt.to) {
				t.Errorf("recipients %q, want %q", to, tt.to)
			}
		})
	}
}

func TestEndlessHeaderIsRefused(t *testing.T) {
	_, err := readMail(strings.NewReader(strings.Repeat("X: y\n", maxHeader/4)), true)
	if !errors.Is(err, errHeader) {
		t.Error(err)
	}
}

// daemon is the other end of the socket: it keeps what it gets.
type daemon struct {
	mu       sync.Mutex
	from     string
	to       []string
	utf8     bool
	envID    string
	data     string
	refuse   map[string]*smtp.SMTPError // by address or "DATA"
	complete bool
}

func (d *daemon) NewSession(*smtp.Conn) (smtp.Session, error) { return d, nil }
func (d *daemon) Reset()                                      {}
func (d *daemon) Logout() error                               { return nil }

func (d *daemon) reply(key string) error {
	if e := d.refuse[key]; e != nil {
		return e
	}
	return nil
}

func (d *daemon) Mail(from string, o *smtp.MailOptions) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.from, d.utf8, d.envID = from, o.UTF8, o.EnvelopeID
	return d.reply(from)
}

func (d *daemon) Rcpt(to string, _ *smtp.RcptOptions) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.reply(to); err != nil {
		return err
	}
	d.to = append(d.to, to)
	return nil
}

func (d *daemon) Data(r io.Reader) error {
	b, err := io.ReadAll(r)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.data, d.complete = string(b), err == nil
	return d.reply("DATA") // the library looks at the type of the error
}

// start serves d on a socket and returns a Sender for it.
func start(t *testing.T, d *daemon, stdin string) Sender {
	t.Helper()
	dir, err := os.MkdirTemp("", "sm") // the names of sockets must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket := filepath.Join(dir, "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	s := smtp.NewServer(d)
	s.EnableSMTPUTF8, s.EnableDSN = true, true
	s.Domain = "mail.example.org"
	go s.Serve(l)
	t.Cleanup(func() { s.Close() })
	return Sender{Socket: socket, User: "alice", Name: `Alice "A"`, Domain: "example.org", Stdin: strings.NewReader(stdin), Stdout: io.Discard, Stderr: io.Discard}
}

func TestSubmitQualifiesAndCompletes(t *testing.T) {
	d := &daemon{}
	s := start(t, d, "To: root, bob@example.net, Root <root>\nSubject: x\n\n.dot\nend\n")
	if err := s.Submit(context.Background(), Options{FromHeader: true, Recipients: []string{"root", "c@d,e@f"}, EnvID: "id"}); err != nil {
		t.Fatal(err)
	}
	if d.from != "alice@example.org" || !slices.Equal(d.to, []string{"root@example.org", "c@d", "e@f", "bob@example.net"}) || d.envID != "id" || d.utf8 {
		t.Errorf("from %q to %q, envid %q, utf8 %v", d.from, d.to, d.envID, d.utf8)
	}
	want := "From: \"Alice \\\"A\\\"\" <alice@example.org>\r\nTo: root, bob@example.net, Root <root>\r\nSubject: x\r\n\r\n.dot\r\nend\r\n"
	if d.data != want {
		t.Errorf("data %q", d.data)
	}
}

func TestSubmitKeepsGivenSenderAndFrom(t *testing.T) {
	d := &daemon{}
	s := start(t, d, "From: X <x@y>\n\nb\n")
	if err := s.Submit(context.Background(), Options{Sender: "other@example.org", SenderSet: true, Recipients: []string{"müller"}}); err != nil {
		t.Fatal(err)
	}
	if d.from != "other@example.org" || d.data != "From: X <x@y>\r\n\r\nb\r\n" || !d.utf8 {
		t.Errorf("from %q, utf8 %v, data %q", d.from, d.utf8, d.data)
	}
}

func TestSubmitExitCodes(t *testing.T) {
	perm := &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "no such user here"}
	temp := &smtp.SMTPError{Code: 452, EnhancedCode: smtp.EnhancedCode{4, 3, 1}, Message: "no room"}
	for _, tt := range []struct {
		name   string
		refuse map[string]*smtp.SMTPError
		to     []string
		code   int
		sent   bool
		text   string
	}{
		{"no recipient", nil, nil, ExitUsage, false, "no recipient"},
		{"all unknown", map[string]*smtp.SMTPError{"a@b": perm}, []string{"a@b"}, ExitNoUser, false, "recipient a@b"},
		{"one unknown", map[string]*smtp.SMTPError{"a@b": perm}, []string{"a@b", "c@d"}, ExitNoUser, true, "not to all"},
		{"one for later", map[string]*smtp.SMTPError{"a@b": temp}, []string{"c@d", "a@b"}, ExitTempFail, false, "no room"},
		{"sender not ours", map[string]*smtp.SMTPError{"alice@example.org": perm}, []string{"a@b"}, ExitNoPerm, false, "sender"},
		{"message refused", map[string]*smtp.SMTPError{"DATA": perm}, []string{"a@b"}, ExitRefused, true, "message"},
		{"message for later", map[string]*smtp.SMTPError{"DATA": temp}, []string{"a@b"}, ExitTempFail, true, "no room"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := &daemon{refuse: tt.refuse}
			err := start(t, d, "x\n").Submit(context.Background(), Options{Recipients: tt.to})
			var e *Error
			if !errors.As(err, &e) || e.Code != tt.code || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("err = %v", err)
			}
			if d.complete != tt.sent {
				t.Errorf("sent = %v", d.complete)
			}
		})
	}
}

func TestNoDaemonIsTemporary(t *testing.T) {
	s := Sender{Socket: filepath.Join(t.TempDir(), "none"), Stdin: strings.NewReader("x\n"), User: "a", Domain: "b"}
	for _, err := range []error{s.Submit(context.Background(), Options{Recipients: []string{"c"}}), s.Relay(context.Background())} {
		var e *Error
		if !errors.As(err, &e) || e.Code != ExitTempFail {
			t.Error(err)
		}
	}
}

func TestRelaySpeaksSMTP(t *testing.T) {
	d := &daemon{}
	s := start(t, d, "EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nX: y\r\n\r\nz\r\n.\r\nQUIT\r\n")
	var out bytes.Buffer
	s.Stdout = &out
	if err := s.Relay(context.Background()); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(out.String(), "220 mail.example.org") || d.data != "X: y\r\n\r\nz\r\n" {
		t.Errorf("%q, data %q", out.String(), d.data)
	}
}

func FuzzReadMail(f *testing.F) {
	for _, s := range []string{"To: a\nBcc: b\n c\n\nx\n.\n", ".\n", " x", "a : b\n\n", "From x\n\n", "To: a\r\n.\r\n"} {
		f.Add(s, true)
		f.Add(s, false)
	}
	f.Fuzz(func(t *testing.T, in string, dotIsText bool) {
		m, err := readMail(strings.NewReader(in), dotIsText)
		if err != nil {
			return
		}
		got, err := io.ReadAll(m.reader(""))
		if err != nil {
			t.Fatal(err)
		}
		again, err := readMail(bytes.NewReader(got), true)
		if err != nil {
			t.Fatal(err)
		}
		if again.has("Bcc") {
			t.Errorf("a Bcc field left in %q", got)
		}
		m.recipients()
	})
}
