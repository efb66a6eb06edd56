package managesieve

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"svc.plus/mailsrvd/internal/asuser"
)

// TestForeignLinks: a link to elsewhere has no name here, but is replaced, and what
// it leads to stays; an absolute one into ~/sieve counts, as with Pigeonhole.
func TestForeignLinks(t *testing.T) {
	h := newHarness(t, nil)
	home := h.alice.Owner.Home
	writeAs(t, h.alice, "dotfiles/filter.sieve", "keep;")
	writeAs(t, h.alice, "sieve/a.sieve", "keep;")
	c := h.login("alice")
	for target, want := range map[string]string{
		"dotfiles/filter.sieve": `"a"|OK`, home + "/sieve/a.sieve": `"a" ACTIVE|OK`, "sieve/../sieve/a.sieve": `"a" ACTIVE|OK`,
		"sieve/gone.sieve": `"a"|OK`, "sieve/a": `"a"|OK`, "a.sieve": `"a"|OK`, "../" + filepath.Base(home) + "/sieve/a.sieve": `"a" ACTIVE|OK`,
	} {
		os.Remove(home + "/.dovecot.sieve")
		if err := os.Symlink(target, home+"/.dovecot.sieve"); err != nil {
			t.Fatal(err)
		}
		own(t, h.alice, ".dovecot.sieve")
		if got := c.ask("LISTSCRIPTS"); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %s", target, got)
		}
		if got := c.ask(`SETACTIVE "a"`); !strings.HasPrefix(got, "OK") {
			t.Errorf("%s: %s", target, got)
		}
	}
	if got := files(t, h.alice); !slices.Contains(got, "dotfiles/filter.sieve: keep;") || !slices.Contains(got, ".dovecot.sieve -> sieve/a.sieve") {
		t.Errorf("%q", got)
	}

	// A script may be a link below the home; its place is taken by what is uploaded.
	if err := errors.Join(os.Symlink("../dotfiles/filter.sieve", home+"/sieve/linked.sieve"), os.Symlink(home+"/dotfiles/filter.sieve", home+"/sieve/absolute.sieve")); err != nil {
		t.Fatal(err)
	}
	own(t, h.alice, "sieve/linked.sieve", "sieve/absolute.sieve")
	if got := c.ask("LISTSCRIPTS"); !strings.HasPrefix(got, `"a" ACTIVE|"linked"|OK`) {
		t.Error(got)
	}
	if got := c.ask(`GETSCRIPT "linked"`); !strings.HasPrefix(got, "{5}\r\nkeep;|OK") {
		t.Error(got)
	}
	if got := c.ask(`GETSCRIPT "absolute"`); !strings.HasPrefix(got, "NO (NONEXISTENT)") {
		t.Error(got)
	}
	c.put("linked", "stop;")
	if got := files(t, h.alice); !slices.Contains(got, "dotfiles/filter.sieve: keep;") || !slices.Contains(got, "sieve/linked.sieve: stop;") {
		t.Errorf("%q", got)
	}
}

