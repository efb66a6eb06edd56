package maildir

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"golang.org/x/sys/unix"

	"svc.plus/mailsrvd/internal/asuser"
	"svc.plus/mailsrvd/internal/message"
	"svc.plus/mailsrvd/internal/status"
)

func TestCopyLFStoresLFAndCountsBothSizes(t *testing.T) {
	long := strings.Repeat("x", 128<<10)
	for _, c := range []struct {
		in, out string
		virtual int
	}{
		{"", "", 0},
		{"a\r\nb\r\n", "a\nb\n", 6},
		{"a\nb", "a\nb", 4},
		{"a\rb\r\n", "a\rb\n", 5},
		{"a\r\r\nb", "a\r\nb", 4}, // what is left of CR CR LF is served as it stands
		{"\r\n\r\n", "\n\n", 4},
		{"\r", "\r", 1},
		{"\n\r", "\n\r", 3},
		{long + "\r\n" + long, long + "\n" + long, 2*len(long) + 2},
		{long[1:] + "\r\n", long[1:] + "\n", len(long) + 1}, // the CR is the last byte of a buffer
		{long[2:] + "\r\r\nx", long[2:] + "\r\nx", len(long) + 1},
		{long + "\r", long + "\r", len(long) + 1},
	} {
		for how, r := range map[string]io.Reader{
			"at once": strings.NewReader(c.in), "halves": iotest.HalfReader(strings.NewReader(c.in)),
			"bytes": iotest.OneByteReader(strings.NewReader(c.in)), "with EOF": iotest.DataErrReader(strings.NewReader(c.in)),
		} {
			var out bytes.Buffer
			s, w, err := copyLF(&out, r, int64(len(c.in)))
			if err != nil || out.String() != c.out || s != int64(len(c.out)) || w != int64(c.virtual) {
				t.Errorf("%.20q %s: %.20q (%d bytes, want %d), S=%d W=%d (want %d), %v", c.in, how, out.String(), out.Len(), len(c.out), s, w, c.virtual, err)
			}
		}
	}
	if _, _, err := copyLF(io.Discard, iotest.ErrReader(io.ErrUnexpectedEOF), 5); err == nil {
		t.Error("a message cut short was stored")
	}
}

func TestSizesInTheNameAreWhatTheScannerFinds(t *testing.T) {
	s, dir := testStore(t, Options{})
	for _, text := range []string{"Subject: a\r\n\r\nb\r\n", "x", "", "a\r\r\n\n\r\r\r\n", "\n\n\r\n"} {
		d, err := s.Deliver(t.Context(), "INBOX", message.FromBytes([]byte(text)), Delivery{})
		if err != nil {
			t.Fatal(err)
		}
		stored := read(t, dir, "new/"+d.Name)
		part, err := message.Scan(strings.NewReader(stored))
		if err != nil {
			t.Fatal(err)
		}
		if want := fmt.Sprintf(",S=%d,W=%d", len(stored), part.VSize()); !strings.HasSuffix(d.Name, want) {
			t.Errorf("%q is stored as %s, want %s", text, d.Name, want)
		}
	}
}

func TestDeliverNamesAndPlacesLikeDovecot(t *testing.T) {
	s, dir := testStore(t, Options{Hostname: "mx.example.org"})
	date := time.Date(2020, 1, 2, 3, 4, 5, 678, time.UTC)
	for _, c := range []struct {
		d    Delivery
		want string
	}{
		{Delivery{}, `^new/\d+\.M\d+P\d+\.mx\.example\.org,S=14,W=17$`},
		{Delivery{Flags: Seen | Flagged}, `^cur/\d+\.M\d+P\d+\.mx\.example\.org,S=14,W=17:2,FS$`},
		{Delivery{Keywords: []string{"b", "A"}}, `^cur/.*:2,ab$`},
		{Delivery{Keywords: []string{"a", "c"}}, `^cur/.*:2,bc$`},
		{Delivery{Flags: AllKeywords}, `^new/`}, // bits without a name mean nothing
		{Delivery{Date: date}, `^new/`},
	} {
		d, err := s.Deliver(t.Context(), "", content("a"), c.d)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, sub := range subNames {
			for _, name := range files(t, filepath.Join(dir, sub)) {
				if baseOf(name) == d.Name {
					got = sub + "/" + name
				}
			}
		}
		if !regexp.MustCompile(c.want).MatchString(got) {
			t.Errorf("%+v: %s", c.d, got)
		}
		fi, err := os.Stat(filepath.Join(dir, got))
		if err != nil || !c.d.Date.IsZero() && !fi.ModTime().Equal(date.Truncate(time.Second)) {
			t.Errorf("%+v: %v %v", c.d, fi.ModTime(), err)
		}
	}
	if left := files(t, filepath.Join(dir, "tmp")); len(left) > 1 { // the lock source of the keywords
		t.Errorf("left in tmp: %q", left)
	}
}

