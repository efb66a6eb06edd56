package imapd

import (
	"slices"
	"strings"
	"sync/atomic"

	"svc.plus/mailsrvd/maildir"
)

// NOTIFY (RFC 5465). The session's goroutine does everything: watchers of
// mailboxes and folders only interrupt its wait for the next command, as IDLE
// does, and what is new is told from there or at the end of a command.
//
// Events of the selected mailbox that were not asked for are told at the end of
// commands all the same, as without NOTIFY: the client's sequence numbers would
// be worth nothing else.

// notification is what NOTIFY SET has set.
type notification struct {
	groups   []notifyGroup
	selected *notifyGroup // the one of them for the selected mailbox; nil is none
	folders  *maildir.FolderWatcher
	boxes    map[string]*followed // by name
	// subscribed are the subscriptions, if any group needs them.
	subscribed map[string]bool
	wake       func()
}

// followed is a mailbox beside the selected one whose messages are followed.
type followed struct {
	box     *maildir.Mailbox
	watcher *maildir.Watcher
	events  notifyEvents
	dirty   atomic.Bool
}

func (f *followed) close() {
	f.watcher.Close()
	f.box.Close()
}

// notify runs NOTIFY.
func (s *session) notify(*call) error {
	s.dec.SP()
	req := s.parseNotify()
	if err := s.dec.End(); err != nil {
		return err
	}
	if req == nil {
		s.stopNotify()
		return nil
	}
	if len(req.unknown) > 0 {
		return no("BADEVENT (MessageNew MessageExpunge FlagChange MailboxName SubscriptionChange MailboxMetadataChange ServerMetadataChange)",
			"Unknown event "+req.unknown[0])
	}
	n := s.newNotification(req)
	if err := s.follow(n); err != nil {
		n.close()
		return err
	}
	s.stopNotify()
	s.note = n
	s.setPushes()
	if req.status {
		s.tellAllStatus()
	}
	return nil
}

func (s *session) newNotification(req *notifyRequest) *notification {
	n := &notification{groups: req.groups, boxes: make(map[string]*followed), wake: func() { s.wake.fire(wakeNotify) }}
	if i := slices.IndexFunc(n.groups, notifyGroup.ofSelected); i >= 0 {
		n.selected = &n.groups[i]
		if fetch := n.selected.fetch; fetch != nil && !fetch.uid {
			fetch.items = slices.Insert(fetch.items, 0, fetchItem{name: "UID", write: (*fetcher).uid})
		}
	}
	n.folders = s.store.WatchFolders(n.wake)
	return n
}

// reasons are those to interrupt the wait for a command.
func (n *notification) reasons() wakeReason {
	reasons := wakeNotify
	if n.selected != nil && n.selected.events != 0 {
		reasons |= wakeChange
	}
	return reasons
}

func (n *notification) close() {
	n.folders.Close()
	for _, f := range n.boxes {
		f.close()
	}
}

// stopNotify ends NOTIFY.
func (s *session) stopNotify() {
	if s.note != nil {
		s.note.close()
	}
	s.note = nil
	s.setPushes()
	s.wake.take(wakeNotify)
}

// eventsOf returns the events that were asked for of a mailbox that is not
// selected: the first group that it is in decides.
func (n *notification) eventsOf(name, separator string) notifyEvents {
	for i := range n.groups {
		if g := &n.groups[i]; g.matches(name, n.subscribed[name], separator) {
			return g.events
		}
	}
	return 0
}

// errNotifyOverflow means that more mailboxes would have to be followed than a
// session may.
var errNotifyOverflow = no("NOTIFICATIONOVERFLOW", "Too many mailboxes to follow")

// follow opens the mailboxes that are to be followed and closes the others.
func (s *session) follow(n *notification) error {
	entries, err := s.listEntries(true)
	if err != nil {
		return err
	}
	n.subscribed = make(map[string]bool)
	for _, e := range entries {
		n.subscribed[e.Name] = e.subscribed
	}
	want := make(map[string]notifyEvents)
	for _, e := range entries {
		if events := n.eventsOf(e.Name, s.separator()) & messageEvents; e.Exists && events != 0 {
			want[e.Name] = events
		}
	}
	if len(want) > s.srv.limits.NotifyMailboxes {
		return errNotifyOverflow
	}
	for name, f := range n.boxes {
		if want[name] == 0 {
			f.close()
			delete(n.boxes, name)
		}
	}
	for name, events := range want {
		if err := s.followOne(n, name, events); err != nil {
			s.logger().Warn("a mailbox cannot be followed", "mailbox", name, "err", err)
		}
	}
	return nil
}

func (s *session) followOne(n *notification, name string, events notifyEvents) error {
	if n.boxes[name] != nil {
		return nil
	}
	box, err := s.store.Open(s.srv.ctx, name)
	if err != nil {
		return err
	}
	f := &followed{box: box, events: events}
	f.watcher = box.Watch(func() {
		f.dirty.Store(true)
		n.wake()
	})
	n.boxes[name] = f
	return nil
}

// setPushes sets for what the wait for the client is interrupted.
func (s *session) setPushes() {
	s.pushes = 0
	if s.note != nil {
		s.pushes = s.note.reasons()
	}
	if s.idling {
		s.pushes |= wakeChange
	}
}

