package config

import (
	"fmt"
	"strings"
)

// allSections lists the sections of an empty configuration, with the keys of
// one element for those that are lists.
func allSections() []section {
	sections := new(Config).sections()
	for i, s := range sections {
		if s.each != nil {
			sections[i].keys, _ = s.each()
		}
	}
	return sections
}

// heading is the section's line in a TOML file.
func (s section) heading() string {
	if s.each != nil {
		return "[[" + s.name + "]]"
	}
	return "[" + s.name + "]"
}

// shown is the value that the example file has for a key.
func (k key) shown() string {
	if k.example != "" {
		return k.example
	}
	return k.def
}

// Example is an annotated configuration file with every key. Keys at their
// defaults are commented out, so that the file says only what it must.
func Example() string {
	var b strings.Builder
	b.WriteString("# mailsrvd.toml: every key, with its default commented out. Unknown keys are\n" +
		"# errors. Sizes and times are texts with units (\"50MiB\", \"5d\"); relative paths\n" +
		"# start at this file's directory. After a change:\n" +
		"#     mailsrvd check-config && systemctl reload mailsrvd\n" +
		"# The same in prose: man mailsrvd.toml\n")
	for _, s := range allSections() {
		example := s.each == nil || s.sample > 0
		b.WriteString("\n" + comment(s.doc))
		if s.name != "" {
			b.WriteString(unless(example, "#") + s.heading() + "\n")
		}
		for _, k := range s.keys {
			b.WriteString("\n" + comment(k.doc))
			set := example && k.example != ""
			fmt.Fprintf(&b, "%s%s = %s\n", unless(set, "#"), k.name, k.shown())
		}
	}
	return b.String()
}

func unless(cond bool, s string) string {
	if cond {
		return ""
	}
	return s
}

// comment wraps text into TOML comment lines.
func comment(text string) string {
	var b strings.Builder
	for _, line := range wrap(text, 76) {
		b.WriteString("# " + line + "\n")
	}
	return b.String()
}

// wrap breaks text at spaces into lines of at most width bytes.
func wrap(text string, width int) []string {
	var lines []string
	line := ""
	for word := range strings.FieldsSeq(text) {
		if line != "" && len(line)+1+len(word) > width {
			lines = append(lines, line)
			line = ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	return append(lines, line)
}

// Markdown is the reference of all keys.
func Markdown() string {
	var b strings.Builder
	b.WriteString("# Configuration\n\n" +
		"<!-- Made by `go generate ./cmd/mailsrvd` from the package config. Do not edit. -->\n\n" +
		"The file is `/etc/mailsrvd/mailsrvd.toml` ([TOML](https://toml.io)); `--config` or the environment variable\n" +
		"`MAILSRVD_CONFIG` names another. Unknown keys are errors, with the nearest known key as a hint. Sizes and times are\n" +
		"texts with units (`\"50MiB\"`, `\"1h30m\"`, `\"5d\"`). Relative paths start at the directory of the file.\n" +
		"`mailsrvd check-config` shows every problem at once; `systemctl reload mailsrvd` (SIGHUP) takes over a changed file, or\n" +
		"keeps the old state and logs why. Changes of listeners, directories and the back end of `[auth]` need a restart.\n\n" +
		"An annotated example with every key: [`deploy/mailsrvd.toml`](../deploy/mailsrvd.toml).\n")
	for _, s := range allSections() {
		if s.name != "" {
			fmt.Fprintf(&b, "\n## `%s`\n\n", s.heading())
		} else {
			b.WriteString("\n## Above the first heading\n\n")
		}
		b.WriteString(s.doc + "\n\n| key | value | default | |\n| --- | --- | --- | --- |\n")
		for _, k := range s.keys {
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", k.name, cell(k.kind), k.defaultCell(), cell(k.doc))
		}
	}
	return b.String()
}

func (k key) defaultCell() string {
	switch {
	case k.required != "":
		return "required"
	case k.def == "":
		return "none"
	}
	return "`" + k.def + "`"
}

// cell makes text fit for a table.
func cell(s string) string {
	return strings.NewReplacer("|", `\|`, "<", "&lt;", ">", "&gt;", "*", `\*`).Replace(s)
}

// Man is the manual page mailsrvd.toml(5), in the man macros.
func Man() string {
	var b strings.Builder
	b.WriteString(".\\\" Made by go generate ./cmd/mailsrvd from the package config. Do not edit.\n" +
		".TH MAILSRVD.TOML 5 \"\" \"mailsrvd\" \"File formats\"\n" +
		".SH NAME\nmailsrvd.toml \\- configuration of mailsrvd\n" +
		".SH SYNOPSIS\n.I /etc/mailsrvd/mailsrvd.toml\n" +
		".SH DESCRIPTION\nA TOML file. Unknown keys are errors. Sizes and times are texts with units\n" +
		"(\\(dq50MiB\\(dq, \\(dq1h30m\\(dq, \\(dq5d\\(dq). Relative paths start at the directory of the file.\n" +
		".PP\n.B mailsrvd check-config\nshows every problem at once. A reload (SIGHUP) takes over a changed file, or keeps\n" +
		"the old state and logs why. Changes of listeners, directories and the back end of [auth] need a restart.\n")
	for _, s := range allSections() {
		title := s.heading()
		if s.name == "" {
			title = "ABOVE THE FIRST HEADING"
		}
		fmt.Fprintf(&b, ".SH %s\n%s\n", roff(title), roff(s.doc))
		for _, k := range s.keys {
			fmt.Fprintf(&b, ".TP\n.BR %s \" = \" \\fI%s\\fR\n%s\n", roff(k.name), roff(strings.ReplaceAll(k.kind, " ", "\\ ")), roff(k.doc))
			fmt.Fprintf(&b, "%s\n", roff(k.defaultLine()))
		}
	}
	b.WriteString(".SH FILES\n.I /etc/mailsrvd/mailsrvd.toml\n.SH SEE ALSO\n.BR mailsrvd (8),\n.BR mailsrvd-check-config (8)\n")
	return b.String()
}

func (k key) defaultLine() string {
	switch {
	case k.required != "":
		return "Required."
	case k.def == "":
		return "No default."
	}
	return "Default: " + k.def + "."
}

// roff escapes text for troff, except the "\ " that Man put in itself.
func roff(s string) string {
	s = strings.NewReplacer(`\ `, `\ `, `\`, `\e`, `-`, `\-`, `"`, `\(dq`).Replace(s)
	if strings.HasPrefix(s, ".") || strings.HasPrefix(s, "'") {
		s = `\&` + s
	}
	return s
}
