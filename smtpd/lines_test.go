package smtpd

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
)

func TestLineEnds(t *testing.T) {
	for _, c := range []struct {
		in, repaired string
		clean        bool
	}{
		{"", "", true},
		{"a\r\n", "a\r\n", true},
		{"a", "a\r\n", true}, // BDAT may end anywhere
		{"\r\n\r\na\r\n", "\r\n\r\na\r\n", true},
		{"a\nb\n", "a\r\nb\r\n", false},
		{"a\rb\r\n", "a\r\nb\r\n", false},
		{"a\r\r\nb\r\n", "a\r\nb\r\n", false},
		{"a\r\r\r\nb\r\n", "a\r\nb\r\n", false},
		{"a\n\rb\r\n", "a\r\n\r\nb\r\n", false},
		{"\n.\n", "\r\n.\r\n", false},
		{"\r", "\r\n", false},
		{"a\r\r", "a\r\n\r\n", false},
		{"a\r\rb", "a\r\n\r\nb\r\n", false},
	} {
		for name, way := range ways {
			got, err := way.read(&lineReader{src: way.src(strings.NewReader(c.in)), repair: true})
			if string(got) != c.repaired || err != nil {
				t.Errorf("repair %q %s: %q, %v", c.in, name, got, err)
			}
			got, err = way.read(&lineReader{src: way.src(strings.NewReader(c.in))})
			if c.clean && (string(got) != c.repaired || err != nil) || !c.clean && !errors.Is(err, errBareLineEnd) {
				t.Errorf("reject %q %s: %q, %v", c.in, name, got, err)
			}
		}
	}
}

func TestLinesRefuseNULAndFloodsOfCR(t *testing.T) {
	for _, c := range []struct {
		in   string
		want error
	}{
		{"a\x00b\r\n", errNUL},
		{"a" + strings.Repeat("\r", 10*maxCRs), errBareLineEnd},
		{"a" + strings.Repeat("\r", 40<<10), errBareLineEnd},
	} {
		if _, err := io.ReadAll(&lineReader{src: strings.NewReader(c.in), repair: true}); !errors.Is(err, c.want) {
			t.Errorf("%.20q: %v", c.in, err)
		}
	}
}

func TestLinesSeeEightBit(t *testing.T) {
	for in, want := range map[string]bool{"plain ascii text\r\n": false, "caf\u00e9\r\n": true, "a long enough line with \xff\r\n": true} {
		l := &lineReader{src: strings.NewReader(in)}
		io.Copy(io.Discard, l)
		if l.eightBit != want {
			t.Errorf("%q: eightBit = %v", in, l.eightBit)
		}
	}
}

// slowRepair is the definition of a repair: a run of CRs with an LF, a CR or an
// LF alone each are one line end.
func slowRepair(in string) string {
	var out strings.Builder
	for i := 0; i < len(in); {
		switch crs := len(in[i:]) - len(strings.TrimLeft(in[i:], "\r")); {
		case crs > 0 && strings.HasPrefix(in[i+crs:], "\n"):
			out.WriteString("\r\n")
			i += crs + 1
		case crs > 0 || in[i] == '\n':
			out.WriteString("\r\n")
			i++
		default:
			out.WriteByte(in[i])
			i++
		}
	}
	s := out.String()
	if s != "" && !strings.HasSuffix(s, "\n") {
		s += "\r\n"
	}
	return s
}

func FuzzLines(f *testing.F) {
	for _, s := range []string{"a\r\nb", "a\nb\rc\r\r\nd", "\r", "\n\r\n\r"} {
		f.Add([]byte(s), uint64(1))
	}
	f.Fuzz(func(t *testing.T, in []byte, seed uint64) {
		random := rand.New(rand.NewPCG(seed, 0))
		got, err := io.ReadAll(&lineReader{src: randomReader{bytes.NewReader(in), random}, repair: true})
		if err != nil {
			if bytes.IndexByte(in, 0) >= 0 || len(in) > maxCRs {
				return
			}
			t.Fatalf("%q: %v", in, err)
		}
		if want := slowRepair(string(in)); string(got) != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
		again, err := io.ReadAll(&lineReader{src: randomReader{bytes.NewReader(got), random}})
		if err != nil || !bytes.Equal(again, got) {
			t.Errorf("a repaired message is refused: %q, %v", got, err)
		}
	})
}
