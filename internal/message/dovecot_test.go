package message

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// imapBinary is Dovecot's IMAP process; started with USER and HOME set it
// speaks on its standard input and output, logged in already.
const imapBinary = "/usr/lib/dovecot/imap"

// peer is a Dovecot over a scratch Maildir.
type peer struct {
	dir  string
	stop func()
	in   io.Writer
	out  *bufio.Reader
	tag  int
}

// newPeer starts a Dovecot that serves the messages, in their order as 1, 2 …
func newPeer(t *testing.T, messages [][]byte) *peer {
	t.Helper()
	if _, err := os.Stat(imapBinary); err != nil {
		t.Skipf("missing: %s (Debian package dovecot-imapd)", imapBinary)
	}
	dir, err := os.MkdirTemp("", "message-dovecot")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	for _, sub := range []string{"run", "Maildir/cur", "Maildir/new", "Maildir/tmp"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for i, msg := range messages {
		name := fmt.Sprintf("Maildir/cur/%d.M%dP1.h:2,S", 1700000000+i, i)
		if err := os.WriteFile(filepath.Join(dir, name), msg, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	conf := fmt.Sprintf("base_dir = %[1]s/run\nstate_dir = %[1]s/run\nlog_path = %[1]s/log\n"+
		"mail_location = maildir:~/Maildir\nprotocols =\nstats_writer_socket_path =\nssl = no\nmail_fsync = never\n", dir)
	if err := os.WriteFile(filepath.Join(dir, "dovecot.conf"), []byte(conf), 0o644); err != nil {
		t.Fatal(err)
	}
	p := &peer{dir: dir}
	p.start(t)
	t.Cleanup(func() { p.stop() })
	return p
}

// start runs the process and selects the mailbox.
func (p *peer) start(t *testing.T) {
	t.Helper()
	cmd := exec.Command(imapBinary, "-c", filepath.Join(p.dir, "dovecot.conf"))
	cmd.Env = []string{"HOME=" + p.dir, "USER=" + asNobody(t, cmd, p.dir), "PATH=" + os.Getenv("PATH")}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p.stop = func() { in.Close(); cmd.Wait() }
	p.in, p.out = in, bufio.NewReader(out)
	if line, err := p.out.ReadString('\n'); err != nil || !strings.HasPrefix(line, "* PREAUTH") {
		log, _ := os.ReadFile(filepath.Join(p.dir, "log"))
		t.Skipf("missing: a Dovecot that starts: %q %v %s", line, err, log)
	}
	p.command(t, "SELECT INBOX")
}

// asNobody lets cmd run as nobody, and gives dir to nobody, where we are root:
// Dovecot serves no mail as root. It returns the user's name.
func asNobody(t *testing.T, cmd *exec.Cmd, dir string) string {
	t.Helper()
	if os.Geteuid() != 0 {
		u, err := user.Current()
		if err != nil {
			t.Fatal(err)
		}
		return u.Username
	}
	u, err := user.Lookup("nobody")
	if err != nil {
		t.Skipf("missing: user nobody: %v", err)
	}
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid), NoSetGroups: false}}
	filepath.Walk(dir, func(path string, _ os.FileInfo, _ error) error { return os.Chown(path, uid, gid) })
	return "nobody"
}

// command runs a command and returns its untagged data, literals included. If
// Dovecot gives up on it, which it does on broken base64, it starts anew and
// returns nothing.
func (p *peer) command(t *testing.T, cmd string) []byte {
	t.Helper()
	p.tag++
	tag := fmt.Sprintf("t%d ", p.tag)
	if _, err := io.WriteString(p.in, tag+cmd+"\r\n"); err != nil {
		t.Fatal(err)
	}
	var data []byte
	for {
		line, err := p.out.ReadBytes('\n')
		if err != nil {
			t.Logf("%s: %v after %q", cmd, err, data)
			p.stop()
			p.start(t)
			return nil
		}
		if bytes.HasPrefix(line, []byte(tag)) {
			if !bytes.HasPrefix(line, []byte(tag+"OK")) {
				t.Logf("%s: %s", cmd, line)
			}
			return data
		}
		data = append(data, line...)
		for {
			open := bytes.LastIndexByte(line, '{')
			if open < 0 || !bytes.HasSuffix(line, []byte("}\r\n")) {
				break
			}
			n, err := strconv.Atoi(string(line[open+1 : len(line)-3]))
			if err != nil {
				break
			}
			literal := make([]byte, n)
			if _, err := io.ReadFull(p.out, literal); err != nil {
				t.Fatal(err)
			}
			if line, err = p.out.ReadBytes('\n'); err != nil {
				t.Fatal(err)
			}
			data = append(append(data, literal...), line...)
		}
	}
}

