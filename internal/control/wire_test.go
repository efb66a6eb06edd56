package control

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestReadLineKeepsItsLimit(t *testing.T) {
	for _, c := range []struct {
		in   string
		want string
		err  error
	}{
		{"", "", io.EOF},
		{"abc", "", io.ErrUnexpectedEOF},
		{"\n", "", nil},
		{strings.Repeat("x", 100) + "\n", strings.Repeat("x", 100), nil},
		{strings.Repeat("x", 101) + "\n", "", errLineTooLong},
		{strings.Repeat("x", 10000), "", errLineTooLong},
	} {
		got, err := readLine(bufio.NewReaderSize(strings.NewReader(c.in), 16), 100)
		if string(got) != c.want || !errors.Is(err, c.err) {
			t.Errorf("%.20q: %q, %v", c.in, got, err)
		}
	}
}

func FuzzChunks(f *testing.F) {
	for _, s := range []string{"0\n", "3\nabc0\n", "3\nab", "1\na1\nb0\nrest", "65536\n", "65537\n", "-1\n", "01\n", "+1\n", "\n", " 1\n", "99999999999\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		r := bufio.NewReader(bytes.NewReader(in))
		body, err := io.ReadAll(&chunkReader{r: r})
		if err != nil {
			return
		}
		// What was accepted as whole must be what the writer makes of it,
		// apart from the places where chunks end.
		var out bytes.Buffer
		chunkWriter{&out}.Write(body)
		out.WriteString("0\n")
		again, err := io.ReadAll(&chunkReader{r: bufio.NewReader(&out)})
		if err != nil || !bytes.Equal(again, body) {
			t.Errorf("%q read back as %q, %v", body, again, err)
		}
	})
}

func FuzzRequest(f *testing.F) {
	for _, s := range []string{"{\"call\":\"a\"}\n", "{\"call\":\"a\",\"args\":{\"b\":[1]},\"body\":true}\n", "{}\n", "\x00\n", "{\"call\":\"\xff\"}\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		req, err := readRequest(bufio.NewReader(bytes.NewReader(in)))
		if err == nil && req.Call == "" {
			t.Error("a request without a call was accepted")
		}
	})
}

func FuzzReply(f *testing.F) {
	for _, s := range []string{"{\"value\":1}\n", "{\"error\":{\"kind\":\"x\",\"text\":\"y\"}}\n", "3\nabc{\"value\":{}}\n", "{\n", "0\n0\n", "3\nab"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		var v any
		receive(bufio.NewReader(bytes.NewReader(in)), Request{Name: "x"}, &v)
	})
}
