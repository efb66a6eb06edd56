// Package dns asks a recursive resolver for the records that mail needs. It
// keeps three answers apart that the standard library runs together: "there is
// no such record" (ErrNotFound), "nobody knows at the moment" (ErrTemporary)
// and "this domain takes no mail" (ErrNullMX). It caches by TTL, falls back to
// TCP on truncation, turns names into A-labels, and believes the AD bit only
// from a resolver on this host (RFC 6840 section 5.7), since on any other path
// the bit can be forged.
//
// Names go in with or without a trailing dot and in Unicode or A-labels; they
// come out in lower case, as A-labels, without the dot. A name is never
// completed by a search list: mail domains are absolute.
package dns
