package config

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Rate is a bound on messages: Messages at most in any Period. The zero Rate is no
// bound.
type Rate struct {
	Messages int
	Period   time.Duration
}

var ratePeriods = map[string]time.Duration{"second": time.Second, "minute": time.Minute, "hour": time.Hour, "day": 24 * time.Hour}

// ParseRate reads a number of messages and a time: "100/minute", "5/10m". The
// empty text is no bound.
func ParseRate(s string) (Rate, error) {
	if s == "" {
		return Rate{}, nil
	}
	number, period, _ := strings.Cut(s, "/")
	n, err := strconv.Atoi(strings.TrimSpace(number))
	period = strings.TrimSpace(period)
	d, known := ratePeriods[period]
	if err == nil && !known {
		d, err = ParseDuration(period)
	}
	if err != nil || n < 1 || n > maxRate || d < time.Second || d > maxRatePeriod {
		return Rate{}, fmt.Errorf("%q: want a number of messages and a time, as in \"100/minute\" (1 to %d; second, minute, hour, day, or a time such as 10m)", s, maxRate)
	}
	return Rate{n, d}, nil
}

// The time of each message within the period is kept in memory.
const (
	maxRate       = 1_000_000
	maxRatePeriod = 7 * 24 * time.Hour
)

func rate(p *Rate) value {
	return value{"rate", func(_ env, v any) error {
		s, ok := v.(string)
		if !ok {
			return wrongType(v, "a rate, as a text", `"100/minute"`)
		}
		r, err := ParseRate(s)
		if err != nil {
			return faultf(`write it as in "100/minute"`, "%v", err)
		}
		*p = r
		return nil
	}}
}
