package imapd

import (
	"bufio"
	"compress/flate"
	"strings"
	"testing"
)

func TestNotifyGroupMatches(t *testing.T) {
	for _, c := range []struct {
		group      notifyGroup
		name       string
		subscribed bool
		want       bool
	}{
		{notifyGroup{filter: filterInboxes}, "INBOX", false, true},
		{notifyGroup{filter: filterInboxes}, "INBOX/a", true, false},
		{notifyGroup{filter: filterPersonal}, "anything", false, true},
		{notifyGroup{filter: filterSubscribed}, "a", true, true},
		{notifyGroup{filter: filterSubscribed}, "a", false, false},
		{notifyGroup{filter: filterSubtree, names: []string{"x", "a"}}, "a", false, true},
		{notifyGroup{filter: filterSubtree, names: []string{"x", "a"}}, "a/b/c", false, true},
		{notifyGroup{filter: filterSubtree, names: []string{"x", "a"}}, "ab", false, false},
		{notifyGroup{filter: filterMailboxes, names: []string{"x", "a"}}, "a", false, true},
		{notifyGroup{filter: filterMailboxes, names: []string{"x", "a"}}, "a/b", false, false},
		{notifyGroup{filter: filterSelected}, "a", true, false},
		{notifyGroup{filter: filterSelectedDelayed}, "a", true, false},
	} {
		if got := c.group.matches(c.name, c.subscribed, "/"); got != c.want {
			t.Errorf("%+v matches %q: %v", c.group, c.name, got)
		}
	}
	n := &notification{groups: []notifyGroup{
		{filter: filterSelected, events: flagChange},
		{filter: filterMailboxes, names: []string{"quiet"}},
		{filter: filterSubscribed, events: messageNew | messageExpunge},
		{filter: filterPersonal, events: eventMailboxName},
	}, subscribed: map[string]bool{"quiet": true, "loud": true}}
	for name, want := range map[string]notifyEvents{"quiet": 0, "loud": messageNew | messageExpunge, "other": eventMailboxName} {
		if got := n.eventsOf(name, "/"); got != want {
			t.Errorf("%s has %b, want %b: the first group decides", name, got, want)
		}
	}
}

func TestMetadataRequestMatches(t *testing.T) {
	for _, c := range []struct {
		entries string
		depth   int
		entry   string
		want    bool
	}{
		{"/private/a", 0, "/private/a", true}, {"/private/a", 0, "/private/a/b", false}, {"/private/a", 0, "/private/ab", false},
		{"/private/a", 1, "/private/a", true}, {"/private/a", 1, "/private/a/b", true}, {"/private/a", 1, "/private/a/b/c", false},
		{"/private/a", -1, "/private/a/b/c", true}, {"/private/a", -1, "/private/ab/c", false}, {"/private", -1, "/shared/a", false},
		{"/private/x /shared/a", 0, "/shared/a", true},
	} {
		req := metadataRequest{entries: strings.Fields(c.entries), depth: c.depth}
		if got := req.matches(c.entry); got != c.want {
			t.Errorf("%q with depth %d matches %s: %v", c.entries, c.depth, c.entry, got)
		}
	}
}

func TestNamesOfEntries(t *testing.T) {
	for name, want := range map[string]bool{
		"/private": true, "/shared": true, "/private/comment": true, "/shared/vendor/cmu/x": true, "/private/a b": true,
		"": false, "/": false, "/privat": false, "/privately": false, "private/a": false, "/private/": false, "/private//a": false,
		"/private/a*": false, "/private/%": false, "/private/\x00": false, "/private/\n": false, "/private/ä": false,
		"/private/" + strings.Repeat("x", 246): true, "/private/" + strings.Repeat("x", 247): false,
	} {
		if got := validEntry(name); got != want {
			t.Errorf("%q: %v", name, got)
		}
	}
}

func TestKnownUses(t *testing.T) {
	for uses, want := range map[string]string{
		``: ``, `\Sent`: `\Sent`, `\sENT \TRASH`: `\Sent \Trash`, `\All \Junk`: `\Junk`, `Sent`: ``, `\Sent)\r\n* BYE`: ``,
	} {
		if got := strings.Join(knownUses(strings.Fields(uses)), " "); got != want {
			t.Errorf("%q: %q, want %q", uses, got, want)
		}
	}
}

func TestWhatHangsTogetherIsSwitchedOffTogether(t *testing.T) {
	for disabled, gone := range map[string]string{
		"QUOTA": "QUOTA=RES-MESSAGE", "METADATA": "LIST-METADATA", "CONTEXT=SEARCH": "CONTEXT=SORT", "quota=res-storage": "QUOTA=RES-STORAGE",
	} {
		caps := newCapabilities(Options{DisableCapabilities: []string{disabled}}, Limits{}.withDefaults())
		list := " " + caps.user + " "
		if strings.Contains(list, " "+gone+" ") || caps.on(gone) {
			t.Errorf("without %s there is %s", disabled, gone)
		}
	}
	all := newCapabilities(Options{}, Limits{}.withDefaults())
	for _, name := range []string{"QUOTA", "QUOTA=RES-STORAGE", "QUOTA=RES-MESSAGE", "METADATA", "NOTIFY", "CONTEXT=SORT"} {
		if !strings.Contains(" "+all.user+" ", " "+name+" ") {
			t.Errorf("%s is not advertised", name)
		}
	}
}

// Notifications come through TLS and compression, which hold back nothing.
func TestNotifyThroughTLSAndCompression(t *testing.T) {
	h := newHarness(t, func(o *Options) { o.TLS = testTLS() })
	h.talk(`
		S1: * OK ...
		C1: a STARTTLS
		S1: a OK ...
	`)
	h.startTLS("1")
	h.talk(`
		C1: b LOGIN alice secret
		S1: b OK ...
		C1: c COMPRESS DEFLATE
		S1: c OK ...
	`)
	raw := h.conn("1").Conn
	w, err := flate.NewWriter(raw, flate.DefaultCompression)
	if err != nil {
		t.Fatal(err)
	}
	h.conns["1"] = &testConn{deflateConn{raw, w}, bufio.NewReader(flate.NewReader(raw))}
	h.talk(`
		C1: d NOTIFY SET STATUS (INBOXES (MessageNew MessageExpunge))
		S1: * STATUS INBOX (MESSAGES 0 ...
		S1: d OK ...
	`)
	for _, n := range []string{"1", "2", "3"} {
		h.deliver("INBOX", mail("x"))
		h.talk("S1: * STATUS INBOX (MESSAGES " + n + " ...")
	}
	h.talk(`
		C1: e SELECT INBOX
		S1: ~e OK ...
		C1: f NOTIFY SET (SELECTED (MessageNew MessageExpunge))
		S1: f OK ...
	`)
	h.deliver("INBOX", mail("x"))
	h.talk(`
		S1: * 4 EXISTS
		S1: * ... RECENT
		C1: g LOGOUT
		S1: * BYE ...
		S1: g OK ...
	`)
}
