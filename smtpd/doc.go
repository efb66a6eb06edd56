// Package smtpd says what an SMTP client may do and when: for the Internet
// (MX), for our users (submission), for other programs of this host (LMTP, and
// the socket of the sendmail command). It speaks RFC 5321 by way of go-smtp and
// decides who may send what to whom; it knows neither mailboxes nor the
// network beyond its connection.
//
// # How it holds together
//
// A listen.Listener accepts. Each connection becomes a wire, which stands
// between the transport and go-smtp: it reads commands line by line, owns TLS,
// deadlines and the end of DATA, gathers replies, and corrects those that
// go-smtp words wrongly. go-smtp parses commands and calls the session, which
// holds the policy. So the library's traps end at the wire:
//
//   - go-smtp sees no byte of a message sent by DATA; what follows a broken
//     transfer can never be taken for commands.
//   - it never sees a TLS connection, so that the wire stays above TLS.
//   - it never waits without a deadline.
//
// A connection is served by one goroutine. Two cases have a second one, in
// go-smtp: BDAT (the session's Data runs beside the reader of chunks) and LMTP
// (LMTPData runs beside the writer of replies). A transaction therefore belongs
// to the goroutine that takes it (session.take), and the wire's output has a
// lock.
package smtpd
