package lda

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"svc.plus/mailsrvd/auth"
	"svc.plus/mailsrvd/internal/asuser"
	"svc.plus/mailsrvd/internal/message"
	"svc.plus/mailsrvd/internal/status"
	"svc.plus/mailsrvd/maildir"
)

// fakeAccounts holds accounts by name; "broken" cannot be looked up.
type fakeAccounts map[string]auth.Account

func (f fakeAccounts) Lookup(_ context.Context, name string) (auth.Account, error) {
	if name == "broken" {
		return auth.Account{}, errors.New("the directory server is away")
	}
	name, _, _ = strings.Cut(name, "@")
	for _, n := range []string{name, strings.ToLower(name)} {
		if a, ok := f[n]; ok {
			return a, nil
		}
	}
	return auth.Account{}, fmt.Errorf("%w: %s", auth.ErrNoUser, name)
}

func people(names ...string) fakeAccounts {
	f := fakeAccounts{}
	for i, n := range names {
		f[n] = auth.Account{Name: n, Owner: asuser.Owner{Name: n, UID: 2000 + i, GID: 2000 + i, Home: "/home/" + n}}
	}
	return f
}

const testAliases = `
support:    alice, bob
mixed:      alice, carol@example.net, CAROL@example.net
nested:     support, mixed, alice
self:       self, copy@example.net
alice2:     \alice
bob:        bob, archive
archive:    /dev/null
noreply:    /dev/null
lost:       nobody-here
half:       alice, nobody-here
plus:       alice+work
sales+eu:   bob
tobroken:   broken
other:      alice@example.org, eve@Example.COM
tohost:     root@host.example.org
deep:       postmaster
"odd name": alice
@example.com: carol
`

