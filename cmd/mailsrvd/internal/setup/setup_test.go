package setup

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"svc.plus/mailsrvd/internal/asuser"
)

var ctx = context.Background()

// home makes a home directory of uid (our own without root) that only he may
// enter.
func home(t *testing.T, uid int) asuser.Owner {
	t.Helper()
	base, err := os.MkdirTemp("", "setup")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(base) })
	o := asuser.Owner{Name: fmt.Sprint("u", uid), UID: uid, GID: uid, Home: filepath.Join(base, "home")}
	if err := os.Mkdir(o.Home, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(base, 0o711); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() != 0 {
		return asuser.Self(o.Name, o.Home)
	}
	if err := os.Chown(o.Home, uid, uid); err != nil {
		t.Fatal(err)
	}
	return o
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("missing: root, to make files of other users")
	}
}

func TestMakePrivateMaildir(t *testing.T) {
	o := home(t, 20001)
	dir := filepath.Join(o.Home, "Maildir")
	if made, err := Make(ctx, o, dir, nil); err != nil || !made {
		t.Fatal(made, err)
	}
	for _, d := range []string{"", "cur", "new", "tmp"} {
		fi, err := os.Stat(filepath.Join(dir, d))
		if err != nil {
			t.Fatal(err)
		}
		if st := fi.Sys().(*syscall.Stat_t); fi.Mode().Perm() != 0o700 || int(st.Uid) != o.UID {
			t.Errorf("%s: %v of %d", d, fi.Mode(), st.Uid)
		}
	}
	if made, err := Make(ctx, o, dir, nil); err != nil || made {
		t.Errorf("a second time: %v, %v", made, err)
	}
	r, err := Check(ctx, o, dir)
	if err != nil || !r.Fine() || r.Mode != "0700" || r.Folders != 1 || r.Messages != 0 {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestMakeSharedMaildirInheritsItsGroup(t *testing.T) {
	needRoot(t)
	o := home(t, 20001)
	dir := filepath.Join(o.Home, "Maildir")
	if _, err := Make(ctx, o, filepath.Join(dir, ".Sent"), nil); err != nil { // an old folder
		t.Fatal(err)
	}
	if _, err := Make(ctx, o, dir, &Shared{GID: 8}); err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{".Sent", ".Sent/new"} {
		if fi, err := os.Stat(filepath.Join(dir, d)); err != nil || modeBits(fi.Mode()) != 0o2770 {
			t.Errorf("%s: %v, %v", d, fi.Mode(), err)
		}
	}
	r, err := Check(ctx, o, dir)
	if err != nil || r.Mode != "2770" || r.Group != 8 {
		t.Errorf("%+v, %v", r, err)
	}
	name := filepath.Join(dir, "new", "1")
	if err := asuser.Do(ctx, o, func() error { return os.WriteFile(name, nil, 0o660) }); err != nil {
		t.Fatal(err)
	}
	fi, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	if st := fi.Sys().(*syscall.Stat_t); st.Gid != 8 || int(st.Uid) != o.UID {
		t.Errorf("a delivered file is of %d:%d", st.Uid, st.Gid)
	}
}

// TestShareFollowsNoLink: a user who puts a link in place of a folder must not
// have root change the link's target.
func TestShareFollowsNoLink(t *testing.T) {
	needRoot(t)
	o, victim := home(t, 20001), home(t, 20002)
	dir := filepath.Join(o.Home, "Maildir")
	if _, err := Make(ctx, o, dir, nil); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "tmp")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(victim.Home, filepath.Join(dir, "tmp")); err != nil {
		t.Fatal(err)
	}
	if _, err := Make(ctx, o, dir, &Shared{GID: 8}); err == nil {
		t.Error("no error")
	}
	fi, err := os.Stat(victim.Home)
	if err != nil || fi.Mode().Perm() != 0o700 || fi.Sys().(*syscall.Stat_t).Gid != 20002 {
		t.Errorf("the victim's home became %v, %v", fi.Mode(), err)
	}
}

func TestCheckFindsForeignFilesAndTheMendWorks(t *testing.T) {
	needRoot(t)
	o := home(t, 20001)
	dir := filepath.Join(o.Home, "Maildir")
	if _, err := Make(ctx, o, dir, nil); err != nil {
		t.Fatal(err)
	}
	for i := range MaxListed + 5 { // as an old server's group mail left them
		name := filepath.Join(dir, "new", fmt.Sprint(i))
		if err := os.WriteFile(name, nil, 0o660); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(name, 20009, 8); err != nil {
			t.Fatal(err)
		}
	}
	closed := filepath.Join(dir, ".Sent")
	if err := os.Mkdir(closed, 0o700); err != nil {
		t.Fatal(err)
	}
	r, err := Check(ctx, o, dir)
	if err != nil {
		t.Fatal(err)
	}
	if r.Fine() || r.ForeignCount != MaxListed+6 || len(r.Foreign) != MaxListed || r.Messages != MaxListed+5 || len(r.Unreadable) != 1 || r.Unreadable[0] != closed {
		t.Errorf("%+v", r)
	}
	mend := r.Mend()
	if out, err := exec.Command("sh", "-c", mend).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v %s", mend, err, out)
	}
	if r, err := Check(ctx, o, dir); err != nil || !r.Fine() {
		t.Errorf("after the mend: %+v, %v", r, err)
	}
}

