// Package peertest gives tests of several rooms what they need to speak with
// mail servers that others wrote: those servers, each with files of its own, and
// networks in which well-known ports and public addresses are free to use. A
// test whose peer or right is missing skips and says so.
package peertest
