package imapd

import (
	"slices"
	"strings"
)

// notifyEvents are the events of RFC 5465 section 5; several may be joined.
type notifyEvents uint8

const (
	messageNew notifyEvents = 1 << iota
	messageExpunge
	flagChange
	eventMailboxName
	subscriptionChange
	mailboxMetadata
	serverMetadata

	messageEvents = messageNew | messageExpunge | flagChange
)

// notifyEventNames are the events as they are written.
var notifyEventNames = map[string]notifyEvents{
	"MESSAGENEW":            messageNew,
	"MESSAGEEXPUNGE":        messageExpunge,
	"FLAGCHANGE":            flagChange,
	"MAILBOXNAME":           eventMailboxName,
	"SUBSCRIPTIONCHANGE":    subscriptionChange,
	"MAILBOXMETADATACHANGE": mailboxMetadata,
	"SERVERMETADATACHANGE":  serverMetadata,
}

// notifyFilter is a kind of mailbox filter (RFC 5465 section 6).
type notifyFilter uint8

const (
	filterSelected notifyFilter = iota
	filterSelectedDelayed
	filterInboxes
	filterPersonal
	filterSubscribed
	filterSubtree
	filterMailboxes
)

var notifyFilters = map[string]notifyFilter{
	"SELECTED":         filterSelected,
	"SELECTED-DELAYED": filterSelectedDelayed,
	"INBOXES":          filterInboxes,
	"PERSONAL":         filterPersonal,
	"SUBSCRIBED":       filterSubscribed,
	"SUBTREE":          filterSubtree,
	"MAILBOXES":        filterMailboxes,
}

// notifyGroup is one event-group: these mailboxes, these events.
type notifyGroup struct {
	filter notifyFilter
	names  []string // of SUBTREE and MAILBOXES
	events notifyEvents
	fetch  *fetchRequest // what to tell of a new message; nil is nothing more
}

// ofSelected reports whether the group is about the selected mailbox.
func (g notifyGroup) ofSelected() bool {
	return g.filter == filterSelected || g.filter == filterSelectedDelayed
}

// matches reports whether a mailbox is in the group. That it is the selected one
// is for the caller to say.
func (g *notifyGroup) matches(name string, subscribed bool, separator string) bool {
	switch g.filter {
	case filterInboxes:
		return name == "INBOX"
	case filterPersonal:
		return true
	case filterSubscribed:
		return subscribed
	case filterSubtree:
		return slices.ContainsFunc(g.names, func(n string) bool { return name == n || strings.HasPrefix(name, n+separator) })
	case filterMailboxes:
		return slices.Contains(g.names, name)
	}
	return false
}

// notifyRequest is a NOTIFY SET.
type notifyRequest struct {
	status bool
	groups []notifyGroup
	// unknown are events that we cannot tell.
	unknown []string
}

const (
	maxNotifyGroups = 100
	maxNotifyNames  = 1000
)

// parseNotify parses the arguments of NOTIFY; nil is NONE.
func (s *session) parseNotify() *notifyRequest {
	switch word := s.dec.Word(); word {
	case "NONE":
		return nil
	case "SET":
	default:
		s.dec.Failf("Expected SET or NONE")
		return nil
	}
	req := &notifyRequest{}
	s.dec.SP()
	if s.dec.AcceptWord("STATUS") {
		req.status = true
		s.dec.SP()
	}
	req.groups = append(req.groups, s.parseNotifyGroup(req))
	for s.dec.AcceptSP() {
		if req.groups = append(req.groups, s.parseNotifyGroup(req)); len(req.groups) > maxNotifyGroups {
			s.dec.Failf("Too many event groups")
		}
	}
	first := slices.IndexFunc(req.groups, notifyGroup.ofSelected)
	if first >= 0 && slices.ContainsFunc(req.groups[first+1:], notifyGroup.ofSelected) {
		s.dec.Failf("SELECTED may be there once")
	}
	return req
}

// parseNotifyGroup parses "(filter events)".
func (s *session) parseNotifyGroup(req *notifyRequest) (g notifyGroup) {
	s.dec.Expect('(')
	name := s.dec.Word()
	filter, ok := notifyFilters[name]
	if !ok {
		s.dec.Failf("Unknown mailbox filter %s", name)
		return g
	}
	g.filter = filter
	if filter == filterSubtree || filter == filterMailboxes {
		s.dec.SP()
		g.names = s.parseNotifyNames()
	}
	s.dec.SP()
	if !s.dec.AcceptWord("NONE") {
		s.parseNotifyEvents(req, &g)
	}
	s.dec.Expect(')')
	s.checkNotifyGroup(&g)
	return g
}

// parseNotifyNames parses one mailbox or a list of them. A name that cannot be is
// nobody's.
func (s *session) parseNotifyNames() (names []string) {
	add := func() {
		if box := s.mailbox(); box.err == nil {
			names = append(names, box.name)
		}
		if len(names) > maxNotifyNames {
			s.dec.Failf("Too many mailboxes")
		}
	}
	if s.dec.Peek() == '(' {
		s.dec.NonEmptyList(add)
	} else {
		add()
	}
	return names
}

// parseNotifyEvents parses the events, of which MessageNew may have a list of
// data items behind it.
func (s *session) parseNotifyEvents(req *notifyRequest, g *notifyGroup) {
	s.dec.Expect('(')
	for more := true; more && s.dec.Err() == nil; {
		name := s.dec.Word()
		event, ok := notifyEventNames[name]
		if !ok {
			req.unknown = append(req.unknown, name)
		}
		g.events |= event
		more = s.dec.AcceptSP()
		if more && event == messageNew && s.dec.Peek() == '(' {
			fetch := s.parseFetch()
			fetch.seen = false // nobody has looked at it
			g.fetch = &fetch
			more = s.dec.AcceptSP()
		}
	}
	s.dec.Expect(')')
}

// checkNotifyGroup refuses what RFC 5465 section 5 does not allow.
func (s *session) checkNotifyGroup(g *notifyGroup) {
	switch pair := g.events & (messageNew | messageExpunge); {
	case pair != 0 && pair != messageNew|messageExpunge:
		s.dec.Failf("MessageNew and MessageExpunge go together")
	case g.events&flagChange != 0 && pair == 0:
		s.dec.Failf("FlagChange needs MessageNew and MessageExpunge")
	case g.ofSelected() && g.events&^messageEvents != 0:
		s.dec.Failf("SELECTED has events of messages only")
	case !g.ofSelected() && g.fetch != nil:
		s.dec.Failf("Data items are for SELECTED only")
	}
}
