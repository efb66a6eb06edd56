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
		{"nothing to say", []Policy{say(Opportunistic, "a")}, Opportunistic, "", false},
		{"later is stricter", []Policy{say(Encrypted, "a"), say(Verified, "b")}, Verified, "b", false},
		{"earlier is stricter", []Policy{say(Verified, "a"), say(Encrypted, "b")}, Verified, "a", false},
		{"equals: the first", []Policy{say(Encrypted, "a"), say(Encrypted, "b")}, Encrypted, "a", false},
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