// newAgent makes an Agent over people and aliases.
func newAgent(t *testing.T, aliases string, change ...func(*Options)) *Agent {
	t.Helper()
	o := Options{
		Accounts:           people("alice", "bob", "carol", "self", "a+b", "postm"),
		Stores:             maildir.NewStores(maildir.Options{}),
		Domains:            []string{"example.org", "Example.COM", "bücher.example"},
		Hostname:           "host.example.org",
		Postmaster:         "postm",
		RecipientDelimiter: "+",
		Aliases:            []AliasFile{{Path: write(t, "aliases", aliases)}},
		Logger:             slog.New(slog.DiscardHandler),
	}
	for _, c := range change {
		c(&o)
	}
	a, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// showRoute writes a route as "user+detail ... remote ...".
func showRoute(r message.Route) string {
	var words []string
	for _, l := range r.Local {
		w := l.User
		if l.Program != "" {
			w = "|" + l.Program
		}
		if l.Detail != "" {
			w += "(" + l.Detail + ")"
		}
		words = append(words, w)
	}
	words = append(words, r.Remote...)
	if r.Discard {
		words = append(words, "DISCARD")
	}
	return strings.Join(words, " ")
}

func TestRoute(t *testing.T) {
	a := newAgent(t, testAliases)
	for _, c := range []struct{ address, want string }{
		{"alice@example.org", "alice"},
		{"ALICE@EXAMPLE.org", "alice"},
		{"alice@example.org.", "alice"},
		{"alice@example.com", "alice"},
		{"alice@xn--bcher-kva.example", "alice"},
		{"alice@BÜCHER.example", "alice"},
		{"alice", "alice"},
		{`"alice"@example.org`, "alice"},
		{"alice+work@example.org", "alice(work)"},
		{"alice+a+b@example.org", "alice(a+b)"},
		{"alice+@example.org", "alice"},
		{"a+b@example.org", "a+b"},
		{"support@example.org", "alice bob DISCARD"},
		{"support+x@example.org", "alice(x) bob(x) DISCARD"},
		{"mixed@example.org", "alice carol@example.net"},
		{"nested@example.org", "alice bob carol@example.net DISCARD"},
		{"self@example.org", "self copy@example.net"},
		{"self+tag@example.org", "self(tag) copy@example.net"},
		{"alice2@example.org", "alice"},
		{"bob@example.org", "bob DISCARD"},
		{"noreply@example.org", "DISCARD"},
		{"alice@example.net", "alice@example.net"},
		{"Alice@Example.NET", "Alice@Example.NET"},
		{"alice@host.example.org", "alice@host.example.org"},
		{"alice@localhost", "alice@localhost"},
		{"alice@sub.example.org", "alice@sub.example.org"},
		{"alice@[192.0.2.1]", "alice@[192.0.2.1]"},
		{"half@example.org", "alice"},
		{"plus@example.org", "alice(work)"},
		{"plus+home@example.org", "alice(work)"},
		{"sales+eu@example.org", "bob DISCARD"},
		{"other@example.org", "alice carol"},
		{`"odd name"@example.org`, "alice"},
		{"whoever@example.com", "carol"},
		{"whoever+x@example.com", "carol(x)"},
		{"postmaster@example.org", "postm"},
		{"Postmaster", "postm"},
		{"postmaster@host.example.org", "postm"},
		{"postmaster@LOCALHOST", "postm"},
		{"postmaster+x@example.org", "postm"},
		{"abuse@example.org", "postm"},
		{"abuse@example.com", "postm"}, // before the catch-all
		{"root@example.org", "postm"},
		{"root@host.example.org", "postm"},
		{"MAILER-DAEMON@example.org", "postm"},
		{"tohost@example.org", "postm"},
		{"deep@example.org", "postm"},
	} {
		got, err := a.Route(t.Context(), c.address)
		if err != nil || showRoute(got) != c.want {
			t.Errorf("%s: %q, %v; want %q", c.address, showRoute(got), err, c.want)
		}
		for _, l := range got.Local {
			if l.Address != c.address {
				t.Errorf("%s: the address for Delivered-To is %s", c.address, l.Address)
			}
		}
	}
}

func TestRouteRefuses(t *testing.T) {
	a := newAgent(t, testAliases)
	for _, c := range []struct{ address, reply string }{
		{"nobody-here@example.org", "550 5.1.1"},
		{"nobody-here+x@example.org", "550 5.1.1"},
		{"lost@example.org", "550 5.1.1"},
		{"+x@example.org", "550 5.1.1"},
		{"*@example.org", "550 5.1.1"},
		{"alice@example.net@example.net", "553 5.1.3"},
		{"broken@example.org", "451 4.4.3"},
		{"tobroken@example.org", "451 4.4.3"},
		{"", "553 5.1.3"},
		{"@example.org", "553 5.1.3"},
		{"alice@", "553 5.1.3"},
		{"al ice@example.org", "553 5.1.3"},
		{"alice\n@example.org", "553 5.1.3"},
		{"alice\xff@example.org", "553 5.1.3"},
		{strings.Repeat("a", 600) + "@example.org", "553 5.1.3"},
	} {
		got, err := a.Route(t.Context(), c.address)
		var s *status.Error
		if !errors.As(err, &s) || !strings.HasPrefix(s.Reply(), c.reply) {
			t.Errorf("%q: %+v, %v; want %s", c.address, got, err, c.reply)
		}
	}
}

func TestRouteSurvivesCirclesThatNoLoadHasSeen(t *testing.T) {
	// Which file a bare name means depends on the domain, so a circle may show
	// only when an address is followed.
	domain := write(t, "domain", "b: a\n")
	a := newAgent(t, "a: b\n", func(o *Options) {
		o.Aliases = append(o.Aliases, AliasFile{Path: domain, Domain: "example.org"})
	})
	_, err := a.Route(t.Context(), "a@example.org")
	if s := status.From(err); s == nil || s.Code != 451 || s.Enhanced != (status.Enhanced{4, 4, 6}) {
		t.Errorf("err = %v", err)
	}
	if _, err := a.Route(t.Context(), "a@example.com"); status.From(err).Code != 550 {
		t.Errorf("the other domain: %v", err)
	}
}

func TestRouteBoundsWhatOneAddressLeadsTo(t *testing.T) {
	var remote, local strings.Builder
	for i := range 60 {
		fmt.Fprintf(&remote, "u%d@example.net, ", i)
		fmt.Fprintf(&local, "nobody%d, ", i)
	}
	a := newAgent(t, "many: "+remote.String()+"\nnone: "+local.String()+"\nok: alice\n", func(o *Options) { o.MaxTargets = 50 })
	for _, address := range []string{"many@example.org", "none@example.org"} {
		if _, err := a.Route(t.Context(), address); !status.IsTemporary(err) {
			t.Errorf("%s: %v", address, err)
		}
	}
	if _, err := a.Route(t.Context(), "ok@example.org"); err != nil {
		t.Error(err)
	}
}

func TestPostmasterIsNeverRefused(t *testing.T) {
	for _, c := range []struct{ postmaster, aliases, want string }{
		{"alice", "", "alice"},
		{"alice@example.org", "", "alice"},
		{"admin@example.net", "", "admin@example.net"},
		{"alice", "postmaster: bob\n", "bob"},
		{"alice", "postmaster: root\n", "alice"},
		{"alice", "postmaster: root\nroot: carol\n", "carol"},
		{"support", "support: bob, x@example.net\n", "bob x@example.net"},
		{"alice", "postmaster: nobody-here\n", "alice"},
		{"gone", "", "451 4.4.3"},
		{"postmaster", "", "451 4.4.3"},
		{"gone", "*: bob\n", "bob"},
		{"", "", "550 5.1.1"},
	} {
		a := newAgent(t, c.aliases, func(o *Options) { o.Postmaster = c.postmaster })
		got, err := a.Route(t.Context(), "postmaster@example.org")
		text := showRoute(got)
		if err != nil {
			text = status.From(err).Reply()
		}
		if !strings.HasPrefix(text, c.want) || (err == nil && text != c.want) {
			t.Errorf("postmaster %q, aliases %q: %s; want %s", c.postmaster, c.aliases, text, c.want)
		}
	}
}

func TestCatchAllSparesRealUsersAndAliases(t *testing.T) {
	a := newAgent(t, "*: carol\ninfo: bob\nself2: self2\n")
	for address, want := range map[string]string{
		"alice@example.org": "alice", "info@example.org": "bob", "who@example.org": "carol", "self2@example.com": "carol"} {
		if got, err := a.Route(t.Context(), address); err != nil || showRoute(got) != want {
			t.Errorf("%s: %q, %v", address, showRoute(got), err)
		}
	}
	if _, err := newAgent(t, "*: gone\n").Route(t.Context(), "who@example.org"); status.From(err).Code != 550 {
		t.Errorf("a catch-all that nobody has: %v", err)
	}
}

func TestRouteWithoutDelimiterKnowsNoDetail(t *testing.T) {
	a := newAgent(t, "", func(o *Options) { o.RecipientDelimiter = "" })
	if _, err := a.Route(t.Context(), "alice+x@example.org"); status.From(err).Code != 550 {
		t.Errorf("err = %v", err)
	}
	a = newAgent(t, "", func(o *Options) { o.RecipientDelimiter = "-+" })
	for _, address := range []string{"alice-x@example.org", "alice+x@example.org"} {
		if got, err := a.Route(t.Context(), address); err != nil || showRoute(got) != "alice(x)" {
			t.Errorf("%s: %q, %v", address, showRoute(got), err)
		}
	}
}

func TestReloadTakesAllOrNothing(t *testing.T) {
	path := write(t, "aliases", "info: alice\n")
	a := newAgent(t, "", func(o *Options) { o.Aliases = []AliasFile{{Path: path}} })
	route := func() string {
		r, err := a.Route(t.Context(), "info@example.org")
		if err != nil {
			return err.Error()
		}
		return showRoute(r)
	}
	rewrite(t, path, "info: bob\nbad line\nworse: |x\n")
	err := a.Reload(t.Context())
	if err == nil || !strings.Contains(err.Error(), path+":2: ") || !strings.Contains(err.Error(), path+":3: ") {
		t.Errorf("Reload: %v", err)
	}
	var p *Problem
	if !errors.As(err, &p) || p.Line != 2 {
		t.Errorf("first problem: %+v", p)
	}
	if got := route(); got != "alice" {
		t.Errorf("after a refused reload: %s", got)
	}
	rewrite(t, path, "info: bob\n")
	if err := a.Reload(t.Context()); err != nil {
		t.Error(err)
	}
	if got := route(); got != "bob" {
		t.Errorf("after a reload: %s", got)
	}
}

func TestNewRefusesBrokenAliases(t *testing.T) {
	o := newAgent(t, "").o
	o.Aliases = []AliasFile{{Path: write(t, "aliases", "a: |b\n")}}
	if _, err := New(o); err == nil {
		t.Error("no error")
	}
	if _, err := New(Options{}); err == nil {
		t.Error("no error without accounts")
	}
}

func TestCheckListsAllProblems(t *testing.T) {
	path := write(t, "aliases", "good: alice\na: b\nb: a\nlost: alice, nobody-here\nm: |x\nbroken2: broken\nok: x@example.net, /dev/null\n")
	o := Options{
		Accounts: people("alice"), Domains: []string{"example.org", "bad..domain"}, Postmaster: "gone", RecipientDelimiter: "+",
		Aliases: []AliasFile{{Path: path}, {Path: "/nonexistent", Domain: "example.net"}},
	}
	err := o.Check(t.Context())
	if err == nil {
		t.Fatal("no problem found")
	}
	for _, want := range []string{
		`Domains: "bad..domain"`,
		"Aliases: /nonexistent is for example.net, which is not among the local domains",
		"/nonexistent: open ",
		":3: aliases lead in a circle: a -> b -> a",
		":4: alias lost: nobody-here: there is neither such a user nor such an alias",
		":5: alias m: |x: x is not the whole path of a program",
		":6: alias broken2: broken: 451",
		`mail for postmaster@example.org reaches nobody with Postmaster "gone": 451`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing", want)
		}
	}
	if t.Failed() {
		t.Log(err)
	}
	if err := (Options{}).Check(t.Context()); err == nil || !strings.Contains(err.Error(), "Accounts") {
		t.Errorf("empty options: %v", err)
	}
	none := newAgent(t, "info: alice\n", func(o *Options) { o.Postmaster = "" }).o
	if err := none.Check(t.Context()); err == nil || !strings.Contains(err.Error(), "postmaster@example.org reaches nobody") {
		t.Errorf("without a postmaster: %v", err)
	}
	good := newAgent(t, "info: alice\n").o
	if err := good.Check(t.Context()); err != nil {
		t.Errorf("good options: %v", err)
	}
}

