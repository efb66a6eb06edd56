package config

import (
	"fmt"
	"math"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// section is one TOML table with its keys.
type section struct {
	// name is the full name, "auth.pam"; empty for the keys above the first
	// heading.
	name string
	doc  string
	keys []key
	// each makes the keys of one more [[name]], and what adds the element to
	// the configuration; nil for a plain table.
	each func() (keys []key, add func())
	// sample is how many elements the example shows; the rest are comments.
	sample int
}

// key is one setting: its documentation, its default, and the field that it
// sets.
type key struct {
	name string
	doc  string
	// def is the default as a TOML value; empty if the key must be given or is
	// simply absent.
	def string
	// example is what the example file shows when that is not the default.
	example string
	// required makes absence an error; its text is the mend.
	required string
	value
}

// value says how a TOML value becomes a field.
type value struct {
	kind string // for the reference: "text", "size", ...
	set  func(env, any) error
}

// env is what values may depend on beside the text.
type env struct {
	dir string
	// files, if not nil, collects the paths that keys of the kind "path" are set
	// to.
	files *[]string
}

// fault is a wrong value, with the mend. Setters return it.
type fault struct{ text, mend string }

func (f *fault) Error() string { return f.text }

func faultf(mend, format string, args ...any) error {
	return &fault{text: fmt.Sprintf(format, args...), mend: mend}
}

// wrongType says what came instead of what is wanted.
func wrongType(v any, want, sample string) error {
	return faultf("write it as in "+sample, "is %s, but must be %s", typeName(v), want)
}

func typeName(v any) string {
	switch v.(type) {
	case string:
		return "a text"
	case int64:
		return "a number"
	case float64:
		return "a fraction"
	case bool:
		return "true or false"
	case time.Time:
		return "a date"
	case map[string]any:
		return "a table"
	case []any, []map[string]any:
		return "a list"
	}
	return fmt.Sprintf("%T", v)
}

// check is a condition on a text; its error is a fault.
type check func(string) error

func text(p *string, checks ...check) value {
	return value{"text", func(_ env, v any) error {
		s, ok := v.(string)
		if !ok {
			return wrongType(v, "a text", `"text"`)
		}
		for _, c := range checks {
			if err := c(s); err != nil {
				return err
			}
		}
		*p = s
		return nil
	}}
}

// lower is text that is stored in lower case.
func lower(p *string, checks ...check) value {
	t := text(p, checks...)
	return value{t.kind, func(e env, v any) error {
		err := t.set(e, v)
		*p = strings.ToLower(*p)
		return err
	}}
}

// texts accepts a list, or one text for a list of one; each must pass all
// checks. An empty text alone is the empty list.
func texts(p *[]string, checks ...check) value {
	return value{"text or list of texts", func(e env, v any) error {
		if s, ok := v.(string); ok {
			v = []any{s}
			if s == "" {
				v = []any{}
			}
		}
		list, ok := v.([]any)
		if !ok {
			return wrongType(v, "a text or a list of texts", `["one", "two"]`)
		}
		out := []string{}
		for _, item := range list {
			var s string
			if err := text(&s, checks...).set(e, item); err != nil {
				return err
			}
			if slices.Contains(out, s) {
				return faultf("remove one of the two", "%q is listed twice", s)
			}
			out = append(out, s)
		}
		*p = out
		return nil
	}}
}

func boolean(p *bool) value {
	return value{"true or false", func(_ env, v any) error {
		b, ok := v.(bool)
		if !ok {
			return wrongType(v, "true or false", "true")
		}
		*p = b
		return nil
	}}
}

func integer(p *int, least, most int) value {
	return value{"number", func(_ env, v any) error {
		n, ok := v.(int64)
		if !ok {
			return wrongType(v, "a whole number", "10")
		}
		if n < int64(least) || n > int64(most) {
			return faultf(fmt.Sprintf("choose a number from %d to %d", least, most), "%d is out of range", n)
		}
		*p = int(n)
		return nil
	}}
}

func size(p *int64, least int64) value {
	return value{"size", func(_ env, v any) error {
		s, ok := v.(string)
		if !ok {
			return wrongType(v, "a size with its unit, as a text", `"50MiB"`)
		}
		n, err := ParseSize(s)
		if err != nil {
			return faultf(`write it as in "50MiB"`, "%v", err)
		}
		if n < least {
			return faultf("choose at least "+FormatSize(least), "%s is too small", s)
		}
		*p = n
		return nil
	}}
}

func duration(p *time.Duration, least, most time.Duration) value {
	return value{"time", func(_ env, v any) error {
		s, ok := v.(string)
		if !ok {
			return wrongType(v, "a time with its unit, as a text", `"5m"`)
		}
		d, err := ParseDuration(s)
		if err != nil {
			return faultf(`write it as in "90s", "1h30m" or "5d"`, "%v", err)
		}
		if d < least || d > most {
			return faultf(fmt.Sprintf("choose a time from %s to %s", FormatDuration(least), FormatDuration(most)), "%s is out of range", s)
		}
		*p = d
		return nil
	}}
}

const forever = time.Duration(math.MaxInt64)

// file is a path; a relative one starts at the configuration file's directory.
func file(p *string) value {
	return value{"path", func(e env, v any) error {
		s, ok := v.(string)
		if !ok {
			return wrongType(v, "a path, as a text", `"/etc/mailsrvd/file"`)
		}
		if strings.ContainsRune(s, 0) {
			return faultf("remove it", "the path has a NUL character")
		}
		*p = e.path(s)
		if e.files != nil && *p != "" {
			*e.files = append(*e.files, *p)
		}
		return nil
	}}
}

// files is a list of paths, or one.
func files(p *[]string) value {
	var list []string
	t := texts(&list)
	return value{"path or list of paths", func(e env, v any) error {
		if err := t.set(e, v); err != nil {
			return err
		}
		out := []string{}
		for _, s := range list {
			var one string
			if err := file(&one).set(e, s); err != nil {
				return err
			}
			out = append(out, one)
		}
		*p = out
		return nil
	}}
}

func (e env) path(s string) string {
	if s == "" || filepath.IsAbs(s) {
		return s
	}
	return filepath.Join(e.dir, s)
}

// choice is one of a few words.
func choice(p *string, words ...string) value {
	kind := `"` + strings.Join(words, `" | "`) + `"`
	return value{kind, func(_ env, v any) error {
		s, ok := v.(string)
		if !ok {
			return wrongType(v, "one of "+kind, `"`+words[0]+`"`)
		}
		if !slices.Contains(words, s) {
			mend := "choose one of " + kind
			if n := nearest(s, words); n != "" {
				mend = fmt.Sprintf("did you mean %q? %s", n, mend)
			}
			return faultf(mend, "%q is not known", s)
		}
		*p = s
		return nil
	}}
}

// prefixes is a list of addresses and networks.
func prefixes(p *[]netip.Prefix) value {
	return value{"list of addresses or networks", func(e env, v any) error {
		var list []string
		if err := texts(&list).set(e, v); err != nil {
			return err
		}
		out := make([]netip.Prefix, 0, len(list))
		for _, s := range list {
			n, err := parsePrefix(s)
			if err != nil {
				return faultf(`write it as in "192.0.2.0/24" or "2001:db8::1"`, "%q is not an address or network", s)
			}
			out = append(out, n)
		}
		*p = out
		return nil
	}}
}

func parsePrefix(s string) (netip.Prefix, error) {
	if !strings.Contains(s, "/") {
		a, err := netip.ParseAddr(s)
		if err != nil {
			return netip.Prefix{}, err
		}
		return netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen()), nil
	}
	n, err := netip.ParsePrefix(s)
	return n.Masked(), err
}
