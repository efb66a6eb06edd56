package config

import "time"

// Index is [index]: what is remembered of mailboxes, on disk and in memory.
type Index struct {
	// Enabled keeps the cache on disk, FullText the index of texts in it.
	Enabled, FullText bool
	// MaxBytes bounds the cache of one user.
	MaxBytes int64
	// IdleTime is how long a folder stays in memory unused, and IdleMemory how much
	// memory all such folders may take, in bytes.
	IdleTime   time.Duration
	IdleMemory int64
}

func (s *Index) section() section {
	return section{name: "index", doc: "What is remembered of messages, so that IMAP need not read them again: sizes, dates, ENVELOPE, BODYSTRUCTURE, chosen header fields, modification sequences, and an index of their texts. It stands in the directory cache below state_dir, may be deleted at any moment, and is made again from the mail.", keys: []key{
		{name: "enabled", def: `true`, value: boolean(&s.Enabled),
			doc: "Keep the cache. Without it IMAP reads messages each time, and clients ask for everything anew after a restart."},
		{name: "full_text", def: `true`, value: boolean(&s.FullText),
			doc: "Keep an index of texts for SEARCH TEXT and BODY, made when a mailbox is first searched (or by mailsrvd mailbox reindex) and brought up to date by later searches: about 600 bytes a message. Without it such searches read all messages."},
		{name: "max_bytes", def: `"4GiB"`, value: size(&s.MaxBytes, 1<<20),
			doc: "The most that the cache of one user may take on disk; folders that were not used for longest give way."},
		{name: "idle_time", def: `"5m"`, value: duration(&s.IdleTime, time.Second, 24*time.Hour),
			doc: "How long a folder that nobody has open any more stays in memory."},
		{name: "idle_memory", def: `"120MiB"`, value: size(&s.IdleMemory, 0),
			doc: "How much memory such folders may take together, at 120 bytes a message; those not used for longest are dropped."},
	}}
}

// IdleMessages is IdleMemory in messages.
func (s *Index) IdleMessages() int { return max(int(s.IdleMemory/120), 1) }
