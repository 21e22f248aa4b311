// SPDX-License-Identifier: LGPL-2.1-or-later

package cli

import (
	"fmt"
	"log/slog"
	"regexp"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// Program is a command line: its options, in groups, and what its help says.
type Program struct {
	// KeepSections makes Parse return the sections of the config files other than [MAIN], which it
	// only checks otherwise.
	KeepSections bool

	// Version is what --version prints behind the name. New sets it to what the build knows about
	// itself.
	Version string

	// With adds a line to --version about what the program works with; nil: none.
	With func() string

	// Foreign knows the options of rsync, by their long names or letters. It says how this program
	// does the same, and by which option of its own, "" if by none. Such a name is taken for an
	// abbreviation only of that option. nil: nobody takes this program for rsync.
	Foreign func(name string) (hint, option string, ok bool)

	name, summary string
	flags         *pflag.FlagSet
	groups        []*Group // the program's own, in help order
	logging       *Group
	config        *Group
	help          *Group
	notes         []block // chapters of the full help, after the options
	guide         []block // its title, and then all else

	level                    slog.Level
	quiet                    bool
	configFiles, ignoreFiles []string
}

// Group is a titled part of the options, as the help shows them.
type Group struct {
	title, intro string
	options      []*option
	program      *Program
}

// Opt describes one option. Its default is the value that the variable has when the option is
// registered.
type Opt struct {
	Name    string   // long name, as the help and the messages write it
	Short   string   // one letter, or empty
	Arg     string   // the value's name in the help; shells complete FILE, FILES and DIR
	Help    string   // whole sentences, with the unit
	Note    string   // what the help says in place of the default
	Choices []string // the only values, for String

	// Added marks an option that the Python program did not have.
	Added bool

	// Secret keeps the value out of messages. Given on the command line it is overwritten in the
	// process's title as soon as it is read, and Parsed.Warn says Warning.
	Secret bool

	// Inverted reverses a boolean: --NAME switches it off, --disable-NAME on. While it is off
	// Parsed.Warn says Warning.
	Inverted bool
	Warning  string
}

// option is an Opt with its value. pflag has it under one name, or under three if it is a boolean.
type option struct {
	Opt
	pflag.Value
	def string // the default, as a config file writes it
}

// New makes a program without options of its own. The environment prefix is the name in upper case,
// up to the first dot.
func New(name, summary string) *Program {
	p := &Program{
		Version: buildVersion(),
		name:    name,
		summary: summary,
		flags:   pflag.NewFlagSet(name, pflag.ContinueOnError),
		level:   slog.LevelWarn,
	}
	p.flags.SetNormalizeFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		return pflag.NormalizedName(normal(name))
	})
	p.logging = &Group{title: "Logging", program: p}
	p.config = &Group{title: "Configuration", program: p}
	p.help = &Group{title: "Help", program: p}
	p.registerBuiltins()
	return p
}

// Group begins the next group of the help. The intro may be empty.
func (p *Program) Group(title, intro string) *Group {
	g := &Group{title: title, intro: intro, program: p}
	p.groups = append(p.groups, g)
	return g
}

// Intro sets what the help says of all options of the group.
func (g *Group) Intro(text string) { g.intro = text }

// Logging returns the group of --debug, --info and --quiet, for further options about the log.
func (p *Program) Logging() *Group { return p.logging }

// Note adds a chapter to the full help and the man page, as markup.
func (p *Program) Note(title, text string) {
	p.notes = slices.Concat(p.notes, []block{say(chapter, title)}, parseMarkup(text))
}

// Guide gives the program a guide, as markup that begins with a title. --help=guide shows it,
// --help=guide-man writes it as a man page for section 7. Those of its chapters that notes names
// are part of the full help, too.
func (p *Program) Guide(text string, notes ...string) {
	p.guide = parseMarkup(text)
	wanted := false
	for _, block := range p.guide {
		if block.kind == chapter {
			wanted = slices.Contains(notes, block.prose.String())
		}
		if wanted {
			p.notes = append(p.notes, block)
		}
	}
	help := p.flags.Lookup("help").Value.(*option)
	help.Choices = append(help.Choices, "guide", "guide-man")
	help.Value = showValue{choices: help.Choices}
	help.Help += " With guide show the guide instead, with guide-man write it as a man page."
}

