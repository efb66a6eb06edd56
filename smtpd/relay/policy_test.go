package relay

import (
	"context"
	"errors"
	"testing"
)

func TestStrictestTakesTheFirstWordOfWeight(t *testing.T) {
	say := func(l Level, id string) Policy {
		return func(context.Context, string, Host) (Requirement, error) { return Requirement{Level: l, ID: id}, nil }
	}
	published := func(l Level, id string, by PolicyType) Policy {
		return func(context.Context, string, Host) (Requirement, error) {
			return Requirement{Level: l, ID: id, Published: Published{Type: by}}, nil
		}
	}
	unusable := func(context.Context, string, Host) (Requirement, error) {
		return Requirement{}, errors.New("not this host")
	}
	cases := []struct {
		name     string
		policies []Policy
		level    Level
		id       string
		fails    bool
	}{
		{"none", nil, Opportunistic, "", false},
		{"nothing to say", []Policy{say(Opportunistic, "")}, Opportunistic, "", false},
		{"later is stricter", []Policy{say(Encrypted, "a"), say(Verified, "b")}, Verified, "b", false},
		{"earlier is stricter", []Policy{say(Verified, "a"), say(Encrypted, "b")}, Verified, "a", false},
		{"equals: the first", []Policy{say(Encrypted, "a"), say(Encrypted, "b")}, Encrypted, "a", false},
		{"a policy of the domain and a stricter one of ours", []Policy{published(Opportunistic, "a", STS), say(Encrypted, "b")}, Encrypted, "a b", false},
		{"a stricter one of ours first", []Policy{say(Encrypted, "b"), published(Opportunistic, "a", STS)}, Encrypted, "a b", false},
		{"unusable DANE, then MTA-STS", []Policy{published(Encrypted, "a", TLSA), published(Verified, "b", STS)}, Verified, "b", false},
		{"unusable DANE, then MTA-STS for testing", []Policy{published(Encrypted, "a", TLSA), published(Opportunistic, "b", STS)}, Encrypted, "a", false},
		{"verified is enough", []Policy{say(Verified, "a"), unusable}, Verified, "a", false},
		{"unusable for a later one", []Policy{say(Encrypted, "a"), unusable, say(Verified, "b")}, Opportunistic, "", true},
	}
	for _, c := range cases {
		q, err := Strictest(c.policies...)(t.Context(), "a.example", Host{Name: "mx.a.example"})
		if q.Level != c.level || q.ID != c.id || (err != nil) != c.fails {
			t.Errorf("%s: %+v, %v", c.name, q, err)
		}
	}
}
