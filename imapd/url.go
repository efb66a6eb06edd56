package imapd

import (
	"bytes"
	"io"
	"net/url"
	"strconv"
	"strings"

	"svc.plus/mailsrvd/imapd/wire"
	"svc.plus/mailsrvd/internal/message"
	"svc.plus/mailsrvd/maildir"
)

// messageURL is an IMAP URL (RFC 5092) that names a message, or a section of it,
// on this server.
type messageURL struct {
	mailbox  string // in UTF-8; empty is the selected one
	validity uint32 // 0 if it is not given
	uid      maildir.UID
	section  section
}

// parseURL parses "/mailbox;UIDVALIDITY=1/;UID=2/;SECTION=3/;PARTIAL=0.9" and
// what is left of it relative to the selected mailbox. Other servers are errors.
func parseURL(text string) (u messageURL, err error) {
	var haveUID bool
	for i, part := range strings.Split(strings.TrimPrefix(text, "/"), "/;") {
		if i == 0 && strings.HasPrefix(text, "/") {
			err = u.parseMailbox(part)
		} else {
			key, value, _ := strings.Cut(strings.TrimPrefix(part, ";"), "=")
			haveUID = haveUID || strings.EqualFold(key, "UID")
			err = u.parseParameter(strings.ToUpper(key), value)
		}
		if err != nil {
			return u, err
		}
	}
	if !haveUID {
		return u, errBadURL
	}
	return u, nil
}

func (u *messageURL) parseMailbox(part string) (err error) {
	name, validity, given := strings.Cut(part, ";")
	if given {
		key, value, _ := strings.Cut(validity, "=")
		if u.validity, err = parseNumber(value); err != nil || !strings.EqualFold(key, "UIDVALIDITY") {
			return errBadURL
		}
	}
	u.mailbox, err = url.PathUnescape(name)
	if err == nil && u.mailbox == "" {
		err = errBadURL
	}
	return err
}

func (u *messageURL) parseParameter(key, value string) error {
	value, err := url.PathUnescape(value)
	if err != nil {
		return errBadURL
	}
	switch key {
	case "UID":
		uid, err := parseNumber(value)
		u.uid = maildir.UID(uid)
		return err
	case "SECTION":
		return u.parseSection("["+value+"]", false)
	case "PARTIAL":
		return u.parseSection("<"+value+">", true)
	}
	return errBadURL
}

// parseSection parses a section, or a partial, by the grammar of FETCH. The
// partial of a URL may leave out its length.
func (u *messageURL) parseSection(text string, partial bool) error {
	if strings.ContainsAny(text, "\r\n{") {
		return errBadURL
	}
	if partial && !strings.Contains(text, ".") {
		text = strings.TrimSuffix(text, ">") + ".9223372036854775807>"
	}
	dec := wire.NewDecoder(strings.NewReader(text+"\r\n"), wire.Hooks{BeforeRead: func(bool) error { return nil }},
		wire.Limits{Line: 8 << 10, Depth: 2})
	defer dec.Close()
	if err := dec.Start(); err != nil {
		return err
	}
	if partial {
		parsePartial(dec, &u.section)
	} else {
		u.section = parseSection(dec)
	}
	return dec.End()
}

func parseNumber(text string) (uint32, error) {
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil || n == 0 {
		return 0, errBadURL
	}
	return uint32(n), nil
}

// read returns what the section, which find has found, asks for.
func (sec *section) read(r io.ReaderAt, part *message.Part, extent message.Extent) (io.Reader, error) {
	switch {
	case sec.kind == sectionFields || sec.kind == sectionFieldsNot:
		block, err := part.ReadHeader(r, maxHeader)
		if err != nil {
			return nil, err
		}
		text := message.AppendHeaderFields(nil, block, sec.fields, sec.kind == sectionFieldsNot)
		return bytes.NewReader(sec.clip(text)), nil
	case sec.partial:
		part, _ := extent.Partial(r, sec.from, sec.count, nil)
		return part, nil
	}
	return extent.Reader(r), nil
}
