package dns

import (
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// The limits of RFC 1035 section 2.3.4, in octets without the final dot.
const (
	maxName  = 253
	maxLabel = 63
)

// lookup maps Unicode names as RFC 5891 section 5 asks of one who looks a name
// up. Underscores stay allowed: _dmarc and its like are names too.
var lookup = idna.New(idna.MapForLookup(), idna.BidiRule(), idna.Transitional(false), idna.StrictDomainName(false))

// ToASCII gives the form in which a name is asked and compared: A-labels,
// lower case, no trailing dot. The error is an *Error with ErrInvalidName.
func ToASCII(name string) (string, error) {
	ascii := strings.ToLower(name)
	if !utf8.ValidString(name) {
		return "", &Error{Name: name, Type: "name", Err: ErrInvalidName}
	}
	if !isASCII(name) {
		var err error
		if ascii, err = lookup.ToASCII(name); err != nil {
			return "", &Error{Name: name, Type: "name", Err: ErrInvalidName, Cause: err}
		}
	}
	ascii = strings.TrimSuffix(ascii, ".")
	if !validName(ascii) {
		return "", &Error{Name: name, Type: "name", Err: ErrInvalidName}
	}
	return ascii, nil
}

func isASCII(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// validName checks lengths and characters. It is wider than a host name
// (RFC 1123) and narrower than DNS, which allows any octet: backslashes and
// spaces in a name from a mail address are an attack or a mistake.
func validName(name string) bool {
	if name == "" || len(name) > maxName {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > maxLabel {
			return false
		}
		for i := 0; i < len(label); i++ {
			if !nameByte(label[i]) {
				return false
			}
		}
	}
	return true
}

func nameByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '/'
}
