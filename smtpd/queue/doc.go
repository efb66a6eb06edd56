// Package queue is the durable spool of mail that could not be handed on at
// once: remote mail, and local mail that met a passing failure. It knows no
// network; a Transport attempts, the queue remembers.
//
// # On disk
//
// One directory holds, for each message,
//
//	<id>.msg   the message, as it goes on the wire; never changed
//	<id>.env   the envelope and what became of each recipient, JSON, one version
//
// and one file "lock", which a running daemon holds locked (flock). The
// envelope's presence commits the message. Enqueue writes and fsyncs the
// message, writes and fsyncs the envelope as <id>.env.tmp, renames it, and
// fsyncs the directory: only then the message counts. After a crash
//
//   - a message without an envelope was never acknowledged: removed;
//   - a *.tmp file was never committed: removed;
//   - an envelope that cannot be read, or has no message, is set aside under the
//     name <id>.env.broken with a line in the log; its message stays;
//   - an envelope of a later version is left alone, with a line in the log.
//
// An envelope is replaced as a whole by the same order. The result of an
// attempt is written before anything else is done for the message. A crash
// between the remote host's 250 and that write sends the message again: it may
// come twice, it is never lost.
//
// # In memory
//
// Each message costs an entry of some 200 bytes and a job of 100 per
// destination; content, addresses and results stay on disk.
//
// # Schedule
//
// The recipients of a message are grouped by destination (Options.Group). Each
// group is a job with its own next time. Jobs that are due wait in line at
// their destination; destinations take turns, and each has few slots, so that a
// slow one delays only itself. A destination where nobody can be reached is
// left alone for a while and then probed by one job.
package queue
