package passwdfile

import "testing"

// The inputs of the specification's reference code; openssl gives the same.
func TestSHACryptVectors(t *testing.T) {
	cases := []struct {
		m        shaCrypt
		rounds   int
		salt     string
		password string
		want     string
	}{
		{sha512crypt, 0, "saltstring", "Hello world!", "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1"},
		{sha512crypt, 10000, "saltstringsaltst", "Hello world!", "$6$rounds=10000$saltstringsaltst$OW1/O6BYHV6BcXZu8QVeXbDWra3Oeqh0sbHbbMCVNSnCM/UrjmM0Dp8vOuZeHBy/YTBmSK6H9qs/y3RnOaw5v."},
		{sha256crypt, 0, "saltstring", "Hello world!", "$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5"},
		{sha256crypt, 10000, "saltstringsaltst", "Hello world!", "$5$rounds=10000$saltstringsaltst$3xv.VbSHBb41AL9AvLeujZkZRBAwqFMz2.opqey6IcA"},
	}
	for _, c := range cases {
		if got := c.m.hash(c.password, c.salt, c.rounds); got != c.want {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
	}
}
