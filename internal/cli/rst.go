// SPDX-License-Identifier: LGPL-2.1-or-later

package cli

import (
	"cmp"
	"fmt"
	"strings"
	"unicode/utf8"
)

// rst writes a text as reStructuredText.
func rst(b *strings.Builder, blocks []block) {
	const listTable = ".. list-table::\n   :header-rows: 1\n\n"
	for i, block := range blocks {
		text := rstProse(block.prose)
		first := i == 0 || blocks[i-1].kind != block.kind
		last := i+1 == len(blocks) || blocks[i+1].kind != block.kind
		switch block.kind {
		case title, chapter, section:
			mark := map[kind]string{title: "=", chapter: "-", section: "~"}[block.kind]
			fmt.Fprintf(b, "%s\n%s\n\n", text, strings.Repeat(mark, utf8.RuneCountInString(text)))
		case paragraph:
			fmt.Fprintf(b, "%s\n\n", text)
		case item:
			fmt.Fprintf(b, "%s %s\n", cmp.Or(block.label, "-"), text)
		case definition:
			if first {
				b.WriteString(listTable + "   * - Option\n     - Description\n")
			}
			fmt.Fprintf(b, "   * - ``%s``\n     - %s\n", block.label, text)
		case code:
			b.WriteString("::\n\n")
			for _, line := range block.lines {
				b.WriteString(strings.TrimRight("    "+line, " ") + "\n")
			}
			b.WriteString("\n")
		case table:
			b.WriteString(listTable)
			for _, row := range block.rows {
				for i, cell := range row {
					fmt.Fprintf(b, "   %s - %s\n", []string{"*", " "}[min(i, 1)], rstProse(cell))
				}
			}
			b.WriteString("\n")
		}
		if last && (block.kind == item || block.kind == definition) {
			b.WriteString("\n")
		}
	}
}

// rstProse protects what reStructuredText would take for markup.
func rstProse(p prose) string {
	var b strings.Builder
	for _, s := range p {
		text := strings.NewReplacer(`\`, `\\`, `*`, `\*`, "`", "\\`", `|`, `\|`, `_`, `\_`).Replace(s.text)
		switch s.style {
		case plain:
			b.WriteString(text)
		case strong:
			b.WriteString("**" + text + "**")
		case literal:
			b.WriteString("``" + s.text + "``")
		}
	}
	return b.String()
}