// Level is the log level that the last of --debug, --info and --quiet asks for, slog.LevelWarn if
// none is given.
func (p *Program) Level() slog.Level { return p.level }

// Quiet tells whether --quiet was the last of them.
func (p *Program) Quiet() bool { return p.quiet }

// String registers an option that takes any text, or one of o.Choices.
func (g *Group) String(v *string, o Opt) { g.add(o, &stringValue{v, o.Choices}) }

// SecretFile registers a file that holds the value of a Secret option, which v belongs to, too: of the two
// the one that counts more, or comes last, is taken.
func (g *Group) SecretFile(v *string, o Opt) {
	g.add(o, secretFileValue{v, new(string), map[string]string{}})
}

// Strings registers a list, separated by commas.
func (g *Group) Strings(v *[]string, o Opt) { g.add(o, (*listValue)(v)) }

// EscapedStrings registers a list, separated by commas; in an item "\," is a comma.
func (g *Group) EscapedStrings(v *[]string, o Opt) { g.add(o, (*escapedListValue)(v)) }

// Int registers an integer.
func (g *Group) Int(v *int, o Opt) { g.add(o, intValue[int]{v}) }

// IntOr registers an integer in place of which the user may give a word. The word sets the variable
// to a value that no number sets it to.
func (g *Group) IntOr(word string, means int, v *int, o Opt) {
	g.add(o, intOrValue{intValue[int]{v}, word, means})
}

// Int64 registers an integer.
func (g *Group) Int64(v *int64, o Opt) { g.add(o, intValue[int64]{v}) }

// Bool registers a boolean, with its --enable- and --disable- forms.
func (g *Group) Bool(v *bool, o Opt) { g.addBool(o, boolValue{target: v}) }

// BoolForm registers a boolean that can be given as --NAME=WORD, too, with one of o.Choices, to which form is set.
func (g *Group) BoolForm(v *bool, form *string, o Opt) {
	g.addBool(o, boolValue{target: v, forms: o.Choices, form: form})
}

// Regexp registers a regular expression in RE2 syntax; the empty one sets nil.
func (g *Group) Regexp(v **regexp.Regexp, o Opt) { g.add(o, regexpValue{v}) }

// add registers an option that has a value.
func (g *Group) add(o Opt, v pflag.Value) {
	opt := g.append(o, v)
	g.program.flags.AddFlag(&pflag.Flag{Name: o.Name, Shorthand: o.Short, Usage: o.Help, DefValue: opt.def, Value: opt})
}

// addBool registers the three names of a boolean. NoOptDefVal is pflag's name for the value that an
// option sets when it is given without one.
func (g *Group) addBool(o Opt, v boolValue) {
	opt := g.append(o, v)
	on, off := "true", "false"
	if o.Inverted {
		on, off = off, on
		opt.def = boolText(!*v.target)
	}
	g.program.flags.AddFlag(&pflag.Flag{Name: o.Name, Shorthand: o.Short, Usage: o.Help, DefValue: opt.def, Value: opt, NoOptDefVal: on})
	g.program.flags.AddFlag(&pflag.Flag{Name: "enable-" + o.Name, Value: opt, NoOptDefVal: on, Hidden: true})
	g.program.flags.AddFlag(&pflag.Flag{Name: "disable-" + o.Name, Value: opt, NoOptDefVal: off, Hidden: true})
}

// addShow registers an option that asks for a text instead of a run.
func (g *Group) addShow(o Opt, v showValue) {
	opt := g.append(o, v)
	flag := &pflag.Flag{Name: o.Name, Shorthand: o.Short, Usage: o.Help, Value: opt}
	if o.Choices == nil {
		flag.NoOptDefVal = "true"
	}
	g.program.flags.AddFlag(flag)
}

