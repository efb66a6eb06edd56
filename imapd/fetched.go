package imapd

import (
	"os"

	"svc.plus/mailsrvd/internal/message"
	"svc.plus/mailsrvd/maildir"
	"svc.plus/mailsrvd/maildir/index"
)

// fetched is a message on its way to the client, with what of it was needed. What
// the cache knows is taken from there, the rest from the message's file.
type fetched struct {
	maildir.Message
	*batch
	row   index.Row
	known bool       // row is what the cache knows
	wire  index.Wire // the long part of it
	wired bool       // wire is there
	size  int64
	times maildir.Times
	part  *message.Part
	file  *os.File
}

// load reads what is needed.
func (m *fetched) load(n needs) (err error) {
	if m.known {
		n = m.loadRow(n)
	}
	if n&(needFields|needFile) != 0 && m.file == nil {
		if m.file, err = m.opener.Open(m.UID); err != nil {
			return err
		}
	}
	if n&(needWire|needFields|needPart) != 0 {
		info, err := m.info()
		if err != nil {
			return err
		}
		m.size, m.times, m.part = info.Size, info.Times, info.Part
		m.wired = false
		n &^= needSize | needDate | needSaved
	}
	if n&needSize != 0 {
		if m.size, err = m.box.Size(m.ctx, m.UID); err != nil {
			return err
		}
	}
	if n&(needDate|needSaved) != 0 {
		m.times, err = m.timesOf(m.UID)
	}
	return err
}

// info is what a scan of the message tells.
func (m *fetched) info() (maildir.Info, error) {
	if m.file != nil {
		return m.box.InfoOf(m.UID, m.file)
	}
	return m.structure(m.UID)
}

// loadRow takes from the cache what it knows and returns what is still needed.
func (m *fetched) loadRow(n needs) needs {
	if n&needSize != 0 {
		m.size = m.row.Size()
	}
	if n&needDate != 0 && n&needSaved == 0 {
		m.times.Internal = m.row.Internal()
		n &^= needDate
	}
	n &^= needSize
	if n&(needWire|needFields|needPart) == 0 || !m.long() {
		return n
	}
	n &^= needWire
	if _, ok := m.wire.Header(); ok {
		n &^= needFields
	}
	if n&needPart != 0 {
		if part, ok := m.wire.Part(); ok {
			m.part = part
			n &^= needPart
		}
	}
	return n
}

// long takes the long part of the row, and reports whether there is one.
func (m *fetched) long() bool {
	if m.known && !m.wired {
		m.wire, m.wired = m.row.Wire()
	}
	return m.wired
}
