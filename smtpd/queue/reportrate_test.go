package queue

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"svc.plus/mailsrvd/internal/message"
)

func TestReportsToStrangersAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, always(never))
		begun := time.Now()
		put := func(i int, from, user string) {
			f.put(message.Envelope{Trace: fmt.Sprintf("q%d%s", i, user), ReversePath: from, User: user, Trusted: true,
				Recipients: []message.Recipient{{Address: "nobody@a.example"}}})
		}
		const n = 100
		for i := range n {
			put(i, fmt.Sprintf("s%d@stranger.example", i), "")
			put(i, "alice@example.org", "alice")
		}
		put(n, "one@else.example", "")
		f.run(12 * time.Hour)
		early, all := map[string]int{}, map[string]int{}
		for _, r := range f.sent() {
			domain := ByDomain(r.env.Recipients[0].Address)
			if all[domain]++; r.at.Sub(begun) < time.Hour {
				early[domain]++
			}
		}
		if early["stranger.example"] != reportRate.Messages || early["example.org"] != n || early["else.example"] != 1 {
			t.Errorf("in the first hour: %v", early)
		}
		if all["stranger.example"] != n || all["example.org"] != n {
			t.Errorf("in all: %v", all)
		}
		f.empty()
	})
}
