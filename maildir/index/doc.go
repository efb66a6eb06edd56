// Package index holds what would be slow to read from mail again and again: per
// message the wire-ready ENVELOPE and BODYSTRUCTURE, sizes, dates, chosen header
// fields, search and sort keys (rows); per folder the modification sequences of
// RFC 7162 (state) and a full-text index (text). All of it is a cache: it may be
// deleted at any moment, is rebuilt from the Maildir, and is never wrong. What
// it does not know, or cannot read any more, it says it does not know.
//
// # What lies where
//
//	<Dir>/epoch                      what of earlier runs may be trusted (epoch.go)
//	<Dir>/lock                       held by the one process that has Dir open
//	<Dir>/<user>/<folder>/rows      keys of messages, in the order of writing
//	<Dir>/<user>/<folder>/wire         the long parts that rows point to
//	<Dir>/<user>/<folder>/state        modification sequences, a log (statefile.go)
//	<Dir>/<user>/<folder>/text-*       segments of the full-text index (segment.go)
//
// A folder's directory is named after its GUID and UIDVALIDITY.
//
// # Invariants
//
// A file begins with a header that names its format, the folder and UIDVALIDITY
// it belongs to and what made it; a file with another header is removed. Each
// record carries a checksum, which is compared at each reading, so that a torn,
// flipped or stale byte makes a message unknown, never wrong. Nothing is read
// through a memory map: a file that is cut off under us gives a short read, not
// a fault, and what is cached is not counted as our memory.
//
// rows and wire only grow; readers have a table of positions that is immutable
// for them. A row counts only for the file whose base name it was made of.
//
// Files are written by one goroutine at a time per folder, some 150 ms after the
// first change, and not synced. Close writes the rest and syncs.
package index
