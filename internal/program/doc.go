// Package program runs one program for a message, with less than our own rights
// and within bounds.
//
// A daemon that may become other users may still not signal their processes: that
// takes CAP_KILL, or their uid. So between us and the program stands a helper, this
// same executable under the name Helper, which is the other user's from its first
// instruction. It makes sure that no right of ours is left, starts the program in a
// session of its own, and holds one end of a pipe, the leash: when our end closes,
// because time is up or because we have died, it kills the program with all that is
// in its process group. What the program leaves behind there when it ends is killed
// too.
//
// Neither runs a shell, and a set-user-ID bit of the program counts for nothing.
package program
