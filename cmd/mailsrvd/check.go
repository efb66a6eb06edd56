package main

import (
	"context"
	"os"

	"svc.plus/mailsrvd/config"
	"svc.plus/mailsrvd/internal/asuser"
)

// checkOptions say how far check-config looks.
type checkOptions struct {
	strict, dns bool
}

// run checks the file and everything that it names. The error is one of
// reading the file.
func (o checkOptions) run(ctx context.Context, path string) (config.Problems, error) {
	c, problems, err := config.Read(path)
	if err != nil {
		return nil, err
	}
	ck := &checker{cfg: c}
	for _, check := range []func(context.Context){
		ck.user, ck.certificates, ck.authentication, ck.dkimKeys, ck.aliases, ck.files, ck.dane, ck.reports, ck.filters, ck.manageSieve, ck.ourPolicy, ck.directories, ck.ports, ck.maildirs,
	} {
		check(ctx)
	}
	if !problems.HasErrors() && !ck.problems.HasErrors() {
		ck.rooms(ctx)
	}
	if o.dns && !problems.HasErrors() {
		ck.dns(ctx)
	}
	problems = append(problems, ck.problems...)
	problems.Sort()
	return problems, nil
}

// checker collects what is wrong with the things that a configuration names.
// Each method is one area and adds its problems.
type checker struct {
	cfg      *config.Config
	problems config.Problems
	// daemon is whom a daemon started by root will be; nil if it will be us.
	daemon *asuser.Target
}

func (ck *checker) errorAt(key, text, mend string) {
	ck.problems = append(ck.problems, ck.cfg.Problem(key, text, mend))
}

func (ck *checker) warnAt(key, text, mend string) {
	p := ck.cfg.Problem(key, text, mend)
	p.Warning = true
	ck.problems = append(ck.problems, p)
}

// user finds out whose rights count.
func (ck *checker) user(context.Context) {
	if os.Geteuid() != 0 || !dropsRoot(ck.cfg) {
		return
	}
	t, err := asuser.LookupTarget(ck.cfg.User)
	if err != nil {
		ck.errorAt("user", err.Error(), "make the system user: systemd-sysusers, with deploy/sysusers.d/mailsrvd.conf")
		return
	}
	ck.daemon = &t
}

// dropsRoot reports whether a daemon that root starts goes on as another user:
// always with PAM, whose users' mail it must not touch as root; with a
// passwd-file only when the configuration says so.
func dropsRoot(c *config.Config) bool {
	return c.User != "" && (c.Auth.Backend == "pam" || c.Given("user"))
}
