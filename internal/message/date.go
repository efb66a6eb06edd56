package message

import (
	"errors"
	"strconv"
	"strings"
	"time"
)

// ErrDate means that a value is no date.
var ErrDate = errors.New("no date")

// ParseDate reads a Date field's value (RFC 5322 section 3.3) and the forms of
// section 4.3 and of mail programs that never read it: no day name or a wrong
// one, two-digit years, no seconds, named or missing zones (then UTC), comments,
// full month names, a month before its day (asctime), and RFC 3339. The result
// is in the zone of the value. The only error is ErrDate.
func ParseDate(value string) (time.Time, error) {
	value = strings.TrimSpace(value)
	if len(value) > 10 && value[10] == 'T' {
		if t, err := time.Parse(time.RFC3339, value); err == nil {
			return t, nil
		}
	}
	d := dateParser{year: -1, zone: time.UTC}
	for n := 0; n < 16; n++ {
		var word string
		if word, value = dateWord(value); word == "" {
			break
		}
		if !d.take(word) {
			return time.Time{}, ErrDate
		}
	}
	return d.time()
}

// dateWord takes the next run of characters that are no white space, comma or
// comment.
func dateWord(s string) (word, rest string) {
	i := 0
	for i < len(s) && strings.IndexByte(" \t\r\n,(", s[i]) >= 0 {
		if s[i] == '(' {
			i += commentLen(s[i:]) - 1
		}
		i++
	}
	start := i
	for i < len(s) && strings.IndexByte(" \t\r\n,(", s[i]) < 0 {
		i++
	}
	return s[start:i], s[i:]
}

// dateParser collects what the words of a date say.
type dateParser struct {
	day, year               int
	month                   time.Month
	hour, minute, sec       int
	timed, zoned, afternoon bool
	meridiem                bool
	zone                    *time.Location
}

// take uses one word and reports whether it can be part of a date.
func (d *dateParser) take(word string) bool {
	switch {
	case d.timed && (word[0] == '+' || word[0] == '-'):
		return d.offset(word)
	case strings.IndexByte(word, ':') >= 0:
		return d.clock(word)
	case '0' <= word[0] && word[0] <= '9':
		return d.number(word)
	}
	return d.word(word)
}

// number takes day, year, 1-Jan-2006 or 2006-01-02.
func (d *dateParser) number(word string) bool {
	if strings.ContainsAny(word, "-/") {
		return d.dashed(strings.FieldsFunc(word, func(r rune) bool { return r == '-' || r == '/' }))
	}
	n, err := strconv.Atoi(strings.TrimRight(word, "."))
	switch {
	case err != nil:
		return false
	case d.timed && d.year >= 0 && !d.zoned && len(word) == 4: // a zone without its sign
		return d.offset("+" + word)
	case d.day == 0 && n >= 1 && n <= 31 && len(word) <= 2:
		d.day = n
	case d.year < 0:
		d.year = fullYear(n, len(word))
	}
	return true
}

// fullYear reads a year of two or three digits (RFC 5322 section 4.3).
func fullYear(n, digits int) int {
	switch {
	case digits <= 2 && n < 50:
		return n + 2000
	case digits <= 3 && n < 1000:
		return n + 1900
	}
	return n
}

func (d *dateParser) dashed(parts []string) bool {
	if len(parts) != 3 {
		return false
	}
	if len(parts[0]) == 4 {
		parts[0], parts[2] = parts[2], parts[0]
	}
	day, err1 := strconv.Atoi(parts[0])
	year, err2 := strconv.Atoi(parts[2])
	month, ok := monthByName(parts[1])
	if n, err := strconv.Atoi(parts[1]); err == nil && n >= 1 && n <= 12 {
		month, ok = time.Month(n), true
	}
	d.day, d.month, d.year = day, month, fullYear(year, len(parts[2]))
	return err1 == nil && err2 == nil && ok
}

