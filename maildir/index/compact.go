package index

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
)

// minWaste is how many bytes of rows may be dead before the files are rewritten.
const minWaste = 256 << 10

// wasteful reports whether more than half of rows is dead, and worth the work.
func (f *rowFiles) wasteful() bool {
	return f.dead > minWaste && f.dead > f.rowsEnd/2
}

// compact rewrites the files with what is alive, in the order of UIDs. Readers
// of the old files are not disturbed. m.io is held.
func (m *Mailbox) compact(old *rowFiles) error {
	tmp := filepath.Join(m.dir, "compact")
	if err := os.RemoveAll(tmp); err != nil {
		return fmt.Errorf("compacting: %w", err)
	}
	f, err := createRows(tmp, m.header(0))
	if err != nil {
		return err
	}
	if err = f.copyFrom(old); err == nil {
		// Between the two renames the stamps do not agree, and both count nothing.
		err = os.Rename(filepath.Join(tmp, "rows"), filepath.Join(m.dir, "rows"))
	}
	if err == nil {
		err = os.Rename(filepath.Join(tmp, "wire"), filepath.Join(m.dir, "wire"))
	}
	if err != nil {
		f.release()
		os.RemoveAll(tmp)
		return fmt.Errorf("compacting: %w", err)
	}
	os.Remove(tmp)
	m.closeFiles()
	m.setFiles(f)
	m.index.metrics.compacted.Inc()
	return nil
}

// copyFrom takes over all rows of other files.
func (f *rowFiles) copyFrom(old *rowFiles) error {
	r := &Reader{files: old, table: *old.table.Load()}
	var q queue
	for _, e := range r.table {
		p := r.record(e.uid)
		if p == nil {
			continue // damaged
		}
		row := Row{r, p}
		long := row.wireBytes()
		if long == nil && row.flags()&flagNoWire == 0 && binary.LittleEndian.Uint32(p[rowWireLenAt:]) > 0 {
			continue // damaged
		}
		q.add(e.uid, p, long)
		if len(q.bytes) > hurryAt {
			if _, err := f.append(&q); err != nil {
				return err
			}
			q = queue{rows: q.rows[:0], bytes: q.bytes[:0]}
		}
	}
	_, err := f.append(&q)
	return err
}
