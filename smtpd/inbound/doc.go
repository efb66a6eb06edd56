// Package inbound judges strangers and the mail that they bring. Of a client, it
// asks whether it has a name (iprev, RFC 8601 section 3), greets with one, is in
// DNS lists, and comes again when it is put off; by that a recipient may be refused
// (Client). Of a message: may it send for the reverse-path (SPF, RFC 7208),
// has a domain signed the message (DKIM, RFC 6376), and what does the author's
// domain say about all that (DMARC, RFC 7489). The checks run side by side under
// one deadline. One Authentication-Results field (RFC 8601) tells the results;
// fields of others that carry our name are taken out, since readers behind us
// believe that name.
//
// Whoever controls a sender's DNS controls how these checks end, so that none
// may hang a transaction, and by default none refuses or moves a message. A
// question that nobody answers is a temperror, which is never held against a
// message.
package inbound
