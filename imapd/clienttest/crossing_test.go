package clienttest

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"svc.plus/mailsrvd/internal/message"
	"svc.plus/mailsrvd/maildir"
)

// crossing is what is known of a Maildir that several programs change at once.
// Who has added a message, the first word of its Message-ID, may move or remove
// it; its flags are everybody's.
type crossing struct {
	t       *testing.T
	dovecot *dovecot
	maildir string
	limit   int // of messages in INBOX; at it, nobody adds

	mu       sync.Mutex        // guards what follows
	uids     map[string]string // "folder UID" to Message-ID, as any session has seen it
	ids      map[string]string // "folder Message-ID" to UID
	validity map[string]string // of folders
	added    map[string]bool   // Message-IDs whose storing was acknowledged
	gone     map[string]bool   // those of them that may be gone
	counts   map[string]int    // what was done how often
}

// saw notes that a session of a server has seen a message, and compares with what
// all others have seen.
func (x *crossing) saw(who, folder, uid, id string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if before, ok := x.uids[folder+" "+uid]; ok && before != id {
		x.t.Errorf("%s: UID %s of %s is %s and was %s", who, uid, folder, id, before)
	}
	if before, ok := x.ids[folder+" "+id]; ok && before != uid && !x.forgiven(uid, before) {
		x.t.Errorf("%s: %s in %s has UID %s and had %s", who, id, folder, uid, before)
	}
	x.uids[folder+" "+uid] = id
	x.ids[folder+" "+id] = uid
}

// reappeared is how Dovecot tells that it gave a message a second UID, having
// missed its file while another program renamed it.
var reappeared = regexp.MustCompile(`reappeared, giving a new UID \(old uid=(\d+)`)

// forgiven reports whether it was Dovecot that gave the second UID.
func (x *crossing) forgiven(now, before string) bool {
	for _, m := range reappeared.FindAllStringSubmatch(x.dovecot.log(), -1) {
		if m[1] == before || m[1] == now { // an observer may come late
			return true
		}
	}
	return false
}

func (x *crossing) add(id string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.added[id] = true
	x.counts["added by "+id[1:strings.IndexByte(id, '-')]]++
}

// full reports whether INBOX has reached its limit.
func (x *crossing) full() bool {
	n := 0
	for _, sub := range []string{"/cur", "/new"} {
		files, err := os.ReadDir(x.maildir + sub)
		if err != nil {
			x.t.Error(err)
		}
		n += len(files)
	}
	return n >= x.limit
}

func (x *crossing) count(what string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.counts[what]++
}

// session is one IMAP session of either server that works on INBOX.
type session struct {
	*crossing
	*conn
	who   string
	other string // whose messages it may remove beside its own
	rnd   *rand.Rand
	next  int
	uids  []string // that it has seen
	own   []string // those that it may remove
}

var (
	fetchID     = regexp.MustCompile(`(?s)^\d+ FETCH \(.*\bUID (\d+).*<([^>]+)>`)
	appendedUID = regexp.MustCompile(`APPENDUID \d+ (\d+)`)
	validityOf  = regexp.MustCompile(`UIDVALIDITY (\d+)`)
)

// do gives a command; only a lost connection ends the session.
func (s *session) run(command string) (untagged []string, tagged string) {
	untagged, tagged, err := s.try(command)
	if err != nil {
		panic(fmt.Errorf("%s: %.60s: %w", s.who, command, err))
	}
	return untagged, tagged
}

// open selects a folder, whose UIDVALIDITY must be what it was.
func (s *session) open(verb, folder string) {
	untagged, tagged := s.run(verb + " " + folder)
	m := validityOf.FindStringSubmatch(strings.Join(untagged, " "))
	s.mu.Lock()
	defer s.mu.Unlock()
	switch before := s.validity[folder]; {
	case m == nil:
		s.crossing.t.Errorf("%s: %s %s: %s", s.who, verb, folder, tagged)
	case before != "" && before != m[1]:
		s.crossing.t.Errorf("%s: UIDVALIDITY of %s is %s and was %s", s.who, folder, m[1], before)
	default:
		s.validity[folder] = m[1]
	}
}

