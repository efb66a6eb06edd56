package imapd

import (
	"slices"
	"strings"

	"svc.plus/mailsrvd/maildir"
)

// needs is what answering a FETCH takes, beside the state in memory.
type needs uint8

const (
	needSize   needs = 1 << iota // the size
	needDate                     // the internal date
	needSaved                    // the date of saving
	needWire                     // ENVELOPE or BODYSTRUCTURE
	needFields                   // header fields that the cache keeps
	needPart                     // the MIME tree
	needFile                     // the stored file

	// needCached can all be answered from the cache.
	needCached = needDate | needWire | needFields | needPart
)

// fetchItem is one data item of a FETCH (RFC 9051 section 6.4.5).
type fetchItem struct {
	name    string // as the response writes it, section included
	section section
	needs   needs

	capability string // without which it is unknown
	write      func(*fetcher, *fetchItem, *fetched) error
}

// fetchRequest is what a FETCH asks for.
type fetchRequest struct {
	items []fetchItem
	needs needs
	flags bool // FLAGS is among the items
	uid   bool // UID is
	seen  bool // it sets \Seen

	conditional  bool // only what has changed since
	changedSince maildir.ModSeq
	vanished     bool // and what has vanished (QRESYNC)

	partial *partialRange // which messages of the set; nil is all
}

// fetchItems are the data items without a section.
var fetchItems = map[string]fetchItem{
	"FLAGS":         {write: (*fetcher).flags},
	"UID":           {write: (*fetcher).uid},
	"INTERNALDATE":  {write: (*fetcher).internalDate, needs: needDate},
	"SAVEDATE":      {write: (*fetcher).saveDate, needs: needSaved, capability: "SAVEDATE"},
	"RFC822.SIZE":   {write: (*fetcher).size, needs: needSize},
	"ENVELOPE":      {write: (*fetcher).envelope, needs: needWire},
	"BODYSTRUCTURE": {write: (*fetcher).bodyStructure, needs: needWire},
	"BODY":          {write: (*fetcher).bodyStructure, needs: needWire},
	"MODSEQ":        {write: (*fetcher).modseq, capability: "CONDSTORE"},
	"EMAILID":       {write: (*fetcher).emailID, capability: "OBJECTID"},
	"THREADID":      {write: (*fetcher).threadID, capability: "OBJECTID"},
	"PREVIEW":       {write: (*fetcher).preview, needs: needPart | needFile, capability: "PREVIEW"},
	"RFC822":        {write: (*fetcher).body, needs: needPart | needFile},
	"RFC822.HEADER": {write: (*fetcher).body, needs: needPart | needFile, section: section{kind: sectionHeader}},
	"RFC822.TEXT":   {write: (*fetcher).body, needs: needPart | needFile, section: section{kind: sectionText}},
}

// fetchMacros stand for several items, and stand alone.
var fetchMacros = map[string][]string{
	"ALL":  {"FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE"},
	"FAST": {"FLAGS", "INTERNALDATE", "RFC822.SIZE"},
	"FULL": {"FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE", "BODY"},
}

// maxFetchItems bounds the items of one FETCH.
const maxFetchItems = 100

// parseFetch parses the items of a FETCH.
func (s *session) parseFetch() fetchRequest {
	var req fetchRequest
	if s.dec.Peek() == '(' {
		s.dec.NonEmptyList(func() { s.parseFetchItem(&req, s.dec.Word()) })
		return req
	}
	name := s.dec.Word()
	if macro := fetchMacros[name]; macro != nil {
		for _, name := range macro {
			s.parseFetchItem(&req, name)
		}
		return req
	}
	s.parseFetchItem(&req, name)
	return req
}

// parseFetchItem parses what follows the name of an item, and adds it.
func (s *session) parseFetchItem(req *fetchRequest, name string) {
	if s.dec.Err() != nil {
		return
	}
	item, ok := fetchItems[name]
	ok = ok && s.caps.on(item.capability)
	item.name = name
	switch {
	case s.dec.Peek() == '[':
		ok = s.parseSectionItem(&item, name)
		req.seen = req.seen || name == "BODY" || name == "BINARY"
	case name == "MODSEQ":
		s.useCondstore()
	case name == "PREVIEW":
		s.parsePreview()
	case name == "RFC822" || name == "RFC822.TEXT":
		req.seen = true
	}
	if s.dec.Err() == nil && !ok {
		s.dec.Failf("Unknown data item %s", name)
	}
	req.add(item)
	if len(req.items) > maxFetchItems {
		s.dec.Failf("Too many data items")
	}
}

// add appends an item, unless it is there already: clients that build their
// list by parts ask twice, and want one answer.
func (req *fetchRequest) add(item fetchItem) {
	for _, have := range req.items {
		if have.name == item.name && have.section.count == item.section.count {
			return
		}
	}
	req.items = append(req.items, item)
	req.needs |= item.needs
	req.flags = req.flags || item.name == "FLAGS"
	req.uid = req.uid || item.name == "UID"
}

// has reports whether an item is asked for.
func (req *fetchRequest) has(name string) bool {
	return slices.ContainsFunc(req.items, func(i fetchItem) bool { return i.name == name })
}

// parseSectionItem parses the section of BODY[], BODY.PEEK[], BINARY[],
// BINARY.PEEK[] and BINARY.SIZE[].
func (s *session) parseSectionItem(item *fetchItem, name string) bool {
	sec := parseSection(s.dec)
	if name != "BINARY.SIZE" {
		parsePartial(s.dec, &sec)
	}
	item.section = sec
	item.name = strings.TrimSuffix(name, ".PEEK") + sec.label()
	item.needs = sec.needs()
	binary := sec.kind == sectionBody && s.caps.on("BINARY")
	switch name {
	case "BODY", "BODY.PEEK":
		item.write = (*fetcher).body
		return true
	case "BINARY", "BINARY.PEEK":
		item.needs = needPart | needFile
		item.write = (*fetcher).binary
		return binary
	case "BINARY.SIZE":
		item.needs = needPart | needFile
		item.write = (*fetcher).binarySize
		return binary
	}
	return false
}

// parseFetchModifiers parses what may follow the items (RFC 4466 section 2.5).
func (s *session) parseFetchModifiers(c *call, req *fetchRequest) {
	if !s.dec.AcceptSP() {
		return
	}
	s.dec.NonEmptyList(func() {
		name := s.dec.Word()
		switch {
		case name == "CHANGEDSINCE" && s.caps.on("CONDSTORE"):
			s.parseChangedSince(req)
		case name == "PARTIAL" && c.uid && s.caps.on("PARTIAL"):
			partial := s.parsePartialRange()
			req.partial = &partial
		case name == "VANISHED" && c.uid && s.enabled.qresync:
			req.vanished = true
		default:
			s.dec.Failf("Unknown modifier %s", name)
		}
	})
	switch {
	case s.dec.Err() != nil:
	case req.vanished && !req.conditional:
		s.dec.Failf("VANISHED needs CHANGEDSINCE")
	case req.conditional:
		s.useCondstore()
	}
}
