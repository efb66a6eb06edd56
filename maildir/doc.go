// Package maildir is the truth on disk: the folders and messages of an account
// in Maildir++ with Dovecot's own side files, so that Dovecot, mutt or rsync
// may read and write the same mail at the same time.
//
// Stores holds all that is open in the process. A Store is one owner's
// Maildir: folders, subscriptions, delivery. A Mailbox is an open folder; it is
// shared by all its sessions, and each session follows it with a Watcher.
//
// # What lies where
//
//	~/Maildir/{cur,new,tmp}         INBOX
//	~/Maildir/.A.B/{cur,new,tmp}    folder A/B, each part in modified UTF-7
//	dovecot-uidlist                 UIDs, one list a folder (uidlist.go)
//	dovecot-keywords                names of the flag letters a-z (keywords.go)
//	dovecot-uidvalidity*            the next UIDVALIDITY (uidvalidity.go)
//	subscriptions                   LSUB (subscriptions.go)
//
// # Invariants
//
// Every path operation runs inside asuser.Do as the owner, below an os.Root or
// a directory handle that was opened from it; no link is followed out of the
// Maildir and nothing but a regular file is ever opened as a message.
//
// A message is acknowledged only after its bytes and its name are durable. A
// delivery never waits for the lock of a uidlist: the next reader gives the
// UID, or the open Mailbox does at once.
//
// A UID is told to nobody before its line in dovecot-uidlist is durable, and is
// never given to a second file.
//
// A Mailbox has two locks. disk is held by the one goroutine that works on the
// folder's files; it may wait for the disk and for another program's lock. mu
// guards memory, is held for moments, and never during a system call. disk is
// taken before mu; two disk locks are taken in the order of Mailbox.id.
package maildir
