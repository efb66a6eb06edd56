package maildir

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"svc.plus/mailsrvd/internal/asuser"
	"svc.plus/mailsrvd/internal/message"
)

// testStore is an empty Maildir of the test's own user.
func testStore(t *testing.T, o Options) (*Store, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "Maildir") // removed last
	stores := NewStores(o)
	t.Cleanup(func() {
		if err := stores.Close(); err != nil {
			t.Error(err)
		}
	})
	s := stores.Store(asuser.Self("alice", filepath.Dir(dir)), dir)
	if err := s.Prepare(context.Background()); err != nil {
		t.Fatal(err)
	}
	return s, dir
}

func open(t *testing.T, s *Store, name string) *Mailbox {
	t.Helper()
	m, err := s.Open(context.Background(), name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	return m
}

func content(text string) *message.Content {
	return message.FromBytes([]byte("Subject: " + text + "\r\n\r\n" + text + "\r\n"))
}

func deliver(t *testing.T, s *Store, folder string, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if _, err := s.Deliver(context.Background(), folder, content(text), Delivery{}); err != nil {
			t.Fatal(err)
		}
	}
}

func uidsOf(list []Message) (uids []UID) {
	for _, m := range list {
		uids = append(uids, m.UID)
	}
	return uids
}

// await waits until a change of the kind comes, and returns it.
func await(t *testing.T, w *Watcher, kind ChangeKind) Change {
	t.Helper()
	deadline := time.After(10 * time.Second)
	for {
		for _, c := range w.Changes() {
			if c.Kind == kind {
				return c
			}
		}
		select {
		case <-w.C():
		case <-deadline:
			t.Fatalf("no change of kind %d came", kind)
		}
	}
}

func TestDeliveryReachesAnOpenMailbox(t *testing.T) {
	s, dir := testStore(t, Options{})
	m := open(t, s, "INBOX")
	w := m.Watch(nil)
	defer w.Close()
	deliver(t, s, "INBOX", "one")
	if c := await(t, w, Arrived); c.UID != 1 {
		t.Errorf("UID %d", c.UID)
	}
	list, _ := os.ReadFile(filepath.Join(dir, "dovecot-uidlist"))
	if !strings.Contains(string(list), "\n1 :") {
		t.Errorf("uidlist:\n%s", list)
	}
}

