package maildir

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestSplitNameReadsWhatDovecotReads(t *testing.T) {
	for _, c := range []struct {
		name, base string
		flags      Flags
		info, odd  bool
	}{
		{"1795453934.M61701P16083.vm,S=59,W=65", "1795453934.M61701P16083.vm,S=59,W=65", 0, false, false},
		{"1.M1P1.h,S=1,W=2:2,", "1.M1P1.h,S=1,W=2", 0, true, false},
		{"1.M1P1.h,S=1,W=2:2,RSab", "1.M1P1.h,S=1,W=2", Answered | Seen | Keyword(0) | Keyword(1), true, false},
		{"x:2,DFPRSTaz", "x", Draft | Flagged | Passed | Answered | Seen | Deleted | Keyword(0) | Keyword(25), true, false},
		{"x:2,SR", "x", Answered | Seen, true, true},           // not sorted: kept as it is until we change it
		{"x:2,SS", "x", Seen, true, true},                      // twice
		{"x:2,SX", "x", Seen, true, true},                      // an unknown letter
		{"x:2,S,more,S=5", "x", Seen, true, true},              // text after a second comma
		{"x:1,exp", "x", 0, false, true},                       // experimental information
		{"x:", "x", 0, false, true},                            //
		{"x:2", "x", 0, false, true},                           //
		{"a:b:2,S", "a", Seen, true, true},                     // the base ends at the first colon, flags begin at the last
		{":2,S", "", Seen, true, false},                        //
		{"Füß 1 ,W=3:2,T", "Füß 1 ,W=3", Deleted, true, false}, //
	} {
		n, flags, info, odd := splitName([]byte(c.name))
		if c.name[:n] != c.base || flags != c.flags || info != c.info || odd != c.odd {
			t.Errorf("%q: base %q flags %x info %v odd %v", c.name, c.name[:n], flags, info, odd)
		}
	}
}

func TestWithFlagsKeepsWhatItDoesNotKnow(t *testing.T) {
	for _, c := range []struct {
		name  string
		flags Flags
		want  string
	}{
		{"x", Seen, "x:2,S"},
		{"x:2,", Seen | Draft, "x:2,DS"},
		{"x:2,SX", Flagged, "x:2,FX"},
		{"x:2,ZSX", Deleted | Keyword(2), "x:2,TXZc"},
		{"x:2,GM", Seen | Flagged, "x:2,FGMS"},
		{"x:2,S,more:stuff", Flagged, "x:2,S,more:2,F"}, // the last colon counts
		{"x:2,S,more", Flagged, "x:2,F,more"},
		{"x:1,exp", Seen, "x:2,S"},
		{"a:b:2,S", Flagged, "a:b:2,F"},
	} {
		if got := withFlags(c.name, c.flags); got != c.want {
			t.Errorf("withFlags(%q, %x) = %q, want %q", c.name, c.flags, got, c.want)
		}
	}
}

func TestSizeFieldTakesOnlyExactFields(t *testing.T) {
	for _, c := range []struct {
		base string
		key  byte
		n    int64
		ok   bool
	}{
		{"1.M1P1.h,S=59,W=65", 'S', 59, true},
		{"1.M1P1.h,S=59,W=65", 'W', 65, true},
		{"1.h,W=65", 'W', 65, true},
		{"1.h,W=65:2,S", 'W', 65, true},
		{"1.h,W=65x,W=7", 'W', 7, true}, // the first is no number
		{"1.h,W=", 'W', 0, false},
		{"1.h,W=-5", 'W', 0, false},
		{"1.h", 'S', 0, false},
		{"1.h,S=99999999999999999999", 'S', 0, false},
		{"1.h,S=007", 'S', 7, true},
		{"W=65", 'W', 0, false},
	} {
		if n, ok := sizeField(c.base, c.key); n != c.n || ok != c.ok {
			t.Errorf("sizeField(%q, %c) = %d, %v", c.base, c.key, n, ok)
		}
	}
}

func TestNewBaseIsUniqueInTheProcess(t *testing.T) {
	now := time.Unix(1700000000, 0)
	var mu sync.Mutex
	seen := map[string]bool{}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 500 {
				base := newBase("host", now)
				mu.Lock()
				if seen[base] {
					t.Errorf("%s twice", base)
				}
				seen[base] = true
				mu.Unlock()
			}
		})
	}
	wg.Wait()
}

func TestHostPartCannotBreakAName(t *testing.T) {
	if got := hostPart("a/b:c,d\r\n"); got != `a\057b\072c\054d` {
		t.Errorf("hostPart = %q", got)
	}
}

func TestNameOrderIsByTimeThenMicroseconds(t *testing.T) {
	// "10.x" has no microseconds and comes first among those of its second.
	want := []string{"9.M1P1.h", "10.x", "10.M5P1.h", "10.M20P1.h", "11", "11.M1P1.h", "99999999999999999999.x"}
	got := slices.Clone(want)
	slices.Reverse(got)
	if sortNames(got); !slices.Equal(got, want) {
		t.Errorf("order %q", got)
	}
}

func TestValidEntry(t *testing.T) {
	for name, want := range map[string]bool{"1.h": true, ".hidden": false, "": false, "a\nb": false, "a\rb": false, ":2,S": true} {
		if validEntry([]byte(name)) != want {
			t.Errorf("validEntry(%q) = %v", name, !want)
		}
	}
}

// FuzzFileName: reading a name never fails, and writing the flags that were read
// gives a name with the same base and flags.
func FuzzFileName(f *testing.F) {
	for _, name := range []string{"1.M1P1.h,S=1,W=2:2,RSab", "x:2,ZSX", "a:b:2,S", ":2,S", "x:2,S,more:2,", "x:", "x:2,SS", "\xff:2,\x00", "x:2,zyxTSRPFD"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		n, flags, info, odd := splitName([]byte(name))
		if base := baseOf(name); name[:n] != base {
			t.Fatalf("base %q, want %q", name[:n], base)
		}
		if !odd {
			again := name[:n]
			if info {
				again = plainName(again, flags)
			}
			if again != name {
				t.Fatalf("%q is not odd but becomes %q", name, again)
			}
		}
		changed := withFlags(name, flags)
		n2, flags2, info2, _ := splitName([]byte(changed))
		if changed[:n2] != name[:n] || flags2 != flags || !info2 {
			t.Fatalf("%q with its own flags %x becomes %q with %x", name, flags, changed, flags2)
		}
		if twice := withFlags(changed, flags); twice != changed {
			t.Fatalf("%q is not stable: %q", changed, twice)
		}
		if _, ok := sizeField(name, 'S'); ok && !strings.Contains(name, ",S=") {
			t.Fatal("a size from nowhere")
		}
		sortNames([]string{name, changed})
	})
}