// clock takes 15:04, 15:04:05 or 15:04:05.999.
func (d *dateParser) clock(word string) bool {
	word, _, _ = strings.Cut(word, ".")
	if i := strings.LastIndexAny(word, "+-"); i > 0 { // the zone sticks to it
		if !d.offset(word[i:]) {
			return false
		}
		word = word[:i]
	}
	if d.timed || strings.Count(word, ":") > 2 {
		return false
	}
	d.timed = true
	hour, rest, _ := strings.Cut(word, ":")
	minute, sec, found := strings.Cut(rest, ":")
	if !found {
		sec = "0"
	}
	return clockNumber(&d.hour, hour, 23) && clockNumber(&d.minute, minute, 59) && clockNumber(&d.sec, sec, 60)
}

func clockNumber(p *int, s string, most int) bool {
	n, err := strconv.ParseUint(s, 10, 8)
	*p = int(n)
	return err == nil && *p <= most
}

// offset takes +hhmm. The first zone counts.
func (d *dateParser) offset(word string) bool {
	digits := strings.ReplaceAll(word[1:], ":", "")
	n, err := strconv.Atoi(digits)
	if err != nil || n < 0 || len(digits) > 4 {
		return false
	}
	if len(digits) <= 2 {
		n *= 100
	}
	if d.zoned || n%100 >= 60 || n >= 2400 {
		return true // a zone nobody can be in: UTC
	}
	seconds := n/100*3600 + n%100*60
	if word[0] == '-' {
		seconds = -seconds
	}
	d.setZone(seconds)
	return true
}

func (d *dateParser) setZone(seconds int) {
	d.zoned = true
	if seconds != 0 {
		d.zone = time.FixedZone("", seconds)
	}
}

// word takes a month or zone; day names and others say nothing.
func (d *dateParser) word(word string) bool {
	if m, ok := monthByName(word); ok && d.month == 0 {
		d.month = m
		return true
	}
	upper := strings.ToUpper(word)
	switch {
	case d.timed && (upper == "AM" || upper == "PM"):
		d.meridiem, d.afternoon = true, upper == "PM"
	case d.timed && !d.zoned:
		if i := strings.IndexAny(upper, "+-"); i > 0 { // GMT+0200
			return d.offset(upper[i:])
		}
		if hours, ok := zoneHours[upper]; ok {
			d.setZone(hours * 3600)
		}
	}
	return true
}

func monthByName(word string) (time.Month, bool) {
	if len(word) < 3 {
		return 0, false
	}
	for m := time.January; m <= time.December; m++ {
		if strings.EqualFold(word[:3], m.String()[:3]) {
			return m, true
		}
	}
	return 0, false
}

// zoneHours are the zones of RFC 5322 section 4.3; the military ones of RFC 822
// had the wrong sign and mean UTC.
var zoneHours = map[string]int{
	"UT": 0, "GMT": 0, "UTC": 0, "Z": 0,
	"EST": -5, "EDT": -4, "CST": -6, "CDT": -5, "MST": -7, "MDT": -6, "PST": -8, "PDT": -7,
	"WET": 0, "BST": 1, "CET": 1, "MET": 1, "CEST": 2, "MEST": 2, "EET": 2, "EEST": 3, "MSK": 3, "JST": 9,
}

// time puts the words together.
func (d *dateParser) time() (time.Time, error) {
	if d.day == 0 || d.month == 0 || d.year < 0 || d.year > 9999 {
		return time.Time{}, ErrDate
	}
	hour := d.hour
	if d.meridiem && hour <= 12 {
		hour %= 12
		if d.afternoon {
			hour += 12
		}
	}
	t := time.Date(d.year, d.month, d.day, hour, d.minute, d.sec, 0, d.zone)
	if t.Day() != d.day && d.sec < 60 {
		return time.Time{}, ErrDate // 31 February
	}
	return t, nil
}
