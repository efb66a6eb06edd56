//go:build !cgo

package passwdfile

// haveSystemCrypt says that the system's crypt(3) cannot be called.
const haveSystemCrypt = false

// matches implements hash; parseSystem lets no such hash in.
func (systemHash) matches(string) bool { return false }
