package clienttest

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// need skips the test unless the program of a Debian package is there.
func need(t testing.TB, program, debian string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		t.Skipf("missing: %s", debian)
	}
	return path
}

// run runs a program with a home of its own and returns what it prints. It must
// succeed, and within two minutes.
func run(t testing.TB, home, program string, args ...string) string {
	t.Helper()
	out, err := try(t, home, "", program, args...)
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", program, args, err, out)
	}
	return out
}

// try is run for what may fail, with an input.
func try(t testing.TB, home, input, program string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = environment(home)
	cmd.Dir = home
	cmd.Stdin = strings.NewReader(input)
	out := new(bytes.Buffer)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.WaitDelay = 5 * time.Second
	err := cmd.Run()
	return out.String(), errors.Join(err, ctx.Err())
}

// environment is that of a program, with nothing of the user's own settings.
func environment(home string) []string {
	return []string{"HOME=" + home, "USER=" + user, "PATH=" + os.Getenv("PATH"), "TERM=xterm", "LC_ALL=C.UTF-8"}
}

// write writes a file of a program's user.
func write(t testing.TB, file, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// localLetters is what a Maildir of a client holds. The flags are those of the
// file names, and there are no UIDs.
func localLetters(t testing.TB, dir string) (list []letter) {
	t.Helper()
	names := map[byte]string{'D': `\Draft`, 'F': `\Flagged`, 'R': `\Answered`, 'S': `\Seen`, 'T': `\Deleted`}
	for _, sub := range []string{"cur", "new"} {
		files, err := os.ReadDir(filepath.Join(dir, sub))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			text, err := os.ReadFile(filepath.Join(dir, sub, f.Name()))
			if err != nil {
				t.Fatal(err)
			}
			var flags []string
			_, info, _ := strings.Cut(f.Name(), ":2,")
			for _, letter := range []byte("RTDFS") { // in the order of the names
				if strings.IndexByte(info, letter) >= 0 {
					flags = append(flags, names[letter])
				}
			}
			list = append(list, letter{flags: strings.Join(flags, " "), text: crlf(text)})
		}
	}
	return list
}
