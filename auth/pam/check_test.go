package pam

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// confDir makes a directory of service files.
func confDir(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestCheck(t *testing.T) {
	permit := "auth required pam_permit.so\naccount required pam_permit.so\n"
	cases := []struct {
		name  string
		files map[string]string
		want  []string // parts of the error; none: no error
	}{
		{"fine", map[string]string{"mailsrvd": permit}, nil},
		{"no file", nil, []string{`PAM would use the file "other"`, "deploy/pam/mailsrvd"}},
		{"no account phase", map[string]string{"mailsrvd": "auth required pam_permit.so\n"}, []string{`no "account" line`}},
		{"nothing", map[string]string{"mailsrvd": "# nothing\n\n"}, []string{`no "auth" line`, `no "account" line`}},
		{"includes", map[string]string{"mailsrvd": "@include common-auth\naccount include common\n", "common-auth": "auth required pam_permit.so\n", "common": permit}, nil},
		{"include takes one kind only", map[string]string{"mailsrvd": "auth include common\n", "common": permit}, []string{`no "account" line`}},
		{"include is absent", map[string]string{"mailsrvd": permit + "@include gone\n"}, []string{"gone"}},
		{"include of itself", map[string]string{"mailsrvd": "@include mailsrvd\n"}, []string{"include each other"}},
		{"module is absent", map[string]string{"mailsrvd": permit + "auth required pam_gone.so\n"}, []string{"no module pam_gone.so"}},
		{"absent module may be optional", map[string]string{"mailsrvd": permit + "-auth optional pam_gone.so\n"}, nil},
		{"modules of other phases do not matter", map[string]string{"mailsrvd": permit + "session required pam_gone.so\n"}, nil},
		{"odd but right", map[string]string{"mailsrvd": "AUTH  [success=1 default=ignore]  pam_permit.so a=b # note\naccount \\\n required pam_permit.so\n"}, nil},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			err := Options{ConfDir: confDir(t, c.files)}.Check(t.Context())
			if (err == nil) != (len(c.want) == 0) {
				t.Fatalf("err = %v", err)
			}
			for _, part := range c.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q is missing in: %v", part, err)
				}
			}
		})
	}
}

func TestCheckRefusesServiceNames(t *testing.T) {
	for _, name := range []string{"../shadow", "a/b", ".hidden", "a b", "ü"} {
		if err := (Options{Service: name}).Check(t.Context()); !errors.Is(err, errService) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestServiceFileOfThePackageIsGood(t *testing.T) {
	text, err := os.ReadFile("../../deploy/pam/mailsrvd")
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Service: DefaultService, ConfDir: confDir(t, map[string]string{DefaultService: string(text)})}
	rules, err := o.rules()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range rules {
		got = append(got, r.kind+" "+r.module)
	}
	if want := []string{"auth pam_unix.so", "account pam_unix.so"}; !slices.Equal(got, want) {
		t.Errorf("rules %q", got)
	}
	if len(moduleDirs()) == 0 {
		t.Skip("missing: PAM modules (Debian package libpam-modules)")
	}
	if err := o.Check(t.Context()); err != nil && !errors.Is(err, fs.ErrPermission) {
		t.Error(err)
	}
	if w := o.Warnings(); w != nil {
		t.Errorf("warnings: %q", w)
	}
}

func TestWarnings(t *testing.T) {
	o := Options{ConfDir: confDir(t, map[string]string{"mailsrvd": "auth required pam_permit.so\naccount required pam_permit.so\n"})}
	if w := o.Warnings(); len(w) != 1 || !strings.Contains(w[0], "lets everybody in") {
		t.Errorf("%q", w)
	}
}

// FuzzRule wants that no text of a service file panics or loops.
func FuzzRule(f *testing.F) {
	for _, s := range []string{"auth required pam_unix.so nodelay", "@include x", "-auth [a=b c=d] m.so", "auth [a", "auth include", "# x", "a b c \\"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		r, include := parseRule(line)
		if include != "" && r.module != "" || r.module == "" && r.path != "" {
			t.Errorf("%q: %+v %q", line, r, include)
		}
	})
}
