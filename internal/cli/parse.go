// SPDX-License-Identifier: LGPL-2.1-or-later

package cli

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// Exit is the error of a Parse that has said all there is to say: the program
// ends with Code. 0: a text was asked for; 1: a config file is wrong; 2: usage.
type Exit struct{ Code int }

func (e *Exit) Error() string { return fmt.Sprintf("exit status %d", e.Code) }

// Parsed is what Parse returns beside the variables of the options.
type Parsed struct {
	// Sections of the config files other than [MAIN] and [DEFAULT], in file
	// order, if Program.KeepSections.
	Sections []Section

	// Warnings are to be logged once the log is open.
	Warnings []string

	set map[string]bool
}

// IsSet tells whether the option was given anywhere, be it with its default.
func (r *Parsed) IsSet(name string) bool { return r.set[normal(name)] }

// assignment is an option that was given, and its value.
type assignment struct {
	flag  *pflag.Flag
	value string
}

// Parse reads the environment, the command line and the config files that these
// name, and sets the variables of the options. Once something has been written
// (help to stdout, an error to stderr) it returns an *Exit.
//
// A Program parses once.
func (p *Program) Parse(args, environ []string, stdout, stderr io.Writer) (*Parsed, error) {
	parsed, err := p.parse(args, environ, stdout)
	var ask *request
	var usage *usageError
	switch {
	case err == nil:
		return parsed, nil
	case errors.As(err, &ask):
		p.show(ask.what, stdout, width(environ, stdout))
		return nil, &Exit{0}
	case errors.As(err, &usage):
		if usage.warn {
			lineLogger(stderr, "ExtOption").Warn(usage.text)
		}
		fmt.Fprintf(stderr, "Usage: %s [options]\n\n%s: error: %s\n", p.name, p.name, usage.text)
		return nil, &Exit{2}
	case errors.As(err, new(*Exit)):
		return nil, err
	default:
		lineLogger(stderr, p.prefix()).Error(err.Error())
		return nil, &Exit{1}
	}
}

func (p *Program) parse(args, environ []string, stdout io.Writer) (*Parsed, error) {
	if p.complete(environ, stdout) {
		return nil, &Exit{1}
	}
	var given []assignment
	set := func(flag *pflag.Flag, value string) { given = append(given, assignment{flag, value}) }
	if err := p.readEnvironment(environ, set); err != nil {
		return nil, err
	}
	w := words{program: p, args: args, set: set}
	rest, err := w.read()
	if err != nil {
		return nil, err
	}
	if len(rest) > 0 {
		return nil, usagef("Invalid arguments args %s", quoteList(rest))
	}

	files := slices.DeleteFunc(slices.Clone(p.configFiles), func(file string) bool {
		return slices.Contains(p.ignoreFiles, file)
	})
	config, warnings, err := readConfig(files)
	if err != nil {
		return nil, err
	}
	sections, err := config.otherSections()
	if err != nil {
		return nil, err
	}
	fromFiles, err := p.applyConfig(config)
	if err != nil {
		return nil, err
	}

	// The files came last but count least: what was given elsewhere is set again.
	// That gives the log level of environment and command line back, too, and
	// leaves the one of the files if these gave none.
	for _, a := range given {
		if err := a.flag.Value.Set(a.value); err != nil {
			return nil, err
		}
	}
	parsed := &Parsed{Warnings: warnings, set: make(map[string]bool)}
	for _, a := range append(fromFiles, given...) {
		parsed.set[normal(a.flag.Value.(*option).Name)] = true
	}
	if p.KeepSections {
		parsed.Sections = sections
	}
	parsed.Warnings = append(parsed.Warnings, p.inversions()...)
	return parsed, nil
}

// inversions returns the warnings of the inverted options that are off.
func (p *Program) inversions() []string {
	var warnings []string
	for _, g := range p.allGroups() {
		for _, opt := range g.options {
			if opt.Inverted && opt.String() == "false" {
				warnings = append(warnings, opt.Warning)
			}
		}
	}
	return warnings
}

func quoteList(words []string) string {
	quoted := make([]string, len(words))
	for i, word := range words {
		quoted[i] = quote(word)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

// lineLogger writes lines of the log before there is one.
func lineLogger(w io.Writer, name string) *slog.Logger {
	return slog.New(&handler{log: &Log{level: slog.LevelWarn, stderr: w}, logger: name})
}
