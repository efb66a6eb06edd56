// Package senders says which addresses a user may send as: his own at each
// local domain, those of aliases that lead to him, and those of a file.
package senders

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"svc.plus/mailsrvd/internal/message"
)

// File holds the further addresses of users. It is immutable.
type File struct {
	// byUser has patterns in lower case: "a@b", "@b" or "*".
	byUser map[string][]string
}

// Problem is a line that cannot be understood.
type Problem struct {
	File string
	Line int
	Text string
}

func (p *Problem) Error() string { return fmt.Sprintf("%s:%d: %s", p.File, p.Line, p.Text) }

// Load reads a file; the empty path is an empty one. The error joins all
// Problems.
func Load(path string) (*File, error) {
	if path == "" {
		return &File{}, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading the senders: %w", err)
	}
	defer f.Close()
	return Parse(path, f)
}

// Parse reads "user: address, @domain, *" a line, with # for comments. A user
// may have several lines.
func Parse(name string, r io.Reader) (*File, error) {
	file := &File{byUser: map[string][]string{}}
	var errs []error
	scanner := bufio.NewScanner(r)
	for n := 1; scanner.Scan(); n++ {
		line, _, _ := strings.Cut(scanner.Text(), "#")
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		user, list, ok := strings.Cut(line, ":")
		user = strings.ToLower(strings.TrimSpace(user))
		if !ok || user == "" || strings.ContainsAny(user, " \t@") {
			errs = append(errs, &Problem{name, n, `want "user: address, @domain, ..."`})
			continue
		}
		for word := range strings.FieldsFuncSeq(list, func(c rune) bool { return c == ',' || c == ' ' || c == '\t' }) {
			if word != "*" && (strings.Count(word, "@") != 1 || strings.HasSuffix(word, "@")) {
				errs = append(errs, &Problem{name, n, fmt.Sprintf("%q is not an address, @domain or *", word)})
				continue
			}
			file.byUser[user] = append(file.byUser[user], strings.ToLower(word))
		}
	}
	if err := scanner.Err(); err != nil {
		errs = append(errs, fmt.Errorf("reading %s: %w", name, err))
	}
	return file, errors.Join(errs...)
}

// allows reports whether the file gives address (in lower case) to user.
func (f *File) allows(user, address string) bool {
	_, domain, _ := strings.Cut(address, "@")
	for _, p := range f.byUser[strings.ToLower(user)] {
		if p == "*" || p == address || p == "@"+domain {
			return true
		}
	}
	return false
}

// Route is the alias lookup of the delivery agent.
type Route func(ctx context.Context, address string) (message.Route, error)

// Policy decides. It is immutable and safe for concurrent use.
type Policy struct {
	File *File
	// Domains are the local domains, Delimiter what begins a detail.
	Domains   []string
	Delimiter string
	// Route may be nil.
	Route Route
}

// Allowed reports whether account may use address as reverse-path or in From.
// The null reverse-path is everybody's, and the account's own name at a local
// domain is his even if he has no mailbox, as www-data. So is an address that
// the agent leads to him, and be it to others besides.
func (p Policy) Allowed(ctx context.Context, account, address string) bool {
	if address == "" {
		return true
	}
	if p.own(account, address) || p.File.allows(account, strings.ToLower(address)) {
		return true
	}
	if p.Route == nil {
		return false
	}
	route, err := p.Route(ctx, address)
	if err != nil {
		return false
	}
	for _, l := range route.Local {
		if strings.EqualFold(l.User, account) {
			return true
		}
	}
	return false
}

// own reports whether address is the account's name, with or without a detail,
// at a local domain.
func (p Policy) own(account, address string) bool {
	at := strings.LastIndexByte(address, '@')
	if at < 0 || !slices.ContainsFunc(p.Domains, func(d string) bool { return strings.EqualFold(d, address[at+1:]) }) {
		return false
	}
	local := address[:at]
	if i := strings.IndexAny(local, p.Delimiter); i > 0 {
		local = local[:i]
	}
	return strings.EqualFold(local, account)
}
