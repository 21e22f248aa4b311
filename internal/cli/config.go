// SPDX-License-Identifier: LGPL-2.1-or-later

package cli

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"gopkg.in/ini.v1"

	"vsc-zk/internal/private"
)

// Section is a section of the config files; the keys of all files are merged.
type Section struct {
	Name string
	Keys []Key // those inherited from [DEFAULT] first, then in file order
	File string
	Line int
}

// Key is one key of a section, its value expanded.
type Key struct{ Name, Value string }

const (
	mainSection    = "MAIN"
	defaultSection = "DEFAULT" // for ini.v1 as for Python
)

// position is where a section or key was last given.
type position struct {
	file  string
	order int // of the file among all
	line  int
}

func (p position) String() string { return fmt.Sprintf("%s:%d", p.file, p.line) }

// entry is a key of a section, with what decides whether and when it is used.
type entry struct {
	Key
	at        position
	own       bool // the section has this key
	inDefault bool // [DEFAULT] has this key
}

// isConstant tells whether the key is in [DEFAULT] only for others to refer to: then its name is in
// upper case.
func (e entry) isConstant() bool { return e.inDefault && e.Name == strings.ToUpper(e.Name) }

// exposedFile is a config file that others get at.
type exposedFile struct {
	name, why string
	keys      []string // in it
}

// config holds what the config files say, before expansion.
type config struct {
	ini      *ini.File
	sections map[string]position // where first met
	keys     map[*ini.Key]position
	exposed  []exposedFile
}

func newConfig() *config {
	return &config{
		// Dots in a name do not make a section the child of another one.
		ini:      ini.Empty(ini.LoadOptions{ChildSectionDelimiter: "\x00"}),
		sections: make(map[string]position),
		keys:     make(map[*ini.Key]position),
	}
}

// readConfig reads the files in order into one config. The dialect is that of Python's configparser
// with its defaults, keys case-sensitive:
//
//   - [section], then key = value or key: value, the first "=" or ":" counts, blanks around it are
//     dropped. What follows the last "]" is ignored.
//   - A line whose first character is "#" or ";" is a comment. There are no comments behind a
//     value, and quotes are part of it.
//   - A line that is indented deeper than its key continues the value; empty lines in between are
//     kept.
//   - A key or section must not come twice in a file; across files they merge.
//   - [DEFAULT] gives keys to all sections that exist.
//   - %(key)s is another key of the section or of [DEFAULT]; %% is "%". Sections named raw_… are
//     not expanded.
//   - UTF-8 without a byte order mark; lines may end in CR, LF or both.
//
// ini.v1 holds the sections and keys, but does not read the lines: it keeps no line numbers, merges
// what comes twice without a word, gives quotes, backquotes and "-" a meaning of their own, and
// does not compare indentations.
//
// A file that cannot be opened is skipped, and a warning says so. One that everybody may write is an error:
// who writes it decides what is sent, and what is deleted. Errors name file and line, but
// not what stands there: it may be a password.
func readConfig(files []string) (c *config, skipped []warning, err error) {
	c = newConfig()
	for i, file := range files {
		text, info, err := readConfigFile(file)
		if err != nil {
			var reason *fs.PathError
			if errors.As(err, &reason) {
				err = reason.Err
			}
			text := fmt.Sprintf("config file %s is skipped, it cannot be read: %s", file, err)
			skipped = append(skipped, warning{text, []any{"file", file, "error", err}, file})
			continue
		}
		if private.OthersWrite(info) {
			return nil, nil, fmt.Errorf("cannot use config file %s: everybody may write it, and so decide what is sent and deleted; type chmod go-w %[1]s, and look what is in it", file)
		}
		if why := private.Exposed(info); why != "" {
			c.exposed = append(c.exposed, exposedFile{name: file, why: why})
		}
		if err := c.read(text, position{file: file, order: i}); err != nil {
			return nil, nil, fmt.Errorf("cannot use config file %w", err)
		}
	}
	return c, skipped, nil
}

// readConfigFile is os.ReadFile, and what the file is.
func readConfigFile(name string) ([]byte, fs.FileInfo, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, nil, err
	}
	text, err := io.ReadAll(file)
	return text, info, err
}

