package sieve

import (
	"fmt"
	"strings"
	"time"

	"svc.plus/mailsrvd/internal/message"
)

var dateSpecs = []*spec{
	{name: "date", ext: "date", tags: joinTags(matchTags, indexTags, zoneTags), args: []argumentKind{stringArgument, stringArgument, listArgument}, test: buildDate},
	{name: "currentdate", ext: "date", tags: joinTags(matchTags, zoneTags[:1]), args: []argumentKind{stringArgument, listArgument}, test: buildCurrentDate},
}

var zoneTags = []tagSpec{
	{name: "zone", group: "zone", value: stringArgument},
	{name: "originalzone", group: "zone"},
}

// datePart returns a part of a date (RFC 5260 section 4.2); false if there is
// no part of this name.
func datePart(name string, t time.Time) (string, bool) {
	layout := ""
	switch strings.ToLower(name) {
	case "year":
		layout = "2006"
	case "month":
		layout = "01"
	case "day":
		layout = "02"
	case "date":
		layout = "2006-01-02"
	case "julian":
		y, m, d := t.Date()
		day := time.Date(y, m, d, 0, 0, 0, 0, time.UTC)
		return fmt.Sprint(int(day.Sub(julianEpoch) / (24 * time.Hour))), true
	case "hour":
		layout = "15"
	case "minute":
		layout = "04"
	case "second":
		layout = "05"
	case "time":
		layout = "15:04:05"
	case "iso8601":
		layout = "2006-01-02T15:04:05Z07:00"
	case "std11":
		layout = "Mon, 02 Jan 2006 15:04:05 -0700"
	case "zone":
		layout = "-0700"
	case "weekday":
		return fmt.Sprint(int(t.Weekday())), true
	default:
		return "", false
	}
	return t.Format(layout), true
}

// julianEpoch is day 0 of the modified Julian days.
var julianEpoch = time.Date(1858, time.November, 17, 0, 0, 0, 0, time.UTC)

// zoneArgument is the zone that a date is looked at in.
type zoneArgument struct {
	text     *text
	original bool // that of the date itself
}

func (c *checker) zoneArgument(n *call) zoneArgument {
	z := zoneArgument{c.optionalText(n, "zone"), n.has("originalzone")}
	if z.text != nil && z.text.constant() {
		if _, ok := parseZone(z.text.value); !ok {
			c.warning(z.text.pos, `write it as in "+0100"`, "%s is no time zone and is ignored", quote(z.text.value))
		}
	}
	return z
}

// parseZone reads +hhmm.
func parseZone(s string) (*time.Location, bool) {
	if len(s) != 5 || s[0] != '+' && s[0] != '-' || !isDigits(s[1:]) {
		return nil, false
	}
	seconds := (int(s[1]-'0')*10+int(s[2]-'0'))*3600 + (int(s[3]-'0')*10+int(s[4]-'0'))*60
	if s[0] == '-' {
		seconds = -seconds
	}
	return time.FixedZone("", seconds), seconds > -24*3600 && seconds < 24*3600
}

// in returns t as the clock of the zone shows it.
func (z zoneArgument) in(r *run, t time.Time) (time.Time, error) {
	if z.original {
		return t, nil
	}
	if z.text == nil {
		return t.In(r.now.Location()), nil
	}
	s, err := z.text.eval(r)
	if err != nil {
		return t, err
	}
	zone, ok := parseZone(s)
	if !ok {
		r.trace(1, "%s is no time zone", shorten(s))
		zone = r.now.Location()
	}
	return t.In(zone), nil
}

// dateTest is RFC 5260 section 4.
type dateTest struct {
	name    text
	index   fieldIndex
	zone    zoneArgument
	part    text
	matcher *matcher
}

func buildDate(c *checker, n *call) checked {
	index := c.fieldIndex(n)
	if index.n == 0 { // not every field of the name is looked at, but the first
		index.n = 1
	}
	t := dateTest{c.fieldNames(n.args[0])[0], index, c.zoneArgument(n), c.textOf(n.args[1]), c.matcher(n, n.args[2])}
	c.checkDatePart(t.part)
	return checked{test: t}
}

func (c *checker) checkDatePart(t text) {
	if _, ok := datePart(t.value, time.Time{}); t.constant() && !ok {
		c.warning(t.pos, "", "a date has no part %s", quote(t.value))
	}
}

func (t dateTest) eval(r *run) (bool, error) {
	fields, err := r.fields([]text{t.name}, t.index)
	if err != nil {
		return false, err
	}
	x, err := t.matcher.begin(r)
	if err != nil {
		return false, err
	}
	for _, f := range fields {
		// The date of a Received field stands behind its last semicolon.
		value := f.Value()
		date, err := message.ParseDate(value[strings.LastIndexByte(value, ';')+1:])
		if err != nil {
			r.trace(1, "%s is no date", shorten(value))
			continue
		}
		if date, err = t.zone.in(r, date); err != nil {
			return false, err
		}
		if ok, err := x.date(t.part, date); ok || err != nil {
			return ok, err
		}
	}
	return x.end()
}

// date compares a part of a date.
func (x *matching) date(part text, t time.Time) (bool, error) {
	name, err := part.eval(x.r)
	if err != nil {
		return false, err
	}
	value, ok := datePart(name, t)
	if !ok {
		return false, nil
	}
	return x.value(value)
}

// currentDateTest is RFC 5260 section 5.
type currentDateTest struct {
	zone    zoneArgument
	part    text
	matcher *matcher
}

func buildCurrentDate(c *checker, n *call) checked {
	t := currentDateTest{c.zoneArgument(n), c.textOf(n.args[0]), c.matcher(n, n.args[1])}
	c.checkDatePart(t.part)
	return checked{test: t}
}

func (t currentDateTest) eval(r *run) (bool, error) {
	now, err := t.zone.in(r, r.now)
	if err != nil {
		return false, err
	}
	x, err := t.matcher.begin(r)
	if err != nil {
		return false, err
	}
	if ok, err := x.date(t.part, now); ok || err != nil {
		return ok, err
	}
	return x.end()
}
