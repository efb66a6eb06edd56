package message

import (
	"fmt"
	"math/rand"
	"reflect"
	"strings"
	"testing"
)

// tree is a message as it is written, to be found again by a scan.
type tree struct {
	typ, subtype string
	description  string // a header field
	text         string // of a leaf
	children     []*tree
}

// randomTree makes a part of at most this depth.
func randomTree(random *rand.Rand, depth int) *tree {
	t := &tree{typ: "text", subtype: "plain", description: fmt.Sprint(random.Int())}
	switch kind := random.Intn(6); {
	case depth > 0 && kind < 2:
		t.typ, t.subtype = "multipart", "mixed"
		for range 1 + random.Intn(3) {
			t.children = append(t.children, randomTree(random, depth-1))
		}
	case depth > 0 && kind == 2:
		t.typ, t.subtype = "message", "rfc822"
		t.children = []*tree{randomTree(random, depth-1)}
	default:
		for range random.Intn(5) {
			t.text += []string{"a line", "", "-- ", "--almost", "x: y", "--- ", "="}[random.Intn(7)] + "\n"
		}
	}
	return t
}

// write appends the part to b, lines ended by eol; boundaries name their depth.
func (t *tree) write(b *strings.Builder, random *rand.Rand, eol string, path string) {
	fmt.Fprintf(b, "Content-Description: %s%s", t.description, eol)
	boundary := "=_" + path + "_"
	fmt.Fprintf(b, "Content-Type: %s/%s; boundary=%q%s%s", t.typ, t.subtype, boundary, eol, eol)
	switch t.typ {
	case "multipart":
		if random.Intn(2) == 0 {
			b.WriteString("preamble" + eol)
		}
		for i, c := range t.children {
			b.WriteString(eol + "--" + boundary + eol)
			c.write(b, random, eol, fmt.Sprint(path, i))
		}
		b.WriteString(eol + "--" + boundary + "--" + eol)
		if random.Intn(2) == 0 {
			b.WriteString("epilogue" + eol)
		}
	case "message":
		t.children[0].write(b, random, eol, path+"m")
	default:
		b.WriteString(strings.ReplaceAll(t.text, "\n", eol))
	}
}

// found turns a scan's part of msg into a tree.
func found(p *Part, msg string) *tree {
	t := &tree{typ: p.Type, subtype: p.Subtype, description: p.Description}
	for _, c := range p.Children {
		t.children = append(t.children, found(c, msg))
	}
	if len(t.children) == 0 {
		t.text = strings.ReplaceAll(msg[p.BodyStart:p.End], "\r\n", "\n")
	}
	return t
}

// TestScanFindsWhatWasWritten writes random messages and finds them again.
func TestScanFindsWhatWasWritten(t *testing.T) {
	random := rand.New(rand.NewSource(1))
	for n := range 3000 {
		want := randomTree(random, 5)
		eol := []string{"\n", "\r\n"}[n%2]
		var b strings.Builder
		b.WriteString("MIME-Version: 1.0" + eol)
		want.write(&b, random, eol, "")
		msg := b.String()
		p := scanString(t, msg)
		if err := checkTree(p, int64(len(msg))); err != nil {
			t.Fatalf("%v in\n%s", err, msg)
		}
		if got := found(p, msg); !reflect.DeepEqual(got, want) {
			t.Fatalf("found\n%sin\n%s", describe(p), msg)
		}
	}
}
