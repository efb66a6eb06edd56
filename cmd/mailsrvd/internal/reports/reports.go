// Package reports finds the reports of other servers in messages and files: DMARC
// aggregate reports (RFC 7489) and TLS reports (RFC 8460), packed as they come.
// Whoever wrote them may be anybody, so that every step has a bound.
package reports

import (
	"archive/zip"
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
	"time"

	"svc.plus/mailsrvd/internal/message"
	"svc.plus/mailsrvd/smtpd/inbound/dmarcrpt"
	"svc.plus/mailsrvd/smtpd/relay/tlsrpt"
)

// Found is one report. Either DMARC or TLS is set.
type Found struct {
	// Source is the file or message that it was in.
	Source string           `json:"source"`
	DMARC  *dmarcrpt.Report `json:"dmarc,omitempty"`
	TLS    *tlsrpt.Report   `json:"tls,omitempty"`
}

// Begin is the time from which on the report counts.
func (f Found) Begin() time.Time {
	if f.DMARC != nil {
		return time.Unix(f.DMARC.Metadata.Range.Begin, 0)
	}
	return f.TLS.Dates.Start
}

// Bounds, in bytes unless named otherwise.
const (
	maxFile    = 64 << 20 // of a file or message, and of what is packed in it
	maxEntries = 20       // of a zip archive
	maxParts   = 100      // of a message
)

// errNone means that there is no report.
var errNone = errors.New("it has no report")

// Read finds the reports in one file: a report as XML or JSON, packed by gzip or
// zip or not, or a message with such. A message without any gives none and no
// error; anything else that is no report is an error.
func Read(name string, r io.Reader) ([]Found, error) { return read(name, r, maxFile) }

func read(name string, r io.Reader, limit int64) ([]Found, error) {
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if int64(len(b)) > limit {
		return nil, fmt.Errorf("%s: more than %d bytes", name, limit)
	}
	found, err := unpack(b, limit)
	if errors.Is(err, errNone) {
		found, err = readMessage(b, limit)
	}
	for i := range found {
		found[i].Source = name
	}
	if err != nil {
		return found, fmt.Errorf("%s: %w", name, err)
	}
	return found, nil
}

// unpack reads a report, or errNone if b does not begin like one.
func unpack(b []byte, limit int64) ([]Found, error) {
	switch {
	case bytes.HasPrefix(b, []byte("\x1f\x8b")):
		z, err := gzip.NewReader(bytes.NewReader(b))
		if err != nil {
			return nil, err
		}
		return plain(z, limit)
	case bytes.HasPrefix(b, []byte("PK\x03\x04")):
		return unzip(b, limit)
	}
	return plain(bytes.NewReader(b), limit)
}

func unzip(b []byte, limit int64) ([]Found, error) {
	z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return nil, err
	}
	if len(z.File) > maxEntries {
		return nil, fmt.Errorf("a zip archive of %d files", len(z.File))
	}
	var all []Found
	for _, f := range z.File {
		if f.FileInfo().IsDir() {
			continue
		}
		r, err := f.Open()
		if err != nil {
			return all, err
		}
		found, err := plain(r, limit)
		r.Close()
		if all = append(all, found...); err != nil && !errors.Is(err, errNone) {
			return all, err
		}
	}
	return all, nil
}

// plain reads XML or JSON.
func plain(r io.Reader, limit int64) ([]Found, error) {
	in := bufio.NewReader(r)
	for range 1024 { // white space and a byte order mark
		head, err := in.Peek(1)
		if err != nil {
			return nil, errNone
		}
		switch head[0] {
		case ' ', '\t', '\r', '\n', 0xef, 0xbb, 0xbf:
			in.Discard(1)
		case '<':
			report, err := dmarcrpt.Read(in, limit)
			if err != nil {
				return nil, err
			}
			return []Found{{DMARC: report}}, nil
		case '{':
			return readTLS(in, limit)
		default:
			return nil, errNone
		}
	}
	return nil, errNone
}

func readTLS(r io.Reader, limit int64) ([]Found, error) {
	limited := &io.LimitedReader{R: r, N: limit}
	var report tlsrpt.Report
	if err := json.NewDecoder(limited).Decode(&report); err != nil {
		if limited.N <= 0 {
			return nil, fmt.Errorf("a report of more than %d bytes", limit)
		}
		return nil, fmt.Errorf("reading a TLS report: %w", err)
	}
	if report.Organization == "" && report.ID == "" || len(report.Policies) == 0 {
		return nil, errors.New("the JSON is no TLS report: it names no reporter or no policy")
	}
	return []Found{{TLS: &report}}, nil
}

// readMessage looks into the parts of a message.
func readMessage(b []byte, limit int64) ([]Found, error) {
	in := bytes.NewReader(b)
	root, err := message.Scan(in)
	if err != nil {
		return nil, err
	}
	var all []Found
	var errs []error
	n := 0
	for p := range root.All() {
		if len(p.Children) > 0 || p.Is("text", "plain") || p.Is("text", "html") {
			continue
		}
		if n++; n > maxParts {
			errs = append(errs, fmt.Errorf("a message of more than %d parts", maxParts))
			break
		}
		r, err := p.BinaryReader(in)
		if err != nil {
			continue // an encoding that nobody knows
		}
		body, err := io.ReadAll(r)
		if err != nil {
			continue
		}
		found, err := unpack(body, limit)
		all = append(all, found...)
		if err != nil && !errors.Is(err, errNone) {
			errs = append(errs, err)
		}
	}
	return all, errors.Join(errs...)
}

// ReadTree reads all files below a directory of fsys, or the one file; of a
// Maildir its messages. Errors about single files are joined and do not keep the
// others back.
func ReadTree(fsys fs.FS, root string) ([]Found, error) {
	var all []Found
	var errs []error
	err := fs.WalkDir(fsys, root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := path.Base(name)
		if d.IsDir() {
			if name != root && (base == "tmp" || strings.HasPrefix(base, ".")) {
				return fs.SkipDir // of a Maildir; its folders are asked for by name
			}
			return nil
		}
		if !d.Type().IsRegular() || strings.HasPrefix(base, "dovecot") || base == "subscriptions" || base == "maildirfolder" || base == "maildirsize" {
			return nil
		}
		f, err := fsys.Open(name)
		if err != nil {
			errs = append(errs, err)
			return nil
		}
		defer f.Close()
		found, err := Read(name, f)
		all = append(all, found...)
		errs = append(errs, err)
		return nil
	})
	return all, errors.Join(append(errs, err)...)
}
