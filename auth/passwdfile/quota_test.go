package passwdfile

import (
	"path/filepath"
	"strings"
	"testing"
)

func TestParseQuotaRule(t *testing.T) {
	for _, c := range []struct {
		rule string
		want Quota
		bad  bool
	}{
		{rule: "*:storage=1G:messages=1000", want: Quota{1 << 30, 1000}},
		{rule: "*:storage=100", want: Quota{100 << 10, 0}}, {rule: "*:bytes=1000", want: Quota{1000, 0}},
		{rule: "*:storage=5M", want: Quota{5 << 20, 0}}, {rule: "*:storage=2TiB", want: Quota{2 << 40, 0}},
		{rule: "*:storage=7kb", want: Quota{7 << 10, 0}}, {rule: "*:storage=9b", want: Quota{9, 0}},
		{rule: "*:messages=0", want: Quota{}},
		{rule: "Trash:storage=+10%", bad: true}, {rule: "*", bad: true}, {rule: "*:ignore", bad: true}, {rule: "", bad: true},
		{rule: "*:storage=", bad: true}, {rule: "*:storage=-1", bad: true}, {rule: "*:storage=10%", bad: true},
		{rule: "*:storage=99999999999T", bad: true}, {rule: "*:storage=1GGG", bad: true}, {rule: "*:", bad: true},
	} {
		q, err := parseQuotaRule(c.rule)
		if (err != nil) != c.bad || err == nil && *q != c.want {
			t.Errorf("%q: %+v, %v", c.rule, q, err)
		}
	}
}

func TestQuotaOfAccount(t *testing.T) {
	path := filepath.Join(t.TempDir(), "passwd")
	write(t, path, "a:{PLAIN}x::::/h::userdb_quota_rule=*:storage=1G:messages=7 nologin\nb:*::::/h\n")
	b, err := Open(Options{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	if q, ok := b.Quota("a"); !ok || q != (Quota{1 << 30, 7}) {
		t.Errorf("a has %+v, %v", q, ok)
	}
	for _, name := range []string{"b", "nobody"} {
		if q, ok := b.Quota(name); ok {
			t.Errorf("%s has %+v", name, q)
		}
	}
	e, _ := b.entry(t.Context(), "a")
	if !strings.Contains(e.String(), "userdb_quota_rule=*:bytes=1073741824:messages=7") {
		t.Errorf("written as %q", e.String())
	}
	write(t, path, "a:{PLAIN}x::::/h::userdb_quota_rule=Trash:storage=1G\n")
	if err := (Options{Path: path}).Check(t.Context()); err == nil || !strings.Contains(err.Error(), "userdb_quota_rule") {
		t.Errorf("a rule that cannot be followed: %v", err)
	}
}
