package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"svc.plus/mailsrvd/cmd/mailsrvd/internal/admin"
	"svc.plus/mailsrvd/internal/asuser"
)

// Permission bits of one class.
const (
	mayRead   = 4
	mayWrite  = 2
	maySearch = 1
)

// readable reports a file that we can read now, as root, but the daemon cannot
// later. Access lists are not looked at, hence a warning.
func (ck *checker) readable(key, path string) {
	if ck.daemon == nil {
		return
	}
	dir := path
	for dir != filepath.Dir(dir) {
		need := uint32(maySearch)
		if dir == path {
			need = mayRead
		}
		if fi, err := os.Stat(dir); err == nil && !allowed(fi, *ck.daemon, need) {
			ck.warnAt(key, fmt.Sprintf("%s is closed to the user %s (%s, mode %04o)", path, ck.daemon.Name, dir, fi.Mode().Perm()),
				fmt.Sprintf("chgrp mailsrvd %s; chmod g+%s %s", dir, map[bool]string{true: "r", false: "x"}[dir == path], dir))
			return
		}
		dir = filepath.Dir(dir)
	}
}

// allowed evaluates the permission bits as the kernel does.
func allowed(fi fs.FileInfo, t asuser.Target, need uint32) bool {
	st := fi.Sys().(*syscall.Stat_t)
	bits := uint32(fi.Mode().Perm())
	switch {
	case int(st.Uid) == t.UID:
		bits >>= 6
	case int(st.Gid) == t.GID || slices.Contains(t.Groups, int(st.Gid)):
		bits >>= 3
	}
	return bits&need == need
}

// directories looks at what the daemon writes to.
func (ck *checker) directories(context.Context) {
	for key, dir := range map[string]string{"state_dir": ck.cfg.StateDir, "run_dir": ck.cfg.RunDir} {
		fi, err := os.Stat(dir)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			ck.missing(key, dir)
		case err != nil:
			ck.errorAt(key, err.Error(), "correct the path")
		case !fi.IsDir():
			ck.errorAt(key, dir+" is not a directory", "correct the path")
		case ck.daemon != nil && !allowed(fi, *ck.daemon, mayRead|mayWrite|maySearch):
			ck.errorAt(key, fmt.Sprintf("%s is not writable for the user %s", dir, ck.daemon.Name), fmt.Sprintf("chown %s: %s", ck.daemon.Name, dir))
		case ck.daemon == nil && unix.Access(dir, unix.W_OK) != nil:
			ck.errorAt(key, dir+" is not writable", "give it to the daemon's user, or run this check as that user")
		}
	}
}

// missing reports a directory that the start will not be able to make. systemd
// and root make theirs.
func (ck *checker) missing(key, dir string) {
	if os.Geteuid() == 0 {
		return
	}
	parent := filepath.Dir(dir)
	if unix.Access(parent, unix.W_OK) != nil {
		ck.errorAt(key, dir+" does not exist and cannot be made", "install -d -m 0750 -o mailsrvd -g mail "+dir)
	}
}

// ports tries to listen where the daemon will. A running daemon of ours has
// them, of course.
func (ck *checker) ports(ctx context.Context) {
	if _, err := admin.GetStatus(ctx, ck.cfg.Socket("control")); err == nil || errors.Is(err, fs.ErrPermission) {
		return
	}
	ck.cfg.Listen.Each(func(name string, addresses []string) {
		for _, a := range addresses {
			if strings.Contains(a, "/") {
				continue
			}
			l, err := net.Listen("tcp", a)
			if err == nil {
				l.Close()
				continue
			}
			ck.portProblem("listen."+name, a, err)
		}
	})
}

func (ck *checker) portProblem(key, address string, err error) {
	_, port, _ := net.SplitHostPort(address)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		ck.warnAt(key, address+" is in use by another program", "stop that program before the start; ss -ltnp 'sport = :"+port+"' names it")
	case errors.Is(err, syscall.EACCES):
		ck.warnAt(key, address+" may be opened by the daemon only", "no matter when this check runs as another user; the daemon needs CAP_NET_BIND_SERVICE")
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		ck.errorAt(key, address+" is not an address of this machine", "correct the address, or write \":"+port+"\" for all")
	default:
		ck.errorAt(key, err.Error(), "correct the address")
	}
}