// fetch returns the values of a FETCH of message n by item name.
func (p *peer) fetch(t *testing.T, n int, items string) map[string]any {
	t.Helper()
	data := p.command(t, fmt.Sprintf("FETCH %d (%s)", n, items))
	prefix := fmt.Sprintf("* %d FETCH ", n)
	i := bytes.Index(data, []byte(prefix))
	if i < 0 {
		t.Logf("FETCH %d (%s): %q", n, items, data)
		return nil
	}
	v, _, err := parseFetch(data[i+len(prefix):])
	if err != nil {
		t.Fatalf("FETCH %d (%s): %v in %q", n, items, err, data)
	}
	return v
}

// parseFetch parses a FETCH response, whose item names may hold brackets,
// parentheses and spaces.
func parseFetch(b []byte) (map[string]any, []byte, error) {
	values := map[string]any{}
	for b = b[1:]; ; {
		end := bytes.IndexAny(b, " [")
		if end > 0 && b[end] == '[' {
			end += bytes.IndexByte(b[end:], ']') + 1
			end += bytes.IndexByte(b[end:], ' ')
		}
		if end <= 0 {
			return nil, nil, fmt.Errorf("no item in %.40q", b)
		}
		v, rest, err := parseWire(b[end+1:])
		if err != nil {
			return nil, nil, err
		}
		values[string(b[:end])] = v
		if rest[0] == ')' {
			return values, rest[1:], nil
		}
		b = rest[1:]
	}
}

// messageFiles returns the names and contents of the test messages.
func messageFiles(t testing.TB) (names []string, messages [][]byte) {
	t.Helper()
	files, err := filepath.Glob("testdata/messages/*.eml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no test messages: %v", err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, strings.TrimSuffix(filepath.Base(f), ".eml"))
		messages = append(messages, b)
	}
	return names, messages
}

func wireValue(t *testing.T, b []byte) any {
	t.Helper()
	v, rest, err := parseWire(b)
	if err != nil || len(rest) > 0 {
		t.Fatalf("%v, rest %q, in %q", err, rest, b)
	}
	return v
}

// deliberate are the messages of which we say something else than Dovecot
// 2.3.19, and why. Everything else must agree.
var deliberate = map[string]string{
	"addresses": "Dovecot gives up at the first odd character: it drops the rest of the list, says " +
		"SYNTAX_ERROR for an address that is readable, makes addresses of empty list elements; we read on",
	"boundary-empty":                "an empty boundary is none (RFC 2046 section 5.1.1); Dovecot splits at every line that begins with two dashes",
	"boundary-equals-signs":         "an unquoted boundary with = in it is taken whole; Dovecot cuts it and so finds one part too many",
	"boundary-in-header-of-message": "the line break before a boundary belongs to it, also behind an unfinished header; Dovecot counts it to the message part around",
	"content-fields-twice":          "the first Content-Disposition counts, as with the other fields; Dovecot takes a second one if the first has no parameters",
	"crcrlf":                        "HEADER.FIELDS gives the bytes as they are; Dovecot drops a CR before CRLF",
	"disposition-broken":            "a missing semicolon, slashes and spaces in an unquoted file name do not cut it; an empty Content-Disposition is none",
	"encoding-broken":               "Content-Transfer-Encoding is the token the value begins with; Dovecot takes 7bit if anything follows, and shows encoded text",
	"field-trailing-space":          "white space around Date and Message-ID is not part of them",
	"folded-at-start":               "white space around Date is not part of it",
	"fields-twice":                  "the first Date, Subject and Message-ID count, as in SEARCH and SORT and in mail programs; Dovecot's ENVELOPE takes the last",
	"message-global":                "message/global holds a message (RFC 9051 section 9, media-message)",
	"no-mime-version":               "without MIME-Version and Content-Type there is no transfer encoding, in BODYSTRUCTURE as in BINARY; Dovecot's BINARY sees one",
	"nul-in-header":                 "NUL does not end an address",
	"rfc2231":                       "the order of two nonsensical parameters",
	"subject-empty":                 "In-Reply-To of nothing but white space is empty",
	"type-broken": "an unreadable Content-Type means text/plain (RFC 2045 section 5.2); Dovecot writes empty " +
		"types. A missing or doubled semicolon, an unclosed quote and spaces in a file name are read; a second parameter of a name is not",
}

// TestDovecotAgrees holds ENVELOPE, BODYSTRUCTURE, sizes and sections of every
// test message to what a real Dovecot says.
func TestDovecotAgrees(t *testing.T) {
	names, messages := messageFiles(t)
	dovecot := newPeer(t, messages)
	for i, name := range names {
		t.Run(name, func(t *testing.T) {
			p, err := Scan(bytes.NewReader(messages[i]))
			if err != nil {
				t.Fatal(err)
			}
			found := dovecot.differences(t, i+1, messages[i], p)
			reason := deliberate[name]
			switch {
			case reason == "" && len(found) > 0:
				t.Error(strings.Join(found, "\n"))
			case reason != "" && len(found) == 0:
				t.Error("no difference any more: take it off the list")
			case reason != "":
				t.Logf("deliberate: %s\n%s", reason, strings.Join(found, "\n"))
			}
		})
	}
}

