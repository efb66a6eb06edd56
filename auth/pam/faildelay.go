//go:build cgo

package pam

/*
#cgo LDFLAGS: -lpam
#include <stdint.h>
#include <security/pam_appl.h>

static void no_delay(int retval, unsigned usec, void *appdata) { (void)retval; (void)usec; (void)appdata; }

static int skip_fail_delay(uintptr_t handle) {
#ifdef PAM_FAIL_DELAY
	return pam_set_item((pam_handle_t *)handle, PAM_FAIL_DELAY, (const void *)no_delay);
#else
	(void)handle;
	return 0;
#endif
}
*/
import "C"

import (
	"reflect"

	linuxpam "github.com/msteinert/pam/v2"
)

// skipFailDelay lets PAM call an empty function where it would sleep about two
// seconds after a failure, on a thread that others wait for. The item is a
// function pointer, which the library cannot set; its handle is read by
// reflection. Without the field PAM sleeps, which is slow but not wrong.
func skipFailDelay(t *linuxpam.Transaction) bool {
	f := reflect.ValueOf(t).Elem().FieldByName("handle")
	if !f.IsValid() || f.Kind() != reflect.Pointer || f.IsNil() {
		return false
	}
	return C.skip_fail_delay(C.uintptr_t(f.Pointer())) == C.PAM_SUCCESS
}