// observe reads which message has which UID.
func (s *session) observe(folder string) {
	untagged, _ := s.run("UID FETCH 1:* (UID BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])")
	s.uids, s.own = s.uids[:0], s.own[:0]
	seen := make(map[string]bool)
	for _, line := range untagged {
		m := fetchID.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		if s.saw(s.who, folder, m[1], "<"+m[2]+">"); seen[m[2]] {
			s.crossing.t.Errorf("%s: %s is in %s twice", s.who, m[2], folder)
		}
		seen[m[2]] = true
		s.uids = append(s.uids, m[1])
		if by, _, _ := strings.Cut(m[2], "-"); by == s.who || by == s.other {
			s.own = append(s.own, m[1])
		}
	}
}

// work changes INBOX until the context ends.
func (s *session) work(ctx context.Context) {
	s.open("SELECT", "INBOX")
	s.observe("INBOX")
	for ctx.Err() == nil {
		s.run("NOOP")
		switch s.rnd.IntN(10) {
		case 0, 1:
			s.append()
		case 2, 3:
			s.remove()
		case 5:
			s.move()
		case 4:
			s.observe("INBOX")
		default:
			s.store()
		}
	}
	s.observe("INBOX")
}

func (s *session) append() {
	if s.full() {
		return
	}
	s.next++
	name := fmt.Sprintf("%s-%d", s.who, s.next)
	_, tagged := s.run(`APPEND INBOX (\Seen kw) ` + literal(mail(name)))
	if m := appendedUID.FindStringSubmatch(tagged); m != nil {
		id := "<" + name + "@test>"
		s.add(id)
		s.saw(s.who, "INBOX", m[1], id)
	}
}

// store changes flags of a message of anybody's, but not \Deleted.
func (s *session) store() {
	if len(s.uids) == 0 {
		return
	}
	s.run(fmt.Sprintf("UID STORE %s %sFLAGS.SILENT (%s)", s.uids[s.rnd.IntN(len(s.uids))], pick(s.rnd, "+", "-"),
		pick(s.rnd, `\Seen`, `\Answered`, "kw", `$Label1 \Draft`)))
	s.count("STORE by " + s.who)
}

// takeOwn takes one of the own messages.
func (s *session) takeOwn() (uid, id string) {
	if len(s.own) < 5 { // of those seen last
		return "", ""
	}
	i := s.rnd.IntN(len(s.own))
	uid = s.own[i]
	s.own = slices.Delete(s.own, i, i+1)
	s.mu.Lock()
	defer s.mu.Unlock()
	return uid, s.crossing.uids["INBOX "+uid]
}

// remove expunges an own message. A rename by another program may take \Deleted
// off again: then it stays.
func (s *session) remove() {
	uid, id := s.takeOwn()
	if uid == "" {
		return
	}
	s.mu.Lock()
	s.gone[id] = true
	s.mu.Unlock()
	s.run(`UID STORE ` + uid + ` +FLAGS.SILENT (\Deleted)`)
	s.run("UID EXPUNGE " + uid)
	s.count("UID EXPUNGE by " + s.who)
}

func (s *session) move() {
	if uid, _ := s.takeOwn(); uid != "" {
		s.run("UID MOVE " + uid + " A")
		s.count("UID MOVE by " + s.who)
	}
}

// watch looks at a folder.
func (s *session) watch(ctx context.Context, folder string) {
	s.open("EXAMINE", folder)
	for ctx.Err() == nil {
		s.run("NOOP")
		s.observe(folder)
		time.Sleep(20 * time.Millisecond)
	}
	s.run("NOOP")
	s.observe(folder)
}

