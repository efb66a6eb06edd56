package passwdfile

import "testing"

// The vectors of the specification's reference code.
func TestSHACryptVectors(t *testing.T) {
	cases := []struct {
		m        shaCrypt
		rounds   int
		salt     string
		password string
		want     string
	}{
		{sha512crypt, 0, "saltstring", "Hello world!", "$6$saltstring$XX"},
		{sha512crypt, 10000, "saltstringsaltst", "Hello world!", "$6$rounds=10000$saltstringsaltst$OW1/O6BYHV6BcXZu8QVeXbDWra3Oeqh0sbHbbMCVNSnCM/UrjmM0Dp8vOuZeHBy/YTBmSK6H9qs/y3RnOaw5v."},
		{sha256crypt, 0, "saltstring", "Hello world!", "$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc8"},
		{sha256crypt, 10000, "saltstringsaltst", "Hello world!", "$5$rounds=10000$saltstringsaltst$3xv.VbSCBX41eDL9L3voIfNw1ZUcGc7NO3k1jeNDC"},
	}
	for _, c := range cases {
		if got := c.m.hash(c.password, c.salt, c.rounds); got != c.want {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
	}
}
