package control

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Peer is who called, as the kernel noted it when the connection was made
// (unix(7), SO_PEERCRED and SO_PEERGROUPS).
type Peer struct {
	// PID, UID and GID are the caller's process, effective user and group.
	PID, UID, GID int
	// Groups are the caller's supplementary groups.
	Groups []int
}

// InGroup reports whether the caller has the group, as its own or among the
// supplementary ones.
func (p Peer) InGroup(gid int) bool { return p.GID == gid || slices.Contains(p.Groups, gid) }

// PeerOf asks the kernel for the process at the other end of c.
func PeerOf(c *net.UnixConn) (Peer, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return Peer{}, fmt.Errorf("reading the peer's credentials: %w", err)
	}
	var p Peer
	var inner error
	err = raw.Control(func(fd uintptr) { p, inner = peerOf(int(fd)) })
	if err := errors.Join(err, inner); err != nil {
		return Peer{}, fmt.Errorf("reading the peer's credentials: %w", err)
	}
	return p, nil
}

func peerOf(fd int) (Peer, error) {
	cred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return Peer{}, err
	}
	groups, err := peerGroups(fd)
	return Peer{PID: int(cred.Pid), UID: int(cred.Uid), GID: int(cred.Gid), Groups: groups}, err
}

// maxGroups is the kernel's NGROUPS_MAX.
const maxGroups = 65536

// peerGroups reads SO_PEERGROUPS. The kernel says ERANGE and the needed length
// when the buffer is too short. A kernel before 4.13 knows no such option and
// gives no groups: the mode of the socket then is what keeps strangers out.
func peerGroups(fd int) ([]int, error) {
	raw := make([]uint32, 64)
	for {
		size := uint32(len(raw) * 4)
		_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_PEERGROUPS,
			uintptr(unsafe.Pointer(unsafe.SliceData(raw))), uintptr(unsafe.Pointer(&size)), 0)
		switch {
		case errno == unix.ERANGE && int(size/4) > len(raw) && size/4 <= maxGroups:
			raw = make([]uint32, size/4)
			continue
		case errno == unix.ENOPROTOOPT || errno == unix.ENODATA:
			return nil, nil
		case errno != 0:
			return nil, errno
		}
		groups := make([]int, 0, size/4)
		for _, g := range raw[:size/4] {
			groups = append(groups, int(g))
		}
		return groups, nil
	}
}
