package sevenbit

import (
	"bufio"
	"bytes"
	"io"
	"strings"

	"svc.plus/mailsrvd/internal/message"
)

// header writes a header block with its new fields at its end, before the blank
// line. A block without a blank line has no body, and stays.
func (m *Message) header(w *bufio.Writer, e message.Extent, ch change) error {
	r := bufio.NewReader(m.section(e))
	var drop, midline, typed bool
	for {
		line, err := r.ReadSlice('\n')
		if len(line) > 0 && !midline {
			switch name := fieldName(line); {
			case string(line) == "\n" || string(line) == "\r\n":
				ch.write(w, typed)
				drop = false
			case line[0] == ' ' || line[0] == '\t': // goes with its field
			case strings.EqualFold(name, "Content-Transfer-Encoding"):
				drop = ch.label != ""
			default:
				drop = false
				typed = typed || strings.EqualFold(name, "Content-Type")
				ch.version = ch.version && !strings.EqualFold(name, "MIME-Version")
			}
		}
		if !drop {
			w.Write(line)
		}
		midline = err == bufio.ErrBufferFull
		switch {
		case err == io.EOF:
			return nil
		case err != nil && !midline:
			return err
		}
	}
}

// fieldName is what stands before the colon of a header line, or nothing.
func fieldName(line []byte) string {
	colon := bytes.IndexByte(line, ':')
	if colon < 0 {
		return ""
	}
	return string(bytes.TrimRight(line[:colon], " \t"))
}

// write writes the fields that a part gets.
func (ch change) write(w *bufio.Writer, typed bool) {
	if ch.version {
		w.WriteString("MIME-Version: 1.0\r\n")
	}
	if ch.charset && !typed {
		w.WriteString("Content-Type: text/plain; charset=unknown-8bit\r\n")
	}
	if ch.label != "" {
		w.WriteString("Content-Transfer-Encoding: " + ch.label + "\r\n")
	}
}
