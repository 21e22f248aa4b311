// SPDX-License-Identifier: LGPL-2.1-or-later

package cli

import (
	"cmp"
	"fmt"
	"strings"
	"unicode/utf8"
)

// manual writes a page of this section of the manual in troff: plain ASCII, with the man macros
// and, for tables, tbl, which the first line asks for.
func manual(b *strings.Builder, name, version string, of int, blocks []block) {
	fmt.Fprintf(b, "'\\\" t\n.TH %s %d \"\" \"%s %s\"\n", roff(strings.ToUpper(name)), of, roff(name), roff(version))
	b.WriteString(".nh\n.ad l\n") // an option's name must not be divided
	for i, block := range blocks {
		text := roffProse(block.prose)
		inside := i > 0 && blocks[i-1].kind >= paragraph // of a chapter, not at its beginning
		if inside && block.kind != item && block.kind != definition && block.kind >= paragraph {
			b.WriteString(".PP\n")
		}
		switch block.kind {
		case title, chapter:
			fmt.Fprintf(b, ".SH %s\n", roff(strings.ToUpper(block.prose.String())))
		case section:
			fmt.Fprintf(b, ".SS %s\n", text)
		case paragraph:
			fmt.Fprintf(b, "%s\n", text)
		case item:
			mark := cmp.Or(block.label, `\(bu`)
			fmt.Fprintf(b, ".IP %s %d\n%s\n", mark, len(cmp.Or(block.label, "-"))+1, text)
		case definition:
			fmt.Fprintf(b, ".TP\n\\fB%s\\fR\n%s\n", roff(block.label), text)
		case code:
			b.WriteString(".RS 4\n.nf\n")
			for _, line := range block.lines {
				fmt.Fprintf(b, "%s\n", roff(line))
			}
			b.WriteString(".fi\n.RE\n")
		case table:
			block.roffTable(b)
		}
	}
}

// roffTable writes a table for tbl. Long cells are text blocks, and their columns share what the
// others leave of the line.
func (t *block) roffTable(b *strings.Builder) {
	const long = 20
	head, body := make([]string, len(t.right)), make([]string, len(t.right))
	for i, right := range t.right {
		body[i] = "l"
		if right {
			body[i] = "r"
		}
		for _, row := range t.rows {
			if utf8.RuneCountInString(row[i].String()) > long && !strings.HasSuffix(body[i], "x") {
				body[i] += "x"
			}
		}
		head[i] = body[i] + "b"
	}
	fmt.Fprintf(b, ".TS\n%s\n%s.\n", strings.Join(head, " "), strings.Join(body, " "))
	for _, row := range t.rows {
		for i, cell := range row {
			text := roffProse(cell)
			if utf8.RuneCountInString(cell.String()) > long {
				text = "T{\n" + text + "\nT}"
			}
			if i > 0 {
				text = "\t" + text
			}
			b.WriteString(text)
		}
		b.WriteString("\n")
	}
	b.WriteString(".TE\n")
}

// roffProse writes all that is marked in bold.
func roffProse(p prose) string {
	var b strings.Builder
	for _, s := range p {
		text := roff(s.text)
		if s.style != plain {
			text = `\fB` + text + `\fR`
		}
		b.WriteString(text)
	}
	return b.String()
}

// roff protects what troff would take for a request or an escape, keeps hyphens and quotes from
// becoming typographic ones, and writes what is not ASCII by its number.
func roff(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`, `"`, `\(dq`, "'", `\(aq`, "`", `\(ga`, "^", `\(ha`, "~", `\(ti`).Replace(text)
	if strings.HasPrefix(text, ".") {
		text = `\&` + text
	}
	var b strings.Builder
	for _, r := range text {
		if r < utf8.RuneSelf {
			b.WriteRune(r)
		} else {
			fmt.Fprintf(&b, `\[u%04X]`, r)
		}
	}
	return b.String()
}

func lowerFirst(text string) string {
	if text == "" {
		return ""
	}
	return strings.ToLower(text[:1]) + text[1:]
}
