package lda

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"svc.plus/mailsrvd/auth"
	"svc.plus/mailsrvd/maildir"
)

const dovecotLDA = "/usr/lib/dovecot/dovecot-lda"

// dovecot runs the real dovecot-lda as the account's user, with more lines of
// configuration.
func dovecot(t *testing.T, acct auth.Account, stdin string, args []string, more ...string) (int, string) {
	t.Helper()
	if _, err := os.Stat(dovecotLDA); err != nil {
		t.Skip("missing: " + dovecotLDA + " (Debian package dovecot-core)")
	}
	dir := publicDir(t)
	conf := filepath.Join(dir, "dovecot.conf")
	text := "mail_location = maildir:~/Maildir\nlog_path = /dev/stderr\nlog_timestamp =\nbase_dir = " + dir + "/run\nhostname = host.example.org\n" + strings.Join(more, "\n") + "\n"
	if err := errors.Join(os.WriteFile(conf, []byte(text), 0o644), os.Chmod(conf, 0o644)); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(dovecotLDA, append([]string{"-c", conf}, args...)...)
	cmd.Dir = "/"
	cmd.Env = []string{"USER=" + acct.Name, "HOME=" + acct.Owner.Home}
	cmd.Stdin = strings.NewReader(stdin)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	if os.Geteuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(acct.Owner.UID), Gid: uint32(acct.Owner.GID)}}
	}
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), errs.String()
}

var sizes = regexp.MustCompile(`,S=\d+,W=\d+(:2,.*)?$`)

// stored gives each message with its folder, the part of its name that is not
// made of time and process, and its rights.
func stored(t *testing.T, acct auth.Account) []string {
	t.Helper()
	var all []string
	root := filepath.Join(acct.Owner.Home, "Maildir")
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) && path == root {
			return nil
		}
		if err != nil || d.IsDir() {
			return err
		}
		sub := filepath.Base(filepath.Dir(path))
		if sub != "cur" && sub != "new" && sub != "tmp" {
			return nil
		}
		fi, err := d.Info()
		if err != nil {
			return err
		}
		b, err := os.ReadFile(path)
		rel, _ := filepath.Rel(root, filepath.Dir(path))
		all = append(all, fmt.Sprintf("%s %s %v: %s", rel, sizes.FindString(path), fi.Mode(), b))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(all)
	return all
}

// TestCommandDoesWhatDovecotDoes gives the same input to both and compares exit
// code and what lies in the Maildir.
func TestCommandDoesWhatDovecotDoes(t *testing.T) {
	const text = "Message-ID: <1@example.net>\r\nSubject: x\r\n\r\nbody\r\n"
	create := []string{"-o", "lda_mailbox_autocreate=yes"}
	type row struct {
		name  string
		stdin string
		args  []string
	}
	rows := []row{
		{"plain", text, nil},
		{"LF", strings.ReplaceAll(text, "\r\n", "\n"), nil},
		{"mixed line ends", "A: b\nC: d\r\n\r\nx\ry\r\n\n", nil},
		{"empty", "", nil},
		{"one byte", "x", nil},
		{"From_ line", "From a@b Thu Jan  1 00:00:00 1970\n" + text, nil},
		{"From_ line with CRLF", "From a@b Thu Jan  1 00:00:00 1970\r\n" + text, nil},
		{"From_ line without LF", "From a@b", nil},
		{"text that looks like a From_ line", "From here on\nx\n", nil},
		{"two From_ lines", "From a Thu Jan  1 00:00:00 1970\nFrom b Thu Jan  1 00:00:00 1970\n\n", nil},
		{"more than memory", "Subject: big\r\n\r\n" + strings.Repeat("0123456789\r\n", 20_000), nil},
		{"no final line end", "Subject: x\n\nbody", nil},
		{"8-bit", "Subject: \xe4\n\n\xff\xfe\n", nil},
		{"-k -L -e", text, []string{"-k", "-L", "-e"}},
		{"--", text, []string{"--"}},
		{"argument", text, []string{"alice"}},
		{"argument after --", text, []string{"--", "alice"}},
		{"unknown option", text, []string{"-Z"}},
		{"option without value", text, []string{"-m"}},
		{"folder that is missing", text, []string{"-m", "None"}},
		{"empty folder", text, []string{"-m", ""}},
		{"INBOX", text, []string{"-m", "INBOX"}},
		{"inbox", text, []string{"-m", "inbox"}},
		{"not UTF-8", text, []string{"-m", "\xff"}},
		{"foreign separator", text, []string{"-m", "a/b"}},
		{"made", text, append(slices.Clone(create), "-m", "New")},
		{"made deep", text, append(slices.Clone(create), "-m", "New.Sub.Deep")},
		{"made in UTF-8", text, append(slices.Clone(create), "-m", "Füße & co")},
		{"made, bundled", text, append(slices.Clone(create), "-kemNew")},
		{"made with a name that cannot be", text, append(slices.Clone(create), "-m", "a..b")},
		{"made with a slash", text, append(slices.Clone(create), "-m", "a/b")},
		{"made below INBOX", text, append(slices.Clone(create), "-m", "INBOX.x")},
		{"-o unknown", text, []string{"-o", "no_such_setting=yes"}},
		{"-o without value", text, []string{"-o", "mail_debug"}},
		{"-o location", text, []string{"-o", "mail_location=maildir:~/Maildir"}},
		{"-p missing", text, []string{"-p", "/nonexistent"}},
	}
	for _, s := range []string{"", "<>", "<", "<a", "a>", "<a@b>", "<a@b", "a b", `"a b"@c`, "a\x01b", "a@", "@b", "@@", "a@b@c", "a..b@c",
		".a@b", "a@[192.0.2.1]", "a@b_c", "a@b c", " a@b ", `"a`, "a@b,c@d", "a;b", "a@-b", "<@a,@b:c@d>", "MAILER-DAEMON", strings.Repeat("a", 300) + "@b"} {
		rows = append(rows, row{fmt.Sprintf("-f %.20q", s), text, []string{"-f", s}}, row{fmt.Sprintf("-a %.20q", s), text, []string{"-a", s}},
			row{fmt.Sprintf("-r %.20q", s), text, []string{"-a", "a@b", "-r", s}})
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			real := newAccount(t, "alice", 20001)
			wantCode, wantText := dovecot(t, real, r.stdin, r.args)
			b := newBench(t, maildir.Options{})
			code, text := b.run(r.stdin, r.args...)
			if code != wantCode {
				t.Errorf("exit %d (%s)\nDovecot: %d (%s)", code, text, wantCode, wantText)
			}
			if got, want := stored(t, b.alice), stored(t, real); !slices.Equal(got, want) {
				t.Errorf("stored  %.300q\nDovecot %.300q", got, want)
			}
		})
	}
}
