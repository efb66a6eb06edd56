package queue

import (
	"math/rand/v2"
	"time"
)

// backoff is the wait before the next attempt after n failures: lowest doubled
// each time, highest at most, and up to an eighth more or less, so that what
// failed together does not come back together.
func backoff(n int, lowest, highest time.Duration) time.Duration {
	d := lowest
	for i := 1; i < n && d < highest; i++ {
		d *= 2
	}
	d = min(d, highest)
	if eighth := int64(d / 8); eighth > 0 {
		d += time.Duration(rand.Int64N(2*eighth) - eighth)
	}
	return d
}
