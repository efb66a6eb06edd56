package sevenbit

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"svc.plus/mailsrvd/internal/message"
	"svc.plus/mailsrvd/internal/peertest"
)

// reader prints, for each pair of files, whether Python's email package reads the
// same leaves in both, and 7 bits in those of the second; the number of leaves is
// what we see ourselves, and "other" means that Python sees another structure.
const reader = `
import email, sys
def leaves(path):
    out = []
    def walk(p):
        if p.is_multipart():
            for c in p.get_payload(): walk(c)
        else:
            raw = p.get_payload()
            out.append(((p.get_content_type(), p.get_payload(decode=True).replace(b"\r\n", b"\n").rstrip(b"\n")), raw.isascii()))
    walk(email.message_from_bytes(open(path, "rb").read()))
    return out
for arg in sys.argv[1:]:
    name, n = arg.rsplit("=", 1)
    a, b = leaves(name + ".in"), leaves(name + ".out")
    if len(a) != int(n): print(name, "other")
    elif [x for x, _ in a] != [x for x, _ in b]: print(name, "differs:", a, b)
    elif not all(ascii for _, ascii in b): print(name, "has 8-bit bytes", b)
    else: print(name, "ok")
`

// TestPythonReadsTheSame asks a parser that others wrote, about mail of all
// kinds.
func TestPythonReadsTheSame(t *testing.T) {
	python := peertest.NeedProgram(t, "python3", "python3")
	files, err := filepath.Glob("../../../internal/message/testdata/messages/*.eml")
	if err != nil || len(files) < 50 {
		t.Fatalf("%d messages, %v", len(files), err)
	}
	dir := t.TempDir()
	args := []string{"-c", reader}
	add := func(name, in string) {
		in = strings.ReplaceAll(strings.ReplaceAll(strings.ReplaceAll(in, "\r\n", "\n"), "\r", ""), "\n", "\r\n")
		out, err := convert(in)
		if errors.Is(err, ErrStructure) && (strings.HasPrefix(name, "boundary-") || strings.HasPrefix(name, "inner-") || strings.HasPrefix(name, "nested-")) {
			return // a multipart without parts
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			return
		}
		path := filepath.Join(dir, name)
		os.WriteFile(path+".in", []byte(in), 0o644)
		os.WriteFile(path+".out", []byte(out), 0o644)
		args = append(args, fmt.Sprintf("%s=%d", path, len(leaves(t, []byte(in)))))
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimSuffix(filepath.Base(f), ".eml")
		if name != "message-global" { // in UTF-8 already
			add(name, string(b))
		}
		if pythonDiffers[name] == "" {
			add(name+"-umlaut", umlauts(t, b))
		}
	}
	out, err := exec.Command(python, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	count := map[string]int{}
	for line := range strings.Lines(string(out)) {
		_, result, _ := strings.Cut(strings.TrimSpace(line), " ")
		if count[result]++; result != "ok" && result != "other" {
			t.Error(strings.ReplaceAll(strings.TrimSpace(line), dir+"/", ""))
		}
	}
	t.Logf("%v of %d", count, len(args)-2)
	if count["ok"]+count["other"] != len(args)-2 || count["ok"] < 120 {
		t.Errorf("%v of %d messages", count, len(args)-2)
	}
}

// pythonDiffers are messages that Python reads in another way than we do before
// anything is converted, though with as many leaves, and why.
var pythonDiffers = map[string]string{
	"boundary-comment":     "a comment in Content-Type is a part of the type",
	"boundary-longer-line": "a boundary must be the whole line",
	"colonless-lines":      "a line without a colon ends the header",
	"escaped-mbox-from":    "a line without a colon ends the header",
	"space-before-colon":   "a space before the colon ends the header",
	"no-mime-version":      "Content-Transfer-Encoding counts without MIME-Version",
	"message-global":       "it is no message that may be encoded",
	"message-other":        "it is no message that may be encoded",
}

// umlauts puts 8-bit text at the beginning of each leaf that has a body, unless
// that is encoded.
func umlauts(t *testing.T, text []byte) string {
	t.Helper()
	root, err := message.Scan(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	var at int64
	for p := range root.All() {
		if p.End > p.BodyStart && !walked(p) && identity(p.Encoding) {
			out.Write(text[at:p.BodyStart])
			out.WriteString("Grüße\n")
			at = p.BodyStart
		}
	}
	out.Write(text[at:])
	return out.String()
}
