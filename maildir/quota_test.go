package maildir

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"svc.plus/mailsrvd/internal/asuser"
	"svc.plus/mailsrvd/internal/message"
	"svc.plus/mailsrvd/internal/status"
)

func TestParseSizes(t *testing.T) {
	for _, c := range []struct {
		text   string
		limits Limits
		used   Usage
		lines  int
		bad    bool
	}{
		{text: "1000S,10C\n50 2\n", limits: Limits{1000, 10}, used: Usage{50, 2}, lines: 1},
		{text: "0S\n50 2\n-10 -1\n", used: Usage{40, 1}, lines: 2},
		{text: "10C\n  50   2 \n", limits: Limits{0, 10}, used: Usage{50, 2}, lines: 1},
		{text: "10C,7X,20S\n0 0\n", limits: Limits{20, 10}, lines: 1},
		{text: "", bad: true}, {text: "1000S\n", bad: true}, {text: "1000S\n50 2", bad: true}, {text: "\n1 1\n", bad: true},
		{text: "1000S\n50\n", bad: true}, {text: "1000S\n50 x\n", bad: true}, {text: "1000S\n1 1\n-5 -1\n", bad: true},
		{text: "1000S\n5 1\n-5 -2\n", bad: true}, {text: "1000S\n\x00\x00\x00\n", bad: true}, {text: "-1S\n1 1\n", bad: true},
		{text: "S\n1 1\n", bad: true}, {text: ",\n1 1\n", bad: true}, {text: "99999999999999999999S\n1 1\n", bad: true},
	} {
		s, err := parseSizes(c.text)
		if errors.Is(err, errBadSizes) != c.bad {
			t.Errorf("%q: %v", c.text, err)
		}
		if err == nil && (s.limits != c.limits || s.used != c.used || s.lines != c.lines) {
			t.Errorf("%q: %+v", c.text, s)
		}
	}
}

func FuzzParseSizes(f *testing.F) {
	f.Add("1000S,10C\n50 2\n-1 -1\n")
	f.Add("0S\n0 0\n")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := parseSizes(text)
		if err != nil {
			return
		}
		again, err := parseSizes(fmt.Sprintf("%s\n%d %d\n", s.limits.line(), s.used.Storage, s.used.Messages))
		if err != nil || again.used != s.used || again.limits != s.limits {
			t.Fatalf("%q: %+v, again %+v, %v", text, s, again, err)
		}
	})
}

// quotaStore is a Store with limits, which the test may change.
func quotaStore(t *testing.T, limits *Limits, o Options) (*Store, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "Maildir")
	o.Separator, o.Limits = '/', func(asuser.Owner, string) Limits { return *limits }
	stores := NewStores(o)
	t.Cleanup(func() { stores.Close() })
	s := stores.Store(testOwner(), dir)
	if err := s.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s, dir
}

// mailOf is a message of n bytes as stored.
func mailOf(n int) *message.Content {
	return message.FromBytes([]byte("A: b\n\n" + strings.Repeat("x", n-7) + "\n"))
}

func usageIs(t *testing.T, s *Store, bytes, count int64) {
	t.Helper()
	u, _, err := s.Usage(t.Context())
	if err != nil || u != (Usage{bytes, count}) {
		t.Errorf("the usage is %+v (%v), want %d bytes in %d messages", u, err, bytes, count)
	}
}

