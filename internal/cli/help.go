// SPDX-License-Identifier: LGPL-2.1-or-later

package cli

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/term"
)

// show writes the text that a request asks for, at most columns wide.
func (p *Program) show(what string, w io.Writer, columns int) {
	var b strings.Builder
	switch what {
	case "":
		p.fullHelp(&b, columns)
	case "short":
		p.shortHelp(&b, columns)
	case "rst":
		p.rstHelp(&b)
	case "config":
		p.configHelp(&b, columns)
	case "man":
		p.manPage(&b)
	case "version":
		fmt.Fprintf(&b, "%s %s\n", p.name, p.Version)
	case "bash":
		p.bashCompletion(&b)
	case "zsh":
		p.zshCompletion(&b)
	}
	_, _ = io.WriteString(w, b.String()) // a reader that has gone away needs no help
}

// width is how wide the help may be: COLUMNS, else the terminal, else 80.
func width(environ []string, w io.Writer) int {
	for _, entry := range environ {
		if text, found := strings.CutPrefix(entry, "COLUMNS="); found {
			if n, err := strconv.Atoi(text); err == nil && n > 0 {
				return max(n, 40)
			}
			return 80
		}
	}
	if file, ok := w.(*os.File); ok {
		if n, _, err := term.GetSize(int(file.Fd())); err == nil && n > 0 {
			return max(n, 40)
		}
	}
	return 80
}

const labelWidth = 24 // of the column with the options' names

func (p *Program) fullHelp(b *strings.Builder, columns int) {
	fmt.Fprintf(b, "Usage: %s [options]\n\n%s", p.name, wrap(p.summary, "", "", columns))
	for _, g := range p.allGroups() {
		fmt.Fprintf(b, "\n%s:\n", g.title)
		if g.intro != "" {
			b.WriteString(wrap(g.intro, "  ", "  ", columns))
		}
		writeOptions(b, g.options, columns)
	}
	for _, n := range p.allNotes() {
		fmt.Fprintf(b, "\n%s:\n", n.title)
		for _, part := range n.parts() {
			if part.verbatim {
				fmt.Fprintf(b, "%s\n", part.text)
			} else {
				b.WriteString(wrap(part.text, "  ", "  ", columns))
			}
		}
	}
}

func (p *Program) shortHelp(b *strings.Builder, columns int) {
	fmt.Fprintf(b, "Usage: %s [options]\n\n%s", p.name, wrap(p.summary, "", "", columns))
	for _, g := range p.allGroups() {
		var short []*option
		for _, opt := range g.options {
			if opt.Short != "" {
				short = append(short, opt)
			}
		}
		if len(short) > 0 {
			fmt.Fprintf(b, "\n%s:\n", g.title)
			writeOptions(b, short, columns)
		}
	}
	fmt.Fprintf(b, "\n%s", wrap(fmt.Sprintf("%s --help shows all options.", p.name), "", "", columns))
}

// writeOptions writes names on the left, help on the right.
func writeOptions(b *strings.Builder, options []*option, columns int) {
	indent := strings.Repeat(" ", labelWidth)
	for _, opt := range options {
		first := "  " + opt.label()
		if len(first) > labelWidth-2 {
			b.WriteString(first + "\n")
			first = indent
		}
		b.WriteString(wrap(opt.fullText(), fmt.Sprintf("%-*s", labelWidth, first), indent, columns))
	}
}

// label is the option with its short name and what its value is called.
func (o *option) label() string {
	label := "--" + o.Name
	switch {
	case o.Type() == "show" && o.Name == "help":
		label += "[=" + o.Arg + "]"
	case o.Arg != "":
		label += "=" + o.Arg
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

// allNotes adds what holds for every program to the program's own notes.
func (p *Program) allNotes() []note {
	return append([]note{{"Ways to give options", fmt.Sprintf(
		"A long option may be shortened as long as no other begins so. Every option without a value has a form that switches it off: --disable-debug. "+
			"The last one given wins.\n"+
			"Each long option can also be set in the environment, %[1]s_SERVERS=zk1,zk2 for --servers=zk1,zk2 or %[1]s_DEBUG=yes for --debug, and in section [%[2]s] of a config file, "+
			"as servers = zk1,zk2 or debug = yes; see --confighelp. The command line wins over the environment, which wins over the files, of which the last wins.",
		p.prefix(), mainSection)}}, p.notes...)
}

// part is a paragraph, or a line to be kept as it is.
type part struct {
	text     string
	verbatim bool
}

func (n note) parts() []part {
	var parts []part
	for line := range strings.SplitSeq(strings.Trim(n.text, "\n"), "\n") {
		parts = append(parts, part{line, line == "" || line[0] == ' '})
	}
	return parts
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

func (p *Program) rstHelp(b *strings.Builder) {
	title := func(text, mark string) {
		fmt.Fprintf(b, "%s\n%s\n\n", text, strings.Repeat(mark, utf8.RuneCountInString(text)))
	}
	title(p.name, "=")
	title("Usage", "-")
	fmt.Fprintf(b, "``%s [options]``\n\n", p.name)
	title("Description", "-")
	fmt.Fprintf(b, "%s\n\n", rst(p.summary))
	for _, g := range p.allGroups() {
		title(g.title, "-")
		if g.intro != "" {
			fmt.Fprintf(b, "%s\n\n", rst(g.intro))
		}
		b.WriteString(".. list-table::\n   :header-rows: 1\n\n   * - Option\n     - Description\n")
		for _, opt := range g.options {
			fmt.Fprintf(b, "   * - ``%s``\n     - %s\n", opt.label(), rst(opt.fullText()))
		}
		b.WriteString("\n")
	}
	for _, n := range p.allNotes() {
		title(n.title, "-")
		verbatim := false
		for _, part := range n.parts() {
			if part.verbatim && !verbatim {
				b.WriteString("::\n\n")
			}
			if verbatim && !part.verbatim {
				b.WriteString("\n")
			}
			verbatim = part.verbatim
			if verbatim {
				fmt.Fprintf(b, "%s\n", part.text)
			} else {
				fmt.Fprintf(b, "%s\n\n", rst(part.text))
			}
		}
		if verbatim {
			b.WriteString("\n")
		}
	}
}

// rst protects what reStructuredText would take for markup.
func rst(text string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, "`", "\\`", `|`, `\|`, `_`, `\_`).Replace(text)
}

// wrap breaks text into lines of at most columns characters, the first behind
// first, the others behind rest. A word that is too long stands out.
func wrap(text, first, rest string, columns int) string {
	var b strings.Builder
	line, empty := first, true
	for word := range strings.FieldsSeq(text) {
		switch {
		case empty:
			line += word
		case utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > columns:
			b.WriteString(line + "\n")
			line = rest + word
		default:
			line += " " + word
		}
		empty = false
	}
	b.WriteString(strings.TrimRight(line, " ") + "\n")
	return b.String()
}
