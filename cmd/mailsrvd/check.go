package main

import (
	"context"

	"svc.plus/mailsrvd/config"
)

// checkOptions say how far check-config looks.
type checkOptions struct {
	strict bool
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
		ck.certificates,
	} {
		check(ctx)
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
}

func (ck *checker) errorAt(key, text, mend string) {
	ck.problems = append(ck.problems, ck.cfg.Problem(key, text, mend))
}

func (ck *checker) warnAt(key, text, mend string) {
	p := ck.cfg.Problem(key, text, mend)
	p.Warning = true
	ck.problems = append(ck.problems, p)
}
