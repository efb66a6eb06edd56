package lda

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"svc.plus/mailsrvd/internal/asuser"
	"svc.plus/mailsrvd/internal/message"
	"svc.plus/mailsrvd/internal/status"
	"svc.plus/mailsrvd/maildir"
)

const testMail = "Message-ID: <1@example.net>\r\nSubject: x\r\n\r\nhello\r\n"
const storedMail = "Message-ID: <1@example.net>\nSubject: x\n\nhello\n"

// deliverAgent makes an Agent with real Maildirs for alice and bob.
func deliverAgent(t *testing.T, o maildir.Options, change ...func(*Options)) (*Agent, fakeAccounts) {
	t.Helper()
	accounts := fakeAccounts{"alice": newAccount(t, "alice", 20001), "bob": newAccount(t, "bob", 20002)}
	stores := newStores(t, o)
	a := newAgent(t, "", append([]func(*Options){func(o *Options) {
		o.Accounts, o.Stores = accounts, stores
	}}, change...)...)
	return a, accounts
}

func to(user string, address ...string) message.Local {
	return message.Local{User: user, Address: append(address, user+"@example.org")[0]}
}

func TestDeliverPutsTraceFieldsOnTop(t *testing.T) {
	a, accounts := deliverAgent(t, maildir.Options{})
	env := message.Envelope{Trace: "t1", ReversePath: "eve@example.net"}
	for i, err := range a.Deliver(t.Context(), env, content(testMail), []message.Local{to("alice"), to("bob", "bob+x@example.org")}) {
		if err != nil {
			t.Errorf("recipient %d: %v", i, err)
		}
	}
	for user, address := range map[string]string{"alice": "alice@example.org", "bob": "bob+x@example.org"} {
		want := ".: Return-Path: <eve@example.net>\nDelivered-To: " + address + "\n" + storedMail
		if got := mail(t, accounts[user].Owner.Home); len(got) != 1 || got[0] != want {
			t.Errorf("%s has %q", user, got)
		}
	}
}

func TestDeliverStoresAsTheUser(t *testing.T) {
	needRoot(t)
	a, accounts := deliverAgent(t, maildir.Options{})
	if err := errors.Join(a.Deliver(t.Context(), message.Envelope{}, content(testMail), []message.Local{to("alice")})...); err != nil {
		t.Fatal(err)
	}
	files, _ := filepath.Glob(filepath.Join(accounts["alice"].Owner.Home, "Maildir/new/*"))
	if len(files) != 1 {
		t.Fatalf("files: %v", files)
	}
	fi, err := os.Stat(files[0])
	if err != nil {
		t.Fatal(err)
	}
	if st := fi.Sys().(*syscall.Stat_t); st.Uid != 20001 || st.Gid != 20001 || fi.Mode() != 0o600 {
		t.Errorf("the message is %v of %d:%d", fi.Mode(), st.Uid, st.Gid)
	}
}

func TestDeliverGivesAnAccountOneCopy(t *testing.T) {
	a, accounts := deliverAgent(t, maildir.Options{})
	recipients := []message.Local{to("alice"), to("bob"), to("alice", "info@example.org")}
	if err := errors.Join(a.Deliver(t.Context(), message.Envelope{}, content(testMail), recipients)...); err != nil {
		t.Fatal(err)
	}
	want := ".: Return-Path: <>\nDelivered-To: alice@example.org\nDelivered-To: info@example.org\n" + storedMail
	if got := mail(t, accounts["alice"].Owner.Home); len(got) != 1 || got[0] != want {
		t.Errorf("alice has %q", got)
	}
}

func TestDeliverAnswersForEachRecipient(t *testing.T) {
	a, accounts := deliverAgent(t, maildir.Options{Quota: func(_ context.Context, o asuser.Owner, _ string, _ int64) error {
		if o.Name == "bob" {
			return fmt.Errorf("bob has enough: %w", maildir.ErrQuota)
		}
		return nil
	}})
	looped := content("Delivered-To: loop@example.org\r\n" + testMail)
	recipients := []message.Local{to("alice"), to("bob"), to("gone"), to("broken"), to("alice", "loop@example.org")}
	// The looping address is an account's of its own, so that alice has hers.
	recipients[4].Detail = "x"
	errs := a.Deliver(t.Context(), message.Envelope{}, looped, recipients)
	for i, want := range []string{"", "552 5.2.2", "550 5.1.1", "451 4.4.3", "554 5.4.6"} {
		var s *status.Error
		switch {
		case want == "" && errs[i] != nil, want != "" && (!errors.As(errs[i], &s) || !strings.HasPrefix(s.Reply(), want)):
			t.Errorf("recipient %d: %v; want %s", i, errs[i], want)
		}
	}
	if got := mail(t, accounts["alice"].Owner.Home); len(got) != 1 {
		t.Errorf("alice has %q", got)
	}
	if got := mail(t, accounts["bob"].Owner.Home); len(got) != 0 {
		t.Errorf("bob has %q", got)
	}
}

