// SPDX-License-Identifier: LGPL-2.1-or-later

package cli

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/spf13/pflag"
)

// usageError says what is wrong with the command line, in the words of the Python program.
type usageError struct {
	text string
	warn bool // also a line in the log
}

func (e *usageError) Error() string { return e.text }

func usagef(format string, args ...any) error {
	return &usageError{text: fmt.Sprintf(format, args...)}
}

// words rewrites the words of a command line into options and their values, and sets each option as
// soon as it is read.
type words struct {
	program *Program
	args    []string
	next    int          // index of the first word not read yet
	given   []assignment // what was set

	own     []string    // the words where the process has them; nil: they are not of its command line
	hidden  map[int]int // index of a word that a daemon is not given -> bytes of it that it is
	word    int         // index of the word of the option that is being read
	letters int         // bytes in front of it in its word, if that is a group
}

// read goes through all words and returns those that are neither options nor their values.
func (w *words) read() (rest []string, err error) {
	for w.next < len(w.args) {
		word := w.args[w.next]
		w.word, w.letters = w.next, 0
		w.next++
		switch {
		case word == "--":
			return append(rest, w.args[w.next:]...), nil
		case strings.HasPrefix(word, "--"):
			err = w.long(word)
		case strings.HasPrefix(word, "-") && word != "-":
			err = w.short(word)
		default:
			rest = append(rest, word)
		}
		if err != nil {
			return nil, err
		}
	}
	return rest, nil
}

// long reads --name, --name=value, or --name and the next word.
func (w *words) long(word string) error {
	name, value, attached := strings.Cut(word[2:], "=")
	flag, err := w.program.match(name)
	if err != nil {
		return err
	}
	typed := "--" + display(flag)
	switch {
	case flag.NoOptDefVal != "" && !attached:
		return w.assign(flag, typed, flag.NoOptDefVal)
	case flag.NoOptDefVal != "" && !hasForms(flag):
		return usagef("%s option does not take a value", typed)
	case isFormat(flag):
		if !attached {
			return w.assign(flag, typed, w.format())
		}
		if strings.HasPrefix(value, "-") {
			value = ""
		}
		return w.assign(flag, typed, value)
	case attached:
		return w.assign(flag, typed, value)
	}
	return w.withNext(flag, typed)
}

// short reads a group of one-letter options. The first one that takes a value ends the group: its
// value is the rest of the word, or the next word.
func (w *words) short(word string) error {
	for rest := word[1:]; rest != ""; {
		_, size := utf8.DecodeRuneInString(rest)
		typed := "-" + rest[:size]
		w.letters = len(word) - len(rest)
		var flag *pflag.Flag
		if size == 1 {
			flag = w.program.flags.ShorthandLookup(rest[:1])
		}
		rest = rest[size:]
		switch {
		case flag == nil:
			return w.program.noSuchOption(typed)
		case flag.NoOptDefVal != "":
			if err := w.assign(flag, typed, flag.NoOptDefVal); err != nil {
				return err
			}
			continue
		case isFormat(flag) && rest == "":
			return w.assign(flag, typed, w.format())
		case isFormat(flag):
			return w.assign(flag, typed, rest)
		case rest == "":
			return w.withNext(flag, typed)
		}
		if err := w.guard(flag, rest); err != nil {
			return err
		}
		return w.assign(flag, typed, rest)
	}
	return nil
}

// withNext takes the next word as the option's value.
func (w *words) withNext(flag *pflag.Flag, typed string) error {
	if w.next == len(w.args) {
		return usagef("%s option requires 1 argument", typed)
	}
	value := w.args[w.next]
	w.next++
	if err := w.guard(flag, value); err != nil {
		return err
	}
	return w.assign(flag, typed, value)
}

// format takes the next word as the value of --help unless it is an option.
func (w *words) format() string {
	if w.next == len(w.args) || strings.HasPrefix(w.args[w.next], "-") {
		return ""
	}
	w.next++
	return w.args[w.next-1]
}

// guard refuses a value that was more likely meant as an option: scripts rely on "-N $EMPTY -S"
// being an error. The value has just been read, from the word before w.next. An equal word further
// left hides it, as in the Python program, which looks the value up among all words and takes the
// first one it finds.
func (w *words) guard(flag *pflag.Flag, value string) error {
	if at := slices.Index(w.args, value); at >= 0 && at != w.next-1 {
		return nil
	}
	shown := value
	if flag.Value.(*option).Secret {
		shown = "***"
	}
	var why string
	switch {
	case w.program.isOption("-" + value):
		why = fmt.Sprintf("'-%s' is a valid option", shown)
	case w.program.isOption(value):
		why = fmt.Sprintf("Value '%s' is also a valid option", shown)
	case strings.HasPrefix(value, "-"):
		why = fmt.Sprintf("Value '%s' starts with a '-'", shown)
	default:
		return nil
	}
	return &usageError{text: fmt.Sprintf("%s. Use '--%s=%s' if the value is correct.", why, display(flag), shown), warn: true}
}

// assign sets the option. A request for help comes as an error: it ends the reading.
func (w *words) assign(flag *pflag.Flag, typed, value string) error {
	w.hide(flag.Value.(*option), value)
	err := flag.Value.Set(value)
	if err == nil {
		w.given = append(w.given, assignment{flag, value})
		return nil
	}
	var ask *request
	if errors.As(err, &ask) {
		return err
	}
	return usagef("option %s: %s", typed, err)
}

