// Package listen is the part of a server that is the same for every protocol:
// opening sockets, limits in all and per address, TLS with certificates that
// can be swapped while connections live, deadlines that traffic renews,
// tracking of connections and their orderly end.
//
// A server wraps its socket with New, accepts from the Listener, tells each
// connection when it waits for a command (Conn.SetIdle), and calls Drain to
// end: the Listener stops accepting, wakes what is idle, and closes the rest
// by force when its context ends.
package listen
