// SPDX-License-Identifier: LGPL-2.1-or-later

package cli

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/term"
)

// width is how wide a text may be: COLUMNS, else the terminal, else 80.
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

// terminal writes a text in lines of at most columns characters. Only code and words that are too
// long stand out.
func terminal(b *strings.Builder, blocks []block, columns int) {
	indent := ""
	for i, block := range blocks {
		if i > 0 && apart(blocks[i-1].kind, block.kind) {
			b.WriteString("\n")
		}
		text := block.prose.String()
		switch block.kind {
		case title:
			b.WriteString(wrap(text, "", "", columns))
		case chapter:
			b.WriteString(wrap(text+":", "", "", columns))
			indent = "  "
		case section:
			b.WriteString(wrap(text+":", indent, indent, columns))
		case paragraph:
			b.WriteString(wrap(text, indent, indent, columns))
		case item:
			mark := cmp.Or(block.label, "-") + " "
			b.WriteString(wrap(text, indent+mark, indent+strings.Repeat(" ", len(mark)), columns))
		case definition:
			first, rest := indent+block.label, strings.Repeat(" ", labelWidth)
			if len(first) > labelWidth-2 {
				b.WriteString(first + "\n")
				first = rest
			}
			b.WriteString(wrap(text, fmt.Sprintf("%-*s", labelWidth, first), rest, columns))
		case code:
			for _, line := range block.lines {
				b.WriteString(strings.TrimRight(indent+"  "+line, " ") + "\n")
			}
		case table:
			block.terminalTable(b, indent, columns)
		}
	}
}

// apart tells whether an empty line stands between two blocks.
func apart(above, below kind) bool {
	return above != chapter && above != section && below != definition && (above != item || below != item)
}

// terminalTable writes a table with a line of dashes under its head. Columns that are too wide are
// made narrower, always the widest, and their cells take several lines.
func (t *block) terminalTable(b *strings.Builder, indent string, columns int) {
	const gap = "  "
	widths := make([]int, len(t.right))
	least := make([]int, len(t.right))
	room := columns - len(indent)
	for i := range widths {
		for _, row := range t.rows {
			text := row[i].String()
			widths[i] = max(widths[i], utf8.RuneCountInString(text))
			for word := range strings.FieldsSeq(text) {
				least[i] = max(least[i], utf8.RuneCountInString(word))
			}
		}
		room -= widths[i] + len(gap)
	}
	for room += len(gap); room < 0; room++ {
		widest := -1
		for i := range widths {
			if widths[i] > least[i] && (widest < 0 || widths[i] > widths[widest]) {
				widest = i
			}
		}
		if widest < 0 {
			break
		}
		widths[widest]--
	}
	for r, row := range t.rows {
		cells := make([][]string, len(widths))
		height := 0
		for i := range widths {
			cells[i] = strings.Split(strings.TrimSuffix(wrap(row[i].String(), "", "", widths[i]), "\n"), "\n")
			if r == 0 {
				cells[i] = append(cells[i], strings.Repeat("-", widths[i]))
			}
			height = max(height, len(cells[i]))
		}
		for n := range height {
			line := indent
			for i, lines := range cells {
				cell := ""
				if r == 0 { // the head stands at the bottom
					lines = slices.Concat(make([]string, height-len(lines)), lines)
				}
				if n < len(lines) {
					cell = lines[n]
				}
				fill := strings.Repeat(" ", widths[i]-min(widths[i], utf8.RuneCountInString(cell)))
				if t.right[i] {
					cell = fill + cell
				} else {
					cell += fill
				}
				line += cell + gap
			}
			b.WriteString(strings.TrimRight(line, " ") + "\n")
		}
	}
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
