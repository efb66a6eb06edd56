package maildir

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
)

// An open folder keeps at most 120 bytes a message beside its file name.
func TestMemoryPerMessage(t *testing.T) {
	const n = 100_000
	s, _ := testStore(t, Options{})
	var text strings.Builder
	for i := range n {
		fmt.Fprintf(&text, "%d :%d.M%dP4711.host.example.org,S=%d,W=%d\n", i+1, 1700000000+i, i, 2000+i, 2100+i)
	}
	heap := func() uint64 {
		runtime.GC()
		runtime.GC()
		var st runtime.MemStats
		runtime.ReadMemStats(&st)
		return st.HeapAlloc
	}
	m := s.newMailbox("")
	before := heap()
	r := listRead{state: listState{present: true, header: listHeader{version: 3, validity: 1, next: 1, guid: aGUID}}, text: text.String(), whole: true}
	if err := m.adopt(&r); err != nil {
		t.Fatal(err)
	}
	for i := range m.recs {
		m.announce(&m.recs[i], 1, false)
	}
	per := float64(heap()-before) / n // the text was counted before
	t.Logf("%.0f bytes a message", per)
	if per > 120 {
		t.Errorf("%.0f bytes a message", per)
	}
	if len(m.messages()) != n {
		t.Error("lost some")
	}
	runtime.KeepAlive(text)
}