// TestPlantedThingsHoldNobodyUp: what stands in the place of scripts, directory and
// active one leads nowhere and blocks nothing.
func TestPlantedThingsHoldNobodyUp(t *testing.T) {
	for name, tt := range map[string]struct {
		plant func(home string) error
		asked []string // command and answer in turn
	}{
		"a FIFO as a script": {
			func(home string) error {
				return errors.Join(os.Mkdir(home+"/sieve", 0o777), syscall.Mkfifo(home+"/sieve/a.sieve", 0o666))
			},
			[]string{
				`LISTSCRIPTS`, `OK`, `GETSCRIPT "a"`, `NO "~/sieve/a.sieve is no regular file"`, `SETACTIVE "a"`, `NO "~/sieve/a.sieve is no regular file"`,
				`DELETESCRIPT "a"`, `NO (NONEXISTENT)`, `RENAMESCRIPT "a" "b"`, `NO (NONEXISTENT)`,
				`CHECKSCRIPT "require \"include\"; include \"a\";"`, `NO "~/sieve/a.sieve is no regular file"`,
			},
		},
		"a FIFO as the active script": {
			func(home string) error { return syscall.Mkfifo(home+"/.dovecot.sieve", 0o666) },
			[]string{`SETACTIVE ""`, `NO "~/.dovecot.sieve is neither a file nor a link`, `PUTSCRIPT "a" "keep;"`, `OK`, `LISTSCRIPTS`, `"a"|OK`},
		},
		"a directory as the active script": {
			func(home string) error { return os.Mkdir(home+"/.dovecot.sieve", 0o777) },
			[]string{`SETACTIVE ""`, `NO "~/.dovecot.sieve is neither a file nor a link`},
		},
		"a link out of the home": {
			func(home string) error { return os.Symlink("../bob/sieve", home+"/sieve") },
			[]string{`LISTSCRIPTS`, `NO "~/sieve is a link to ../bob/sieve, which`, `PUTSCRIPT "a" "keep;"`, `NO "~/sieve is a link to`, `GETSCRIPT "a"`, `NO (NONEXISTENT)`},
		},
		"a link to /proc": {
			func(home string) error { return os.Symlink("/proc/self/fd", home+"/sieve") },
			[]string{`LISTSCRIPTS`, `NO "~/sieve is a link to /proc/self/fd`, `PUTSCRIPT "a" "keep;"`, `NO "~/sieve is a link to`},
		},
		"a link to nothing": {
			func(home string) error { return os.Symlink("gone", home+"/sieve") },
			[]string{`LISTSCRIPTS`, `NO "~/sieve is a link to gone, which`, `PUTSCRIPT "a" "keep;"`, `NO "~/sieve is a link to gone`},
		},
		"a link within the home": {
			func(home string) error {
				return errors.Join(os.Mkdir(home+"/mail", 0o777), os.Chmod(home+"/mail", 0o777), os.Symlink("mail", home+"/sieve"))
			},
			[]string{`PUTSCRIPT "a" "keep;"`, `OK`, `LISTSCRIPTS`, `"a"|OK`},
		},
		"a file in place of the directory": {
			func(home string) error { return os.WriteFile(home+"/sieve", nil, 0o666) },
			[]string{`LISTSCRIPTS`, `NO "~/sieve is no directory`, `PUTSCRIPT "a" "keep;"`, `NO "~/sieve is no directory`},
		},
		"a FIFO in place of the directory": {
			func(home string) error { return syscall.Mkfifo(home+"/sieve", 0o666) },
			[]string{`LISTSCRIPTS`, `NO "~/sieve is no directory`},
		},
		"a directory as a script": {
			func(home string) error { return os.MkdirAll(home+"/sieve/a.sieve", 0o777) },
			[]string{`LISTSCRIPTS`, `OK`, `GETSCRIPT "a"`, `NO "~/sieve/a.sieve is no regular file"`, `DELETESCRIPT "a"`, `NO (NONEXISTENT)`},
		},
		"a huge script": {
			func(home string) error {
				return errors.Join(os.Mkdir(home+"/sieve", 0o777), os.Chmod(home+"/sieve", 0o777), os.WriteFile(home+"/sieve/a.sieve", nil, 0o666), os.Truncate(home+"/sieve/a.sieve", 1<<40))
			},
			[]string{`GETSCRIPT "a"`, `NO "~/sieve/a.sieve is longer than`, `SETACTIVE "a"`, `NO "~/sieve/a.sieve is longer than`, `DELETESCRIPT "a"`, `OK`},
		},
		"temporary files that were left": {
			func(home string) error {
				return errors.Join(os.Mkdir(home+"/sieve", 0o777), os.Chmod(home+"/sieve", 0o777), os.Symlink("/etc/passwd", home+"/sieve/a.sieve.tmp"), os.Symlink("x", home+"/.dovecot.sieve.tmp"))
			},
			[]string{`PUTSCRIPT "a" "keep;"`, `OK`, `LISTSCRIPTS`, `"a"`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHarness(t, nil)
			if err := tt.plant(h.alice.Owner.Home); err != nil {
				t.Fatal(err)
			}
			c := h.login("alice")
			for i := 0; i < len(tt.asked); i += 2 {
				if got := c.ask(tt.asked[i]); !strings.HasPrefix(got, tt.asked[i+1]) {
					t.Errorf("%s\n got %s\nwant %s", tt.asked[i], got, tt.asked[i+1])
				}
			}
		})
	}
}

// TestKernelChecksTheRights: a link, also a hard one, to somebody else's file gives
// the user nothing that he could not read himself, and is not written through.
func TestKernelChecksTheRights(t *testing.T) {
	needRoot(t)
	h := newHarness(t, nil)
	writeAs(t, h.bob, "sieve/secret.sieve", "# bob's\n")
	home := h.alice.Owner.Home
	// Both homes on one file system, so that root can plant a hard link.
	secret := filepath.Join(h.bob.Owner.Home, "sieve/secret.sieve")
	if err := errors.Join(os.Mkdir(home+"/sieve", 0o700), os.Link(secret, home+"/sieve/hard.sieve"), os.Symlink(secret, home+"/sieve/soft.sieve")); err != nil {
		t.Fatal(err)
	}
	own(t, h.alice, "sieve", "sieve/soft.sieve")
	c := h.login("alice")
	for command, want := range map[string]string{
		`GETSCRIPT "hard"`: `NO "The rights on ~/sieve`, `GETSCRIPT "soft"`: `NO (NONEXISTENT)`,
		`CHECKSCRIPT "require \"include\"; include \"hard\";"`: `NO "The rights on ~/sieve`, `SETACTIVE "hard"`: `NO "The rights`,
	} {
		if got := c.ask(command); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %s", command, got)
		}
	}
	c.put("hard", "keep;")
	c.put("soft", "keep;")
	if b, err := os.ReadFile(secret); err != nil || string(b) != "# bob's\n" {
		t.Errorf("bob's script is %q, %v", b, err)
	}

	// A home that is closed to its own user.
	if err := errors.Join(os.Chown(home, 0, 0), os.Chmod(home, 0o700)); err != nil {
		t.Fatal(err)
	}
	if got := c.ask("LISTSCRIPTS"); !strings.HasPrefix(got, "NO (TRYLATER)") {
		t.Error(got)
	}
	// One that he may only read.
	if err := os.Chmod(home, 0o755); err != nil {
		t.Fatal(err)
	}
	if got := c.ask(`SETACTIVE ""`); !strings.HasPrefix(got, `NO "The rights on`) {
		t.Error(got)
	}
}

// TestRootHasNoScripts: an account of uid 0 is not acted for.
func TestRootHasNoScripts(t *testing.T) {
	if os.Geteuid() == 0 {
		// Then root is the daemon itself; that it is refused otherwise, asuser's own
		// tests show.
		t.Skip("missing: another user than root")
	}
	h := newHarness(t, nil)
	root := h.alice
	root.Owner = asuser.Owner{Name: "root", UID: 0, GID: 0, Home: h.alice.Owner.Home}
	h.auth.accounts["root"] = root
	if got := h.login("root").ask("LISTSCRIPTS"); !strings.HasPrefix(got, "NO (TRYLATER)") {
		t.Error(got)
	}
}
