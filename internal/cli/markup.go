// SPDX-License-Identifier: LGPL-2.1-or-later

package cli

import (
	"regexp"
	"strings"
)

// kind says what a block is.
type kind int

const (
	title kind = iota
	chapter
	section
	paragraph
	item       // of a list; the label is its number, or empty for a bullet
	definition // the label is what the prose explains: an option
	code
	table
)

// block is one piece of a text. Help and guide are lists of blocks, and terminal, manual and rst
// each write such a list in a form of their own.
type block struct {
	kind  kind
	label string
	prose prose     // of all but code and tables
	lines []string  // of code
	rows  [][]prose // of a table; the first is its head
	right []bool    // the columns of a table that are flush right
}

// prose is running text, in pieces of one style each.
type prose []span

type span struct {
	style style
	text  string
}

type style int

const (
	plain   style = iota
	strong        // stands out
	literal       // is typed, or read, exactly so
)

// unmarked is prose from a text whose characters all mean themselves.
func unmarked(text string) prose { return prose{{plain, text}} }

// String is the prose as plain text, in which only what is literal stays marked.
func (p prose) String() string {
	var b strings.Builder
	for _, s := range p {
		if s.style == literal {
			b.WriteString("`" + s.text + "`")
		} else {
			b.WriteString(s.text)
		}
	}
	return b.String()
}

var (
	blockMark = regexp.MustCompile(`^(# |## |### |- |\d+\. )`)
	spanMark  = regexp.MustCompile("`([^`]+)`|\\*\\*([^*]+)\\*\\*")
)

// parseMarkup reads a text in the part of Markdown that doc.go describes.
func parseMarkup(source string) []block {
	var blocks []block
	var raw string      // what has been read of the last block's prose
	open := false       // whether the next line may go on with it
	var blanks []string // the empty lines since the last block
	last := func() *block { return &blocks[len(blocks)-1] }
	begin := func(kind kind, label, text string) {
		blocks, raw, blanks = append(blocks, block{kind: kind, label: label}), text, nil
	}
	for line := range strings.SplitSeq(strings.Trim(source, "\n"), "\n") {
		mark := blockMark.FindString(line)
		rest := line[len(mark):]
		goesOn := open
		open = false
		switch {
		case line == "":
			blanks = append(blanks, "")
			continue
		case line[0] == '|':
			if len(blocks) == 0 || last().kind != table || len(blanks) > 0 {
				begin(table, "", "")
			}
			last().addRow(line)
			continue
		case mark == "" && goesOn:
			raw += " " + strings.TrimSpace(line)
			open = true
		case strings.HasPrefix(line, "    "):
			if len(blocks) == 0 || last().kind != code {
				begin(code, "", "")
			}
			last().lines = append(append(last().lines, blanks...), line[4:])
			blanks = nil
			continue
		case mark == "# ":
			begin(title, "", rest)
		case mark == "## ":
			begin(chapter, "", rest)
		case mark == "### ":
			begin(section, "", rest)
		case mark != "":
			begin(item, strings.Trim(mark, "- "), rest)
			open = true
		default:
			begin(paragraph, "", line)
			open = true
		}
		last().prose = parseProse(raw)
	}
	return blocks
}

// addRow adds a line of a table. The one below the head only says what is flush right. The head
// decides how many columns there are.
func (b *block) addRow(line string) {
	cells := strings.Split(strings.TrimSuffix(line[1:], "|"), "|")
	if b.rows == nil {
		b.right = make([]bool, len(cells))
	}
	row := make([]prose, len(b.right))
	rule := len(b.rows) == 1 && strings.Trim(line, "|-: ") == ""
	for i, cell := range cells[:min(len(cells), len(row))] {
		cell = strings.TrimSpace(cell)
		row[i] = parseProse(cell)
		b.right[i] = b.right[i] || rule && strings.HasSuffix(cell, ":")
	}
	if !rule {
		b.rows = append(b.rows, row)
	}
}

// parseProse finds what is marked in running text.
func parseProse(raw string) prose {
	var p prose
	add := func(style style, text string) {
		if text != "" {
			p = append(p, span{style, text})
		}
	}
	at := 0
	for _, m := range spanMark.FindAllStringSubmatchIndex(raw, -1) {
		add(plain, raw[at:m[0]])
		if m[2] >= 0 {
			add(literal, raw[m[2]:m[3]])
		} else {
			add(strong, raw[m[4]:m[5]])
		}
		at = m[1]
	}
	add(plain, raw[at:])
	return p
}