func TestQuotaFollowsEveryChange(t *testing.T) {
	limits := Limits{Storage: 10000, Messages: 100}
	s, dir := quotaStore(t, &limits, Options{})
	usageIs(t, s, 0, 0)
	if got := read(t, dir, "maildirsize"); got != "10000S,100C\n0 0\n" {
		t.Errorf("a new file is %q", got)
	}
	if err := s.Create(t.Context(), "Work"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Deliver(t.Context(), "INBOX", mailOf(100), Delivery{}); err != nil {
		t.Fatal(err)
	}
	m, err := s.Open(t.Context(), "INBOX")
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	uid, err := m.Append(t.Context(), mailOf(50), Delivery{Flags: Deleted})
	if err != nil {
		t.Fatal(err)
	}
	work, err := s.Open(t.Context(), "Work")
	if err != nil {
		t.Fatal(err)
	}
	defer work.Close()
	if _, _, err := m.Copy(t.Context(), []UID{uid}, work); err != nil {
		t.Fatal(err)
	}
	usageIs(t, s, 200, 3)
	if _, _, err := m.Move(t.Context(), []UID{1}, work); err != nil {
		t.Fatal(err)
	}
	usageIs(t, s, 200, 3)
	if _, err := m.Expunge(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	usageIs(t, s, 150, 2)
	if got, want := read(t, dir, "maildirsize"), "10000S,100C\n0 0\n100 1\n50 1\n50 1\n100 1\n-100 -1\n-50 -1\n"; got != want {
		t.Errorf("the file is %q, want %q", got, want)
	}
	if err := s.Delete(t.Context(), "Work"); err != nil {
		t.Fatal(err)
	}
	usageIs(t, s, 0, 0)
}

func TestQuotaRefuses(t *testing.T) {
	limits := Limits{Storage: 250, Messages: 3}
	s, _ := quotaStore(t, &limits, Options{})
	full := func(what string, err error) {
		t.Helper()
		var st *status.Error
		if !errors.Is(err, ErrQuota) || !errors.As(err, &st) || st.Code != 552 || st.Enhanced != (status.Enhanced{5, 2, 2}) {
			t.Errorf("%s: %v", what, err)
		}
	}
	ok := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	deliver := func(n int) error {
		_, err := s.Deliver(t.Context(), "INBOX", mailOf(n), Delivery{})
		return err
	}
	ok("the first", deliver(100))
	full("more than there is room for", deliver(151))
	ok("exactly what there is room for", deliver(150))
	full("asking", s.MayStore(t.Context(), 10))
	m, err := s.Open(t.Context(), "INBOX")
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	_, err = m.Append(t.Context(), mailOf(10), Delivery{})
	full("appending", err)
	_, _, err = m.Copy(t.Context(), []UID{1}, m)
	full("copying", err)
	if err := s.Create(t.Context(), "Trash"); err != nil {
		t.Fatal(err)
	}
	trash, err := s.Open(t.Context(), "Trash")
	if err != nil {
		t.Fatal(err)
	}
	defer trash.Close()
	_, _, err = m.Move(t.Context(), []UID{1}, trash)
	ok("moving", err)
	limits.Storage = 10000
	ok("after the limit was raised", deliver(10))
	full("one too many", deliver(10))
	limits = Limits{}
	ok("without limits", deliver(1000))
	limits = Limits{Messages: 4}
	full("limits again", deliver(10))
	limits.Messages = 5
	ok("one more", s.MayStore(t.Context(), 1<<40))
}

func TestQuotaOfNewMaildir(t *testing.T) {
	limits := Limits{Storage: 100}
	stores := NewStores(Options{Limits: func(asuser.Owner, string) Limits { return limits }})
	defer stores.Close()
	s := stores.Store(testOwner(), filepath.Join(t.TempDir(), "Maildir"))
	if err := s.MayStore(t.Context(), 101); !errors.Is(err, ErrQuota) {
		t.Errorf("too big for an empty Maildir: %v", err)
	}
	usageIs(t, s, 0, 0)
	if _, err := s.Deliver(t.Context(), "", mailOf(100), Delivery{}); err != nil {
		t.Error(err)
	}
	usageIs(t, s, 100, 1)
}

// What other programs do to messages shows when the quota is exceeded, or the
// file has become useless.
func TestQuotaCountsAnew(t *testing.T) {
	limits := Limits{Storage: 1000}
	now := time.Now()
	s, dir := quotaStore(t, &limits, Options{clock: func() time.Time { return now }})
	write(t, dir, "cur/1.a,S=300:2,S", "not 300 bytes")
	write(t, dir, "new/2.b", strings.Repeat("x", 200))
	usageIs(t, s, 500, 2)
	for name, text := range map[string]string{
		"of other limits": "77S\n1 1\n", "too long": "1000S\n" + strings.Repeat("1 1\n", 1500), "garbage": "what?",
		"with NULs": "1000S\n500 2\n\x00\x00\n", "below zero": "1000S\n-1 1\n", "empty": "",
	} {
		write(t, dir, "maildirsize", text)
		usageIs(t, s, 500, 2)
		if got := read(t, dir, "maildirsize"); got != "1000S\n500 2\n" {
			t.Errorf("%s: now %q", name, got)
		}
	}
	// Over quota by a file with one line that is young: believed.
	write(t, dir, "maildirsize", "1000S\n990 2\n")
	if err := s.MayStore(t.Context(), 100); !errors.Is(err, ErrQuota) {
		t.Errorf("a fresh count is not believed: %v", err)
	}
	now = now.Add(sizeStale + time.Second)
	if err := s.MayStore(t.Context(), 100); err != nil {
		t.Errorf("an old count is believed: %v", err)
	}
	write(t, dir, "maildirsize", "1000S\n980 2\n10 0\n")
	now = time.Now()
	if err := s.MayStore(t.Context(), 100); err != nil {
		t.Errorf("a sum of several lines is believed: %v", err)
	}
	// Something else in its place.
	if err := errors.Join(os.Remove(dir+"/maildirsize"), os.Symlink("/etc/passwd", dir+"/maildirsize")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Deliver(t.Context(), "INBOX", mailOf(100), Delivery{}); err != nil {
		t.Error(err)
	}
	usageIs(t, s, 600, 3)
	if fi, err := os.Lstat(dir + "/maildirsize"); err != nil || !fi.Mode().IsRegular() {
		t.Errorf("the link is still there: %v, %v", fi, err)
	}
}

func TestQuotaFileOfOthersIsKeptRight(t *testing.T) {
	s, dir := quotaStore(t, &Limits{}, Options{})
	deliver := func() {
		t.Helper()
		if _, err := s.Deliver(t.Context(), "INBOX", mailOf(100), Delivery{}); err != nil {
			t.Fatal(err)
		}
	}
	deliver()
	if _, err := os.Stat(dir + "/maildirsize"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file was made that nobody wants: %v", err)
	}
	write(t, dir, "maildirsize", "500S\n100 1\n")
	deliver()
	if got := read(t, dir, "maildirsize"); got != "500S\n100 1\n100 1\n" {
		t.Errorf("the file is %q", got)
	}
	write(t, dir, "maildirsize", "500S\n"+strings.Repeat("1 1\n", 4*maxSizeFile/4))
	deliver()
	if _, err := os.Stat(dir + "/maildirsize"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that nobody shortens is kept: %v", err)
	}
}

func TestQuotaCountHeldByAnother(t *testing.T) {
	limits := Limits{Storage: 1000}
	s, dir := quotaStore(t, &limits, Options{})
	write(t, dir, "maildirsize.lock", "1:elsewhere")
	write(t, dir, "cur/1.a,S=300:2,S", "x")
	usageIs(t, s, 300, 1)
	if _, err := os.Stat(dir + "/maildirsize"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("written beside the holder of the lock: %v", err)
	}
	if err := os.Remove(dir + "/maildirsize.lock"); err != nil {
		t.Fatal(err)
	}
	usageIs(t, s, 300, 1)
	if got := read(t, dir, "maildirsize"); got != "1000S\n300 1\n" {
		t.Errorf("the file is %q", got)
	}
}

func TestQuotaFaultsLoseNoMail(t *testing.T) {
	limits := Limits{Storage: 1000}
	for _, step := range []string{"lock", "write", "sync", "rename", "syncdir"} {
		t.Run(step, func(t *testing.T) {
			fail := true
			s, _ := quotaStore(t, &limits, Options{Fault: func(at, name string) error {
				if fail && at == step && strings.HasPrefix(name, sizeName) {
					return errors.New("planned")
				}
				return nil
			}})
			if _, err := s.Deliver(t.Context(), "INBOX", mailOf(100), Delivery{}); err != nil {
				t.Errorf("a fault of the quota file stops the mail: %v", err)
			}
			usageIs(t, s, 100, 1)
			fail = false
			usageIs(t, s, 100, 1)
		})
	}
}

// Whatever is stored, removed and counted at the same time, the sum is right in
// the end.
func TestQuotaUnderLoad(t *testing.T) {
	limits := Limits{Storage: 1 << 40}
	s, dir := quotaStore(t, &limits, Options{})
	m, err := s.Open(t.Context(), "INBOX")
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	var work sync.WaitGroup
	for range 3 {
		work.Go(func() {
			for range 20 {
				if _, err := s.Deliver(t.Context(), "INBOX", mailOf(100), Delivery{}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	work.Go(func() {
		for range 20 {
			uid, err := m.Append(t.Context(), mailOf(50), Delivery{Flags: Deleted})
			if err == nil {
				_, err = m.Expunge(t.Context(), []UID{uid})
			}
			if err != nil {
				t.Error(err)
			}
		}
	})
	work.Go(func() {
		for range 30 {
			os.Remove(dir + "/maildirsize")
			if _, _, err := s.Usage(t.Context()); err != nil {
				t.Error(err)
			}
		}
	})
	work.Wait()
	usageIs(t, s, 60*100, 60)
}

// Dovecot and we read each other's file.
func TestQuotaBesideDovecot(t *testing.T) {
	d := withDovecot(t, Options{Limits: func(asuser.Owner, string) Limits { return Limits{Storage: 100 << 20, Messages: 1000} }})
	if _, err := os.Stat("/usr/lib/dovecot/modules/lib10_quota_plugin.so"); err != nil {
		t.Skip("missing: Dovecot's quota plugin")
	}
	conf, err := os.OpenFile(d.conf, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(conf, "mail_plugins = quota\nplugin {\n quota = maildir:User\n quota_rule = *:storage=100M:messages=1000\n}\n")
	conf.Close()
	dovecotSays := func(what, storage, messages string) {
		t.Helper()
		out := d.adm("-f", "tab", "quota", "get")
		if !strings.Contains(out, "STORAGE\t"+storage+"\t102400\t") || !strings.Contains(out, "MESSAGE\t"+messages+"\t1000\t") {
			t.Errorf("%s: Dovecot says\n%s", what, out)
		}
	}
	for range 5 {
		if _, err := d.store.Deliver(t.Context(), "INBOX", mailOf(2048), Delivery{}); err != nil {
			t.Fatal(err)
		}
	}
	usageIs(t, d.store, 5*2048, 5)
	ours := read(t, d.dir, "maildirsize")
	dovecotSays("after ours", "10", "5")
	if got := read(t, d.dir, "maildirsize"); got != ours {
		t.Errorf("Dovecot has written our file anew: %q, was %q", got, ours)
	}
	d.adm("quota", "recalc")
	if got := read(t, d.dir, "maildirsize"); got != "104857600S,1000C\n10240 5\n" {
		t.Errorf("Dovecot's own count is %q", got)
	}
	d.adm("expunge", "mailbox", "INBOX", "1:2")
	usageIs(t, d.store, 3*2048, 3)
	if _, err := d.store.Deliver(t.Context(), "INBOX", mailOf(1024), Delivery{}); err != nil {
		t.Fatal(err)
	}
	dovecotSays("after both", "7", "4")
	usageIs(t, d.store, 7*1024, 4)
}
