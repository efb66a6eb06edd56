package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"svc.plus/mailsrvd/internal/program"
)

// TestMain makes the test binary play mailsrvd under each of its names.
func TestMain(m *testing.M) {
	if program.IsHelper() { // before testscript, which does not know its name
		main()
	}
	if os.Getenv("MAILSRVD_TEST_MAIN") != "" { // as a process of its own, for tests that need one
		main()
	}
	testscript.Main(m, map[string]func(){
		"mailsrvd": main, "sendmail": main, "dovecot-lda": main, "deliver": main, "mailq": main,
	})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: "testdata"})
}

// TestGeneratedDocsAreCurrent fails when the code has moved on from the files
// that are made from it.
func TestGeneratedDocsAreCurrent(t *testing.T) {
	files, err := generatedDocs()
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range files {
		got, err := os.ReadFile(filepath.Join("../..", name))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s is not what the code says (%v); run go generate ./cmd/mailsrvd", name, err)
		}
	}
	pages, err := filepath.Glob("../../docs/man/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pages {
		if _, ok := files["docs/man/"+filepath.Base(p)]; !ok {
			t.Errorf("%s belongs to no command; remove it", p)
		}
	}
}

// runCommand runs a command line in this process.
func runCommand(t *testing.T, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	a := &app{stdin: bytes.NewBufferString(stdin), stdout: &out, stderr: &errs, stopSignals: func() {}}
	code = a.main(context.Background(), append([]string{"mailsrvd"}, args...))
	return code, out.String(), errs.String()
}

func TestExitCodes(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing.toml")
	for _, tt := range []struct {
		name string
		args []string
		want int
	}{
		{"help", []string{"--help"}, 0},
		{"unknown command", []string{"serv"}, exitUsage},
		{"unknown flag", []string{"version", "--x"}, exitUsage},
		{"too many arguments", []string{"version", "x"}, exitUsage},
		{"unknown command below another", []string{"queue", "remvoe", "x"}, exitUsage},
		{"a command without its own", []string{"queue"}, 0},
		{"a flag is missing", []string{"probe"}, exitUsage},
		{"check-config without file", []string{"check-config", "-c", missing}, 2},
	} {
		if code, _, stderr := runCommand(t, "", tt.args...); code != tt.want {
			t.Errorf("%s: exit %d, want %d: %s", tt.name, code, tt.want, stderr)
		}
	}
}