func TestForeignFilesArriveAndVanish(t *testing.T) {
	for name, o := range map[string]Options{"inotify": {}, "polling": {NoInotify: true, PollEvery: 20 * time.Millisecond}} {
		t.Run(name, func(t *testing.T) {
			s, dir := testStore(t, o)
			m := open(t, s, "INBOX")
			w := m.Watch(nil)
			defer w.Close()
			tmp, file := filepath.Join(dir, "tmp", "1.f.host"), filepath.Join(dir, "new", "1.f.host")
			if err := os.WriteFile(tmp, []byte("Subject: x\n\nx\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(tmp, file); err != nil {
				t.Fatal(err)
			}
			arrived := await(t, w, Arrived)
			seen := filepath.Join(dir, "cur", "1.f.host:2,FS")
			if err := os.Rename(file, seen); err != nil {
				t.Fatal(err)
			}
			if c := await(t, w, FlagsChanged); c.UID != arrived.UID || c.Flags != Flagged|Seen {
				t.Errorf("change %+v", c)
			}
			if err := os.Remove(seen); err != nil {
				t.Fatal(err)
			}
			if c := await(t, w, Expunged); c.UID != arrived.UID {
				t.Errorf("change %+v", c)
			}
		})
	}
}

func TestCopyAndMoveKeepContentFlagsAndDate(t *testing.T) {
	ctx := context.Background()
	s, dir := testStore(t, Options{})
	if err := s.Create(ctx, "Archive"); err != nil {
		t.Fatal(err)
	}
	in, out := open(t, s, "INBOX"), open(t, s, "Archive")
	date := time.Unix(1_600_000_000, 0)
	uid, err := in.Append(ctx, content("kept"), Delivery{Flags: Seen, Keywords: []string{"$Forwarded", "work"}, Date: date})
	if err != nil {
		t.Fatal(err)
	}
	from, to, err := in.Copy(ctx, []UID{uid, 99}, out)
	if err != nil || !slices.Equal(from, []UID{uid}) || len(to) != 1 {
		t.Fatalf("Copy = %v, %v, %v", from, to, err)
	}
	info, err := out.Info(ctx, to[0])
	if err != nil || !info.Internal.Equal(date) {
		t.Errorf("INTERNALDATE %v, %v", info.Internal, err)
	}
	copied := out.Messages()[0]
	if copied.Flags&Seen == 0 || len(out.Keywords()) != 2 || copied.Flags&AllKeywords != 3 {
		t.Errorf("flags %x, keywords %v", copied.Flags, out.Keywords())
	}
	if in.EmailID(uid) != out.EmailID(to[0]) {
		t.Error("EMAILID changed")
	}
	_, moved, err := in.Move(ctx, []UID{uid}, out)
	if err != nil || len(moved) != 1 || in.Len() != 0 || out.Len() != 2 {
		t.Fatalf("Move: %v, %v; %d and %d messages", moved, err, in.Len(), out.Len())
	}
	if out.EmailID(moved[0]) != out.EmailID(to[0]) {
		t.Error("the second copy lost its EMAILID")
	}
	if files, _ := os.ReadDir(filepath.Join(dir, "cur")); len(files) != 0 {
		t.Errorf("left in INBOX: %v", files)
	}
	// A second process agrees about every UID.
	other := NewStores(Options{})
	defer other.Close()
	again := open(t, other.Store(s.owner, dir), "Archive")
	if a, b := uidsOf(again.Messages()), uidsOf(out.Messages()); !slices.Equal(a, b) {
		t.Errorf("UIDs %v, another reader has %v", b, a)
	}
	if again.EmailID(moved[0]) != out.EmailID(moved[0]) {
		t.Error("the uidlist does not hold the GUID of a renamed copy")
	}
}

func TestCopyWithinAFolderMakesSecondMessages(t *testing.T) {
	s, _ := testStore(t, Options{})
	m := open(t, s, "INBOX")
	deliver(t, s, "INBOX", "a", "b")
	if err := m.Sync(context.Background()); err != nil {
		t.Fatal(err)
	}
	from, to, err := m.Copy(context.Background(), []UID{1, 2}, m)
	if err != nil || !slices.Equal(to, []UID{3, 4}) || !slices.Equal(from, []UID{1, 2}) {
		t.Fatalf("Copy = %v, %v, %v", from, to, err)
	}
}

func TestClaimRecentEmptiesNew(t *testing.T) {
	s, dir := testStore(t, Options{})
	deliver(t, s, "INBOX", "a", "b")
	m := open(t, s, "INBOX")
	w := m.Watch(nil)
	if err := w.ClaimRecent(context.Background()); err != nil {
		t.Fatal(err)
	}
	if files, _ := os.ReadDir(filepath.Join(dir, "new")); len(files) != 0 {
		t.Errorf("left in new/: %v", files)
	}
	if snap := w.Snapshot(); len(snap) != 2 || !snap[0].Recent || !snap[1].Recent {
		t.Errorf("snapshot %+v", snap)
	}
	w.Close()
	if st, err := s.Status(context.Background(), "INBOX", true); err != nil || st.Recent != 0 || st.Messages != 2 || st.Size == 0 {
		t.Errorf("status %+v, %v", st, err)
	}
	if err := m.Sync(context.Background()); err != nil || m.Len() != 2 {
		t.Errorf("%d messages after our own moves, %v", m.Len(), err)
	}
}

func TestOpenMessageRefusesWhatIsNoFile(t *testing.T) {
	s, dir := testStore(t, Options{})
	deliver(t, s, "INBOX", "a")
	m := open(t, s, "INBOX")
	files, _ := os.ReadDir(filepath.Join(dir, "new"))
	name := filepath.Join(dir, "new", files[0].Name())
	if err := os.Rename(name, name+".away"); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc/passwd", name); err != nil {
		t.Fatal(err)
	}
	if f, err := m.OpenMessage(context.Background(), 1); err == nil {
		f.Close()
		t.Fatal("followed a link")
	}
}

func contentOf(text string) *message.Content { return message.FromBytes([]byte(text)) }
