package config

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// sizeUnits are the units of ParseSize, longest names first where one ends in
// another. Both families are accepted; the binary one is what we print.
var sizeUnits = []struct {
	name  string
	bytes int64
}{
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40},
	{"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12},
	{"B", 1},
}

// ParseSize reads a number of bytes with its unit: "50MiB", "1.5 GB", "512B".
// The unit is required, in upper or lower case; the result is in bytes.
func ParseSize(s string) (int64, error) {
	const want = `want a number with a unit, as in "50MiB" (B, KiB, MiB, GiB, KB, MB, GB)`
	t := strings.TrimSpace(s)
	for _, u := range sizeUnits {
		if len(t) <= len(u.name) || !strings.EqualFold(t[len(t)-len(u.name):], u.name) {
			continue
		}
		num := strings.TrimSpace(t[:len(t)-len(u.name)])
		if strings.Trim(num, "0123456789.") != "" {
			break
		}
		f, err := strconv.ParseFloat(num, 64)
		if err != nil {
			break
		}
		n := f * float64(u.bytes)
		if n >= math.MaxInt64 {
			return 0, fmt.Errorf("%q is too big", s)
		}
		return int64(n), nil
	}
	return 0, fmt.Errorf("%q: %s", s, want)
}

// FormatSize is the shortest exact form that ParseSize reads back.
func FormatSize(n int64) string {
	for _, u := range []struct {
		name  string
		bytes int64
	}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if n != 0 && n%u.bytes == 0 {
			return strconv.FormatInt(n/u.bytes, 10) + u.name
		}
	}
	return strconv.FormatInt(n, 10) + "B"
}

var errDuration = errors.New(`want a time with units, as in "90s", "1h30m" or "5d" (ms, s, m, h, d, w)`)

// durationUnits are those of time.ParseDuration that make sense for a mail
// server, and days and weeks.
var durationUnits = map[string]time.Duration{
	"ms": time.Millisecond, "s": time.Second, "m": time.Minute, "h": time.Hour,
	"d": 24 * time.Hour, "w": 7 * 24 * time.Hour,
}

// ParseDuration reads a time span with units: "90s", "1h30m", "5d", "2w". A
// day is 24 hours. The unit is required, except for "0".
func ParseDuration(s string) (time.Duration, error) {
	rest := strings.TrimSpace(s)
	if rest == "0" {
		return 0, nil
	}
	if rest == "" {
		return 0, errDuration
	}
	var sum float64
	for rest != "" {
		num, tail := span(rest, "0123456789.")
		unit, next := span(tail, "abcdefghijklmnopqrstuvwxyz")
		f, err := strconv.ParseFloat(num, 64)
		u, known := durationUnits[unit]
		if err != nil || !known {
			return 0, fmt.Errorf("%q: %w", s, errDuration)
		}
		sum += f * float64(u)
		rest = strings.TrimLeft(next, " ")
	}
	if sum >= math.MaxInt64 {
		return 0, fmt.Errorf("%q is too long", s)
	}
	return time.Duration(sum), nil
}

// span splits s after its longest prefix of the given characters.
func span(s, chars string) (head, tail string) {
	head = s[:len(s)-len(strings.TrimLeft(s, chars))]
	return head, s[len(head):]
}

// FormatDuration is a short form, exact to the millisecond, that ParseDuration
// reads back.
func FormatDuration(d time.Duration) string {
	if d = d.Truncate(time.Millisecond); d == 0 {
		return "0s"
	}
	var b strings.Builder
	for _, u := range []string{"d", "h", "m", "s", "ms"} {
		if n := d / durationUnits[u]; n > 0 {
			fmt.Fprintf(&b, "%d%s", n, u)
			d -= n * durationUnits[u]
		}
	}
	return b.String()
}
