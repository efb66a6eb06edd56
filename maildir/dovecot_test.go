package maildir

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"svc.plus/mailsrvd/internal/asuser"
)

// The other reader of the same Maildir is the real one: Debian's Dovecot, run for
// one user without a server. Before and after each of our writes and of its, both
// must see the same messages under the same UIDs, with the same flags.

type dovecot struct {
	t     *testing.T
	conf  string
	owner asuser.Owner
	store *Store
	dir   string
}

// withDovecot makes a home that Dovecot and a Store of ours share.
func withDovecot(t *testing.T, o Options) *dovecot {
	t.Helper()
	for _, tool := range []string{"/usr/bin/doveadm", "/usr/lib/dovecot/dovecot-lda"} {
		if _, err := os.Stat(tool); err != nil {
			t.Skipf("missing: %s (Debian's dovecot-core and dovecot-imapd)", tool)
		}
	}
	base, err := os.MkdirTemp("", "dovecot")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(base) })
	home := filepath.Join(base, "home")
	owner := asuser.Owner{Name: "carol", UID: os.Geteuid(), GID: os.Getegid(), Home: home}
	if owner.UID == 0 { // Dovecot handles no mail of root
		owner.UID, owner.GID = 20021, 20021
	}
	d := &dovecot{t: t, conf: filepath.Join(base, "dovecot.conf"), owner: owner, dir: filepath.Join(home, "Maildir")}
	text := fmt.Sprintf(`protocols =
base_dir = %[1]s/run
mail_location = maildir:~/Maildir
mail_home = %[1]s/home
log_path = %[1]s/log
ssl = no
stats_writer_socket_path =
namespace inbox {
  inbox = yes
  separator = /
}
`, base)
	err = errors.Join(os.Chmod(base, 0o711), os.Mkdir(home, 0o700), os.Mkdir(filepath.Join(base, "run"), 0o755),
		os.Chown(home, owner.UID, owner.GID), os.WriteFile(d.conf, []byte(text), 0o644),
		os.WriteFile(filepath.Join(base, "log"), nil, 0o666), os.Chmod(filepath.Join(base, "log"), 0o666))
	if err != nil {
		t.Fatal(err)
	}
	o.Separator = '/'
	stores := NewStores(o)
	t.Cleanup(func() { stores.Close() })
	d.store = stores.Store(owner, "~/Maildir")
	if err := d.store.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	return d
}

// run runs one of Dovecot's programs as the user.
func (d *dovecot) run(stdin, program string, args ...string) string {
	d.t.Helper()
	cmd := exec.CommandContext(d.t.Context(), program, append([]string{"-c", d.conf}, args...)...)
	cmd.Env = []string{"HOME=" + d.owner.Home, "USER=" + d.owner.Name, "PATH=/usr/bin:/bin"}
	cmd.Stdin = strings.NewReader(stdin)
	cmd.Dir = d.owner.Home
	if os.Geteuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(d.owner.UID), Gid: uint32(d.owner.GID)}}
	}
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		log, _ := os.ReadFile(filepath.Join(filepath.Dir(d.conf), "log"))
		d.t.Fatalf("%s %q: %v\n%s%s", program, args, err, errs.String(), log)
	}
	return out.String()
}

func (d *dovecot) adm(args ...string) string { return d.run("", "/usr/bin/doveadm", args...) }

func (d *dovecot) deliver(subject string) {
	d.run("Subject: "+subject+"\n\n"+subject+"\n", "/usr/lib/dovecot/dovecot-lda")
}

// imap sends commands to a session of Dovecot that is logged in.
func (d *dovecot) imap(commands ...string) string {
	var in strings.Builder
	for i, c := range commands {
		fmt.Fprintf(&in, "a%d %s\r\n", i, c)
	}
	in.WriteString("z LOGOUT\r\n")
	out := d.run(in.String(), "/usr/lib/dovecot/imap")
	for i, c := range commands {
		if !strings.Contains(out, fmt.Sprintf("a%d OK", i)) {
			d.t.Fatalf("%s:\n%s", c, out)
		}
	}
	return out
}

