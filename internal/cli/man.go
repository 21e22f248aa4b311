// SPDX-License-Identifier: LGPL-2.1-or-later

package cli

import (
	"fmt"
	"strings"
)

// manPage writes the man page, section 1, in troff with the man macros.
func (p *Program) manPage(b *strings.Builder) {
	name := strings.ToUpper(p.name)
	fmt.Fprintf(b, ".TH %s 1 \"\" \"%s %s\"\n", roff(name), roff(p.name), roff(p.Version))
	b.WriteString(".nh\n.ad l\n") // an option's name must not be divided
	fmt.Fprintf(b, ".SH NAME\n%s \\- %s\n", roff(p.name), roff(lowerFirst(strings.TrimSuffix(p.summary, "."))))
	fmt.Fprintf(b, ".SH SYNOPSIS\n.B %s\n.RI [ options ]\n", roff(p.name))
	fmt.Fprintf(b, ".SH DESCRIPTION\n%s\n", roff(p.summary))
	b.WriteString(".SH OPTIONS\n")
	for _, g := range p.allGroups() {
		fmt.Fprintf(b, ".SS %s\n", roff(g.title))
		if g.intro != "" {
			fmt.Fprintf(b, "%s\n", roff(g.intro))
		}
		for _, opt := range g.options {
			fmt.Fprintf(b, ".TP\n\\fB%s\\fR\n%s\n", roff(opt.label()), roff(opt.fullText()))
		}
	}
	for _, n := range p.allNotes() {
		fmt.Fprintf(b, ".SH %s\n", roff(strings.ToUpper(n.title)))
		verbatim := false
		for i, part := range n.parts() {
			switch {
			case part.verbatim && !verbatim:
				b.WriteString(".PP\n.nf\n")
			case !part.verbatim && verbatim:
				b.WriteString(".fi\n.PP\n")
			case !part.verbatim && i > 0:
				b.WriteString(".PP\n")
			}
			verbatim = part.verbatim
			fmt.Fprintf(b, "%s\n", roff(part.text))
		}
		if verbatim {
			b.WriteString(".fi\n")
		}
	}
}

// roff protects what troff would take for a request or an escape, and keeps
// the hyphens of options from becoming typographic ones.
func roff(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`, `"`, `\(dq`).Replace(text)
	if strings.HasPrefix(text, ".") || strings.HasPrefix(text, "'") {
		text = `\&` + text
	}
	return text
}

func lowerFirst(text string) string {
	if text == "" {
		return ""
	}
	return strings.ToLower(text[:1]) + text[1:]
}