// exposures returns a warning for each file that others get at and that holds a password.
func (c *config) exposures(secret func(key string) bool) (warnings []warning) {
	for _, f := range c.exposed {
		if slices.ContainsFunc(f.keys, secret) {
			text := fmt.Sprintf("config file %s holds a password and %s: type chmod 600 %[1]s, and think of another password", f.name, f.why)
			warnings = append(warnings, warning{text: text, fields: []any{"file", f.name}})
		}
	}
	return warnings
}

// read adds one file, whose position is given without a line. Errors begin with file and line.
func (c *config) read(text []byte, at position) error {
	if err := checkEncoding(text, at); err != nil {
		return err
	}
	var (
		section *ini.Section
		key     *ini.Key           // the one that an indented line continues
		value   []string           // its lines so far
		indent  int                // its indentation, in characters
		seen    = map[string]int{} // lines of the sections and keys of this file
	)
	finish := func() {
		if key != nil {
			key.SetValue(strings.TrimRightFunc(strings.Join(value, "\n"), isSpace))
		}
		key = nil
	}
	text = bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n"))
	text = bytes.ReplaceAll(text, []byte("\r"), []byte("\n"))
	for i, line := range strings.Split(string(text), "\n") {
		at.line = i + 1
		content := strings.TrimFunc(line, isSpace)
		depth := utf8.RuneCountInString(line[:len(line)-len(strings.TrimLeftFunc(line, isSpace))])
		switch {
		case content == "":
			value = append(value, "")
			continue
		case content[0] == '#' || content[0] == ';':
			continue
		case key != nil && depth > indent:
			value = append(value, content)
			continue
		}
		finish()
		indent = depth

		if end := strings.LastIndexByte(content, ']'); content[0] == '[' && end > 1 {
			name := content[1:end]
			if first, twice := seen["["+name]; twice && name != defaultSection {
				return fmt.Errorf("%s: section [%s] comes twice, first in line %d; merge the two", at, name, first)
			}
			seen["["+name] = at.line
			section, _ = c.ini.NewSection(name) // fails only without a name
			if _, known := c.sections[name]; !known {
				c.sections[name] = at
			}
			continue
		}
		if section == nil {
			return fmt.Errorf("%s: the line stands before any section; options belong below [%s]", at, mainSection)
		}
		name, rest, found := cutKey(content)
		if !found {
			return fmt.Errorf("%s: the line is neither a [section] nor key = value", at)
		}
		if name == "" {
			return fmt.Errorf("%s: there is no key in front of %s", at, quote(content[:1]))
		}
		// Two spellings of one option are one key.
		id := "[" + section.Name() + "]" + name
		if section.Name() == mainSection {
			id = "[" + section.Name() + "]" + normal(name)
		}
		if first, twice := seen[id]; twice {
			return fmt.Errorf("%s: %s comes twice in [%s], first in line %d; keep one", at, name, section.Name(), first)
		}
		seen[id] = at.line
		key, _ = section.NewKey(name, "") // fails only without a name
		value = []string{rest}
		c.keys[key] = at
		if n := len(c.exposed); n > 0 && c.exposed[n-1].name == at.file {
			c.exposed[n-1].keys = append(c.exposed[n-1].keys, name)
		}
	}
	finish()
	return nil
}

// cutKey splits at the first "=" or ":".
func cutKey(line string) (key, value string, found bool) {
	i := strings.IndexAny(line, "=:")
	if i < 0 {
		return "", "", false
	}
	return strings.TrimRightFunc(line[:i], isSpace), strings.TrimLeftFunc(line[i+1:], isSpace), true
}

// checkEncoding accepts UTF-8 without a byte order mark and without NUL, which no file name,
// argument or znode can hold.
func checkEncoding(text []byte, at position) error {
	at.line = 1
	if bytes.HasPrefix(text, []byte("\uFEFF")) {
		return fmt.Errorf("%s: the file begins with a byte order mark; save it as UTF-8 without one", at)
	}
	for good := 0; good < len(text); {
		r, size := utf8.DecodeRune(text[good:])
		if r == utf8.RuneError && size == 1 {
			return fmt.Errorf("%s: the byte 0x%02x is not UTF-8; save the file as UTF-8", at, text[good])
		}
		switch r {
		case 0:
			return fmt.Errorf("%s: the byte 0x00 is not text", at)
		case '\n':
			at.line++
		}
		good += size
	}
	return nil
}

