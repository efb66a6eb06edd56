// Package relay hands mail to other hosts: it finds the mail exchangers of a
// domain (RFC 5321 section 5.1) or goes to a smarthost, asks its Policy what
// the destination wants of TLS, and speaks SMTP as a client. It keeps nothing
// on disk; the queue remembers.
//
// What it promises on the wire:
//
//   - lines end in CRLF, and no bare CR or LF is ever sent, in a command or in a
//     message; a message whose lines do end in CRLF goes out byte for byte, so
//     that its signatures hold;
//   - a host without 8BITMIME gets no 8-bit text: it is converted (sevenbit);
//   - an address that could break out of its command is refused;
//   - replies are bounded in lines and length, and each has a deadline; what is
//     no reply is a temporary failure;
//   - passwords are sent only over TLS to a host whose certificate was verified;
//   - a host is asked only for what it offers, by keywords compared without
//     case.
//
// TLS is opportunistic unless a Policy, the message (REQUIRETLS) or the
// smarthost's settings ask for more: it is used where it is offered, without a
// check of the certificate, and a handshake that fails is followed by one
// attempt in the clear, since the alternative in SMTP is no delivery at all
// (RFC 7435).
//
// A file holds one thing: route.go the choice of hosts, session.go the life of
// a connection up to its first transaction, transaction.go MAIL to the final
// dot, body.go the message's bytes, reply.go the replies, pool.go the
// connections kept for the next message.
package relay
