package smtpd

import (
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"

	"svc.plus/mailsrvd/internal/listen"
)

// converse gives the server all that a client says and returns all that it
// answered. Submission is as if under TLS.
func converse(t *testing.T, h *house, said []byte) string {
	t.Helper()
	client, server := net.Pipe()
	p := &pipes{conns: make(chan net.Conn, 1), done: make(chan struct{})}
	p.conns <- server
	l := listen.New(p, listen.Options{})
	served := make(chan error, 1)
	go func() { served <- h.smtp.Serve(&preparedListener{wireListener{l, h.Server}}) }()
	go func() {
		client.Write(said)
		if len(said) > 0 {
			client.Write([]byte("\r\nQUIT\r\n"))
		}
		client.Close()
	}()
	answered, _ := io.ReadAll(client)
	client.Close()
	for len(l.Conns()) > 0 {
		for _, c := range l.Conns() {
			c.Close()
		}
	}
	l.Close()
	<-served
	return string(answered)
}

// preparedListener lets a Submission believe in TLS.
type preparedListener struct{ wireListener }

func (l *preparedListener) Accept() (net.Conn, error) {
	c, err := l.wireListener.Accept()
	if err != nil {
		return nil, err
	}
	w := c.(*wire)
	if l.server.o.Mode == Submission {
		w.tls = &tls.ConnectionState{Version: tls.VersionTLS13}
	}
	if l.server.o.Mode == Local {
		w.farewell, w.account = "", "alice" // a pipe has no uid
	}
	return w, nil
}

func FuzzSession(f *testing.F) {
	const mx = "EHLO x\r\nMAIL FROM:<x@there.test>\r\nRCPT TO:<alice@here.test>\r\n"
	for _, s := range []string{
		mx + "DATA\r\nSubject: x\r\n\r\n..\r\n.\r\nRSET\r\n",
		mx + "BDAT 3\r\nA:1BDAT 0 LAST\r\nBDAT 9 LAST\r\n",
		mx + "RCPT TO:<postmaster>\r\nRCPT TO:<\"a\\\"b\"@here.test> NOTIFY=NEVER ORCPT=rfc822;x\r\nDATA\r\n.\r\n",
		"EHLO x\r\nAUTH PLAIN AGFsaWNlAHB3LWFsaWNl\r\nMAIL FROM:<alice@here.test> RET=FULL ENVID=x SMTPUTF8\r\nRCPT TO:<x@y.test>\r\nDATA\r\nFrom: alice@here.test\r\n.\r\n",
		"EHLO x\r\nAUTH LOGIN\r\n*\r\nAUTH LOGIN YWxpY2U=\r\n????\r\n",
		"LHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<list@here.test>\r\nRCPT TO:<list@here.test>\r\nDATA\r\n\n.\n\r\n.\r\n",
		"STARTTLS\r\nHELO [127.0.0.1]\r\nVRFY x\r\nNOOP\r\nEXPN\r\nHELP\r\n\r\nX\r\n",
		mx + "RSET\r\nMAIL FROM:<\xff>\r\nRCPT TO:<a\x00b@here.test>\r\nDATA\r\n\r.\r\r\n.\r\n",
	} {
		for mode := range byte(4) {
			f.Add([]byte(s), mode)
		}
	}
	f.Fuzz(func(t *testing.T, said []byte, mode byte) {
		h := newHouse(t, Mode(mode%4), func(o *Options) { o.TLS = nil })
		for line := range strings.Lines(converse(t, h, said)) {
			body, ok := strings.CutSuffix(line, "\r\n")
			if !ok || len(body) < 4 || body[0] < '2' || body[0] > '5' || body[3] != ' ' && body[3] != '-' || hasControl(body) {
				t.Errorf("bad line %q", line)
			}
		}
		if log := h.log.String(); strings.Contains(log, "panic") && !strings.Contains(strings.ToLower(string(said)), "panic@") {
			t.Errorf("panic:\n%s", log)
		}
		delivered, queued, _ := h.mail()
		for _, d := range append(delivered, queued...) {
			if !cleanLines([]byte(d.text)) || strings.ContainsRune(d.text, 0) {
				t.Errorf("passed on: %q", d.text)
			}
			if _, ok := cutReceived(d.text); !ok {
				t.Errorf("no trace: %q", d.text)
			}
			if mode%4 == byte(MX) && d.env.Trusted {
				t.Error("a stranger is trusted")
			}
		}
	})
}
