// Package clienttest holds mailsrvd's IMAP server to programs that others wrote:
// mbsync, OfflineIMAP, NeoMutt, curl, Python's imaplib, getmail, fetchmail and
// Dovecot, as a client (imapc), as the other server of the same commands, and as
// the other writer of the same Maildir. There are only tests in it.
//
// A test whose program is not installed skips and names the Debian package;
// `deploy/setup.sh test` installs them all.
//
// Three variables of the environment make the random tests longer or repeat one:
//
//	CLIENTTEST_OPS=100000   commands of TestDovecotEndsInTheSameState
//	CLIENTTEST_SEED=17      its seed, and that of TestCrossing
//	CLIENTTEST_TIME=60s     how long TestCrossing goes on
package clienttest
