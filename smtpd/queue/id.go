package queue

import "crypto/rand"

// maxID keeps file names well below the file system's limit.
const maxID = 64

// validID reports whether a trace can name files: letters, digits and inner
// hyphens.
func validID(id string) bool {
	if id == "" || len(id) > maxID || id[0] == '-' {
		return false
	}
	for _, c := range []byte(id) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}

func newID() string { return rand.Text()[:16] }
