package maildir

import (
	"container/list"
	"context"
	"fmt"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"svc.plus/mailsrvd/internal/message"
)

// Info is what is known about a message beside its flags.
type Info struct {
	Times
	// Size is the length with CRLF line ends: RFC822.SIZE.
	Size int64
	// Part is the message's structure, with offsets into the stored file. It is
	// shared and immutable.
	Part *message.Part
}

// Info reads what can be told about a message. The structure comes from memory
// or from one reading of the file. ErrExpunged.
func (m *Mailbox) Info(ctx context.Context, uid UID) (Info, error) {
	key := infoKey{m.id, uid}
	if info, ok := m.store.all.infos.get(key); ok {
		return info, nil
	}
	file, err := m.OpenMessage(ctx, uid)
	if err != nil {
		return Info{}, err
	}
	defer file.Close()
	return m.InfoOf(uid, file)
}

// InfoOf is Info for who has the message's file open.
func (m *Mailbox) InfoOf(uid UID, file *os.File) (Info, error) {
	key := infoKey{m.id, uid}
	if info, ok := m.store.all.infos.get(key); ok {
		return info, nil
	}
	info, err := scanFile(file)
	if err != nil {
		return Info{}, fmt.Errorf("message %d: %w", uid, err)
	}
	m.store.all.infos.put(key, info)
	m.noteSize(uid, info.Size)
	m.learn(uid, file, info)
	return info, nil
}

// scanFile reads a message whole, once.
func scanFile(file *os.File) (Info, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &st); err != nil {
		return Info{}, fmt.Errorf("reading its dates: %w", err)
	}
	part, err := message.Scan(io.NewSectionReader(file, 0, st.Size))
	if err != nil {
		return Info{}, fmt.Errorf("reading it: %w", err)
	}
	return Info{Times: timesOf(&st), Size: part.VSize(), Part: part}, nil
}

// Size is RFC822.SIZE: from the file's name, from the uidlist, or by reading the
// message once. ErrExpunged.
func (m *Mailbox) Size(ctx context.Context, uid UID) (int64, error) {
	if size, ok, err := m.knownSize(uid); ok || err != nil {
		return size, err
	}
	info, err := m.Info(ctx, uid)
	return info.Size, err
}

// knownSize finds the size without touching the file.
func (m *Mailbox) knownSize(uid UID) (size int64, ok bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	i, ok := m.index(uid)
	if !ok {
		return 0, false, fmt.Errorf("message %d: %w", uid, ErrExpunged)
	}
	if size, ok = sizeField(m.recs[i].base, 'W'); ok {
		return size, true, nil
	}
	if size, ok = m.vsize[uid]; ok {
		return size, true, nil
	}
	if w, ok := extValue(m.ext[uid], 'W'); ok {
		if _, err := fmt.Sscanf(w, "%d", &size); err == nil {
			return size, true, nil
		}
	}
	return 0, false, nil
}

// noteSize keeps a size that the name does not tell; the next rewrite of the
// uidlist writes it down, as Dovecot does.
func (m *Mailbox) noteSize(uid UID, size int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if i, ok := m.index(uid); ok {
		if _, named := sizeField(m.recs[i].base, 'W'); !named {
			m.vsize[uid] = size
		}
	}
}

// maxInfoBytes bounds the memory of the structures that are kept. Most messages
// need a kilobyte, one that somebody made for the purpose megabytes.
const maxInfoBytes = 16 << 20

// infoCache keeps the structures that were asked for last. A message never
// changes, so an entry cannot be wrong.
type infoCache struct {
	mu    sync.Mutex // guards what follows
	order list.List  // of *infoEntry, the last used first
	at    map[infoKey]*list.Element
	bytes int // of all entries
}

type infoKey struct {
	mailbox uint64 // Mailbox.id: an entry keeps no closed Mailbox in memory
	uid     UID
}

type infoEntry struct {
	key   infoKey
	info  Info
	bytes int
}

func (c *infoCache) get(key infoKey) (Info, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.at[key]
	if e == nil {
		return Info{}, false
	}
	c.order.MoveToFront(e)
	return e.Value.(*infoEntry).info, true
}

func (c *infoCache) put(key infoKey, info Info) {
	entry := &infoEntry{key, info, weigh(info.Part)}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.at == nil {
		c.at = map[infoKey]*list.Element{}
	}
	if c.at[key] != nil || entry.bytes > maxInfoBytes/4 {
		return
	}
	c.at[key] = c.order.PushFront(entry)
	c.bytes += entry.bytes
	for c.bytes > maxInfoBytes {
		old := c.order.Remove(c.order.Back()).(*infoEntry)
		delete(c.at, old.key)
		c.bytes -= old.bytes
	}
}

// weigh estimates the memory that a structure needs, in bytes.
func weigh(root *message.Part) int {
	n := 512
	for p := range root.All() {
		n += 512 + len(p.Type) + len(p.Subtype) + len(p.ID) + len(p.Description) + len(p.Location) + len(p.Disposition)
		for _, list := range [][]message.Param{p.Params, p.DispositionParams} {
			for _, param := range list {
				n += 32 + len(param.Name) + len(param.Value)
			}
		}
		if s := p.Summary; s != nil {
			n += 256 + len(s.Subject) + len(s.References) + len(s.From) + len(s.Sender) + len(s.ReplyTo) + len(s.To) + len(s.Cc) + len(s.Bcc)
		}
	}
	return n
}