func TestDeliverNeedsNoLockAndNoUidlist(t *testing.T) {
	s, dir := testStore(t, Options{})
	write(t, dir, listLock, "1:otherhost")
	deliver(t, s, "INBOX", "x")
	if _, err := os.Stat(filepath.Join(dir, listName)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("uidlist: %v", err)
	}
	if got := read(t, dir, listLock); got != "1:otherhost" {
		t.Errorf("lock %q", got)
	}
}

func TestDeliverToFoldersThatAreNotThere(t *testing.T) {
	stores := NewStores(Options{})
	defer stores.Close()
	home := t.TempDir()
	s := stores.Store(asuser.Self("alice", home), "~/Maildir")
	for name, want := range map[string]error{"A": ErrNotFound, "a/b": ErrInvalidName, "..": ErrInvalidName} {
		if _, err := s.Deliver(t.Context(), name, content("x"), Delivery{}); !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", name, err, want)
		}
	}
	deliver(t, s, "inbox", "x") // makes the Maildir
	if n := len(files(t, filepath.Join(home, "Maildir", "new"))); n != 1 {
		t.Errorf("%d messages", n)
	}
	if err := os.RemoveAll(filepath.Join(home, "Maildir", "tmp")); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(home, "Maildir", "new")); err != nil {
		t.Fatal(err)
	}
	deliver(t, s, "INBOX", "y")
}

// failAt fails the first step of the given name.
func failAt(step string, cause error) (Options, *bool) {
	on := new(bool)
	return Options{Fault: func(at, name string) error {
		if *on && at == step {
			return cause
		}
		return nil
	}}, on
}

func TestDeliverLeavesNothingWhenAStepFails(t *testing.T) {
	for _, step := range []string{"create", "write", "sync", "rename", "syncdir"} {
		t.Run(step, func(t *testing.T) {
			o, on := failAt(step, errors.New("boom"))
			s, dir := testStore(t, o)
			*on = true
			_, err := s.Deliver(t.Context(), "INBOX", content("x"), Delivery{})
			if st := status.From(err); st == nil || st.Code != 451 {
				t.Errorf("err = %v", err)
			}
			*on = false
			for _, sub := range []string{"tmp", "new", "cur"} {
				if left := files(t, filepath.Join(dir, sub)); len(left) > 0 {
					t.Errorf("%s has %q", sub, left)
				}
			}
			deliver(t, s, "INBOX", "x")
		})
	}
}

func TestFullDiskAndQuotaAreToldApart(t *testing.T) {
	for cause, code := range map[error]int{unix.ENOSPC: 452, unix.EDQUOT: 552, unix.EIO: 451, unix.EACCES: 451} {
		for _, step := range []string{"create", "write", "sync", "rename", "syncdir"} {
			o, on := failAt(step, cause)
			s, _ := testStore(t, o)
			m := open(t, s, "INBOX")
			*on = true
			_, err := s.Deliver(t.Context(), "INBOX", content("x"), Delivery{})
			if st := status.From(err); st == nil || st.Code != code || !errors.Is(err, cause) {
				t.Errorf("Deliver, %v at %s: %v", cause, step, err)
			}
			_, err = m.Append(t.Context(), content("x"), Delivery{})
			if st := status.From(err); st == nil || st.Code != code || !errors.Is(err, cause) {
				t.Errorf("Append, %v at %s: %v", cause, step, err)
			}
			*on = false
		}
	}
}

