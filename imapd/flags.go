package imapd

import (
	"slices"
	"strings"

	"svc.plus/mailsrvd/maildir"
)

// systemFlags are the flags of IMAP with their bits, in the order of writing.
var systemFlags = []struct {
	name string
	flag maildir.Flags
}{
	{`\Answered`, maildir.Answered},
	{`\Flagged`, maildir.Flagged},
	{`\Deleted`, maildir.Deleted},
	{`\Seen`, maildir.Seen},
	{`\Draft`, maildir.Draft},
}

// maxKeyword bounds the name of a keyword in bytes.
const maxKeyword = 100

// parseFlags splits flags as a client writes them into bits and keywords. The
// flag \Recent cannot be set, and is left out.
func parseFlags(names []string) (flags maildir.Flags, keywords []string, err error) {
	for _, name := range names {
		if name[0] != '\\' {
			if len(name) > maxKeyword {
				return 0, nil, no("LIMIT", "Keyword too long")
			}
			keywords = append(keywords, name)
			continue
		}
		flag, ok := systemFlag(name)
		if !ok {
			return 0, nil, bad("Unknown flag " + name)
		}
		flags |= flag
	}
	return flags, keywords, nil
}

func systemFlag(name string) (maildir.Flags, bool) {
	for _, f := range systemFlags {
		if strings.EqualFold(f.name, name) {
			return f.flag, true
		}
	}
	return 0, strings.EqualFold(name, `\Recent`)
}

// flagText writes flags of one mailbox. Few sets of flags are in use at a time,
// so that each is put together once.
type flagText struct {
	box      *maildir.Mailbox
	keywords []string
	lists    map[flagSet]string
}

type flagSet struct {
	flags  maildir.Flags
	recent bool
}

func newFlagText(box *maildir.Mailbox) *flagText {
	return &flagText{box: box, keywords: box.Keywords(), lists: make(map[flagSet]string)}
}

// refresh takes over keywords that are new in the mailbox, and reports whether
// there are any.
func (t *flagText) refresh() bool {
	keywords := t.box.Keywords()
	if slices.Equal(keywords, t.keywords) {
		return false
	}
	t.keywords = keywords
	clear(t.lists)
	return true
}

// list returns flags as a parenthesised list.
func (t *flagText) list(flags maildir.Flags, recent bool) string {
	key := flagSet{flags, recent}
	text, ok := t.lists[key]
	if !ok {
		text = "(" + strings.Join(t.names(flags, recent), " ") + ")"
		if len(t.lists) > 1000 {
			clear(t.lists)
		}
		t.lists[key] = text
	}
	return text
}

func (t *flagText) names(flags maildir.Flags, recent bool) []string {
	var names []string
	for _, f := range systemFlags {
		if flags&f.flag != 0 {
			names = append(names, f.name)
		}
	}
	for i, name := range t.keywords {
		if flags&maildir.Keyword(i) != 0 && name != "" {
			names = append(names, name)
		}
	}
	if recent {
		names = append(names, `\Recent`)
	}
	return names
}
