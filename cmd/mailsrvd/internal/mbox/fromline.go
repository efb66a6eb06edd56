package mbox

import (
	"strings"
	"time"
)

// Layouts of the date at the end of a From_ line: that of asctime(3) in UTC, which
// RFC 4155 wants, and what else is about.
var layouts = []string{
	"Mon Jan _2 15:04:05 2006",
	"Mon Jan _2 15:04 2006",
	"Mon Jan _2 15:04:05 -0700 2006",
	"Mon Jan _2 15:04:05 2006 -0700",
	"Mon Jan _2 15:04:05 MST 2006",
	"Mon Jan _2 15:04:05 2006 MST",
	"Mon, _2 Jan 2006 15:04:05 -0700",
}

// parseFrom takes a From_ line apart. ok is false for any other line, one without a
// date included: many texts have a line that begins with "From".
func parseFrom(line []byte) (sender string, date time.Time, ok bool) {
	text, ok := strings.CutPrefix(string(line), string(fromWord))
	if !ok || len(text) > 1000 {
		return "", time.Time{}, false
	}
	words := strings.Fields(text)
	for i := range words {
		if left := len(words) - i; left > 7 {
			continue
		} else if left < 5 {
			break
		}
		rest := strings.Join(words[i:], " ")
		for _, layout := range layouts {
			if date, err := time.ParseInLocation(layout, rest, time.UTC); err == nil {
				return strings.Join(words[:i], " "), date, true
			}
		}
	}
	return "", time.Time{}, false
}

// appendFrom appends a From_ line. RFC 4155 section 2: the date is in UTC.
func appendFrom(dst []byte, sender string, date time.Time) []byte {
	sender = strings.Join(strings.Fields(sender), "")
	if sender == "" {
		sender = "MAILER-DAEMON"
	}
	dst = append(append(append(dst, fromWord...), sender...), ' ')
	return append(date.UTC().AppendFormat(dst, layouts[0]), '\n')
}
