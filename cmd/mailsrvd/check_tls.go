package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"svc.plus/mailsrvd/config"
	"svc.plus/mailsrvd/internal/listen"
)

// certificates loads each pair as the daemon would, and looks at names and
// times.
func (ck *checker) certificates(context.Context) {
	names, pairs := ck.cfg.TLS.Pairs()
	loaded, covered := 0, false
	for i, p := range pairs {
		if p.Certificate == "" || p.Key == "" {
			continue // reported by the configuration itself
		}
		c, err := listen.LoadCertificates(nil, listen.Pair(p))
		if err != nil {
			ck.pairProblem(names[i], p, err)
			continue
		}
		loaded++
		ck.readable(names[i]+".key", p.Key)
		now := time.Now()
		if err := c.Check(now); errors.Is(err, listen.ErrExpired) {
			// A warning: the unit checks before each start, and a server that
			// does not start loses more than one whose clients complain.
			ck.warnAt(names[i]+".certificate", err.Error(), "renew the certificate, then reload")
		} else if left := time.Until(c.NotAfter()); left < 14*24*time.Hour {
			ck.warnAt(names[i]+".certificate", fmt.Sprintf("%s ends in %d days, on %s", p.Certificate, int(left.Hours()/24), c.NotAfter().Format(time.DateOnly)),
				"renew it now; does the renewal job run, and does it reload mailsrvd?")
		}
		covered = covered || !errors.Is(c.Check(now, ck.cfg.Hostname), listen.ErrNotCovered)
	}
	if loaded > 0 && !covered && ck.cfg.Hostname != "" {
		ck.errorAt("tls.certificate", "no certificate is for "+ck.cfg.Hostname, "get one for hostname, or set hostname to the certificate's name; clients refuse any other")
	}
}

// pairProblem says which of the two files is to blame, if that is known.
func (ck *checker) pairProblem(name string, p config.KeyPair, err error) {
	key, mend := name+".certificate", "certificate and key must be PEM files that belong together"
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		mend = "write the path of the PEM file, or put it there"
		if errors.Is(err, fs.ErrPermission) {
			mend = "make it readable: chgrp mailsrvd " + pathErr.Path + "; chmod 640 " + pathErr.Path + " (and x for the directories above)"
		}
		if pathErr.Path == p.Key {
			key = name + ".key"
		}
	}
	ck.errorAt(key, err.Error(), mend)
}
