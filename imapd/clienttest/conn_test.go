package clienttest

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"
)

// conn is a client of either server that gives one command at a time.
type conn struct {
	t     testing.TB
	r     *bufio.Reader
	w     io.Writer
	close func()
	n     int
}

// dial connects to the server and logs in.
func (s *server) dial() *conn {
	s.t.Helper()
	raw, err := tls.DialWithDialer(&net.Dialer{Timeout: 10 * time.Second}, "tcp", "127.0.0.1:"+s.port,
		&tls.Config{InsecureSkipVerify: true})
	s.must(err)
	s.must(raw.SetDeadline(time.Now().Add(5 * time.Minute)))
	c := &conn{t: s.t, r: bufio.NewReader(raw), w: raw, close: func() { raw.Close() }}
	s.t.Cleanup(c.close)
	if line, err := c.line(); err != nil || !strings.HasPrefix(line, "* OK") {
		s.t.Fatalf("greeting: %q, %v", line, err)
	}
	c.ok(fmt.Sprintf("LOGIN %s %q", user, password))
	return c
}

// line reads a line with the literals in it, without its end.
func (c *conn) line() (string, error) {
	var b strings.Builder
	for {
		line, err := c.r.ReadString('\n')
		if err != nil {
			return b.String() + line, err
		}
		line = strings.TrimSuffix(line, "\r\n")
		b.WriteString(line)
		open := strings.LastIndexByte(line, '{')
		if open < 0 || !strings.HasSuffix(line, "}") {
			return b.String(), nil
		}
		n, err := strconv.Atoi(line[open+1 : len(line)-1])
		if err != nil {
			return b.String(), nil
		}
		text := make([]byte, n)
		if _, err := io.ReadFull(c.r, text); err != nil {
			return b.String(), err
		}
		b.WriteString("\r\n")
		b.Write(text)
	}
}

// do gives a command, whose literals are not waited for ("{3+}"), and returns
// the untagged answers without "* " and the tagged one without its tag.
func (c *conn) do(command string) (untagged []string, tagged string) {
	c.t.Helper()
	untagged, tagged, err := c.try(command)
	if err != nil {
		c.t.Fatalf("%.200s: %v after %q", command, err, untagged)
	}
	return untagged, tagged
}

// try is do for goroutines that are not the test's, and connections that may end.
func (c *conn) try(command string) (untagged []string, tagged string, err error) {
	c.n++
	tag := "t" + strconv.Itoa(c.n)
	if _, err := io.WriteString(c.w, tag+" "+command+"\r\n"); err != nil {
		return nil, "", err
	}
	for {
		line, err := c.line()
		if err != nil {
			return untagged, "", err
		}
		if rest, ok := strings.CutPrefix(line, tag+" "); ok {
			return untagged, rest, nil
		}
		if rest, ok := strings.CutPrefix(line, "* "); ok {
			untagged = append(untagged, rest)
		}
	}
}

// ok is do for a command that must succeed.
func (c *conn) ok(command string) []string {
	c.t.Helper()
	untagged, tagged := c.do(command)
	if !strings.HasPrefix(tagged, "OK") {
		c.t.Fatalf("%.200s: %s", command, tagged)
	}
	return untagged
}

// literal is a text as an argument.
func literal(text string) string { return fmt.Sprintf("{%d+}\r\n%s", len(text), text) }
