// SPDX-License-Identifier: LGPL-2.1-or-later

package watch

import (
	"slices"
	"strings"

	"github.com/charmbracelet/x/ansi"
)

// column is one of a table.
type column[T any] struct {
	title string
	width int  // 0: it shares what the others leave
	least int  // of one without a width
	drop  int  // the one with the highest goes first when there is no room; 0: it stays
	right bool // numbers are aligned at the right
	tail  bool // of text that is too long the end is shown
	cell  func(T) string
	order func(a, b T) int // nil: nobody sorts by it
}

// table has rows, of which as many are shown as there is room for, and a cursor.
type table[T any] struct {
	columns []column[T]
	key     func(T) string // what makes a row the same in the next snapshot
	words   func(T) string // in which a filter is looked for
	tone    func(T) tone   // nil: plain
	all     []T            // of the snapshot
	rows    []T            // of these, what the filter leaves, sorted
	sorted  int            // column, -1: as the snapshot has them
	reverse bool           // the other way round
	cursor  int            // row
	top     int            // row that is shown first
	filter  string         // in lower case
}

// set gives the table the rows of another snapshot. The cursor stays on its row, unless it is the first line that
// it is on.
func (t *table[T]) set(all []T) {
	t.all = all
	t.arrange()
}

// look filters.
func (t *table[T]) look(filter string) {
	if filter = strings.ToLower(filter); filter != t.filter {
		t.filter = filter
		t.arrange()
	}
}

// sort goes on to the next column to sort by, and to none behind the last.
func (t *table[T]) sort() {
	for t.sorted++; t.sorted < len(t.columns) && t.columns[t.sorted].order == nil; t.sorted++ {
	}
	if t.sorted >= len(t.columns) {
		t.sorted = -1
	}
	t.arrange()
}

func (t *table[T]) turn() {
	t.reverse = !t.reverse
	t.arrange()
}

// arrange makes rows of all.
func (t *table[T]) arrange() {
	at := ""
	if t.cursor > 0 {
		at = t.at()
	}
	t.rows = t.rows[:0]
	for _, row := range t.all {
		if t.filter == "" || strings.Contains(strings.ToLower(t.words(row)), t.filter) {
			t.rows = append(t.rows, row)
		}
	}
	if t.sorted >= 0 {
		slices.SortStableFunc(t.rows, t.columns[t.sorted].order)
	}
	if t.reverse {
		slices.Reverse(t.rows)
	}
	if at != "" {
		if i := slices.IndexFunc(t.rows, func(row T) bool { return t.key(row) == at }); i >= 0 {
			t.cursor = i
		}
	}
	t.move(0)
}

// at is the key of the row at the cursor; "": there is none.
func (t *table[T]) at() string {
	if t.cursor >= len(t.rows) {
		return ""
	}
	return t.key(t.rows[t.cursor])
}

// move moves the cursor by so many rows.
func (t *table[T]) move(by int) { t.cursor = max(0, min(t.cursor+by, len(t.rows)-1)) }

// lines are the head and as many rows as there is room for, height lines at the most.
func (t *table[T]) lines(width, height int, focus bool, look styles) []string {
	if height <= 0 || len(t.rows) == 0 {
		return nil
	}
	shown := height - 1
	t.top = max(0, min(t.top, len(t.rows)-shown, t.cursor), t.cursor-shown+1)
	columns, widths := t.fit(width)
	head := make([]string, len(columns))
	for i, c := range columns {
		head[i] = t.columns[c].title
		if c == t.sorted {
			head[i] += map[bool]string{false: "▼", true: "▲"}[t.reverse]
		}
	}
	all := []string{look.faint.Render(t.line(head, columns, widths))}
	for i, row := range t.rows[t.top:min(t.top+shown, len(t.rows))] {
		cells := make([]string, len(columns))
		for j, c := range columns {
			cells[j] = t.columns[c].cell(row)
		}
		line := t.line(cells, columns, widths)
		switch {
		case focus && t.top+i == t.cursor:
			line = look.cursor.Render(fill(line, width))
		case t.tone != nil:
			line = look.tones[t.tone(row)].Render(line)
		}
		all = append(all, line)
	}
	return all
}

// fit chooses the columns for which there is room, and gives those without a width one.
func (t *table[T]) fit(width int) (columns, widths []int) {
	for i := range t.columns {
		columns = append(columns, i)
	}
	for {
		room, share, drop := width-1, 0, -1
		for i, c := range columns {
			column := t.columns[c]
			room -= column.width
			if i > 0 {
				room -= len(gap)
			}
			if column.width == 0 {
				room -= column.least
				share++
			}
			if column.drop > 0 && (drop < 0 || column.drop > t.columns[columns[drop]].drop) {
				drop = i
			}
		}
		if room < 0 && drop >= 0 {
			columns = slices.Delete(columns, drop, drop+1)
			continue
		}
		widths = make([]int, len(columns))
		for i, c := range columns {
			if widths[i] = t.columns[c].width; widths[i] == 0 {
				more := max(room, 0) / share
				widths[i] = t.columns[c].least + more
				room -= more
				share--
			}
		}
		return columns, widths
	}
}

// gap stands between columns.
const gap = "  "

func (t *table[T]) line(cells []string, columns, widths []int) string {
	var b strings.Builder
	b.WriteString(" ")
	for i, c := range columns {
		if i > 0 {
			b.WriteString(gap)
		}
		column := t.columns[c]
		text := cut(cells[i], widths[i], column.tail)
		if pad := strings.Repeat(" ", widths[i]-ansi.StringWidth(text)); column.right {
			text = pad + text
		} else {
			text += pad
		}
		b.WriteString(text)
	}
	return b.String()
}

// cut makes text fit into so many columns of the terminal.
func cut(text string, width int, tail bool) string {
	wide := ansi.StringWidth(text)
	switch {
	case wide <= width:
		return text
	case tail:
		short := ansi.TruncateLeft(text, wide-width+1, "…")
		if ansi.StringWidth(short) > width { // half of a wide character is to go
			short = ansi.TruncateLeft(text, wide-width+2, "…")
		}
		return short
	}
	return ansi.Truncate(text, width, "…")
}

// fill makes a line exactly so wide.
func fill(line string, width int) string {
	return cut(line, width, false) + strings.Repeat(" ", max(0, width-ansi.StringWidth(line)))
}
