package wire

import "time"

// Date insists on a date of SEARCH, "1-Feb-1994", quoted or not. The result is
// that day's start in UTC.
func (d *Decoder) Date() time.Time {
	text := d.AString()
	if d.err != nil {
		return time.Time{}
	}
	t, err := time.Parse("2-Jan-2006", text)
	if err != nil {
		d.Failf("Bad date, expected the form 1-Feb-1994")
	}
	return t
}

// DateTime insists on a date-time, `" 1-Feb-1994 21:52:25 -0800"`.
func (d *Decoder) DateTime() time.Time {
	if d.err == nil && d.Peek() != '"' {
		d.Failf("Expected a date-time in quotes, found %s", d.found())
	}
	text := d.String()
	if d.err != nil {
		return time.Time{}
	}
	t, err := time.Parse("_2-Jan-2006 15:04:05 -0700", text)
	if err != nil {
		d.Failf(`Bad date-time, expected the form " 1-Feb-1994 21:52:25 -0800"`)
	}
	return t
}

// AppendDateTime appends t as a date-time in quotes.
func AppendDateTime(dst []byte, t time.Time) []byte {
	dst = append(dst, '"')
	dst = t.AppendFormat(dst, "_2-Jan-2006 15:04:05 -0700")
	return append(dst, '"')
}