func TestDeliverDefersWhatMayHeal(t *testing.T) {
	boom := errors.New("the disk broke")
	for _, step := range []string{"create", "write", "sync", "rename", "syncdir"} {
		a, accounts := deliverAgent(t, maildir.Options{Fault: func(at, _ string) error {
			if at == step {
				return boom
			}
			return nil
		}})
		// The first one makes the Maildir, the second fails in the step itself.
		for range 2 {
			errs := a.Deliver(t.Context(), message.Envelope{}, content(testMail), []message.Local{to("alice")})
			if s := status.From(errs[0]); s == nil || s.Code != 451 || !errors.Is(s, boom) {
				t.Errorf("%s: %v", step, errs[0])
			}
		}
		if got := mail(t, accounts["alice"].Owner.Home); len(got) != 0 {
			t.Errorf("%s: refused mail is there: %q", step, got)
		}
	}
}

func TestDeliverDefersWhenTheHomeIsShut(t *testing.T) {
	needRoot(t)
	a, accounts := deliverAgent(t, maildir.Options{})
	if err := os.Chmod(accounts["alice"].Owner.Home, 0); err != nil {
		t.Fatal(err)
	}
	errs := a.Deliver(t.Context(), message.Envelope{}, content(testMail), []message.Local{to("alice")})
	if !status.IsTemporary(errs[0]) {
		t.Errorf("err = %v", errs[0])
	}
}

func TestDeliverIntoTheFolderOfTheDetail(t *testing.T) {
	a, accounts := deliverAgent(t, maildir.Options{}, func(o *Options) { o.DetailFolder = true })
	store := a.store(accounts["alice"])
	if err := errors.Join(store.Prepare(t.Context()), store.Create(t.Context(), "Lists")); err != nil {
		t.Fatal(err)
	}
	for _, detail := range []string{"Lists", "None", "..", "../bob", "a/b", "cur", "INBOX", "inbox", strings.Repeat("x", 300)} {
		l := to("alice")
		l.Detail = detail
		if err := a.Deliver(t.Context(), message.Envelope{}, content(detail+"\r\n"), []message.Local{l})[0]; err != nil {
			t.Errorf("%s: %v", detail, err)
		}
	}
	got := mail(t, accounts["alice"].Owner.Home)
	if len(got) != 9 {
		t.Errorf("%d messages: %q", len(got), got)
	}
	for _, m := range got {
		if strings.HasSuffix(m, "\nLists\n") != strings.HasPrefix(m, ".Lists: ") {
			t.Errorf("misplaced: %q", m)
		}
	}
}

func TestDeliverUsesThePlaceOfTheAccount(t *testing.T) {
	a, accounts := deliverAgent(t, maildir.Options{})
	alice := accounts["alice"]
	alice.Maildir = filepath.Join(alice.Owner.Home, "elsewhere", "Maildir")
	accounts["alice"] = alice
	if err := a.Deliver(t.Context(), message.Envelope{}, content(testMail), []message.Local{to("alice")})[0]; err != nil {
		t.Fatal(err)
	}
	if got := mail(t, filepath.Join(alice.Owner.Home, "elsewhere")); len(got) != 1 {
		t.Errorf("there is %q", got)
	}
}

func TestDeliverToManyAtOnce(t *testing.T) {
	accounts := fakeAccounts{}
	var recipients []message.Local
	for i := range 40 {
		name := fmt.Sprint("user", i)
		accounts[name] = newAccount(t, name, 20001+i)
		recipients = append(recipients, to(name))
	}
	a, _ := deliverAgent(t, maildir.Options{}, func(o *Options) { o.Accounts = accounts })
	if err := errors.Join(a.Deliver(t.Context(), message.Envelope{}, content(testMail), recipients)...); err != nil {
		t.Fatal(err)
	}
	for name, acct := range accounts {
		got := mail(t, acct.Owner.Home)
		if len(got) != 1 || !strings.Contains(got[0], "Delivered-To: "+name+"@") {
			t.Errorf("%s has %q", name, got)
		}
	}
}