// match finds the option with this long name or, if there is none, the only option whose name
// begins with it.
func (p *Program) match(name string) (*pflag.Flag, error) {
	if flag := p.flags.Lookup(name); flag != nil {
		return flag, nil
	}
	var known, added []*pflag.Flag
	p.flags.VisitAll(func(flag *pflag.Flag) {
		switch {
		case !strings.HasPrefix(flag.Name, normal(name)):
		case flag.Value.(*option).Added:
			added = append(added, flag)
		default:
			known = append(known, flag)
		}
	})
	candidates := known
	if len(known) == 0 {
		candidates = added
	}
	if len(candidates) > 0 && p.Foreign != nil && len(name) > 1 { // one letter is no name of an option there
		hint, option, known := p.Foreign(name)
		same := slices.ContainsFunc(candidates, func(flag *pflag.Flag) bool { return flag.Name == normal(option) })
		if known && !same {
			return nil, usagef("--%s is not taken for --%s, as it is also an option of rsync: %s", name, display(candidates[0]), hint)
		}
	}
	switch len(candidates) {
	case 0:
		return nil, p.noSuchOption("--" + name)
	case 1:
		return candidates[0], nil
	}
	names := make([]string, len(candidates))
	for i, flag := range candidates {
		names[i] = "--" + display(flag)
	}
	slices.Sort(names)
	return nil, usagef("ambiguous option: --%s (%s?)", name, strings.Join(names, ", "))
}

// noSuchOption is for what was typed with its dashes.
func (p *Program) noSuchOption(typed string) error {
	if hint := p.foreign(strings.TrimLeft(typed, "-")); hint != "" {
		return usagef("no such option: %s: %s", typed, hint)
	}
	return usagef("no such option: %s", typed)
}

// isOption tells whether a word is an option, written in full.
func (p *Program) isOption(word string) bool {
	if len(word) == 2 && word[0] == '-' {
		return p.flags.ShorthandLookup(word[1:]) != nil
	}
	name, long := strings.CutPrefix(word, "--")
	return long && p.flags.Lookup(name) != nil
}

// display is a flag's name as the help and the messages write it; pflag keeps the normal form.
func display(flag *pflag.Flag) string {
	name := flag.Value.(*option).Name
	return strings.TrimSuffix(flag.Name, normal(name)) + name
}

// isFormat tells whether the option may have a value or none, which only --help may.
func isFormat(flag *pflag.Flag) bool {
	return flag.Value.Type() == "show" && flag.Name == "help"
}

// hasForms tells whether a boolean can be switched on in several ways, by a word behind its name.
func hasForms(flag *pflag.Flag) bool {
	return flag.Value.Type() == "bool" && flag.Value.(*option).Choices != nil && !flag.Hidden
}

// isForm tells whether a value in the environment or a file is such a word.
func isForm(flag *pflag.Flag, value string) bool {
	return hasForms(flag) && slices.Contains(flag.Value.(*option).Choices, value)
}

// readEnvironment sets the options that the environment gives, in their order, so that the first
// wrong one is the one reported.
func (p *Program) readEnvironment(environ []string) (given []assignment, err error) {
	values := environment(environ)
	for _, flag := range p.environmentOrder() {
		name := p.environmentName(flag)
		value, there := values[name]
		if !there {
			continue
		}
		word := "--" + flag.Name
		if flag.NoOptDefVal == "" || isForm(flag, value) {
			word += "=" + value
		} else if on, err := parseEnvBool(value); err != nil {
			return nil, usagef("environment variable %s: %s", name, err)
		} else if !on {
			continue
		}
		w := words{program: p, args: []string{word}}
		if _, err := w.read(); err != nil {
			return nil, err
		}
		given = append(given, w.given...)
	}
	return given, nil
}

// environmentName is the variable that sets the flag.
func (p *Program) environmentName(flag *pflag.Flag) string {
	return p.prefix() + "_" + strings.ToUpper(strings.ReplaceAll(flag.Name, "-", "_"))
}

// environmentOrder lists all flags: help first, then the program's own by name, then log and
// configuration; each option with its enable and disable forms.
func (p *Program) environmentOrder() []*pflag.Flag {
	var own []*option
	for _, g := range p.groups {
		own = append(own, g.options...)
	}
	builtin := func(opt *option) bool { return slices.Contains([]string{"debug", "info", "quiet"}, opt.Name) }
	var levels []*option
	for _, opt := range p.logging.options {
		if builtin(opt) {
			levels = append(levels, opt)
		} else {
			own = append(own, opt)
		}
	}
	slices.SortFunc(own, func(a, b *option) int { return cmp.Compare(a.Name, b.Name) })

	var flags []*pflag.Flag
	for _, opt := range slices.Concat(p.help.options, own, levels, p.config.options) {
		for _, form := range []string{"", "enable-", "disable-"} {
			if flag := p.flags.Lookup(form + opt.Name); flag != nil && flag.Value == pflag.Value(opt) {
				flags = append(flags, flag)
			}
		}
	}
	return flags
}
