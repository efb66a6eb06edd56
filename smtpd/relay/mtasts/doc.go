// Package mtasts follows the TLS policies that domains publish for mail sent to
// them (MTA-STS, RFC 8461): a TXT record _mta-sts.<domain> with an id, and a
// file at https://mta-sts.<domain>/.well-known/mta-sts.txt that lists the
// domain's mail exchangers.
//
// Policies are kept in memory and, where Options.Dir is set, in one file of JSON
// a domain, until they expire; a policy that is known and has not expired counts
// even while the domain's record or web server cannot be reached, since that is
// what an attacker would arrange. The files are a cache: deleting them loses the
// protection against the very first attempt, and nothing else.
//
// policy.go is the grammar, fetch.go the way to a policy, cache.go what is kept,
// resolver.go the decision which policy counts now and what it means for a host.
package mtasts
