//go:build !cgo

package pam

import (
	"context"
	"errors"
	"net/netip"

	"svc.plus/mailsrvd/auth"
)

// ErrNoCgo means that this binary was built without PAM.
var ErrNoCgo = errors.New(`this binary was built without cgo and has no PAM; build it with CGO_ENABLED=1 and libpam0g-dev, or set backend = "passwd-file"`)

// Backend stands for the PAM back end in a binary that has none.
type Backend struct{}

// New returns ErrNoCgo.
func New(Options) (*Backend, error) { return nil, ErrNoCgo }

// Verify returns an *auth.Error of kind Unavailable.
func (*Backend) Verify(context.Context, string, string, netip.Addr) error {
	return auth.AsError(ErrNoCgo)
}

// Lookup returns ErrNoCgo.
func (*Backend) Lookup(context.Context, string) (auth.Account, error) {
	return auth.Account{}, ErrNoCgo
}