func (g *Group) append(o Opt, v pflag.Value) *option {
	opt := &option{Opt: o, Value: v, def: v.String()}
	g.options = append(g.options, opt)
	return opt
}

// registerBuiltins adds the options that every program has.
func (p *Program) registerBuiltins() {
	var debug, info, quiet bool
	p.logging.addBool(Opt{Name: "debug", Short: "d",
		Help: "Log everything, for finding faults. Of --debug, --info and --quiet the last one given decides."},
		boolValue{target: &debug, onTrue: func() { p.level, p.quiet = slog.LevelDebug, false }})
	p.logging.addBool(Opt{Name: "info",
		Help: "Log the course of the run: without this or --debug only warnings and errors are logged."},
		boolValue{target: &info, onTrue: func() { p.level, p.quiet = slog.LevelInfo, false }})
	p.logging.addBool(Opt{Name: "quiet",
		Help: "Log warnings and errors only, and show nothing else."},
		boolValue{target: &quiet, onTrue: func() { p.level, p.quiet = slog.LevelWarn, true }})

	p.config.Strings(&p.configFiles, Opt{Name: "configfiles", Arg: "FILES",
		Help: "Read these config files, separated by commas, in this order: later ones win. No file is read unless it is named here."})
	p.config.Strings(&p.ignoreFiles, Opt{Name: "ignoreconfigfiles", Arg: "FILES",
		Help: "Leave these out of --configfiles; they must be written exactly as there."})

	p.help.addShow(Opt{Name: "shorthelp", Short: "h",
		Help: "Show the options that have a short name, and exit."}, showValue{what: "short"})
	p.help.addShow(Opt{Name: "help", Short: "H", Arg: "FORMAT", Choices: []string{"", "rst", "short", "config", "man"},
		Help: "Show this help and exit; as reStructuredText (rst), short as -h, as a config file (config) or as a man page in troff (man)."},
		showValue{choices: []string{"", "rst", "short", "config", "man"}})
	p.help.addShow(Opt{Name: "confighelp",
		Help: "Show a config file with every option, its default and its help, and exit."}, showValue{what: "config"})
	p.help.addShow(Opt{Name: "version", Added: true,
		Help: "Show the version, of which commit and by which Go it was built, and exit."}, showValue{what: "version"})
	p.help.add(Opt{Name: "completion", Arg: "SHELL", Choices: []string{"bash", "zsh", "fish"}, Added: true,
		Help: "Show a completion script for this shell (bash, zsh or fish) and exit."}, showValue{choices: []string{"bash", "zsh", "fish"}})
}

// allGroups are the groups in help order.
func (p *Program) allGroups() []*Group {
	return append(append([]*Group{}, p.groups...), p.logging, p.config, p.help)
}

// prefix begins the names of the program's environment variables, in front of the underscore. It is
// also the logger of messages about config files.
func (p *Program) prefix() string {
	name, _, _ := strings.Cut(p.name, ".")
	return strings.ToUpper(name)
}

// normal is the spelling under which pflag knows a name.
func normal(name string) string { return strings.ReplaceAll(name, "_", "-") }

// version is set by the linker: -X vsc-zk/internal/cli.version=...
var version string

// built is a line about the build: from which commit, of what time, by which Go.
func built() string {
	line := fmt.Sprintf("built with %s for %s/%s", runtime.Version(), runtime.GOOS, runtime.GOARCH)
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return line
	}
	values := map[string]string{}
	for _, s := range info.Settings {
		values[s.Key] = s.Value
	}
	if commit := values["vcs.revision"]; commit != "" {
		if values["vcs.modified"] == "true" {
			commit += " with changes"
		}
		line = fmt.Sprintf("commit %s of %s, %s", commit, values["vcs.time"], line)
	}
	return line
}

func buildVersion() string {
	if version != "" {
		return version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "(unknown)"
	}
	return info.Main.Version
}
