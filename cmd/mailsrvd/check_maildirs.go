package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"svc.plus/mailsrvd/auth"
	"svc.plus/mailsrvd/internal/asuser"
)

// sampled is how many files of each directory the check looks at; setup-user
// --check looks at all.
const sampled = 200

// maildirs looks at the Maildirs of the system's users, with their own rights.
// Those who have none yet are fine.
func (ck *checker) maildirs(ctx context.Context) {
	if ck.cfg.Auth.Backend != "pam" {
		return
	}
	users, err := systemUsers("/etc/passwd", ck.cfg.Mail.MinUID)
	if err != nil {
		ck.warnAt("mail.location", err.Error(), "")
		return
	}
	for _, u := range users {
		dir := auth.Account{Name: u.Name, Owner: u}.MaildirPath(ck.cfg.Mail.Location)
		err := asuser.Do(ctx, u, func() error { return foreignEntry(dir, u) })
		switch {
		case err == nil, errors.Is(err, asuser.ErrRefused), errors.Is(err, fs.ErrNotExist):
		default:
			ck.warnAt("mail.location", fmt.Sprintf("user %s: %v", u.Name, err), "mailsrvd setup-user --check "+u.Name+" says more, and the mend")
		}
	}
}

// foreignEntry is nil unless something in the Maildir is not the user's. It
// runs as the user.
func foreignEntry(dir string, u asuser.Owner) error {
	for _, sub := range []string{"", "new", "cur", "tmp"} {
		d := filepath.Join(dir, sub)
		fi, err := os.Stat(d)
		if err != nil {
			return err
		}
		if err := belongs(d, fi, u); err != nil {
			return err
		}
		if sub == "" {
			continue
		}
		f, err := os.Open(d)
		if err != nil {
			return err
		}
		entries, _ := f.ReadDir(sampled)
		f.Close()
		for _, e := range entries {
			if fi, err := e.Info(); err == nil {
				if err := belongs(filepath.Join(d, e.Name()), fi, u); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func belongs(path string, fi fs.FileInfo, u asuser.Owner) error {
	if st := fi.Sys().(*syscall.Stat_t); int(st.Uid) != u.UID {
		return fmt.Errorf("%s belongs to uid %d", path, st.Uid)
	}
	return nil
}

// systemUsers lists the people of a passwd(5) file. Users of a directory
// service are not enumerated; there may be many thousands.
func systemUsers(path string, minUID int) ([]asuser.Owner, error) {
	const maxUID = 60000 // above it are nobody and the dynamic users of systemd
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("listing the users: %w", err)
	}
	defer f.Close()
	var users []asuser.Owner
	scanner := bufio.NewScanner(f)
	for scanner.Scan() {
		fields := strings.Split(scanner.Text(), ":")
		if len(fields) < 7 {
			continue
		}
		uid, err1 := strconv.Atoi(fields[2])
		gid, err2 := strconv.Atoi(fields[3])
		if err1 != nil || err2 != nil || uid < minUID || uid > maxUID || !filepath.IsAbs(fields[5]) {
			continue
		}
		users = append(users, asuser.Owner{Name: fields[0], UID: uid, GID: gid, Home: fields[5]})
	}
	return users, scanner.Err()
}
