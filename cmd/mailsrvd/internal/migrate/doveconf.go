package migrate

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// block is a section of doveconf's output, "name argument { ... }", or the whole
// of it. Settings stand in order, each name at most once a block.
type block struct {
	name, arg string
	settings  []doveSetting
	blocks    []*block
}

type doveSetting struct{ name, value string }

// get is a setting's value, empty if it is not there.
func (b *block) get(name string) string {
	for _, s := range b.settings {
		if s.name == name {
			return s.value
		}
	}
	return ""
}

// doveconfTime bounds one run of doveconf.
const doveconfTime = 20 * time.Second

// readDoveconf reads Dovecot's configuration: a directory with dovecot.conf, for
// which doveconf must be installed, or a file with what "doveconf -nP" printed.
func readDoveconf(ctx context.Context, path string) (*block, error) {
	fi, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("the configuration of Dovecot: %w", err)
	}
	var text []byte
	if fi.IsDir() {
		ctx, cancel := context.WithTimeout(ctx, doveconfTime)
		defer cancel()
		text, err = exec.CommandContext(ctx, "doveconf", "-n", "-P", "-c", filepath.Join(path, "dovecot.conf")).Output()
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			return nil, fmt.Errorf("doveconf -n: %s", strings.TrimSpace(string(exit.Stderr)))
		} else if err != nil {
			return nil, fmt.Errorf("running doveconf (or give the output of doveconf -nP as a file): %w", err)
		}
	} else if text, err = os.ReadFile(path); err != nil {
		return nil, fmt.Errorf("the configuration of Dovecot: %w", err)
	}
	b, err := parseDoveconf(string(text))
	if err != nil {
		return nil, fmt.Errorf("the output of doveconf -n, %w", err)
	}
	return b, nil
}

// parseDoveconf reads what doveconf prints: one setting, opening or closing of a
// section a line.
func parseDoveconf(text string) (*block, error) {
	open := []*block{{}}
	n := 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimSpace(line)
		b := open[len(open)-1]
		switch name, value, isSetting := strings.Cut(line, "="); {
		case line == "" || line[0] == '#':
		case line == "}":
			if len(open) == 1 {
				return nil, fmt.Errorf("line %d: a } too many", n)
			}
			open = open[:len(open)-1]
		case strings.HasSuffix(line, "{") && !(isSetting && strings.HasSuffix(name, " ")):
			head, arg, _ := strings.Cut(strings.TrimSpace(strings.TrimSuffix(line, "{")), " ")
			child := &block{name: head, arg: strings.Trim(arg, `"`)}
			b.blocks = append(b.blocks, child)
			open = append(open, child)
		case isSetting:
			b.settings = append(b.settings, doveSetting{strings.TrimSpace(name), unquote(strings.TrimSpace(value))})
		default:
			return nil, fmt.Errorf("line %d: neither a setting nor a section: %q", n, line)
		}
	}
	if len(open) > 1 {
		return nil, fmt.Errorf("the end is missing: section %q is not closed", open[len(open)-1].name)
	}
	return open[0], nil
}

// unquote takes away the quotes that doveconf puts around values with spaces at
// an end.
func unquote(s string) string {
	if len(s) < 2 || s[0] != '"' || s[len(s)-1] != '"' {
		return s
	}
	return strings.NewReplacer(`\"`, `"`, `\\`, `\`).Replace(s[1 : len(s)-1])
}