func TestSplitDetail(t *testing.T) {
	for _, c := range []struct{ local, delimiters, name, detail string }{
		{"alice", "+", "alice", ""},
		{"alice+x", "+", "alice", "x"},
		{"alice+", "+", "alice", ""},
		{"+alice", "+", "+alice", ""},
		{"+a+b", "+", "+a", "b"},
		{"a-b+c", "+-", "a", "b+c"},
		{"", "+", "", ""},
		{"alice+x", "", "alice+x", ""},
	} {
		if name, detail := splitDetail(c.local, c.delimiters); name != c.name || detail != c.detail {
			t.Errorf("%q by %q: %q, %q", c.local, c.delimiters, name, detail)
		}
	}
}

func FuzzRoute(f *testing.F) {
	for _, s := range []string{"alice@example.org", "a+b+c@example.org", `"a\"b"@example.org`, "@", "a@b@c", `"`, `"a@b"`, "postmaster@[::1]"} {
		f.Add(s)
	}
	a := &Agent{o: Options{Accounts: people("alice"), RecipientDelimiter: "+", Domains: []string{"example.org"}}.withDefaults()}
	a.domains = newDomains(a.o)
	a.aliases.Store(&aliasTable{global: map[string]*aliasEntry{}, domains: map[string]map[string]*aliasEntry{}})
	f.Fuzz(func(t *testing.T, address string) {
		r, err := a.Route(t.Context(), address)
		if err == nil && len(r.Local)+len(r.Remote) != 1 {
			t.Errorf("%q: %+v", address, r)
		}
		if err != nil && !errors.As(err, new(*status.Error)) {
			t.Errorf("%q: %v", address, err)
		}
		local, domain, err := splitAddress(address)
		if err != nil || local == "" {
			return
		}
		l2, d2, err := splitAddress(joinAddress(local, domain))
		if err != nil || l2 != local || d2 != domain {
			t.Errorf("%q: %q %q became %q %q, %v", address, local, domain, l2, d2, err)
		}
	})
}

