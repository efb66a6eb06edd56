package message

import (
	"encoding"
	"errors"
	"reflect"
	"testing"
)

var (
	_ encoding.BinaryAppender    = (*Part)(nil)
	_ encoding.BinaryUnmarshaler = (*Part)(nil)
)

func TestBinaryKeepsEverything(t *testing.T) {
	names, messages := messageFiles(t)
	for i, name := range names {
		p := scanString(t, string(messages[i]))
		for q := range p.All() {
			if q.Summary != nil {
				q.Summary.joined = 0 // matters while scanning only
			}
		}
		b, err := p.AppendBinary([]byte("prefix"))
		if err != nil {
			t.Fatal(err)
		}
		var got Part
		if err := got.UnmarshalBinary(b[len("prefix"):]); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !reflect.DeepEqual(&got, p) {
			t.Errorf("%s: got\n%swant\n%s", name, describe(&got), describe(p))
		}
	}
}

func TestUnmarshalBinaryRefusesOtherBytes(t *testing.T) {
	b, _ := scanString(t, searchMessage).AppendBinary(nil)
	for name, bad := range map[string][]byte{
		"empty":         {},
		"other version": append([]byte{binaryVersion + 1}, b[1:]...),
		"more":          append(b[:len(b):len(b)], 0),
	} {
		if err := new(Part).UnmarshalBinary(bad); !errors.Is(err, ErrBinary) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for n := range b {
		if err := new(Part).UnmarshalBinary(b[:n]); !errors.Is(err, ErrBinary) {
			t.Errorf("%d of %d bytes: %v", n, len(b), err)
		}
	}
}

func FuzzUnmarshalBinary(f *testing.F) {
	_, messages := messageFiles(f)
	for _, m := range messages {
		b, _ := scanString(f, string(m)).AppendBinary(nil)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var p Part
		if p.UnmarshalBinary(b) != nil {
			return
		}
		wireFuzz(t, &p)
		again, _ := p.AppendBinary(nil)
		var q Part
		if err := q.UnmarshalBinary(again); err != nil || !reflect.DeepEqual(p, q) {
			t.Fatalf("%v\n%s\n%s", err, describe(&p), describe(&q))
		}
	})
}

func BenchmarkBinary(b *testing.B) {
	p := scanString(b, string(message10KB()))
	var buf []byte
	b.Run("Append", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			buf, _ = p.AppendBinary(buf[:0])
		}
		b.ReportMetric(float64(len(buf)), "bytes")
	})
	b.Run("Unmarshal", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var p Part
			p.UnmarshalBinary(buf)
		}
	})
}