func TestDeliverLogsAndCounts(t *testing.T) {
	var log bytes.Buffer
	registry := prometheus.NewRegistry()
	a, _ := deliverAgent(t, maildir.Options{}, func(o *Options) { o.Logger, o.Registerer = logTo(&log), registry })
	env := message.Envelope{Trace: "t1", ReversePath: "eve@example.net"}
	a.Deliver(t.Context(), env, content(testMail), []message.Local{to("alice"), to("gone"), to("broken")})
	lines := strings.Split(strings.TrimSpace(log.String()), "\n")
	slices.Sort(lines)
	want := []string{
		`level=INFO msg="msgid=<1@example.net>: saved mail to INBOX" trace=t1 user=alice from=eve@example.net to=[alice@example.org]`,
		`level=WARN msg="msgid=<1@example.net>: save failed" trace=t1 user=broken from=eve@example.net to=[broken@example.org] code=451 err=`,
		`level=WARN msg="msgid=<1@example.net>: save failed" trace=t1 user=gone from=eve@example.net to=[gone@example.org] code=550 err=`,
	}
	for i := range want {
		if len(lines) != len(want) || !strings.HasPrefix(lines[i], want[i]) {
			t.Fatalf("got  %q\nwant %q", lines, want)
		}
	}
	for result, n := range map[string]float64{"saved": 1, "rejected": 1, "deferred": 1} {
		if got := testutil.ToFloat64(a.metrics.deliveries.WithLabelValues(result)); got != n {
			t.Errorf("%s: %v", result, got)
		}
	}
	again, err := New(a.o)
	if err != nil || again.metrics.deliveries != a.metrics.deliveries {
		t.Errorf("a second Agent does not go on counting: %v", err)
	}
}

func TestDeliverPutsJunkIntoItsFolder(t *testing.T) {
	a, accounts := deliverAgent(t, maildir.Options{}, func(o *Options) { o.DetailFolder = true })
	bob := accounts["bob"]
	store := a.store(bob)
	if err := errors.Join(store.Prepare(t.Context()), store.Create(t.Context(), "Spam")); err != nil {
		t.Fatal(err)
	}
	env := message.Envelope{Trace: "t1", Junk: true}
	detailed := to("bob")
	detailed.Detail = "x"
	for i, err := range a.Deliver(t.Context(), env, content(testMail), []message.Local{to("alice"), detailed}) {
		if err != nil {
			t.Errorf("recipient %d: %v", i, err)
		}
	}
	for user, folder := range map[string]string{"alice": ".Junk", "bob": ".Spam"} {
		home := accounts[user].Owner.Home
		list, err := os.ReadDir(filepath.Join(home, "Maildir", folder, "new"))
		if err != nil || len(list) != 1 {
			t.Errorf("%s: %v, %v", user, list, err)
		}
	}
}

func TestDeliverDefersAMessageThatCannotBeRead(t *testing.T) {
	f, err := os.CreateTemp(t.TempDir(), "m")
	if err != nil {
		t.Fatal(err)
	}
	f.WriteString(testMail)
	c, err := message.FromFile(f)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	a, _ := deliverAgent(t, maildir.Options{})
	errs := a.Deliver(t.Context(), message.Envelope{}, c, []message.Local{to("alice"), to("bob")})
	if !status.IsTemporary(errs[0]) || !status.IsTemporary(errs[1]) {
		t.Errorf("%v", errs)
	}
	boom := errors.New("boom")
	if _, err := readHeader(iotest.ErrReader(boom)); !errors.Is(err, boom) {
		t.Errorf("err = %v", err)
	}
}

func BenchmarkDeliver(b *testing.B) {
	home := b.TempDir()
	stores := maildir.NewStores(maildir.Options{NoInotify: true})
	defer stores.Close()
	accounts := fakeAccounts{"alice": {Name: "alice", Owner: asuser.Self("alice", home)}}
	a, err := New(Options{Accounts: accounts, Stores: stores, Domains: []string{"example.org"}})
	if err != nil {
		b.Fatal(err)
	}
	c := content(testMail + strings.Repeat("x\r\n", 2000))
	b.ReportAllocs()
	for b.Loop() {
		if err := a.Deliver(b.Context(), message.Envelope{}, c, []message.Local{to("alice")})[0]; err != nil {
			b.Fatal(err)
		}
	}
}
