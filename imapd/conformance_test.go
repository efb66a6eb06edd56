package imapd

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// docs/imap.md tells the truth: every test that it names exists, and everything
// that is advertised or can be commanded has a row with a test.
func TestConformanceTable(t *testing.T) {
	b, err := os.ReadFile("../docs/imap.md")
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	tests := testFunctions(t, "*_test.go", "wire/*_test.go", "clienttest/*_test.go", "../maildir/*_test.go")
	for _, name := range regexp.MustCompile("`(Test[A-Za-z0-9_]+)`").FindAllStringSubmatch(text, -1) {
		if !slices.Contains(tests, name[1]) {
			t.Errorf("%s is named and does not exist", name[1])
		}
	}
	rows := func(after, before string, column int) map[string]string {
		_, part, ok := strings.Cut(text, after)
		part, _, ok2 := strings.Cut(part, before)
		if !ok || !ok2 {
			t.Fatalf("there is no section %q", after)
		}
		shown := map[string]string{}
		for line := range strings.Lines(part) {
			cells := strings.Split(line, "|")
			if len(cells) < 4 {
				continue
			}
			for _, name := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(cells[column], -1) {
				shown[name[1]] = cells[len(cells)-2]
			}
		}
		return shown
	}
	capabilities := rows("## Extensions", "## Commands", 2)
	for _, name := range advertised() {
		if !strings.Contains(capabilities[name], "`Test") {
			t.Errorf("capability %s has no row with a test", name)
		}
		delete(capabilities, name)
	}
	for name := range capabilities {
		t.Errorf("capability %s has a row and is not advertised", name)
	}
	h := newHarness(t, nil)
	commands := rows("## Commands", "## Left out", 1)
	for name := range h.srv.profile.commands {
		if base, uid := strings.CutPrefix(name, "UID "); !strings.Contains(commands[name], "`Test") && !(uid && commands[base] != "") {
			t.Errorf("command %s has no row with a test", name)
		}
		delete(commands, name)
	}
	for name := range commands {
		t.Errorf("command %s has a row and does not exist", name)
	}
}

// advertised are all names that CAPABILITY may list, values left out.
func advertised() (names []string) {
	for _, e := range extensions {
		names = append(names, e.name)
	}
	for _, m := range mechanisms {
		names = append(names, "AUTH="+m)
	}
	return append(names, "STARTTLS", "LOGINDISABLED")
}

// testFunctions are the names of tests in files.
func testFunctions(t *testing.T, patterns ...string) (names []string) {
	t.Helper()
	for _, pattern := range patterns {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %v, %v", pattern, files, err)
		}
		for _, file := range files {
			f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range f.Decls {
				if fn, ok := d.(*ast.FuncDecl); ok && strings.HasPrefix(fn.Name.Name, "Test") {
					names = append(names, fn.Name.Name)
				}
			}
		}
	}
	return names
}