func TestQuotaIsAskedBeforeAnythingIsStored(t *testing.T) {
	s, dir := testStore(t, Options{Quota: func(_ context.Context, o asuser.Owner, path string, size int64) error {
		if o.Name != "alice" || !strings.HasSuffix(path, "/Maildir") || size != 17 {
			t.Errorf("asked for %v %s %d", o, path, size)
		}
		return fmt.Errorf("10 of 10 bytes: %w", ErrQuota)
	}})
	_, err := s.Deliver(t.Context(), "INBOX", content("a"), Delivery{})
	if st := status.From(err); st == nil || st.Code != 552 {
		t.Error(err)
	}
	if left := files(t, filepath.Join(dir, "new")); len(left) > 0 {
		t.Errorf("stored %q", left)
	}
}

func TestModesComeFromTheMaildir(t *testing.T) {
	for _, c := range []struct{ root, dir, file os.FileMode }{
		{0o700, 0o700, 0o600},
		{0o770, 0o770, 0o660},
		{0o750, 0o750, 0o640},
		{0o755, 0o755, 0o644},
		{os.ModeSetgid | 0o770, os.ModeSetgid | 0o770, 0o660},
	} {
		t.Run(c.root.String(), func(t *testing.T) {
			defer syscall.Umask(syscall.Umask(0))
			s, dir := testStore(t, Options{})
			if err := os.Chmod(dir, c.root); err != nil {
				t.Fatal(err)
			}
			if err := s.Create(t.Context(), "A"); err != nil {
				t.Fatal(err)
			}
			deliver(t, s, "A", "x")
			m := open(t, s, "A")
			if err := s.Subscribe(t.Context(), "A"); err != nil {
				t.Fatal(err)
			}
			if _, err := m.keywordBits(t.Context(), []string{"k"}); err != nil {
				t.Fatal(err)
			}
			for name, want := range map[string]os.FileMode{
				".A": c.dir, ".A/new": c.dir, ".A/" + listName: c.file, ".A/" + keywordsName: c.file, subscriptionsName: c.file,
				".A/new/" + onlyFile(t, filepath.Join(dir, ".A", "new")): c.file,
			} {
				fi, err := os.Stat(filepath.Join(dir, name))
				if err != nil {
					t.Fatal(err)
				}
				if got := fi.Mode() & (os.ModePerm | os.ModeSetgid); got != want {
					t.Errorf("%s is %v, want %v", name, got, want)
				}
			}
		})
	}
}

func TestGroupIsSetOnlyWhereItMeansSomething(t *testing.T) {
	const s, g = unix.S_ISGID, 8
	for _, c := range []struct {
		mode uint32
		gid  uint32
		want bool
	}{
		{0o700, g, false}, {0o770, g, true}, {0o750, g, true}, {0o755, g, false}, {0o777, g, false}, {s | 0o770, g, false}, {0o770, 1000, false},
	} {
		if _, _, got := modes(&unix.Stat_t{Mode: c.mode, Gid: c.gid}, 1000); got != c.want {
			t.Errorf("%o of group %d: %v", c.mode, c.gid, got)
		}
	}
}

func TestOldTmpFilesAreCleaned(t *testing.T) {
	now := time.Now()
	s, dir := testStore(t, Options{clock: func() time.Time { return now }})
	write(t, dir, "tmp/old", "half")
	mkdirs(t, dir, "tmp/adir")
	open(t, s, "INBOX")
	if got := files(t, filepath.Join(dir, "tmp")); len(got) < 2 {
		t.Fatalf("cleaned at once: %q", got)
	}
	now = now.Add(8 * 24 * time.Hour)
	other := NewStores(Options{clock: func() time.Time { return now }})
	defer other.Close()
	open(t, other.Store(s.owner, dir), "INBOX")
	for _, name := range files(t, filepath.Join(dir, "tmp")) {
		if name == "old" {
			t.Error("the old file is there still")
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "tmp/adir")); err != nil {
		t.Error("a directory was removed")
	}
}
