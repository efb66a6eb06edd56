package auth

import (
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/emersion/go-sasl"
)

// exchange gives the responses to a server one by one; "<nil>" is a nil one.
// It returns the challenges and what verify saw.
func exchange(s func(func(string, string) error) sasl.Server, verdict error, responses ...string) (seen string, challenges []string, done bool, err error) {
	srv := s(func(login, password string) error { seen = login + "|" + password; return verdict })
	for _, r := range responses {
		var in, challenge []byte
		if r != "<nil>" {
			in = []byte(r)
		}
		challenge, done, err = srv.Next(in)
		switch {
		case challenge == nil:
			challenges = append(challenges, "<nil>")
		default:
			challenges = append(challenges, string(challenge))
		}
		if done || err != nil {
			break
		}
	}
	return seen, challenges, done, err
}

func TestPlain(t *testing.T) {
	long := strings.Repeat("x", 256)
	cases := []struct {
		name      string
		responses []string
		seen      string
		kind      Kind
	}{
		{"initial response", []string{"\x00tim\x00tanstaaftanstaaf"}, "tim|tanstaaftanstaaf", -1},
		{"after an empty challenge", []string{"<nil>", "\x00tim\x00x"}, "tim|x", -1},
		{"identity is the name", []string{"tim\x00tim\x00x"}, "tim|x", -1},
		{"identity is somebody else", []string{"root\x00tim\x00x"}, "", Disabled},
		{"empty password is the back end's business", []string{"\x00tim\x00"}, "tim|", -1},
		{"UTF-8", []string{"\x00jürgen\x00grüße"}, "jürgen|grüße", -1},
		{"empty name", []string{"\x00\x00x"}, "", Malformed},
		{"empty", []string{""}, "", Malformed},
		{"asked and nothing said", []string{"<nil>", "<nil>"}, "", Malformed},
		{"one NUL", []string{"tim\x00x"}, "", Malformed},
		{"a NUL in the password", []string{"\x00tim\x00x\x00y"}, "", Malformed},
		{"not UTF-8", []string{"\x00t\xffm\x00x"}, "", Malformed},
		{"a long name", []string{"\x00" + long + "\x00x"}, "", Malformed},
		{"a long password", []string{"\x00tim\x00" + strings.Repeat("x", 1025)}, "", Malformed},
		{"a longer response", []string{strings.Repeat("x", 5000)}, "", Malformed},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			seen, challenges, done, err := exchange(NewPlain, nil, c.responses...)
			if seen != c.seen || !done || (err == nil) != (c.kind < 0) || err != nil && AsError(err).Kind != c.kind {
				t.Errorf("saw %q, done %v, %v", seen, done, err)
			}
			for _, ch := range challenges {
				if ch != "<nil>" {
					t.Errorf("challenge %q", ch)
				}
			}
		})
	}
}

func TestLogin(t *testing.T) {
	cases := []struct {
		name       string
		responses  []string
		challenges string
		seen       string
		kind       Kind
	}{
		{"asked for both", []string{"<nil>", "tim", "x"}, "Username:,Password:,<nil>", "tim|x", -1},
		{"name as initial response", []string{"tim", "x"}, "Password:,<nil>", "tim|x", -1},
		{"empty password", []string{"<nil>", "tim", "<nil>"}, "Username:,Password:,<nil>", "tim|", -1},
		{"empty name", []string{"<nil>", "", "x"}, "Username:,Password:,<nil>", "", Malformed},
		{"empty initial response", []string{"", "x"}, "Password:,<nil>", "", Malformed},
		{"NUL in the name", []string{"<nil>", "t\x00m", "x"}, "Username:,Password:,<nil>", "", Malformed},
		{"NUL in the password", []string{"<nil>", "tim", "x\x00"}, "Username:,Password:,<nil>", "", Malformed},
		{"a long name", []string{"<nil>", strings.Repeat("x", 5000)}, "Username:,<nil>", "", Malformed},
		{"a long password", []string{"tim", strings.Repeat("x", 1100)}, "Password:,<nil>", "", Malformed},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			seen, challenges, done, err := exchange(NewLogin, nil, c.responses...)
			if seen != c.seen || !done || (err == nil) != (c.kind < 0) || err != nil && AsError(err).Kind != c.kind {
				t.Errorf("saw %q, done %v, %v", seen, done, err)
			}
			if got := strings.Join(challenges, ","); got != c.challenges {
				t.Errorf("challenges %s, want %s", got, c.challenges)
			}
		})
	}
}

func TestSASLPassesTheVerdictOnAndEnds(t *testing.T) {
	for name, c := range map[string]struct {
		server    func(func(string, string) error) sasl.Server
		responses []string
	}{
		"PLAIN": {NewPlain, []string{"\x00tim\x00x"}},
		"LOGIN": {NewLogin, []string{"tim", "x"}},
	} {
		if _, _, _, err := exchange(c.server, io.EOF, c.responses...); err != io.EOF {
			t.Errorf("%s: %v", name, err)
		}
		s := c.server(func(string, string) error { return nil })
		for _, r := range c.responses {
			s.Next([]byte(r))
		}
		if _, _, err := s.Next([]byte("more")); !errors.Is(err, sasl.ErrUnexpectedClientResponse) {
			t.Errorf("%s goes on after its end: %v", name, err)
		}
	}
}

func TestPlainSpeaksWithTheLibrarysClient(t *testing.T) {
	_, ir, _ := sasl.NewPlainClient("", "tim", "pw").Start()
	if seen, _, _, err := exchange(NewPlain, nil, string(ir)); seen != "tim|pw" || err != nil {
		t.Errorf("saw %q, %v", seen, err)
	}
	c := sasl.NewLoginClient("tim", "pw")
	_, ir, _ = c.Start() // it sends the name as initial response
	s := NewLogin(func(l, p string) error {
		if l != "tim" || p != "pw" {
			t.Errorf("saw %q, %q", l, p)
		}
		return nil
	})
	challenge, done, err := s.Next(ir)
	for !done && err == nil {
		var r []byte
		if r, err = c.Next(challenge); err == nil {
			challenge, done, err = s.Next(r)
		}
	}
	if err != nil {
		t.Error(err)
	}
}

// FuzzSASL wants that no response panics and that verify never sees a name that
// is empty, has a NUL or is not the one that was sent.
func FuzzSASL(f *testing.F) {
	f.Add([]byte("\x00tim\x00x"), []byte("y"))
	f.Add([]byte("tim"), []byte("pw"))
	f.Add([]byte{}, []byte{0})
	f.Fuzz(func(t *testing.T, a, b []byte) {
		for _, mk := range []func(func(string, string) error) sasl.Server{NewPlain, NewLogin} {
			s := mk(func(login, password string) error {
				if login == "" || strings.Contains(login+password, "\x00") || len(login) > maxLogin || len(password) > maxPassword {
					t.Errorf("verify saw %q %q", login, password)
				}
				return nil
			})
			for _, r := range [][]byte{a, b, b} {
				if _, done, err := s.Next(r); done || err != nil {
					break
				}
			}
		}
	})
}
