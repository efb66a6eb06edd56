// Package message holds a message as it travels and as it is read: its
// Envelope (what SMTP says about it), its Content (re-readable bytes) and the
// single-pass scanner that finds headers, MIME parts, sizes and the data of
// IMAP's ENVELOPE and BODYSTRUCTURE without ever failing on malformed mail.
//
// A Scanner turns bytes into a tree of Parts. A Part knows where its header and
// body lie in the stored file (Extent), so that any section is served from
// there, with CRLF line ends and of a length known beforehand, and never held in
// memory. Text for search and display is decoded by TextReader and compared by
// a Matcher; BinaryReader undoes the transfer encoding alone.
//
// Where mail does not follow the standards, Dovecot's reading of it is the
// measure, so that clients see the same parts under the same numbers; tests ask
// a real one. Where it is left, dovecot_test.go says why.
package message