// shellScript delivers, moves from new/ to cur/, changes flags by mv, and moves
// what it has delivered to the folder A.
const shellScript = `
cd "$1" || exit
n=0 i=0
while [ ! -e ../stop ]; do
	if [ $i -lt "$2" ]; then
		n=$((n+1))
		printf 'Message-ID: <shell-%d@test>\nSubject: shell\n\nbody\n' $n >tmp/17$n.shell && mv tmp/17$n.shell new/
		echo $n >../shell
	fi
	for f in new/*; do
		case $f in *:2,*) ;; *) mv "$f" "cur/${f#new/}:2," ;; esac
	done
	i=0
	for f in cur/*; do
		i=$((i+1))
		[ $(((i+n) % (1+$2/30))) = 0 ] || continue
		flags=${f##*:2,}
		case $flags in
		*F*) to=${flags%%F*}${flags#*F} ;;
		D*) to=DF${flags#D} ;;
		*) to=F$flags ;;
		esac
		mv "$f" "${f%:2,*}:2,$to"
	done
	[ $((n % 5)) = 0 ] || [ ! -e cur/17$n.shell:* ] || mv cur/17$n.shell:* .A/cur/
	sleep 0.02
done
`

// shell runs the script as the owner of the mail.
func (x *crossing) shell(ctx context.Context) {
	cmd := x.dovecot.command("/bin/sh", "-c", shellScript, "sh", x.maildir, fmt.Sprint(x.limit))
	cmd.Args = append(cmd.Args[:1], cmd.Args[3:]...) // without Dovecot's "-c conf"
	cmd.Stderr = nil                                 // who comes late finds no file
	if err := cmd.Start(); err != nil {
		x.t.Error(err)
		return
	}
	<-ctx.Done()
	if err := os.WriteFile(x.dovecot.owner.Home+"/stop", nil, 0o644); err != nil {
		x.t.Error(err)
	}
	cmd.Wait()
	text, err := os.ReadFile(x.dovecot.owner.Home + "/shell")
	if err != nil {
		x.t.Error(err)
	}
	n := 0
	fmt.Sscan(string(text), &n)
	for i := range n {
		x.add(fmt.Sprintf("<shell-%d@test>", i+1))
	}
}

// lda delivers by Dovecot's LDA.
func (x *crossing) lda(ctx context.Context) {
	for i := 0; ctx.Err() == nil; i++ {
		if time.Sleep(10 * time.Millisecond); x.full() {
			continue
		}
		name := fmt.Sprint("lda-", i)
		cmd := x.dovecot.command("/usr/lib/dovecot/dovecot-lda")
		cmd.Stdin = strings.NewReader(mail(name))
		if err := cmd.Run(); err != nil {
			x.t.Errorf("dovecot-lda: %v", err)
			return
		}
		x.add("<" + name + "@test>")
	}
}

// deliver delivers by our own LDA's way.
func (x *crossing) deliver(ctx context.Context, s *maildir.Store) {
	for i := 0; ctx.Err() == nil; i++ {
		if time.Sleep(10 * time.Millisecond); x.full() {
			continue
		}
		name := fmt.Sprint("deliver-", i)
		if _, err := s.Deliver(context.Background(), "INBOX", message.FromBytes([]byte(mail(name))), maildir.Delivery{}); err != nil {
			x.t.Errorf("Deliver: %v", err)
			return
		}
		x.add("<" + name + "@test>")
	}
}

// TestCrossing changes one Maildir by sessions of both servers, both LDAs and mv in
// a shell at once. In the end every message that was acknowledged is there, once,
// under the UID that it has always had, and both servers see the same.
//
// There are no more files than one reading of a directory gives at once: beyond
// that, Dovecot misses files that another program renames meanwhile, and gives
// them new UIDs, without us as well. We must not, so a larger Maildir is for us
// and the shell alone.
func TestCrossing(t *testing.T) {
	t.Run("with Dovecot", func(t *testing.T) { cross(t, true, 0, 200) })
	t.Run("a large one without", func(t *testing.T) { cross(t, false, 1500, 1700) })
}