// differences compares what Dovecot says of its message n with what we say.
func (p *peer) differences(t *testing.T, n int, msg []byte, root *Part) []string {
	ours := map[string]any{
		"ENVELOPE":      wireValue(t, root.AppendEnvelope(nil)),
		"BODYSTRUCTURE": wireValue(t, root.AppendBodyStructure(nil, true)),
		"BODY":          wireValue(t, root.AppendBodyStructure(nil, false)),
		"RFC822.SIZE":   atom(fmt.Sprint(root.VSize())),
		"BODY[]":        readExtent(t, msg, root.Whole()),
		"BODY[HEADER]":  readExtent(t, msg, root.Header()),
		"BODY[TEXT]":    readExtent(t, msg, root.Body()),
	}
	header := msg[:root.BodyStart]
	ours["BODY[HEADER.FIELDS (SUBJECT FROM X-NONE)]"] = string(AppendHeaderFields(nil, header, []string{"Subject", "from", "x-none"}, false))
	ours["BODY[HEADER.FIELDS.NOT (SUBJECT)]"] = string(AppendHeaderFields(nil, header, []string{"SUBJECT"}, true))
	if n := root.VSize(); n > 10 {
		partial, _ := root.Whole().Partial(bytes.NewReader(msg), n/2, n/3, nil)
		b, _ := io.ReadAll(partial)
		ours[fmt.Sprintf("BODY[]<%d>", n/2)] = string(b)
	}
	sectionsOf(t, ours, msg, root, "")
	var found []string
	for _, item := range slices.Sorted(maps.Keys(ours)) {
		our := ours[item]
		fetch := strings.Replace(strings.Replace(item, "BODY[", "BODY.PEEK[", 1), "BINARY[", "BINARY.PEEK[", 1)
		if strings.HasSuffix(fetch, ">") {
			fetch = strings.TrimSuffix(fetch, ">") + fmt.Sprintf(".%d>", root.VSize()/3)
		}
		if theirs, ok := p.fetch(t, n, fetch)[item]; ok { // else Dovecot cannot read it
			found = diff(found, item, theirs, our)
		}
	}
	return found
}

// sectionsOf collects the sections of all numbered parts below message.
func sectionsOf(t *testing.T, ours map[string]any, msg []byte, message *Part, prefix string) {
	children := message.Children
	if !message.IsMultipart() {
		children = []*Part{message}
	}
	for i, c := range children {
		path := prefix + strconv.Itoa(i+1)
		ours["BODY["+path+"]"] = readExtent(t, msg, c.Body())
		ours["BODY["+path+".MIME]"] = readExtent(t, msg, c.Header())
		if inner := c.Message(); inner != nil {
			ours["BODY["+path+".HEADER]"] = readExtent(t, msg, inner.Header())
			ours["BODY["+path+".TEXT]"] = readExtent(t, msg, inner.Body())
			sectionsOf(t, ours, msg, inner, path+".")
		} else if c.IsMultipart() {
			sectionsOf(t, ours, msg, c, path+".")
		} else if b, err := c.BinaryReader(bytes.NewReader(msg)); err == nil {
			text, err := io.ReadAll(b)
			if size, err2 := c.BinarySize(bytes.NewReader(msg)); err != nil || err2 != nil || size != int64(len(text)) {
				t.Errorf("BINARY[%s]: %d of %d bytes, %v, %v", path, len(text), size, err, err2)
			}
			ours["BINARY["+path+"]"] = string(text)
			ours["BINARY.SIZE["+path+"]"] = atom(fmt.Sprint(len(text)))
		}
	}
}

func readExtent(t *testing.T, msg []byte, e Extent) string {
	t.Helper()
	b, err := io.ReadAll(e.Reader(bytes.NewReader(msg)))
	if err != nil || int64(len(b)) != e.VSize {
		t.Fatalf("%v: read %d bytes, %v", e, len(b), err)
	}
	return string(b)
}

// diff adds where two values differ to found.
func diff(found []string, where string, theirs, ours any) []string {
	a, ok1 := theirs.([]any)
	b, ok2 := ours.([]any)
	if !ok1 || !ok2 || len(a) != len(b) {
		if !reflect.DeepEqual(theirs, ours) {
			found = append(found, fmt.Sprintf("%s:\n\tDovecot %q\n\tours    %q", where, theirs, ours))
		}
		return found
	}
	for i := range a {
		found = diff(found, fmt.Sprintf("%s.%d", where, i+1), a[i], b[i])
	}
	return found
}
