package clienttest

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// setting is a number from the environment.
func setting(t testing.TB, name string, otherwise uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// twin is a session that exists on both servers and is given the same commands.
type twin struct {
	ours, theirs *conn
	name         string // of the selected mailbox, "" for none
	readOnly     bool
	uids         []string
}

// duel is two servers that must answer the same.
type duel struct {
	t        *testing.T
	rnd      *rand.Rand
	twins    []*twin
	validity map[string]string // UIDVALIDITY of ours to theirs
	log      []string
	renamed  int // the number in the newest name
	failures int
}

// TestDovecotEndsInTheSameState gives the same random commands, from several
// sessions in turn, to mailsrvd and to a Dovecot. Answers must be the same but for
// what a server may choose, and so must be the mailboxes in the end, read by each
// server itself and by the other one.
//
// A session looks (NOOP) before each command, so that both believe the same: when
// unasked news are told is up to a server. What is not tried, since we differ on
// purpose, is said at the place in random_test.go.
func TestDovecotEndsInTheSameState(t *testing.T) {
	seed := setting(t, "CLIENTTEST_SEED", 17) // fixed, so that what is red here is red everywhere
	ops := int(setting(t, "CLIENTTEST_OPS", 3000))
	t.Logf("CLIENTTEST_SEED=%d CLIENTTEST_OPS=%d", seed, ops)
	owner := dovecotOwner("")
	s := newServerAs(t, owner.UID)
	owner.Home = s.dir + "/other"
	s.must(os.Mkdir(owner.Home, 0o700), os.Chown(owner.Home, owner.UID, owner.GID))
	theirs := newDovecot(t, s.dir+"/dovecot", owner, "")

	d := &duel{t: t, rnd: rand.New(rand.NewPCG(seed, 1)), validity: make(map[string]string)}
	for range 4 {
		w := &twin{ours: s.dial(), theirs: theirs.imap()}
		w.theirs.n = w.ours.n // tags are in answers
		d.twins = append(d.twins, w)
	}
	d.both(d.twins[0], "CREATE copies")
	for range ops {
		d.step()
		if d.failures >= 5 || t.Failed() && d.failures == 0 {
			break
		}
	}
	for _, w := range d.twins {
		w.ours.close()
		w.theirs.close()
	}
	d.compareState("each by its own server", s.dial(), theirs.imap())
	if log := theirs.log(); strings.Contains(log, "Error") || strings.Contains(log, "Panic") {
		t.Errorf("Dovecot complains:\n%s", log)
	}

	swapped := s.owner
	swap := newDovecot(t, s.dir+"/swapped", swapped, "")
	d.compareState("both by Dovecot", swap.imap(), theirs.imap())
	if log := swap.log(); strings.Contains(log, "Error") || strings.Contains(log, "Panic") {
		t.Errorf("Dovecot complains of our Maildir:\n%s", log)
	}
}

// step lets a random session look, and give a random command.
func (d *duel) step() {
	w := d.twins[d.rnd.IntN(len(d.twins))]
	if w.name != "" {
		d.both(w, "NOOP")
		d.look(w)
	}
	command, then := d.random(w)
	switch ok := d.both(w, command); {
	case ok && then != nil:
		then()
	case strings.Contains(command, "STORE "):
		d.look(w)
	}
}

// look asks what there is: both servers must say the same.
func (d *duel) look(w *twin) {
	untagged, _ := d.ask(w, "UID FETCH 1:* (UID FLAGS)")
	w.uids = nil
	for _, line := range untagged {
		if m := uidOf.FindStringSubmatch(line); m != nil {
			w.uids = append(w.uids, m[1])
		}
	}
}

// both gives a command to both, and reports whether it succeeded.
func (d *duel) both(w *twin, command string) bool {
	_, ok := d.ask(w, command)
	return ok
}

// ask gives a command to both and compares the answers. It returns ours.
func (d *duel) ask(w *twin, command string) (untagged []string, ok bool) {
	d.t.Helper()
	line, _, _ := strings.Cut(command, "\r\n")
	d.log = append(d.log, fmt.Sprintf("%d: %s", slices.Index(d.twins, w), line))
	got, gotTagged := w.ours.do(command)
	want, wantTagged := w.theirs.do(command)
	a, validA := normalise(command, got, gotTagged)
	b, validB := normalise(command, want, wantTagged)
	if !slices.Equal(a, b) || !d.sameValidity(validA, validB) {
		d.failures++
		d.t.Errorf("%s\nours:\n%s\nDovecot's:\n%s\n(%s, %s)\nafter\n%s", line, strings.Join(a, "\n"), strings.Join(b, "\n"),
			gotTagged, wantTagged, strings.Join(d.log[max(0, len(d.log)-12):], "\n"))
	}
	return got, strings.HasPrefix(gotTagged, "OK")
}

// sameValidity checks that UIDVALIDITYs are equal where the other side's are.
func (d *duel) sameValidity(ours, theirs []string) bool {
	if len(ours) != len(theirs) {
		return false
	}
	for i, v := range ours {
		known, ok := d.validity[v]
		if ok && known != theirs[i] {
			return false
		}
		d.validity[v] = theirs[i]
	}
	return true
}

// compareState compares all mailboxes of two servers, each asked by a new session.
func (d *duel) compareState(what string, ours, theirs *conn) {
	d.t.Helper()
	w := &twin{ours: ours, theirs: theirs}
	before := d.failures
	d.both(w, `LIST "" *`)
	d.both(w, `LSUB "" *`)
	for _, line := range ours.ok(`LIST "" *`) {
		if name := line[strings.Index(line, `"/" `)+4:]; !strings.Contains(line, `\Noselect`) {
			d.both(w, "STATUS "+name+" (MESSAGES UIDNEXT UIDVALIDITY UNSEEN)")
			if d.both(w, "EXAMINE "+name) {
				d.both(w, "UID FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[])")
			}
		}
	}
	if d.failures > before {
		d.t.Errorf("the mailboxes differ, read %s", what)
	}
}

var (
	fetchLine   = regexp.MustCompile(`(?s)^(\d+) FETCH \((.*)\)$`)
	uidOf       = regexp.MustCompile(`^\d+ FETCH .*\bUID (\d+)`)
	newsLine    = regexp.MustCompile(`^\d+ (EXISTS|RECENT)$|^(FLAGS|CAPABILITY|BYE) |^OK `)
	listLine    = regexp.MustCompile(`^(LIST|LSUB) \(([^)]*)\) (.*)$`)
	selectLine  = regexp.MustCompile(`^OK \[(UIDNEXT \d+|UIDVALIDITY \d+)\]|^(\d+ EXISTS)$`)
	uidValidity = regexp.MustCompile(`\b(UIDVALIDITY|APPENDUID|COPYUID) (\d+)`)
	taggedLine  = regexp.MustCompile(`^(OK|NO|BAD)(?: \[(APPENDUID|COPYUID|TRYCREATE|ALREADYEXISTS|READ-ONLY|READ-WRITE)([^\]]*)\])?`)
)

// normalise is an answer in a form that two servers can agree on, and the
// UIDVALIDITYs in it.
func normalise(command string, untagged []string, tagged string) (lines, validity []string) {
	selects := strings.HasPrefix(command, "SELECT") || strings.HasPrefix(command, "EXAMINE")
	for _, line := range untagged {
		switch m := selectLine.FindStringSubmatch(line); {
		case selects && m != nil:
			lines = append(lines, cmp.Or(m[1], m[2]))
		case selects || newsLine.MatchString(line):
		case command == "NOOP": // news come in any order
		case strings.HasPrefix(line, "LIST") && (strings.Contains(line, `\Noselect`) || strings.Contains(line, `\NonExistent`)):
			// Dovecot lists such parents only for "%", and with its list index
			// takes them for mailboxes after a DELETE.
		case strings.Contains(command, "STORE ") && fetchLine.MatchString(line):
			// Dovecot tells only what has changed. FETCH follows.
		default:
			lines = append(lines, normaliseLine(command, line))
		}
	}
	if !strings.Contains(command, "SORT") && !strings.HasPrefix(command, "EXPUNGE") {
		slices.Sort(lines)
	}
	m := taggedLine.FindStringSubmatch(tagged)
	switch {
	case m == nil:
		return append(lines, tagged), nil
	case strings.HasPrefix(command, "RENAME"): // of two reasons one may tell either
		m[2], m[3] = "", ""
	}
	lines = append(lines, strings.TrimSpace(m[1]+" "+m[2]+m[3]))
	for i, line := range lines {
		lines[i] = uidValidity.ReplaceAllStringFunc(line, func(s string) string {
			name, v, _ := strings.Cut(s, " ")
			validity = append(validity, v)
			return name + " V"
		})
	}
	return lines, validity
}

// normaliseLine sorts what has no order: attributes, flags, and the items of a
// FETCH; and leaves out what may be told or not.
func normaliseLine(command, line string) string {
	if m := listLine.FindStringSubmatch(line); m != nil {
		attributes := slices.DeleteFunc(strings.Fields(m[2]), func(a string) bool {
			extended := strings.Contains(command, "(") // returns no CHILDREN unless asked
			return extended && (a == `\HasChildren` || a == `\HasNoChildren`)
		})
		slices.Sort(attributes)
		return m[1] + " (" + strings.Join(attributes, " ") + ") " + m[3]
	}
	if m := fetchLine.FindStringSubmatch(line); m != nil {
		return m[1] + " " + strings.Join(fetchItems(m[2]), "\n  ")
	}
	// The name of INBOX comes back as it was written, or not.
	return strings.TrimSpace(strings.Replace(line, "STATUS inbox ", "STATUS INBOX ", 1))
}

// fetchItems is the items of a FETCH with their values, sorted.
func fetchItems(text string) (items []string) {
	for text != "" {
		end := itemEnd(text)
		item := text[:end]
		text = strings.TrimPrefix(text[end:], " ")
		if list, ok := strings.CutPrefix(item, "FLAGS ("); ok {
			flags := slices.DeleteFunc(strings.Fields(list[:len(list)-1]), func(f string) bool { return f == `\Recent` })
			slices.Sort(flags)
			item = "FLAGS (" + strings.Join(flags, " ") + ")"
		}
		if date, ok := strings.CutPrefix(item, `INTERNALDATE "0`); ok { // date-day-fixed may be either
			item = `INTERNALDATE " ` + date
		}
		item = strings.Replace(item, "] ~{", "] {", 1) // a literal8 is used or not
		items = append(items, item)
	}
	slices.Sort(items)
	return items
}

// itemEnd is where the first item of a FETCH ends, with its value.
func itemEnd(text string) int {
	depth, spaces := 0, 0
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"':
			for i++; i < len(text) && text[i] != '"'; i++ {
				if text[i] == '\\' {
					i++
				}
			}
		case c == '{':
			n := 0
			fmt.Sscanf(text[i:], "{%d}", &n)
			i += strings.Index(text[i:], "\n") + n
		case c == '(' || c == '[':
			depth++
		case c == ')' || c == ']':
			depth--
		case c == ' ' && depth == 0:
			if spaces++; spaces == 2 {
				return i
			}
		}
	}
	return len(text)
}
