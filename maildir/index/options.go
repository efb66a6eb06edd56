package index

import (
	"errors"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// ErrLocked means that another process has the cache directory open.
var ErrLocked = errors.New("cache is in use by another process")

// Options are the settings of an Index.
type Options struct {
	// Dir is the directory of the cache, made with mode 0700 when it is missing.
	Dir string
	// MaxBytes bounds what is kept for one user, in bytes of files; folders that
	// were not used for longest give way. 0 is 4 GiB.
	MaxBytes int64
	// MaxOpen bounds the folders whose files are open at the same time, besides
	// those being read. 0 is 128.
	MaxOpen int
	// NoText keeps no full-text index: searches look at the messages.
	NoText bool
	// Logger gets what happened to the cache; nil is silence.
	Logger *slog.Logger
	// Registerer gets the metrics mailsrvd_index_*; nil is none.
	Registerer prometheus.Registerer

	// For tests.
	now    func() time.Time
	noSync bool
}

// withDefaults fills in what is zero.
func (o Options) withDefaults() Options {
	if o.MaxBytes == 0 {
		o.MaxBytes = 4 << 30
	}
	if o.MaxOpen == 0 {
		o.MaxOpen = 128
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.now == nil {
		o.now = time.Now
	}
	return o
}
