package index

import (
	"os"
	"slices"
)

// State is what a folder knows of its past (RFC 7162).
type State struct {
	// Highest is at least the modseq of every message and expunge.
	Highest ModSeq
	// Messages are in the order of their UIDs.
	Messages []MessageState
	// Vanished are expunged messages in the order of their modseqs. VanishedFrom
	// is the modseq before which it knows of none.
	Vanished     []Vanished
	VanishedFrom ModSeq
	// Keywords are the names of the keyword bits in Flags at that time.
	Keywords []string
}

// MessageState is the modseq of a message and the flags that came with it.
type MessageState struct {
	ModSeq ModSeq
	UID    UID
	Flags  uint32
	// Base is BaseHash of the base of the message's file name.
	Base uint32
}

// BaseHash is what MessageState.Base is compared with.
func BaseHash(base string) uint32 { return uint32(baseSum(base)) }

// Vanished is an expunged message.
type Vanished struct {
	ModSeq ModSeq
	UID    UID
}

// maxVanished bounds the expunges that are remembered.
const maxVanished = 1 << 16

// LoadState returns the state as it was when the folder was last closed; ok is
// false if there is none to be trusted, such as after a crash. It must be called
// once for each loading of the folder, before the first change of a flag; then
// what it returned, or Reset, is the state that Note goes on from.
//
// A message's modseq may be kept if its file has the same base and flags and
// the keywords among these still have the same names; otherwise it needs a new
// one.
func (m *Mailbox) LoadState() (s State, ok bool) {
	if m == nil {
		return State{}, false
	}
	m.io.Lock()
	defer m.io.Unlock()
	m.removeSiblings()
	s, ok, err := m.loadState()
	if err != nil {
		m.failed(err)
	}
	return s, ok
}

// Reset replaces the whole state.
func (m *Mailbox) Reset(s State) {
	if m == nil {
		return
	}
	items := make([]byte, 0, len(s.Messages)*messageItemLen+len(s.Vanished)*vanishedItemLen+64)
	items = s.appendItems(items)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.state.reset = true
	m.state.items = items
	m.noted()
}

// Note records new modseqs: of changed flags, or of messages that are new.
func (m *Mailbox) Note(changes ...MessageState) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range changes {
		m.state.items = c.appendItem(m.state.items)
	}
	m.noted()
}

// NoteVanished records expunges. The modseq of each is above all before it.
func (m *Mailbox) NoteVanished(gone ...Vanished) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, v := range gone {
		m.state.items = v.appendItem(m.state.items)
	}
	m.noted()
}

// NoteKeywords records the names of the keyword bits.
func (m *Mailbox) NoteKeywords(names []string) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.state.items = appendKeywords(m.state.items, names)
	m.noted()
}

// noted sees to the writing of new items. m.mu is held.
func (m *Mailbox) noted() {
	if m.removed { // the Index was closed, and the state marked as complete
		m.state.items = nil
		os.Remove(m.statePath())
		return
	}
	m.wakeWriter(len(m.state.items) > hurryAt)
}

// trim bounds what is remembered of expunges.
func (s *State) trim() {
	if n := len(s.Vanished) - maxVanished; n > 0 {
		s.VanishedFrom = max(s.VanishedFrom, s.Vanished[n-1].ModSeq)
		s.Vanished = slices.Delete(s.Vanished, 0, n)
	}
}