func TestRouteIsSafeWhileAliasesChange(t *testing.T) {
	path := write(t, "aliases", "info: alice\n")
	a := newAgent(t, "", func(o *Options) { o.Aliases = []AliasFile{{Path: path}} })
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 50 {
			if err := a.Reload(context.Background()); err != nil {
				t.Error(err)
			}
		}
	}()
	for range 500 {
		r, err := a.Route(t.Context(), "info@example.org")
		if err != nil || !slices.Equal(r.Local, []message.Local{{User: "alice", Address: "info@example.org"}}) {
			t.Fatal(r, err)
		}
	}
	<-done
}

func BenchmarkRoute(b *testing.B) {
	var text strings.Builder
	for i := range 10_000 {
		fmt.Fprintf(&text, "alias%d: alice, bob\n", i)
	}
	path := filepath.Join(b.TempDir(), "aliases")
	if err := os.WriteFile(path, []byte(text.String()), 0o600); err != nil {
		b.Fatal(err)
	}
	stores := maildir.NewStores(maildir.Options{NoInotify: true})
	defer stores.Close()
	a, err := New(Options{Accounts: people("alice", "bob"), Stores: stores, Domains: []string{"example.org"}, RecipientDelimiter: "+",
		Aliases: []AliasFile{{Path: path}}})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := a.Route(b.Context(), "alias9999+x@example.org"); err != nil {
			b.Fatal(err)
		}
	}
}
