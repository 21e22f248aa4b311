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

// Exit is the error of a Parse that has said all there is to say: the program ends with Code. 0: a
// text was asked for; 1: a config file is wrong, or a shell asked for completions; 2: usage.
type Exit struct{ Code int }

func (e *Exit) Error() string { return fmt.Sprintf("exit status %d", e.Code) }

// Parsed is what Parse returns beside the variables of the options.
type Parsed struct {
	// Sections of the config files other than [MAIN] and [DEFAULT], in file order, if
	// Program.KeepSections.
	Sections []Section

	// Args is the command line without secrets and without the files that hold one: a daemon that is
	// started again with it is given the secret in the environment.
	Args []string

	// Read are the config files that were read, Skipped those that could not be.
	Read, Skipped []string

	warnings []warning
	secrets  []warning         // of them, what is only about this command line
	origins  map[string]string // of the options that were given: file:line, or ""
}

// Origin tells whether an option was given, be it with its default, and where if that is a config file:
// "file:line".
func (r *Parsed) Origin(name string) (at string, given bool) {
	at, given = r.origins[normal(name)]
	return at, given
}

// warning is a message that waits for the log to be open.
type warning struct {
	text   string
	fields []any
	file   string // the config file that is skipped, if it is about one
}

// Warn logs what Parse found odd but not wrong.
func (r *Parsed) Warn(log *slog.Logger) {
	for _, w := range r.warnings {
		log.Warn(w.text, w.fields...)
	}
}

// Warnings are what Warn logs.
func (r *Parsed) Warnings() []string {
	texts := make([]string, len(r.warnings))
	for i, w := range r.warnings {
		texts[i] = w.text
	}
	return texts
}

// Missing is an error about an option that was not given. It may have been in a file that was skipped, and
// the error says so.
func (r *Parsed) Missing(err error) error {
	if len(r.Skipped) == 0 {
		return err
	}
	return fmt.Errorf("%w (skipped, as it cannot be read: config file %s)", err, strings.Join(r.Skipped, ", "))
}

// WarnOfSecrets logs only what a daemon that was started again with Args does not know.
func (r *Parsed) WarnOfSecrets(log *slog.Logger) { (&Parsed{warnings: r.secrets}).Warn(log) }

// assignment is an option that was given, and its value.
type assignment struct {
	flag  *pflag.Flag
	value string
}

// option is the option's name in normal form, also of enable- and disable- forms.
func (a assignment) option() string { return normal(a.flag.Value.(*option).Name) }

// Parse reads the environment, the command line and the config files that these name, and sets the
// variables of the options. Its error, if any, is an *Exit: then it has written what there is to
// say, help to stdout, mistakes to stderr.
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
		fmt.Fprintf(stderr, "Usage: %s [options]\n\n%s: error: %s\n", p.name, p.name, printable(usage.text))
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
	given, err := p.readEnvironment(environ)
	if err != nil {
		return nil, err
	}
	w := words{program: p, own: args, hidden: map[int]int{}}
	for _, arg := range args {
		w.args = append(w.args, strings.Clone(arg)) // a secret will be overwritten in the process's own
	}
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
	config, skipped, err := readConfig(files)
	if err != nil {
		return nil, err
	}
	sections, err := config.otherSections()
	if err != nil {
		return nil, err
	}
	parsed := &Parsed{Args: w.withoutSecrets(), origins: map[string]string{}}
	if err := p.applyConfig(config, parsed.origins); err != nil {
		return nil, err
	}

	// The files came last but count least: what was given elsewhere is set again. That gives the
	// log level of environment and command line back, too, and leaves the one of the files if these
	// gave none.
	for _, a := range append(given, w.given...) {
		if err := a.flag.Value.Set(a.value); err != nil {
			return nil, err
		}
		parsed.origins[a.option()] = ""
	}
	for _, w := range skipped {
		parsed.Skipped = append(parsed.Skipped, w.file)
	}
	parsed.Read = slices.DeleteFunc(files, func(file string) bool { return slices.Contains(parsed.Skipped, file) })
	parsed.secrets = exposed(w.given)
	parsed.warnings = slices.Concat(skipped, config.exposures(p.isSecret), parsed.secrets, p.inversions())
	if p.KeepSections {
		parsed.Sections = sections
	}
	return parsed, nil
}

// inversions returns the warnings of the inverted options that are off.
func (p *Program) inversions() (warnings []warning) {
	for _, g := range p.allGroups() {
		for _, opt := range g.options {
			if opt.Inverted && opt.String() == "false" {
				warnings = append(warnings, warning{text: opt.Warning, fields: []any{"option", opt.Name}})
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
	return NewLog(LogConfig{Level: slog.LevelWarn, Program: name, Stderr: w}).Logger()
}