// view is what Dovecot sees in a folder: UID, subject, flags.
func (d *dovecot) view(folder string) (lines []string) {
	out := d.adm("-f", "tab", "fetch", "uid hdr.subject flags", "mailbox", folder)
	for _, row := range strings.Split(strings.TrimSuffix(out, "\n"), "\n")[1:] {
		f := strings.SplitN(row, "\t", 3)
		flags := strings.Fields(strings.ReplaceAll(f[2], `\Recent`, ""))
		slices.Sort(flags)
		lines = append(lines, fmt.Sprintf("%s %s %s", f[0], f[1], strings.Join(flags, " ")))
	}
	return lines
}

// status is UIDVALIDITY, UIDNEXT and GUID as Dovecot has them.
func (d *dovecot) status(folder string) (validity uint32, guid string) {
	out := d.adm("-f", "tab", "mailbox", "status", "uidvalidity guid", folder)
	f := strings.Split(strings.Split(strings.TrimSpace(out), "\n")[1], "\t")
	v, err := strconv.ParseUint(f[1], 10, 32)
	if err != nil {
		d.t.Fatalf("%q: %v", out, err)
	}
	return uint32(v), f[2]
}

// ours is what we see, in the same form.
func (d *dovecot) ours(m *Mailbox) (lines []string) {
	names := []struct {
		f    Flags
		name string
	}{{Draft, `\Draft`}, {Flagged, `\Flagged`}, {Answered, `\Answered`}, {Seen, `\Seen`}, {Deleted, `\Deleted`}}
	keywords := m.Keywords()
	for _, msg := range m.Messages() {
		var flags []string
		for _, n := range names {
			if msg.Flags&n.f != 0 {
				flags = append(flags, n.name)
			}
		}
		for i, k := range keywords {
			if msg.Flags&Keyword(i) != 0 {
				flags = append(flags, k)
			}
		}
		slices.Sort(flags)
		lines = append(lines, fmt.Sprintf("%d %s %s", msg.UID, subject(d.t, m, msg.UID), strings.Join(flags, " ")))
	}
	return lines
}

// agree compares both views; ours is taken first or last, so that each side in
// turn is the one that finds the other's news.
func (d *dovecot) agree(m *Mailbox, oursFirst bool, after string) {
	d.t.Helper()
	var a, b []string
	if oursFirst {
		syncNow(d.t, m)
		a, b = d.ours(m), d.view(m.Name())
	} else {
		b = d.view(m.Name())
		syncNow(d.t, m)
		a = d.ours(m)
	}
	if !slices.Equal(a, b) {
		d.t.Fatalf("after %s: we see\n%s\nDovecot sees\n%s\nlist:\n%s", after, strings.Join(a, "\n"), strings.Join(b, "\n"), read(d.t, d.dir, listName))
	}
	if v, guid := d.status(m.Name()); v != m.UIDValidity() || guid != m.GUID() {
		d.t.Fatalf("after %s: UIDVALIDITY %d and GUID %s, Dovecot has %d and %s", after, m.UIDValidity(), m.GUID(), v, guid)
	}
}

