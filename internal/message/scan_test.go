package message

import (
	"strings"
	"testing"
)

// scanString scans a message given as a string.
func scanString(t testing.TB, s string) *Part {
	t.Helper()
	p, err := Scan(strings.NewReader(s))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestSmoke(t *testing.T) {
	msg := "From: \"A. B\" <a@b.example>\nTo: foo, Grp: x@y, z@w;\nSubject: hi\n there\nContent-Type: multipart/mixed; boundary=xx\n\npre\n--xx\n\nhello\nworld\n--xx\nContent-Type: message/rfc822\n\nSubject: inner\n\nbody\n\n--xx--\nepi\n"
	p := scanString(t, msg)
	t.Log(string(p.AppendEnvelope(nil)))
	t.Log(string(p.AppendBodyStructure(nil, true)))
	for q := range p.All() {
		t.Logf("%d %d %d %q %q", q.HeaderStart, q.BodyStart, q.End, msg[q.HeaderStart:q.BodyStart], msg[q.BodyStart:q.End])
	}
}
