package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"svc.plus/mailsrvd/config"
)

//go:generate go run . docs ../..

// docsCommand writes every file that is made from the code. A test compares
// them with what is in the tree.
func (a *app) docsCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "docs DIR",
		Short:  "Write the example configuration, the reference and the manual pages below DIR",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			files, err := generatedDocs()
			if err != nil {
				return err
			}
			for name, text := range files {
				path := filepath.Join(args[0], name)
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					return err
				}
				if err := os.WriteFile(path, text, 0o644); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

// generatedDocs makes the files by path below the module's root.
func generatedDocs() (map[string][]byte, error) {
	files := map[string][]byte{
		"deploy/mailsrvd.toml":     []byte(config.Example()),
		"docs/configuration.md":    []byte(config.Markdown()),
		"docs/man/mailsrvd.toml.5": []byte(config.Man()),
	}
	root := new(app).root()
	root.InitDefaultHelpCmd()
	root.DisableAutoGenTag = true
	// The default depends on the environment; the manual must not.
	root.PersistentFlags().Lookup("config").DefValue = defaultConfig
	var commands bytes.Buffer
	commands.WriteString("# Commands\n\n<!-- Made by `go generate ./cmd/mailsrvd`. Do not edit. -->\n")
	if err := document(root, files, &commands); err != nil {
		return nil, err
	}
	files["docs/commands.md"] = commands.Bytes()
	return files, nil
}

// document adds the manual page of c and of all commands below it.
func document(c *cobra.Command, files map[string][]byte, commands *bytes.Buffer) error {
	if c.Hidden || c.Name() == "help" || c.Name() == "completion" {
		return nil
	}
	var b bytes.Buffer
	header := &doc.GenManHeader{Section: "8", Source: "mailsrvd", Manual: "System administration"}
	if err := doc.GenMan(c, header, &b); err != nil {
		return fmt.Errorf("manual page of %s: %w", c.CommandPath(), err)
	}
	files["docs/man/"+strings.ReplaceAll(c.CommandPath(), " ", "-")+".8"] = undated(b.Bytes())
	if c.Runnable() {
		fmt.Fprintf(commands, "\n## `%s`\n\n%s\n\n```\n%s```\n", c.CommandPath(), c.Short, helpText(c))
	}
	for _, sub := range c.Commands() {
		if err := document(sub, files, commands); err != nil {
			return err
		}
	}
	return nil
}

// helpText is what --help prints.
func helpText(c *cobra.Command) string {
	var b bytes.Buffer
	c.InitDefaultHelpFlag()
	c.SetOut(&b)
	c.Help()
	return b.String()
}

// undated takes the day of generation out of a page's title line.
func undated(page []byte) []byte {
	lines := strings.SplitAfter(string(page), "\n")
	for i, l := range lines {
		if strings.HasPrefix(l, ".TH ") {
			fields := strings.SplitN(l, `"`, 7)
			if len(fields) == 7 {
				fields[5] = ""
				lines[i] = strings.Join(fields, `"`)
			}
		}
	}
	return []byte(strings.Join(lines, ""))
}
