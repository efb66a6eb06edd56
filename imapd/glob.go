package imapd

// maxPattern bounds a mailbox pattern in bytes; no mailbox name is as long.
const maxPattern = 1024

// globMatch reports whether the whole of name matches the pattern of LIST: "*"
// is any text, "%" any text without the separator (RFC 9051 section 6.3.9). Its
// time is the product of the two lengths, whatever the pattern.
func globMatch(pattern, name string, separator byte) bool {
	// at[i] is whether the pattern so far matches name[:i].
	at := make([]bool, len(name)+1)
	at[0] = true
	for p := range len(pattern) {
		switch c := pattern[p]; c {
		case '*', '%':
			for i := range len(name) {
				at[i+1] = at[i+1] || at[i] && (c == '*' || name[i] != separator)
			}
		default:
			for i := len(name) - 1; i >= 0; i-- {
				at[i+1] = at[i] && name[i] == c
			}
			at[0] = false
		}
	}
	return at[len(name)]
}
