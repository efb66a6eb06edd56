package maildir

import (
	"time"

	"golang.org/x/sys/unix"
)

// Files that a crash left in tmp/ are removed 36 hours after their last change
// (Maildir's rule). Dovecot looks once a week, by the directory's atime, which it
// sets because most file systems do not keep it; so do we, and share the work.

const (
	tmpScanEvery = 7 * 24 * time.Hour
	tmpKeep      = 36 * time.Hour
)

// cleanTmp removes old files from tmp/ if it is time; failures wait for the next
// time.
func (f *folder) cleanTmp() {
	var st unix.Stat_t
	if f.lstat("tmp", &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return
	}
	now := f.now()
	atime, ctime := time.Unix(st.Atim.Unix()), time.Unix(st.Ctim.Unix())
	if now.Sub(atime) <= tmpScanEvery || atime.After(ctime.Add(tmpKeep)) {
		return
	}
	dir, err := f.root.OpenFile("tmp", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return
	}
	defer dir.Close()
	times := []unix.Timespec{unix.NsecToTimespec(now.UnixNano()), {Nsec: unix.UTIME_OMIT}}
	_ = unix.UtimesNanoAt(int(f.dir.Fd()), "tmp", times, unix.AT_SYMLINK_NOFOLLOW)
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return
	}
	for _, name := range names {
		if unix.Fstatat(int(dir.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW) != nil || st.Mode&unix.S_IFMT == unix.S_IFDIR {
			continue
		}
		if now.Sub(time.Unix(st.Ctim.Unix())) > tmpKeep {
			_ = unix.Unlinkat(int(dir.Fd()), name, 0)
		}
	}
}
