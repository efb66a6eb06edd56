// Package wire is the grammar of IMAP as a server speaks it (RFC 3501 and RFC
// 9051 section 9): a Decoder for commands and an Encoder for responses, both
// with strict limits and one sticky error.
//
// The Decoder takes a command in whole lines. A line that announces a literal
// is known to do so before any of it is parsed, therefore a command that is
// refused, for whatever reason, can be skipped to its true end: the bytes of a
// literal are never taken for commands. What cannot be skipped (a line or a
// literal beyond all limits) is a fatal error, after which the connection has
// to be closed.
//
// Parsing reads like the grammar. Methods named Accept look and take if they
// can; the others insist, and leave an error behind that turns all later calls
// into no-ops returning zero values. End gives the verdict:
//
//	d.SP()
//	name := d.AString()
//	d.SP()
//	set := d.Set()
//	if err := d.End(); err != nil {
//		return err // a *SyntaxError, or the connection is broken
//	}
package wire
