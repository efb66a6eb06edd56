package observe

import (
	"log/slog"
	"slices"
)

// Field is one key and its value.
type Field struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// maxField is how much of a value is kept, in bytes.
const maxField = 1 << 10

// given are the attributes that With has put into a handler, and the groups that
// later ones belong to.
type given struct {
	fields []Field
	prefix string
}

func (g given) with(attrs []slog.Attr) given {
	g.fields = slices.Clip(g.fields) // other handlers share what is there
	for _, a := range attrs {
		g.fields = append(g.fields, field(g.prefix, a))
	}
	return g
}

func (g given) group(name string) given {
	g.prefix += name + "."
	return g
}

// all are the fields of a record, those of the handler first.
func (g given) all(r slog.Record) []Field {
	fields := slices.Clip(g.fields)
	r.Attrs(func(a slog.Attr) bool {
		fields = append(fields, field(g.prefix, a))
		return true
	})
	return fields
}

func field(prefix string, a slog.Attr) Field {
	v := a.Value.Resolve().String()
	if len(v) > maxField {
		v = v[:maxField]
	}
	return Field{prefix + a.Key, v}
}
