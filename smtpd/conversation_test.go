package smtpd

import (
	"bufio"
	"crypto/tls"
	"encoding/base64"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
)

// talk plays a conversation. A line of the script is one of
//
//	C: text      send text and CRLF
//	C- "quoted"  send a Go string as it is
//	S: text      the next line is text; "…" at its end stands for any rest
//	S* code      the next reply has the code, whatever its lines say
//	TLS          the client's side of a handshake
//	END          the server has closed the connection
//
// and {plain:user:password} and {b64:text} in it are encoded.
func talk(t testing.TB, c net.Conn, script string) net.Conn {
	t.Helper()
	br := bufio.NewReader(c)
	for step := range strings.Lines(script) {
		step = strings.TrimLeft(strings.TrimRight(step, "\n"), "\t")
		what, arg, _ := strings.Cut(step, " ")
		switch what {
		case "":
		case "C:":
			io.WriteString(c, encode(arg)+"\r\n")
		case "C-":
			raw, err := strconv.Unquote(arg)
			if err != nil {
				t.Fatalf("%s: %v", step, err)
			}
			io.WriteString(c, raw)
		case "S:":
			line, err := br.ReadString('\n')
			if !matches(strings.TrimSuffix(line, "\r\n"), encode(arg)) || !strings.HasSuffix(line, "\r\n") {
				t.Fatalf("%s\n   got %q, %v", step, line, err)
			}
		case "S*":
			for {
				line, err := br.ReadString('\n')
				if err != nil || !strings.HasPrefix(line, arg) || len(line) < 5 {
					t.Fatalf("%s\n   got %q, %v", step, line, err)
				}
				if line[3] == ' ' {
					break
				}
			}
		case "TLS":
			tc := tls.Client(c, clientTLS)
			if err := tc.Handshake(); err != nil {
				t.Fatalf("TLS: %v", err)
			}
			c, br = tc, bufio.NewReader(tc)
		case "END":
			if line, err := br.ReadString('\n'); err == nil {
				t.Fatalf("END\n   got %q", line)
			} else if ne, ok := err.(net.Error); ok && ne.Timeout() {
				t.Fatal("END\n   the connection stays open")
			}
		default:
			t.Fatalf("bad step %q", step)
		}
	}
	return c
}

func matches(line, want string) bool {
	if prefix, open := strings.CutSuffix(want, "…"); open {
		return strings.HasPrefix(line, prefix)
	}
	return line == want
}

func encode(s string) string {
	for {
		before, rest, ok := strings.Cut(s, "{")
		if !ok {
			return s
		}
		inner, after, _ := strings.Cut(rest, "}")
		kind, arg, _ := strings.Cut(inner, ":")
		if kind == "plain" {
			arg = "\x00" + strings.ReplaceAll(arg, ":", "\x00")
		}
		s = before + base64.StdEncoding.EncodeToString([]byte(arg)) + after
	}
}

// hello is how a script at the MX begins that is about the message.
const hello = `
	S* 220
	C: EHLO there.test
	S* 250
	C: MAIL FROM:<x@there.test>
	S* 250
	C: RCPT TO:<alice@here.test>
	S* 250
`

// startTLS is how a script about logging in begins.
const startTLS = `
	S* 220
	C: EHLO laptop
	S* 250
	C: STARTTLS
	S* 220
	TLS
	C: EHLO laptop
	S* 250
`

// login is how a submission script begins.
const login = `
	S: 220 mx.test ESMTP ready
	C: EHLO laptop
	S* 250
	C: STARTTLS
	S: 220 2.0.0 Ready to start TLS
	TLS
	C: EHLO laptop
	S* 250
	C: AUTH PLAIN {plain:alice:pw-alice}
	S: 235 2.7.0 Authentication successful
`
