// Package config turns the TOML text of mailsrvd.toml into one immutable,
// validated Config.
//
// Each section is a file: the validated type, the keys with their
// documentation, default and example bound to its fields, and the checks that
// need more than one key. The same table makes the example file, the Markdown
// reference and the manual page (see Example, Markdown and Man), so they cannot
// disagree with what Load accepts.
//
// Load reports every problem at once, each with file, line and the mend, and
// remembers the line of each key for the checks of other packages
// (Config.Problem).
package config
