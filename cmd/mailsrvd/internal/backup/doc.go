// Package backup writes what a server needs besides its users' Maildirs into one
// archive, while the server runs, and puts it back: the configuration with all
// files that it names, and the state that cannot be made again (the queue, DKIM
// turns, ACME accounts, policies of other domains).
//
// The archive is a tar file in the PAX form, readable with any tar: the file
// "manifest.json", then every other file under "files/" followed by its own
// absolute path, with mode, owner and group, the latter two also by name.
//
// A message is in the queue until it has reached a Maildir or another host. So
// the archive must be made before the Maildirs are copied: what leaves the
// queue in between is then in both, never in none.
package backup