// push tells what has interrupted the wait for a command.
func (s *session) push(fired wakeReason) error {
	if fired&wakeChange != 0 && s.view != nil {
		if err := s.pushSelected(); err != nil {
			return err
		}
	}
	if fired&wakeNotify != 0 {
		s.tellNotified()
	}
	return s.enc.Err()
}

// pushSelected tells the news of the selected mailbox: all in IDLE, else what
// NOTIFY has asked for.
func (s *session) pushSelected() error {
	if s.idling {
		return s.tell(allNews)
	}
	g := s.note.selected
	var what news
	if g.events&messageNew != 0 {
		what |= newsArrived
	}
	if g.events&messageExpunge != 0 && g.filter == filterSelected {
		what |= newsExpunged
	}
	if g.events&flagChange != 0 {
		what |= newsFlags
	}
	return s.tell(what)
}

// tellNotified tells the news of folders and of the mailboxes beside the selected
// one.
func (s *session) tellNotified() {
	if s.note == nil {
		return
	}
	s.tellFolderEvents()
	if s.note == nil {
		return
	}
	for _, name := range sortedKeys(s.note.boxes) {
		if f := s.note.boxes[name]; f.dirty.Swap(false) {
			s.tellFollowed(name, f)
		}
	}
}

// tellFollowed writes the STATUS of a mailbox whose messages have changed.
func (s *session) tellFollowed(name string, f *followed) {
	news := false
	for _, c := range f.watcher.Changes() {
		switch c.Kind {
		case maildir.Removed:
			f.close()
			delete(s.note.boxes, name)
			return
		case maildir.Arrived, maildir.Expunged, maildir.Reset:
			news = true
		case maildir.FlagsChanged:
			news = news || f.events&flagChange != 0
		}
	}
	if news && (s.view == nil || s.view.box.Name() != name) {
		s.tellStatus(name, f.events)
	}
}

// tellStatus writes what RFC 5465 section 5.1 and 5.3 want of a mailbox.
func (s *session) tellStatus(name string, events notifyEvents) {
	names := []string{"MESSAGES", "UIDNEXT", "UIDVALIDITY"}
	if events&flagChange != 0 {
		names = append(names, "UNSEEN")
	}
	if s.enabled.condstore {
		names = append(names, "HIGHESTMODSEQ")
	}
	items := make([]statusItem, len(names))
	for i, name := range names {
		items[i] = statusItem{name, statusItems[name]}
	}
	if err := s.writeStatus(name, items); err != nil {
		s.logger().Warn("no status of a followed mailbox", "mailbox", name, "err", err)
	}
}

// tellAllStatus writes the STATUS of all mailboxes that are followed (NOTIFY SET
// STATUS).
func (s *session) tellAllStatus() {
	for _, name := range sortedKeys(s.note.boxes) {
		if s.view == nil || s.view.box.Name() != name {
			s.tellStatus(name, s.note.boxes[name].events)
		}
	}
}

// tellFolderEvents tells what has happened to folders, and follows new ones.
func (s *session) tellFolderEvents() {
	events, lost := s.note.folders.Events()
	if len(events) == 0 && !lost {
		return
	}
	for _, e := range events {
		s.tellFolderEvent(e)
	}
	err := s.follow(s.note)
	if err != nil || lost {
		s.logger().Info("notifications end", "err", err, "lost", lost)
		s.stopNotify()
		s.untaggedOK("NOTIFICATIONOVERFLOW", "Too much to tell: notifications have ended.")
	}
}

// tellFolderEvent writes LIST (RFC 5465 sections 5.4 and 5.5) or METADATA
// (sections 5.6 and 5.7).
func (s *session) tellFolderEvent(e maildir.FolderEvent) {
	if e.Kind == maildir.FolderAnnotated {
		s.tellAnnotated(e)
		return
	}
	want := eventMailboxName
	if e.Kind == maildir.FolderSubscribed || e.Kind == maildir.FolderUnsubscribed {
		s.note.subscribed[e.Name] = e.Kind == maildir.FolderSubscribed
		want = subscriptionChange
	}
	events := s.note.eventsOf(e.Name, s.separator())
	if e.OldName != "" {
		events |= s.note.eventsOf(e.OldName, s.separator())
	}
	if events&want == 0 {
		return
	}
	attributes := ""
	switch e.Kind {
	case maildir.FolderDeleted:
		attributes = `\NonExistent`
	case maildir.FolderSubscribed:
		attributes = `\Subscribed`
	}
	s.enc.Raw("* LIST (").Raw(attributes).Raw(") ").String(s.separator()).SP().Mailbox(e.Name)
	if e.OldName != "" {
		s.enc.Raw(` ("OLDNAME" (`).Mailbox(e.OldName).Raw("))")
	}
	s.enc.CRLF()
}

func (s *session) tellAnnotated(e maildir.FolderEvent) {
	want := mailboxMetadata
	events := s.note.eventsOf(e.Name, s.separator())
	if e.Name == "" {
		want = serverMetadata
		for _, g := range s.note.groups {
			events |= g.events
		}
	}
	if events&want != 0 {
		s.enc.Raw("* METADATA ").Mailbox(e.Name).SP().Raw(strings.Join(e.Entries, " ")).CRLF()
	}
}
