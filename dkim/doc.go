// Package dkim signs and verifies mail by DomainKeys Identified Mail (RFC 6376,
// with RFC 8301 on key sizes and RFC 8463 on Ed25519) and knows the keys: it
// makes them, reads them, writes their DNS records and tells whether the zone
// has the right ones. It verifies and extends chains of ARC sets (RFC 8617), which
// carry results over intermediaries that break signatures.
//
// Signing is relaxed/relaxed, SHA-256, without the tags l= and x=. The body is
// read and hashed once for all keys of a domain. Verifying goes through
// go-msgauth, behind limits that keep a hostile header from costing minutes.
package dkim