// isSpace tells whether Python takes the character for white space.
func isSpace(r rune) bool { return unicode.IsSpace(r) || r >= 0x1c && r <= 0x1f }

// section returns the keys of a section, those that it inherits included, with expanded values.
func (c *config) section(name string) ([]entry, error) {
	defaults, own := c.ini.Section(defaultSection), c.ini.Section(name)
	find := func(key string) *ini.Key {
		for _, s := range []*ini.Section{own, defaults} {
			if s.HasKey(key) {
				return s.Key(key)
			}
		}
		return nil
	}
	lookup := func(key string) (string, bool) {
		if k := find(key); k != nil {
			return k.Value(), true
		}
		return "", false
	}
	names := defaults.KeyStrings()
	for _, key := range own.KeyStrings() {
		if !defaults.HasKey(key) {
			names = append(names, key)
		}
	}
	var entries []entry
	for _, key := range names {
		at := c.keys[find(key)]
		value, _ := lookup(key)
		if !strings.HasPrefix(name, "raw_") {
			var err error
			if value, err = interpolate(value, lookup); err != nil {
				return nil, fmt.Errorf("cannot use config file %s: %s in [%s]: %w", at, key, name, err)
			}
		}
		entries = append(entries, entry{Key{key, value}, at, own.HasKey(key), defaults.HasKey(key)})
	}
	return entries, nil
}

// otherSections returns the sections that hold no options, without constants.
func (c *config) otherSections() ([]Section, error) {
	var sections []Section
	for _, name := range c.ini.SectionStrings() {
		if name == mainSection || name == defaultSection {
			continue
		}
		entries, err := c.section(name)
		if err != nil {
			return nil, err
		}
		s := Section{Name: name, File: c.sections[name].file, Line: c.sections[name].line}
		for _, e := range entries {
			if !e.isConstant() {
				s.Keys = append(s.Keys, e.Key)
			}
		}
		sections = append(sections, s)
	}
	return sections, nil
}

// applyConfig sets the options of [MAIN], if there is one, and notes where each stands.
func (p *Program) applyConfig(c *config, origins map[string]string) error {
	if _, there := c.sections[mainSection]; !there {
		return nil
	}
	entries, err := c.section(mainSection)
	if err != nil {
		return err
	}
	// The section's own keys win over inherited ones, and later files over earlier ones, also where
	// they spell an option differently.
	slices.SortStableFunc(entries, func(a, b entry) int {
		switch {
		case b.own && !a.own:
			return -1
		case a.own && !b.own:
			return 1
		}
		return cmp.Or(cmp.Compare(a.at.order, b.at.order), cmp.Compare(a.at.line, b.at.line))
	})
	for _, e := range entries {
		if err := p.applyKey(e, origins); err != nil {
			return err
		}
	}
	return nil
}

// applyKey sets one option from a file.
func (p *Program) applyKey(key entry, origins map[string]string) error {
	flag := p.flags.Lookup(key.Name)
	if flag == nil && key.isConstant() {
		return nil
	}
	if flag == nil {
		return fmt.Errorf("cannot use config file %s: %s has no option %s%s", key.at, p.name, key.Name, p.suggest(key.Name))
	}
	word := "--" + flag.Name + "=" + key.Value
	if flag.Value.Type() == "bool" && !isForm(flag, key.Value) {
		on, err := ParseBool(key.Value)
		if err != nil {
			return fmt.Errorf("cannot use config file %s: %s: %w", key.at, key.Name, err)
		}
		form := "disable-"
		if on {
			form = "enable-"
		}
		if flag.Hidden {
			return usagef("no such option: --%s%s (%s; in a file it is %s=yes or %[4]s=no)", form, key.Name, key.at, flag.Value.(*option).Name)
		}
		word = "--" + form + flag.Name
	}
	w := words{program: p, args: []string{word}}
	_, err := w.read()
	var usage *usageError
	if errors.As(err, &usage) {
		return usagef("%s (%s)", usage.text, key.at)
	}
	for _, a := range w.given {
		origins[a.option()] = key.at.String()
	}
	return err
}