func TestDovecotAndWeWriteInTurn(t *testing.T) {
	for _, dropIndex := range []bool{false, true} {
		t.Run(fmt.Sprintf("dropping Dovecot's index %v", dropIndex), func(t *testing.T) {
			d := withDovecot(t, Options{})
			d.deliver("first")
			m, err := d.store.Open(t.Context(), "INBOX")
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			rnd := rand.New(rand.NewPCG(42, 1))
			any := func() UID {
				list := m.Messages()
				if len(list) == 0 {
					return 1
				}
				return list[rnd.IntN(len(list))].UID
			}
			for i := range 40 {
				name := fmt.Sprint("m", i)
				what := ""
				switch rnd.IntN(10) {
				case 0, 1:
					what = "Dovecot's delivery"
					d.deliver(name)
				case 2, 3:
					what = "our delivery"
					deliver(t, d.store, "INBOX", name)
				case 4:
					what = "our append"
					if _, err := m.Append(t.Context(), content(name), Delivery{Flags: Seen, Keywords: []string{"$Label1"}}); err != nil {
						t.Fatal(err)
					}
				case 5:
					what = "Dovecot's append"
					text := "Subject: " + name + "\r\n\r\n"
					d.imap(fmt.Sprintf("APPEND INBOX (\\Flagged Work) {%d+}\r\n%s", len(text), text))
				case 6:
					what = "Dovecot's STORE"
					d.imap("SELECT INBOX", fmt.Sprintf("UID STORE %d +FLAGS (\\Answered kw%d)", any(), i%5))
				case 7:
					what = "our STORE"
					if _, _, err := m.StoreFlags(t.Context(), []UID{any()}, AddFlags, Flagged|Draft, []string{fmt.Sprint("our", i%4)}, StoreOptions{}); err != nil {
						t.Fatal(err)
					}
				case 8:
					what = "Dovecot's EXPUNGE"
					d.imap("SELECT INBOX", fmt.Sprintf("UID STORE %d +FLAGS (\\Deleted)", any()), "EXPUNGE")
				case 9:
					what = "our EXPUNGE"
					if _, _, err := m.StoreFlags(t.Context(), []UID{any(), any()}, AddFlags, Deleted, nil, StoreOptions{}); err != nil {
						t.Fatal(err)
					}
					if _, err := m.Expunge(t.Context(), nil); err != nil {
						t.Fatal(err)
					}
				}
				if dropIndex && i%5 == 0 {
					old, _ := filepath.Glob(filepath.Join(d.dir, "dovecot.index*"))
					for _, name := range old {
						os.Remove(name)
					}
				}
				d.agree(m, i%2 == 0, fmt.Sprintf("%s (%d)", what, i))
			}
		})
	}
}

func TestDovecotSeesOurFoldersAndSubscriptions(t *testing.T) {
	d := withDovecot(t, Options{})
	for _, name := range []string{"Füß/Ünt&er", "Sent Messages", "INBOX/sub"} {
		if err := errors.Join(d.store.Create(t.Context(), name), d.store.Subscribe(t.Context(), name)); err != nil {
			t.Fatal(err)
		}
	}
	d.adm("mailbox", "create", "-s", "Von Dovecot/ä")
	d.adm("mailbox", "unsubscribe", "INBOX/sub")
	want := []string{"Füß/Ünt&er", "INBOX", "INBOX/sub", "Sent Messages", "Von Dovecot/ä"}
	lines := func(out string) []string {
		list := strings.Split(strings.TrimSpace(out), "\n")
		slices.Sort(list)
		return slices.DeleteFunc(list, func(s string) bool { return s == "Füß" || s == "Von Dovecot" })
	}
	if got := lines(d.adm("mailbox", "list")); !slices.Equal(got, want) {
		t.Errorf("Dovecot lists %q", got)
	}
	folders, err := d.store.Folders(t.Context())
	var have []string
	for _, f := range folders {
		if f.Exists {
			have = append(have, f.Name)
		}
	}
	slices.Sort(have)
	if err != nil || !slices.Equal(have, want) {
		t.Errorf("we list %q, %v", have, err)
	}
	subscribed := []string{"Füß/Ünt&er", "Sent Messages", "Von Dovecot/ä"}
	if got := lines(d.adm("mailbox", "list", "-s")); !slices.Equal(got, subscribed) {
		t.Errorf("Dovecot has subscribed %q", got)
	}
	got, err := d.store.Subscriptions(t.Context())
	slices.Sort(got)
	if err != nil || !slices.Equal(got, subscribed) {
		t.Errorf("we have subscribed %q, %v", got, err)
	}
	// UIDVALIDITYs come from one counter.
	seen := map[uint32]string{}
	for _, name := range want {
		v, _ := d.status(name)
		if seen[v] != "" {
			t.Errorf("%s and %s have UIDVALIDITY %d", seen[v], name, v)
		}
		seen[v] = name
		if m, err := d.store.Open(t.Context(), name); err != nil || m.UIDValidity() != v {
			t.Errorf("%s: %v", name, err)
		} else {
			m.Close()
		}
	}
}

