package listen

import (
	"net/netip"
	"time"
)

// rate is a number of connections that a network may make in a minute; 0 is no
// limit.
type rate struct {
	network   netip.Prefix
	perMinute int
}

// rates holds, for each network, the connections that it may still make, as a
// bucket that fills up within a minute.
type rates map[netip.Prefix]*bucket

type bucket struct {
	left float64
	at   time.Time
}

// maxRates bounds the table. When it is full of networks that have just been
// here, a new one is let in unseen.
const maxRates = 1 << 16

// take counts a connection in all of the given rates, or in none of them and
// reports false.
func (r rates) take(now time.Time, of ...rate) bool {
	var taken []*bucket
	for _, o := range of {
		if o.perMinute <= 0 {
			continue
		}
		b := r.bucket(now, o)
		if b == nil {
			continue
		}
		if b.left < 1 {
			return false
		}
		taken = append(taken, b)
	}
	for _, b := range taken {
		b.left--
	}
	return true
}

func (r rates) bucket(now time.Time, o rate) *bucket {
	most := float64(o.perMinute)
	b := r[o.network]
	if b == nil {
		if len(r) >= maxRates {
			r.sweep(now)
		}
		if len(r) >= maxRates {
			return nil
		}
		b = &bucket{left: most}
		r[o.network] = b
	} else {
		b.left = min(most, b.left+most*now.Sub(b.at).Minutes())
	}
	b.at = now
	return b
}

// sweep forgets who was not here for a minute.
func (r rates) sweep(now time.Time) {
	for network, b := range r {
		if now.Sub(b.at) >= time.Minute {
			delete(r, network)
		}
	}
}