func TestCheckOfNothing(t *testing.T) {
	o := home(t, 20001)
	r, err := Check(ctx, o, filepath.Join(o.Home, "Maildir"))
	if err != nil || !r.Missing || !r.Fine() {
		t.Errorf("%+v, %v", r, err)
	}
	file := filepath.Join(o.Home, "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if r, err := Check(ctx, o, file); err != nil || r.Odd == "" || r.Fine() || r.Mend() != "" {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestMendQuotesOddNames(t *testing.T) {
	for dir, want := range map[string]string{"/home/a/Maildir": "find /home/a/Maildir ", "/home/a b/it's": `find '/home/a b/it'\''s' `} {
		r := &Report{User: "u", Maildir: dir, ForeignCount: 1}
		if got := r.Mend(); !strings.HasPrefix(got, want) {
			t.Error(got)
		}
	}
}

// TestMendLeavesOtherNamesAlone: a user who links another's file into his
// Maildir must not be given it by the pasted command.
func TestMendLeavesOtherNamesAlone(t *testing.T) {
	needRoot(t)
	o := home(t, 20001)
	dir := filepath.Join(o.Home, "Maildir")
	if _, err := Make(ctx, o, dir, nil); err != nil {
		t.Fatal(err)
	}
	victim := filepath.Join(filepath.Dir(o.Home), "secret")
	if err := os.WriteFile(victim, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(victim, filepath.Join(dir, "new", "hard")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(victim, filepath.Join(dir, "new", "soft")); err != nil {
		t.Fatal(err)
	}
	r, err := Check(ctx, o, dir)
	if err != nil || r.ForeignCount != 2 {
		t.Fatalf("%+v, %v", r, err)
	}
	if out, err := exec.Command("sh", "-c", r.Mend()).CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	fi, err := os.Stat(victim)
	if err != nil || fi.Sys().(*syscall.Stat_t).Uid != 0 {
		t.Errorf("the victim's file was given away: %v", err)
	}
}

func TestMaildirThatIsAnothersGetsNoMend(t *testing.T) {
	needRoot(t)
	o := home(t, 20001)
	link := filepath.Join(o.Home, "Maildir")
	if err := os.Symlink("/etc", link); err != nil {
		t.Fatal(err)
	}
	r, err := Check(ctx, o, link)
	if err != nil || !strings.Contains(r.Odd, "belongs to uid 0") || r.Mend() != "" || r.Fine() {
		t.Errorf("%+v, %v, mend %q", r, err, r.Mend())
	}
	if _, err := Make(ctx, o, link, &Shared{GID: 8}); err == nil {
		t.Error("/etc was shared")
	}
}

func TestCheckOfDovecotsSideFiles(t *testing.T) {
	const header = "3 V1700000000 N1 G0123456789abcdef0123456789abcdef\n"
	full := strings.Builder{}
	for i := range 26 {
		fmt.Fprintf(&full, "%d keyword%d\n", i, i)
	}
	for _, tt := range []struct {
		name            string
		files           map[string]string
		keywords, lists []string
	}{
		{name: "nothing", files: map[string]string{".A/cur/m": "x"}},
		{name: "list with records", files: map[string]string{".A/cur/m": "x", ".A/dovecot.index.log": "x", ".A/dovecot-uidlist": header + "1 :m\n"}},
		{name: "header, no index", files: map[string]string{".A/cur/m": "x", ".A/dovecot-uidlist": header}},
		{name: "header, no message", files: map[string]string{".A/dovecot.index.log": "x", ".A/dovecot-uidlist": header}},
		{name: "header beside an index", files: map[string]string{".A.B/cur/m": "x", ".A.B/dovecot.index.log": "x", ".A.B/dovecot-uidlist": header}, lists: []string{"A.B"}},
		{name: "25 keywords", files: map[string]string{"dovecot-keywords": strings.TrimSuffix(full.String(), "25 keyword25\n")}},
		{name: "26 keywords", files: map[string]string{"dovecot-keywords": full.String()}, keywords: []string{"INBOX"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := home(t, os.Geteuid())
			dir := filepath.Join(o.Home, "Maildir")
			for _, d := range []string{"cur", ".A/cur", ".A.B/cur"} {
				if err := os.MkdirAll(filepath.Join(dir, d), 0o700); err != nil {
					t.Fatal(err)
				}
			}
			for name, text := range tt.files {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			r, err := Check(ctx, asuser.Self("me", o.Home), dir)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(r.FullKeywords, tt.keywords) || !slices.Equal(r.EmptyLists, tt.lists) || r.Fine() != (tt.lists == nil) {
				t.Errorf("%+v", r)
			}
		})
	}
}
