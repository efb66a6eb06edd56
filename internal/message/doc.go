// Package message holds a message as it travels and as it is read: its
// Envelope (what SMTP says about it), its Content (re-readable bytes) and the
// single-pass scanner that finds headers, MIME parts, sizes and the data of
// IMAP's ENVELOPE and BODYSTRUCTURE without ever failing on malformed mail.
package message
