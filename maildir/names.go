package maildir

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"svc.plus/mailsrvd/internal/mutf7"
)

// A folder has two names. Clients use UTF-8 with the configured separator
// ("Work/2024" or "Work.2024"); on disk it is one directory whose parts are in
// modified UTF-7 behind dots (".Work.2024"). INBOX is the Maildir itself, its
// directory name here "". With another separator than the dot, a dot inside a
// part cannot be stored and is refused, as Dovecot does without an escape
// character.

const inboxName = "INBOX"

// trashedName is the directory of a folder that is being deleted: the name that
// Dovecot uses and cleans up.
const trashedName = "..DOVECOT-TRASHED"

// dirOf returns the directory name of a folder, "" for INBOX.
func (s *Store) dirOf(name string) (string, error) {
	if strings.EqualFold(name, inboxName) {
		return "", nil
	}
	sep := string(s.sep)
	if !utf8.ValidString(name) || name == "" || strings.ContainsRune(name, 0) {
		return "", fmt.Errorf("%q: %w", name, ErrInvalidName)
	}
	parts := strings.Split(name, sep)
	if strings.EqualFold(parts[0], inboxName) {
		parts[0] = inboxName
	}
	var b strings.Builder
	for _, part := range parts {
		if !s.validPart(part) {
			return "", fmt.Errorf("%q: %w", name, ErrInvalidName)
		}
		b.WriteByte('.')
		b.WriteString(mutf7.Encode(part))
	}
	if b.Len() > 255 || len(parts) == 1 && (name == "cur" || name == "new" || name == "tmp") {
		return "", fmt.Errorf("%q: %w", name, ErrInvalidName)
	}
	return b.String(), nil
}

func (s *Store) validPart(part string) bool {
	return part != "" && !strings.ContainsAny(part, "/.")
}

// rawDirOf returns the directory whose parts are the name's as they stand, if
// that is no modified UTF-7: somebody made it by hand, and nameOf shows it raw.
func (s *Store) rawDirOf(name string) (string, bool) {
	parts := strings.Split(name, string(s.sep))
	raw := false
	for _, part := range parts {
		if _, err := mutf7.Decode(part); err != nil {
			raw = true
		}
	}
	dir := "." + strings.Join(parts, ".")
	return dir, raw && len(dir) <= 255
}

// newDirOf is dirOf for a folder that is to be made: names that a client could
// not show or type again are refused (RFC 9051 section 5.1).
func (s *Store) newDirOf(name string) (string, error) {
	name = strings.TrimSuffix(name, string(s.sep)) // CREATE "a/" announces children
	for _, r := range name {
		if r < ' ' || r >= 0x7f && r < 0xa0 || r == 0x2028 || r == 0x2029 || r == utf8.RuneError {
			return "", fmt.Errorf("%q: %w", name, ErrInvalidName)
		}
	}
	return s.dirOf(name)
}

// nameOf returns the client's name of a directory entry of the Maildir; ok is
// false for what is no folder's.
func (s *Store) nameOf(dir string) (name string, ok bool) {
	if len(dir) < 2 || dir[0] != '.' || dir[1] == '.' {
		return "", false
	}
	if strings.EqualFold(dir[1:], inboxName) {
		return "", false // INBOX is the Maildir itself, and nobody can name this
	}
	parts := strings.Split(dir[1:], ".")
	for i, part := range parts {
		if part == "" {
			return "", false
		}
		if text, err := mutf7.Decode(part); err == nil {
			part = text
		}
		if !utf8.ValidString(part) || strings.Contains(part, string(s.sep)) {
			return "", false
		}
		parts[i] = part
	}
	return strings.Join(parts, string(s.sep)), true
}