func TestCopiesKeepTheirGUIDForDovecot(t *testing.T) {
	d := withDovecot(t, Options{})
	m, err := d.store.Open(t.Context(), "INBOX")
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if _, err := m.Append(t.Context(), content("x"), Delivery{}); err != nil {
		t.Fatal(err)
	}
	if _, to, err := m.Copy(t.Context(), []UID{1}, m); err != nil || !slices.Equal(to, []UID{2}) {
		t.Fatal(to, err)
	}
	d.imap("SELECT INBOX", "UID COPY 1 INBOX")
	syncNow(t, m)
	out := strings.Fields(d.adm("-f", "tab", "fetch", "guid", "mailbox", "INBOX"))[1:]
	for i, guid := range out {
		if ours := m.EmailID(UID(i + 1)); guid != out[0] || ours != guid {
			t.Errorf("UID %d: Dovecot has GUID %s, we %s", i+1, guid, ours)
		}
	}
	if len(out) != 3 {
		t.Errorf("%q", out)
	}
}

// Sizes in names must be what Dovecot would have written: it trusts them.
func TestDovecotTrustsOurSizes(t *testing.T) {
	d := withDovecot(t, Options{})
	for _, text := range []string{"Subject: a\r\n\r\nb\r\n", "Subject: x\r\n\r\n\rbare\r\r\nlast", "Subject: y\n\nlf only\n"} {
		if _, err := d.store.Deliver(t.Context(), "INBOX", contentOf(text), Delivery{}); err != nil {
			t.Fatal(err)
		}
	}
	out := d.adm("-f", "tab", "fetch", "uid size.physical size.virtual text", "mailbox", "INBOX")
	if strings.Contains(out, "cached") {
		t.Error(out)
	}
	log := read(t, filepath.Dir(d.conf), "log")
	if strings.Contains(log, "Error") || strings.Contains(log, "Warning") {
		t.Errorf("Dovecot complains:\n%s", log)
	}
}

// Both deliver, change and read at the same time.
func TestDovecotAndWeAtOnce(t *testing.T) {
	const each = 12
	d := withDovecot(t, Options{})
	d.deliver("first")
	m, err := d.store.Open(t.Context(), "INBOX")
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	w := m.Watch(nil)
	defer w.Close()
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range each {
			d.deliver(fmt.Sprint("dovecot", i))
		}
	})
	wg.Go(func() {
		for range each {
			d.imap("SELECT INBOX", "STORE 1:* +FLAGS (\\Seen)", "NOOP")
		}
	})
	wg.Go(func() {
		for i := range 3 * each {
			name := fmt.Sprint("ours", i)
			if i%2 == 0 {
				deliver(t, d.store, "INBOX", name)
			} else if _, err := m.Append(t.Context(), content(name), Delivery{}); err != nil {
				t.Error(err)
			}
			time.Sleep(5 * time.Millisecond)
		}
	})
	wg.Go(func() {
		for range 2 * each {
			syncNow(t, m)
			m.StoreFlags(t.Context(), uidsOf(m.Messages()), AddFlags, Flagged, nil, StoreOptions{})
			time.Sleep(10 * time.Millisecond)
		}
	})
	wg.Wait()
	d.agree(m, true, "the storm")
	if m.Len() != 4*each+1 {
		t.Errorf("%d messages", m.Len())
	}
	for _, c := range w.Changes() {
		if c.Kind == Expunged {
			t.Errorf("UID %d expunged by nobody", c.UID)
		}
	}
}
