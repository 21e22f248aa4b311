// SPDX-License-Identifier: LGPL-2.1-or-later

package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// show writes the text that a request asks for, at most columns wide.
func (p *Program) show(what string, w io.Writer, columns int) {
	var b strings.Builder
	switch what {
	case "":
		terminal(&b, p.fullHelp(), columns)
	case "short":
		p.shortHelp(&b, columns)
	case "rst":
		rst(&b, p.rstHelp())
	case "config":
		p.configHelp(&b, columns)
	case "man":
		manual(&b, p.name, p.Version, 1, p.manPage())
	case "guide":
		terminal(&b, p.guide, columns)
	case "guide-man":
		manual(&b, p.name, p.Version, 7, p.guidePage())
	case "version":
		fmt.Fprintf(&b, "%s %s\n%s\n", p.name, p.Version, built())
		if p.With != nil {
			fmt.Fprintln(&b, p.With())
		}
	case "bash":
		p.bashCompletion(&b)
	case "zsh":
		p.zshCompletion(&b)
	case "fish":
		p.fishCompletion(&b)
	}
	_, _ = io.WriteString(w, b.String()) // a reader that has gone away needs no help
}

// fullHelp, rstHelp and manPage differ in how they begin.

func (p *Program) fullHelp() []block {
	return slices.Concat(p.usage(), p.optionBlocks(chapter, false), p.allNotes())
}

func (p *Program) rstHelp() []block {
	return slices.Concat([]block{
		say(title, p.name),
		say(chapter, "Usage"),
		{kind: paragraph, prose: prose{{literal, p.name + " [options]"}}},
		say(chapter, "Description"),
		say(paragraph, p.summary),
	}, p.optionBlocks(chapter, false), p.allNotes())
}

func (p *Program) manPage() []block {
	return slices.Concat(p.manName(p.summary), []block{
		say(chapter, "Synopsis"),
		{kind: paragraph, prose: prose{{strong, p.name}, {plain, " [options]"}}},
		say(chapter, "Description"),
		say(paragraph, p.summary),
		say(chapter, "Options"),
	}, p.optionBlocks(section, false), p.allNotes())
}

// guidePage is the guide as a page of the manual. Its title says what the page is about.
func (p *Program) guidePage() []block {
	return slices.Concat(p.manName(p.guide[0].prose.String()),
		[]block{say(chapter, "Description")}, p.guide[1:])
}

// manName is the chapter that apropos looks for.
func (p *Program) manName(about string) []block {
	return []block{say(chapter, "Name"),
		say(paragraph, p.name+" - "+lowerFirst(strings.TrimSuffix(about, ".")))}
}

func (p *Program) shortHelp(b *strings.Builder, columns int) {
	terminal(b, append(p.usage(), p.optionBlocks(chapter, true)...), columns)
	fmt.Fprintf(b, "\n%s", wrap(p.name+" --help shows all options.", "", "", columns))
}

func (p *Program) usage() []block {
	return []block{say(paragraph, "Usage: "+p.name+" [options]"), say(paragraph, p.summary)}
}

// optionBlocks are the groups of options, each below a heading of this kind; if short, only the
// options that have a short name, without introductions.
func (p *Program) optionBlocks(heading kind, short bool) []block {
	var blocks []block
	for _, g := range p.allGroups() {
		group := []block{say(heading, g.title)}
		if g.intro != "" && !short {
			group = append(group, say(paragraph, g.intro))
		}
		for _, opt := range g.options {
			if opt.Short != "" || !short {
				group = append(group, block{kind: definition, label: opt.label(), prose: unmarked(opt.fullText())})
			}
		}
		if group[len(group)-1].kind == definition {
			blocks = append(blocks, group...)
		}
	}
	return blocks
}

// say makes a block of a text without markup.
func say(kind kind, text string) block { return block{kind: kind, prose: unmarked(text)} }

// label is the option with its short name and what its value is called.
func (o *option) label() string {
	label := "--" + o.Name
	switch {
	case o.Type() == "show" && o.Name == "help":
		label += "[=" + o.Arg + "]"
	case o.Arg != "":
		label += "=" + o.Arg
	case o.Type() == "bool" && o.Choices != nil:
		label += "[=" + strings.Join(o.Choices, "|") + "]"
	}
	if o.Short != "" {
		label = "-" + o.Short + ", " + label
	}
	return label
}

// fullText is the help with the default.
func (o *option) fullText() string {
	if note := o.defaultNote(); note != "" {
		return o.Help + " (" + note + ")"
	}
	return o.Help
}

func (o *option) defaultNote() string {
	switch {
	case o.Note != "":
		return o.Note
	case o.Type() == "show" || o.Inverted || o.def == "false":
		return ""
	case o.def == "":
		return "default: none"
	case o.def == "true":
		return "default: on"
	}
	return "default: " + o.def
}

// allNotes are what holds for every program and the program's own notes.
func (p *Program) allNotes() []block {
	return slices.Concat([]block{say(chapter, "Ways to give options")}, parseMarkup(fmt.Sprintf(
		"A long option may be shortened as long as no other begins so. Every option without a value has a form that switches it off: `--disable-debug`. "+
			"The last one given wins.\n\n"+
			"Each long option can also be set in the environment, `%[1]s_SERVERS=zk1,zk2` for `--servers=zk1,zk2` or `%[1]s_DEBUG=yes` for `--debug`, and in section `[%[2]s]` of a config file, "+
			"as `servers = zk1,zk2` or `debug = yes`; see `--confighelp`. The command line wins over the environment, which wins over the files, of which the last wins.",
		p.prefix(), mainSection)), p.notes)
}

// configHelp writes a config file in which every option is commented out. The
// comment mark of an option stands right before its name, that of a text is
// followed by a blank.
func (p *Program) configHelp(b *strings.Builder, columns int) {
	b.WriteString(wrap(fmt.Sprintf("Config file of %s: remove the # in front of an option to set it. Lines that begin with # or ; are comments, "+
		"there are none behind a value, and quotes are part of it. %% is written %%%%. A value may go on in further lines, indented deeper.", p.name), "# ", "# ", columns))
	fmt.Fprintf(b, "[%s]\n", mainSection)
	for _, g := range p.allGroups() {
		if g == p.help || g == p.config {
			continue
		}
		fmt.Fprintf(b, "\n%s", wrap(g.title+". "+g.intro, "# --- ", "# --- ", columns))
		for _, opt := range g.options {
			fmt.Fprintf(b, "\n%s", wrap(opt.Help, "# ", "# ", columns))
			fmt.Fprintf(b, "#%s=%s\n", opt.Name, strings.ReplaceAll(opt.def, "%", "%%"))
		}
	}
}