// cross lets a Maildir with some messages be changed, up to a limit of messages.
func cross(t *testing.T, withDovecot bool, messages, limit int) {
	need(t, "doveadm", "dovecot-imapd")
	length, err := time.ParseDuration(os.Getenv("CLIENTTEST_TIME"))
	if err != nil {
		length = 6 * time.Second
	}
	seed := setting(t, "CLIENTTEST_SEED", 17)
	t.Logf("CLIENTTEST_SEED=%d CLIENTTEST_TIME=%v", seed, length)
	s := newServerAs(t, dovecotOwner("").UID)
	s.must(s.store().Create(t.Context(), "A"))
	x := &crossing{t: t, dovecot: newDovecot(t, s.dir+"/dovecot", s.owner, ""), maildir: s.home + "/Maildir", limit: limit,
		uids: make(map[string]string), ids: make(map[string]string), validity: make(map[string]string),
		added: make(map[string]bool), gone: make(map[string]bool), counts: make(map[string]int)}
	fill(t, x.maildir, s.owner, messages, func(i int) (string, string) {
		x.add(fmt.Sprintf("<old-%d@test>", i))
		return "", mail(fmt.Sprint("old-", i))
	})
	ctx, stop := context.WithTimeout(t.Context(), length)
	defer stop()

	var wg sync.WaitGroup
	actor := func(who, other string, c *conn, work func(*session)) {
		rnd := rand.New(rand.NewPCG(seed, uint64(len(who)+len(other))))
		wg.Go(func() {
			defer func() {
				if problem := recover(); problem != nil {
					t.Error(problem)
				}
			}()
			work(&session{crossing: x, conn: c, who: who, other: other, rnd: rnd})
		})
	}
	work := func(s *session) { s.work(ctx) }
	watch := func(s *session) { s.watch(ctx, "A") }
	actor("ours1", "deliver", s.dial(), work)
	actor("ours2", "", s.dial(), work)
	actor("ours at A", "", s.dial(), watch)
	if withDovecot {
		actor("theirs1", "lda", x.dovecot.imap(), work)
		actor("theirs2", "", x.dovecot.imap(), work)
		actor("theirs at A", "", x.dovecot.imap(), watch)
		wg.Go(func() { x.lda(ctx) })
	}
	wg.Go(func() { x.shell(ctx) })
	wg.Go(func() { x.deliver(ctx, s.store()) })
	wg.Wait()
	for _, what := range slices.Sorted(maps.Keys(x.counts)) {
		t.Logf("%5d %s", x.counts[what], what)
	}
	x.judge(s)
}

// judge compares what is there in the end with what must be.
func (x *crossing) judge(s *server) {
	x.t.Helper()
	there := make(map[string]int)
	for _, folder := range []string{"INBOX", "A"} {
		var ours []string
		for _, l := range s.letters(folder) {
			there[l.id()]++
			x.saw("in the end", folder, fmt.Sprint(l.uid), l.id())
			ours = append(ours, fmt.Sprintf("%d %s %s", l.uid, l.id(), l.flags))
		}
		if theirs := x.dovecot.view(folder); !slices.Equal(ours, theirs) {
			x.t.Errorf("%s: we see %d messages and Dovecot %d; first difference: %s", folder, len(ours), len(theirs), firstDifference(ours, theirs))
		}
	}
	for id := range x.added {
		if there[id] == 0 && !x.gone[id] {
			x.t.Errorf("%s is lost", id)
		}
	}
	for id, n := range there {
		if n > 1 {
			x.t.Errorf("%s is there %d times", id, n)
		}
		if !x.added[id] {
			x.t.Logf("%s is there though it was not acknowledged", id)
		}
	}
	if n := len(reappeared.FindAllString(x.dovecot.log(), -1)); n > 0 {
		x.t.Logf("%d times Dovecot gave a message a second UID", n)
	}
}

func firstDifference(a, b []string) string {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return fmt.Sprintf("%q, %q", a[i], b[i])
		}
	}
	return "one has more"
}

// view is a folder as Dovecot sees it: UID, Message-ID and flags.
func (d *dovecot) view(folder string) (lines []string) {
	d.t.Helper()
	out := d.adm("-f", "tab", "fetch", "uid hdr.message-id flags", "mailbox", folder)
	for _, row := range strings.Split(strings.TrimSuffix(out, "\n"), "\n")[1:] {
		f := strings.SplitN(row, "\t", 3)
		flags := slices.DeleteFunc(strings.Fields(f[2]), func(name string) bool { return name == `\Recent` })
		slices.Sort(flags)
		lines = append(lines, fmt.Sprintf("%s %s %s", f[0], f[1], strings.Join(flags, " ")))
	}
	return lines
}
