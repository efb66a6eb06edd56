// Package sieve is the mail filter language Sieve (RFC 5228) with its
// extensions: a lexer, a parser, a checker that finds all mistakes of a script
// at once, and an interpreter with bounds on everything a script or a message
// can make it do.
//
// Compile turns a script's text into a Script, or into Problems that say line,
// column and mend. Script.Run judges one Message and returns a Result: the list
// of Actions that the caller then carries out. The package itself does no input
// or output; what it must know of the world (other scripts, which mailboxes
// exist, what was answered before) it asks through the small hooks in Options
// and Env.
//
// Where the standards leave room, Pigeonhole, Dovecot's Sieve, is the measure,
// so that a user's scripts mean the same here; tests ask a real one.
// testdata/pigeonhole says where we differ and why.
package sieve
