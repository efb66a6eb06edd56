package mbox

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
)

// A Writer writes messages to an mbox, with LF at the end of each line. Close must
// be called at the end.
type Writer struct{ w *bufio.Writer }

// NewWriter writes to w, through a buffer.
func NewWriter(w io.Writer) *Writer { return &Writer{bufio.NewWriterSize(w, 64<<10)} }

// Close writes what is left; the writer below stays open.
func (w *Writer) Close() error {
	if err := w.w.Flush(); err != nil {
		return fmt.Errorf("writing an mbox: %w", err)
	}
	return nil
}

// Write appends a message, whose text is read to its end. The error is that of
// reading or of writing.
func (w *Writer) Write(m Message, text io.Reader) error {
	lines := bufio.NewReaderSize(text, 64<<10)
	header, whole, err := readHeader(lines)
	if err != nil {
		return fmt.Errorf("reading a message: %w", err)
	}
	// Our fields come first: behind the limit nobody would look for them.
	b, _ := new(Message).takeStatus(m.appendStatus(appendFrom(nil, m.Sender, m.Date)), header)
	if b = unixLines(b); b[len(b)-1] != '\n' {
		b = append(b, '\n')
	}
	w.w.Write(b) // an error stays with the buffer
	if whole {
		w.w.WriteByte('\n')
	}
	if err := w.body(lines); err != nil {
		return fmt.Errorf("reading a message: %w", err)
	}
	if err := w.w.WriteByte('\n'); err != nil {
		return fmt.Errorf("writing an mbox: %w", err)
	}
	return nil
}

// unixLines takes out, in place, the CRs before each LF and at the end.
func unixLines(b []byte) []byte {
	n := 0
	for _, c := range b {
		if c == '\n' {
			n = len(bytes.TrimRight(b[:n], "\r"))
		}
		b[n] = c
		n++
	}
	return bytes.TrimRight(b[:n], "\r")
}

// readHeader reads the header as far as it is looked at, in whole lines; if that is
// all of it, its blank line too, which it drops.
func readHeader(lines *bufio.Reader) (header []byte, whole bool, err error) {
	if c, _ := lines.Peek(1); len(c) > 0 && (c[0] == ' ' || c[0] == '\t') {
		return nil, true, nil // no header; else it would go on with a field of ours
	}
	begins := true
	for len(header) < maxHeader || !begins {
		part, err := lines.ReadSlice('\n')
		if err != nil && err != io.EOF && err != bufio.ErrBufferFull {
			return nil, false, err
		}
		if len(part) == 0 || begins && isBlank(part) {
			return header, true, nil
		}
		begins = part[len(part)-1] == '\n'
		header = append(header, part...)
	}
	return header, false, nil
}

// body copies lines, and sees to it that none is taken for a From_ line.
func (w *Writer) body(lines *bufio.Reader) error {
	begins, crs := true, 0 // crs: so many CRs wait for what comes behind them
	for {
		part, err := lines.ReadSlice('\n')
		if err != nil && err != io.EOF && err != bufio.ErrBufferFull {
			return err
		}
		if len(part) == 0 {
			break
		}
		if begins && quoted(part) {
			w.w.WriteByte('>')
		}
		part, whole := bytes.CutSuffix(part, []byte{'\n'})
		text := bytes.TrimRight(part, "\r")
		if len(text) > 0 {
			w.w.Write(bytes.Repeat([]byte{'\r'}, crs))
			w.w.Write(text)
			crs = 0
		}
		crs += len(part) - len(text)
		if begins = whole; whole {
			w.w.WriteByte('\n')
			crs = 0
		}
	}
	if !begins {
		w.w.WriteByte('\n')
	}
	return nil
}
