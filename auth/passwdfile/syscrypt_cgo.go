//go:build cgo

package passwdfile

/*
#cgo LDFLAGS: -lcrypt
#include <crypt.h>
#include <stdlib.h>
#include <string.h>

// matches reports whether crypt(3) makes want out of key with the salt in want.
static int matches(const char *key, const char *want) {
	struct crypt_data *data = calloc(1, sizeof *data);
	if (!data)
		return 0;
	const char *got = crypt_r(key, want, data);
	int ok = got && got[0] != '*' && !strcmp(got, want);
	explicit_bzero(data, sizeof *data);
	free(data);
	return ok;
}
*/
import "C"

import (
	"strings"
	"unsafe"
)

// haveSystemCrypt says that the forms of crypt(3) which we do not compute
// ourselves are judged by the system's library.
const haveSystemCrypt = true

// matches implements hash. The comparison need not be in constant time: it is
// of hashes, and a guesser does not know the salt.
func (h systemHash) matches(password string) bool {
	if strings.ContainsRune(password, 0) {
		return false
	}
	key, want := C.CString(password), C.CString(string(h))
	defer C.free(unsafe.Pointer(want))
	defer C.free(unsafe.Pointer(key))
	defer C.explicit_bzero(unsafe.Pointer(key), C.size_t(len(password)))
	return C.matches(key, want) != 0
}
