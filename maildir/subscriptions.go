package maildir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"
)

// subscriptions, in the Maildir, lists the folders that a client shows. Version
// 2 begins with "V<TAB>2<LF><LF>"; each line is a name in modified UTF-7 whose
// parts are joined by TAB, escaped with 0x01 as Dovecot's other files are.
// Version 1 has no header, and its parts are joined by the dot. The version that
// is found is kept; a new file has version 2.
//
// Names of deleted folders stay (RFC 9051 section 6.3.7), and so do lines that
// we cannot read. The new file is written as subscriptions.lock, which is also
// the lock, and renamed while that is still ours.

const (
	subscriptionsName  = "subscriptions"
	subscriptionsLock  = "subscriptions.lock"
	subscriptionsV2    = "V\t2\n\n"
	subscriptionsStale = 30 * time.Second // Dovecot's limit for this file
)

// subscriptionList is the file in memory.
type subscriptionList struct {
	v1    bool
	lines []string // raw
}

func parseSubscriptions(text string) subscriptionList {
	rest, v2 := strings.CutPrefix(text, subscriptionsV2)
	l := subscriptionList{v1: !v2 && text != ""}
	for line := range strings.SplitSeq(rest, "\n") {
		if line != "" {
			l.lines = append(l.lines, line)
		}
	}
	return l
}

func (l subscriptionList) format() []byte {
	var b []byte
	if !l.v1 {
		b = append(b, subscriptionsV2...)
	}
	for _, line := range l.lines {
		b = append(append(b, line...), '\n')
	}
	return b
}

// line writes a directory name (".A.B", "" for INBOX) as the file does.
func (l subscriptionList) line(dir string) string {
	switch {
	case dir == "":
		return inboxName
	case l.v1:
		return dir[1:]
	}
	parts := strings.Split(dir[1:], ".")
	for i, p := range parts {
		parts[i] = tabEscape(p)
	}
	return strings.Join(parts, "\t")
}

// dir reads a line back; ok is false for what is no name.
func (l subscriptionList) dir(line string) (dir string, ok bool) {
	var parts []string
	if l.v1 {
		parts = strings.Split(strings.TrimSuffix(line, "."), ".")
	} else {
		parts = strings.Split(line, "\t")
		for i, p := range parts {
			parts[i] = tabUnescape(p)
		}
	}
	if len(parts) == 1 && strings.EqualFold(parts[0], inboxName) {
		return "", true
	}
	for _, p := range parts {
		if p == "" || strings.ContainsAny(p, "/.\x00\n") {
			return "", false
		}
	}
	return "." + strings.Join(parts, "."), true
}

var (
	tabEscaper   = strings.NewReplacer("\x01", "\x011", "\x00", "\x010", "\t", "\x01t", "\r", "\x01r", "\n", "\x01n")
	tabUnescaper = strings.NewReplacer("\x011", "\x01", "\x010", "\x00", "\x01t", "\t", "\x01r", "\r", "\x01n", "\n")
)

func tabEscape(s string) string   { return tabEscaper.Replace(s) }
func tabUnescape(s string) string { return tabUnescaper.Replace(s) }

// has returns the index of the line of a directory, -1 without.
func (l subscriptionList) has(dir string) int {
	return slices.IndexFunc(l.lines, func(line string) bool {
		d, ok := l.dir(line)
		return ok && d == dir
	})
}

// Subscriptions returns the subscribed names in the order of the file, whether
// their folders exist or not.
func (s *Store) Subscriptions(ctx context.Context) ([]string, error) {
	var list subscriptionList
	err := s.withRoot(ctx, func(f *folder) (err error) {
		list, err = f.readSubscriptions()
		return err
	})
	if errors.Is(err, ErrNotFound) {
		return nil, nil // no Maildir yet
	}
	var names []string
	for _, line := range list.lines {
		dir, ok := list.dir(line)
		if !ok {
			continue
		}
		name, ok := inboxName, true
		if dir != "" {
			name, ok = s.nameOf(dir)
		}
		if ok && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names, err
}

// Subscribe adds a name; the folder need not exist. It is no error if the name
// is there already.
func (s *Store) Subscribe(ctx context.Context, name string) error {
	dir, err := s.dirOf(name)
	if err != nil {
		return err
	}
	added := false
	err = s.changeSubscriptions(ctx, func(l *subscriptionList) bool {
		if added = l.has(dir) < 0; added {
			l.lines = append(l.lines, l.line(dir))
		}
		return added
	})
	if err == nil && added {
		s.tellFolders(FolderEvent{Kind: FolderSubscribed, Name: name})
	}
	return err
}

// Unsubscribe removes a name. A name that is not subscribed is ErrNotFound.
func (s *Store) Unsubscribe(ctx context.Context, name string) error {
	dir, err := s.dirOf(name)
	if err != nil {
		return err
	}
	found := false
	err = s.changeSubscriptions(ctx, func(l *subscriptionList) bool {
		found = false
		for i := l.has(dir); i >= 0; i = l.has(dir) {
			l.lines = slices.Delete(l.lines, i, i+1)
			found = true
		}
		return found
	})
	if err == nil && !found {
		return fmt.Errorf("subscription %q: %w", name, ErrNotFound)
	}
	if err == nil {
		s.tellFolders(FolderEvent{Kind: FolderUnsubscribed, Name: name})
	}
	return err
}

func (f *folder) readSubscriptions() (subscriptionList, error) {
	text, err := f.readFile(subscriptionsName, 16<<20)
	if errors.Is(err, fs.ErrNotExist) {
		return subscriptionList{}, nil
	}
	if err != nil {
		return subscriptionList{}, fmt.Errorf("reading subscriptions: %w", err)
	}
	return parseSubscriptions(text), nil
}

// changeSubscriptions applies change under the lock; nothing is written when it
// returns false.
func (s *Store) changeSubscriptions(ctx context.Context, change func(*subscriptionList) bool) error {
	w := lockWait{limit: s.all.opt.LockWait}
	for {
		err := s.withRoot(ctx, func(f *folder) error {
			lock, err := f.tryLock(subscriptionsLock, subscriptionsName, subscriptionsStale, &w.sight)
			if err != nil {
				return err
			}
			defer f.unlock(lock)
			list, err := f.readSubscriptions()
			if err != nil || !change(&list) {
				return err
			}
			return f.replaceUnder(lock, subscriptionsName, list.format())
		})
		if !errors.Is(err, errHeld) {
			return err
		}
		if err := w.pause(ctx); err != nil {
			return fmt.Errorf("changing subscriptions: %w", err)
		}
	}
}
