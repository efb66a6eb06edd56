package pam

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

var errService = errors.New("a service is named by letters, digits, and . _ -")

// shadowFile is where pam_unix reads the password hashes.
const shadowFile = "/etc/shadow"

// validService keeps a service name from leaving its directory.
func validService(s string) bool {
	return s != "" && s[0] != '.' && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("._-", r)
	})
}

// Check looks for what makes every login fail, or succeed where it should not:
// a missing service file (PAM then silently uses "other"), missing phases,
// missing modules, a shadow file that cannot be read. All problems are
// returned at once; each says the mend.
func (o Options) Check(context.Context) error {
	o = o.withDefaults()
	if !validService(o.Service) {
		return fmt.Errorf("PAM service %q: %w", o.Service, errService)
	}
	rules, err := o.rules()
	if err != nil {
		return err
	}
	var problems []error
	for _, kind := range []string{"auth", "account"} {
		if !slices.ContainsFunc(rules, func(r rule) bool { return r.kind == kind }) {
			problems = append(problems, fmt.Errorf("%s has no %q line: add %q", o.file(), kind, kind+" required pam_unix.so"))
		}
	}
	if rules.use("pam_unix.so") {
		problems = append(problems, o.checkShadow())
	}
	return errors.Join(append(problems, rules.missingModules()...)...)
}

// Warnings returns what works but not well.
func (o Options) Warnings() []string {
	o = o.withDefaults()
	rules, err := o.rules()
	if err != nil {
		return nil // Check tells
	}
	var w []string
	if rules.use("pam_faillock.so") && os.Geteuid() != 0 {
		w = append(w, o.file()+": pam_faillock.so cannot write its tally without root; leave it out, mailsrvd itself slows down guessing")
	}
	if rules.use("pam_permit.so") && !slices.ContainsFunc(rules, func(r rule) bool { return r.kind == "auth" && r.module != "pam_permit.so" }) {
		w = append(w, o.file()+": pam_permit.so alone lets everybody in")
	}
	return w
}

// checkShadow opens the shadow file as the PAM threads will.
func (o Options) checkShadow() error {
	err := o.Groups.Do(func() error {
		f, err := os.Open(shadowFile)
		if err != nil {
			return err
		}
		return f.Close()
	})
	if err == nil {
		return nil
	}
	mend := "add SupplementaryGroups=shadow to the unit"
	if fi, serr := os.Stat(shadowFile); serr == nil && fi.Mode().Perm()&0o040 == 0 {
		mend = "groupadd -r shadow; chgrp shadow " + shadowFile + "; chmod 640 " + shadowFile + "; and SupplementaryGroups=shadow in the unit; or use SSSD in place of pam_unix"
	}
	return fmt.Errorf("pam_unix will refuse everybody: %w: %s", err, mend)
}

// dirs are where Linux-PAM looks for service files, in its order.
func (o Options) dirs() []string {
	if o.ConfDir != "" {
		return []string{o.ConfDir}
	}
	return []string{"/etc/pam.d", "/usr/lib/pam.d", "/usr/share/pam.d"}
}

func (o Options) file() string { return filepath.Join(o.dirs()[0], o.Service) }

// rule is one line of a service file.
type rule struct {
	kind   string // auth, account, password, session
	module string // base name, as pam_unix.so
	path   string // as written
	file   string
	silent bool // a leading "-": a missing module is no error
}

type rules []rule

// rules reads the service file with all it includes.
func (o Options) rules() (rules, error) {
	rs, err := o.read(o.Service, "", 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no %s, PAM would use the file \"other\" in its place: install deploy/pam/mailsrvd there, or correct the service name: %w", o.file(), err)
	}
	return rs, err
}

// read reads one service file; only limits it to one kind, unless empty.
func (o Options) read(service, only string, depth int) (rules, error) {
	if depth > 16 {
		return nil, fmt.Errorf("PAM service %s: files include each other", service)
	}
	text, file, err := o.open(service)
	if err != nil {
		return nil, fmt.Errorf("reading PAM service %s: %w", service, err)
	}
	var all rules
	for line := range strings.Lines(strings.ReplaceAll(text, "\\\n", " ")) {
		r, include := parseRule(line)
		if include == "" && r.kind == "" || only != "" && r.kind != "" && r.kind != only {
			continue
		}
		if include != "" {
			of := r.kind
			if of == "" {
				of = only
			}
			inner, err := o.read(include, of, depth+1)
			if err != nil {
				return nil, err
			}
			all = append(all, inner...)
			continue
		}
		r.file = file
		all = append(all, r)
	}
	return all, nil
}

// open finds a service file; an include may also be an absolute path.
func (o Options) open(service string) (text, file string, err error) {
	if filepath.IsAbs(service) {
		b, err := os.ReadFile(service)
		return string(b), service, err
	}
	for _, dir := range o.dirs() {
		file = filepath.Join(dir, service)
		b, err := os.ReadFile(file)
		if !errors.Is(err, fs.ErrNotExist) {
			return string(b), file, err
		}
	}
	return "", "", fmt.Errorf("%s: %w", filepath.Join(o.dirs()[0], service), fs.ErrNotExist)
}

// parseRule reads a line as pam.d(5) has it. For an include it returns the
// name of the other file, with the kind in the rule if there is one.
func parseRule(line string) (r rule, include string) {
	line, _, _ = strings.Cut(line, "#")
	f := strings.Fields(line)
	if len(f) == 2 && f[0] == "@include" {
		return rule{}, f[1]
	}
	if len(f) < 3 {
		return rule{}, ""
	}
	r.kind = strings.ToLower(f[0])
	r.kind, r.silent = strings.CutPrefix(r.kind, "-")
	control, rest := f[1], f[2:]
	if strings.HasPrefix(control, "[") {
		for !strings.HasSuffix(control, "]") && len(rest) > 0 {
			control, rest = rest[0], rest[1:]
		}
	}
	if len(rest) == 0 {
		return rule{}, ""
	}
	if control == "include" || control == "substack" {
		return r, rest[0]
	}
	r.path, r.module = rest[0], filepath.Base(rest[0])
	return r, ""
}

// use reports whether a rule that we run names the module.
func (rs rules) use(module string) bool {
	return slices.ContainsFunc(rs, func(r rule) bool {
		return r.module == module && (r.kind == "auth" || r.kind == "account")
	})
}

// missingModules looks for the modules of the phases we run. Where PAM keeps
// them differs by system; without a directory that holds pam_deny.so or
// pam_permit.so nothing is said.
func (rs rules) missingModules() []error {
	dirs := moduleDirs()
	if len(dirs) == 0 {
		return nil
	}
	var problems []error
	for _, r := range rs {
		if r.silent || r.kind != "auth" && r.kind != "account" {
			continue
		}
		found := slices.ContainsFunc(dirs, func(dir string) bool {
			path := r.path
			if !filepath.IsAbs(path) {
				path = filepath.Join(dir, path)
			}
			_, err := os.Stat(path)
			return err == nil
		})
		if !found {
			problems = append(problems, fmt.Errorf("%s: there is no module %s in %s: correct the name, or install its package", r.file, r.path, dirs[0]))
		}
	}
	return problems
}

func moduleDirs() []string {
	var dirs []string
	for _, pattern := range []string{"/lib/*/security", "/usr/lib/*/security", "/lib/security", "/lib64/security", "/usr/lib/security", "/usr/lib64/security"} {
		found, _ := filepath.Glob(pattern + "/pam_deny.so") // fails for a bad pattern only
		for _, f := range found {
			dirs = append(dirs, filepath.Dir(f))
		}
	}
	return dirs
}
