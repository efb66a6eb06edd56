package lda

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"svc.plus/mailsrvd/internal/asuser"
	"svc.plus/mailsrvd/lda/sieve"
)

// What a user's filters have to remember (whom vacation has answered, which
// messages duplicate has seen) is a file in his home: one line each, the time
// until which it counts in Unix seconds, and the hash of the identifier. It is
// appended to, and made anew without what is over when it has grown.
const memoryFile = ".mailsrvd.sieve-memory"

// maxMemory is the size at which the file is made anew, and beyond which nothing
// more is remembered.
const maxMemory = 1 << 20

// memory reads the file when it is first asked.
type memory struct {
	owner asuser.Owner
	read  bool
	until map[string]int64
}

func hashed(id string) string {
	sum := sha256.Sum256([]byte(id))
	return base64.RawURLEncoding.EncodeToString(sum[:18])
}

// seen is sieve.Env.Seen.
func (m *memory) seen(ctx context.Context, id string) (bool, error) {
	if !m.read {
		m.read = true
		err := asuser.Do(ctx, m.owner, func() error {
			file, err := openMemory(m.owner, os.O_RDONLY)
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			} else if err != nil {
				return err
			}
			defer file.Close()
			m.until, err = readMemory(file)
			return err
		})
		if err != nil {
			return false, fmt.Errorf("reading what is remembered: %w", err)
		}
	}
	return m.until[hashed(id)] > time.Now().Unix(), nil
}

func openMemory(owner asuser.Owner, flags int) (*os.File, error) {
	return os.OpenFile(filepath.Join(owner.Home, memoryFile), flags|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0o600)
}

// readMemory passes over lines that it does not understand.
func readMemory(r io.Reader) (map[string]int64, error) {
	until := map[string]int64{}
	lines := bufio.NewScanner(io.LimitReader(r, 2*maxMemory))
	for lines.Scan() {
		var at int64
		var hash string
		if n, _ := fmt.Sscanf(lines.Text(), "%d %s", &at, &hash); n == 2 {
			until[hash] = max(until[hash], at)
		}
	}
	return until, lines.Err()
}

// remember adds to the file, under a lock of its own.
func remember(ctx context.Context, owner asuser.Owner, now time.Time, list []sieve.Memory) error {
	var b strings.Builder
	for _, m := range list {
		fmt.Fprintf(&b, "%d %s\n", now.Add(m.For).Unix(), hashed(m.ID))
	}
	return asuser.Do(ctx, owner, func() error {
		file, err := openMemory(owner, os.O_RDWR|os.O_CREATE|os.O_APPEND)
		if err != nil {
			return err
		}
		defer file.Close()
		if err := unix.Flock(int(file.Fd()), unix.LOCK_EX); err != nil {
			return err
		}
		fi, err := file.Stat()
		if err != nil {
			return err
		}
		if fi.Size() > maxMemory/2 {
			if err := forgetOld(file, now); err != nil {
				return err
			}
			if fi, err = file.Stat(); err != nil || fi.Size() > maxMemory {
				return errors.Join(err, errors.New("there is too much to remember"))
			}
		}
		_, err = io.WriteString(file, b.String())
		return err
	})
}

// forgetOld writes anew what still counts.
func forgetOld(file *os.File, now time.Time) error {
	until, err := readMemory(io.NewSectionReader(file, 0, 2*maxMemory))
	if err != nil {
		return err
	}
	var b strings.Builder
	for hash, at := range until {
		if at > now.Unix() {
			fmt.Fprintf(&b, "%d %s\n", at, hash)
		}
	}
	if err := file.Truncate(0); err != nil { // it is open for appending
		return err
	}
	_, err = io.WriteString(file, b.String())
	return err
}

// userLog is where Pigeonhole tells a user what is wrong with his script.
const userLog = ".dovecot.sieve.log"

// maxUserLog is the size at which the log begins anew.
const maxUserLog = 64 << 10

func appendLog(ctx context.Context, owner asuser.Owner, now time.Time, problem error) error {
	return asuser.Do(ctx, owner, func() error {
		path := filepath.Join(owner.Home, userLog)
		flags := os.O_WRONLY | os.O_CREATE | os.O_APPEND | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_CLOEXEC
		if fi, err := os.Lstat(path); err == nil && fi.Size() > maxUserLog {
			flags |= os.O_TRUNC
		}
		file, err := os.OpenFile(path, flags, 0o600)
		if err != nil {
			return err
		}
		defer file.Close()
		_, err = fmt.Fprintf(file, "%s %s\n", now.Format(time.DateTime), strings.ReplaceAll(problem.Error(), "\n", "\n    "))
		return err
	})
}
