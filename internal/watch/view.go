// SPDX-License-Identifier: LGPL-2.1-or-later

package watch

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"charm.land/bubbles/v2/help"
	"charm.land/bubbles/v2/key"
	tea "charm.land/bubbletea/v2"
	"charm.land/lipgloss/v2"
	"github.com/charmbracelet/x/ansi"

	"vsc-zk/internal/session/wire"
	"vsc-zk/internal/status"
)

// tone is what a colour says, beside words that say it, too.
type tone int

const (
	plain tone = iota
	good
	warn
	bad
)

var stateTones = map[status.State]tone{status.Running: good, status.Still: warn, status.Leaderless: bad, status.None: plain}

type styles struct {
	tones                                       [4]lipgloss.Style
	name, faint, accent, cursor, graph, perhaps lipgloss.Style
}

func newStyles(dark bool) styles {
	of := func(light, other string) lipgloss.Style {
		return lipgloss.NewStyle().Foreground(lipgloss.LightDark(dark)(lipgloss.Color(light), lipgloss.Color(other)))
	}
	faint := of("242", "246")
	return styles{
		tones: [...]lipgloss.Style{plain: lipgloss.NewStyle(), good: of("28", "42"), warn: of("130", "214"), bad: of("160", "203")},
		name:  lipgloss.NewStyle().Bold(true), faint: faint, accent: of("25", "75").Bold(true), cursor: lipgloss.NewStyle().Reverse(true),
		graph: of("31", "38"), perhaps: of("109", "66"),
	}
}

func (s styles) help() help.Styles {
	return help.Styles{
		Ellipsis: s.faint, ShortKey: s.accent, ShortDesc: s.faint, ShortSeparator: s.faint,
		FullKey: s.accent, FullDesc: lipgloss.NewStyle(), FullSeparator: s.faint,
	}
}

// The smallest screen on which anything can be seen.
const (
	leastWidth  = 60
	leastHeight = 14
)

func (m *model) View() tea.View {
	v := tea.NewView("")
	v.AltScreen = true
	v.WindowTitle = "zkrsync " + wire.Text(m.session).String()
	if m.width == 0 {
		return v
	}
	if m.width < leastWidth || m.height < leastHeight {
		text := fmt.Sprintf("%dx%d is too small, this needs %dx%d; q quits", m.width, m.height, leastWidth, leastHeight)
		all := strings.Split(ansi.Wrap(text, m.width, ""), "\n")
		all = all[:min(len(all), m.height)]
		for i := range all {
			all[i] = cut(strings.TrimSpace(all[i]), m.width, false)
		}
		v.SetContent(strings.Join(all, "\n"))
		return v
	}
	all := m.head()
	switch {
	case m.overlay != noOverlay:
		all = append(all, m.page.View())
	case m.session == "":
		all = append(all, m.sessionLines(m.height-len(all)-1)...)
	default:
		all = append(all, m.panelLines(m.height-len(all)-1)...)
	}
	lines := strings.Split(strings.Join(all, "\n"), "\n")
	for len(lines) < m.height-1 {
		lines = append(lines, "")
	}
	lines = append(lines[:m.height-1], m.foot())
	for i, line := range lines {
		lines[i] = cut(line, m.width, false)
	}
	v.SetContent(strings.Join(lines, "\n"))
	if m.filtering {
		v.Cursor = tea.NewCursor(min(ansi.StringWidth(m.foot()), m.width-1), m.height-1)
	}
	return v
}

// sides puts two texts at the ends of a line; the left one gives way.
func (m *model) sides(left, right string) string {
	room := m.width - ansi.StringWidth(right) - 2
	return " " + fill(left, room-1) + " " + right
}

// head is the part of the screen above the panels.
func (m *model) head() []string {
	if m.session == "" {
		return []string{m.sides(m.look.name.Render("Sessions")+" at "+m.servers, m.clock()), " " + m.pulse()}
	}
	var right []string
	s := m.shown
	if s != nil && s.Master != "" {
		right = append(right, "master "+namesOf(s).of(s.Master))
	}
	right = append(right, m.clock())
	all := []string{
		m.sides(m.look.name.Render(wire.Text(m.session).String()), m.look.faint.Render(strings.Join(right, " · "))),
		" " + m.pulse(),
	}
	if s == nil || s.State == status.None {
		return all
	}
	all = append(all, m.progress(s), "")
	if m.height < 20 {
		all = all[:len(all)-1]
	}
	return append(all, m.totals(s)...)
}

func (m *model) clock() string { return m.now.Local().Format("15:04:05") }

// late is how old a look has to be to be told.
const late = 8 * time.Second

// pulse is the line that says whether the run, and what is shown of it, is alive.
func (m *model) pulse() string {
	looked := ""
	if !m.looked.IsZero() {
		looked = "; this is as of " + status.FormatClock(m.looked, m.now) + ", " + ago(m.looked, m.now) + " ago"
	}
	s := m.shown
	switch {
	case m.away != nil || !m.looked.IsZero() && m.now.Sub(m.looked) > late:
		return m.look.tones[bad].Render("● ZooKeeper does not answer" + looked)
	case m.looked.IsZero():
		return m.look.faint.Render("○ looking…")
	case m.held:
		return m.look.tones[warn].Render("‖ held at " + status.FormatClock(s.Time, m.now) + "; Space goes on")
	case !m.over.IsZero():
		return m.look.tones[warn].Render("○ the run is over since " + status.FormatClock(m.over, m.now) + "; this is what was seen last")
	case m.session == "" && len(m.list.all) == 0:
		return m.look.faint.Render("○ no active session; waiting for one")
	case m.session == "":
		return m.look.faint.Render(fmt.Sprintf("%d active", len(m.list.all)))
	case s.State == status.None:
		return m.look.faint.Render("○ " + s.FormatState() + "; waiting for one")
	}
	state := stateTones[s.State]
	if s.Control.Held() != "" {
		state = warn
	}
	text := m.look.tones[state].Render("● " + s.FormatState())
	var more []string
	if s.Phase != "" {
		more = append(more, s.FormatPhase())
	}
	if !s.Began.IsZero() {
		more = append(more, fmt.Sprintf("since %s (%s)", status.FormatClock(s.Began, m.now), ago(s.Began, s.Time)))
	}
	if len(more) > 0 && s.State != status.Still {
		text += m.look.faint.Render(", " + strings.Join(more, ", "))
	}
	return text
}

// progress is the line with the percents.
func (m *model) progress(s *status.Snapshot) string {
	done, left := s.Estimate.Done(), s.Estimate.Left()
	if done == "" {
		done = "how far it is nobody can say yet"
	}
	if left != "" {
		left += " left"
	}
	width := m.width - 2 - ansi.StringWidth(done) - ansi.StringWidth(left) - 2
	if left != "" {
		width -= 2
	}
	line := " " + m.look.name.Render(done)
	if s.Estimate.By != "" && width > 4 {
		full, perhaps, rest := bar(width, s.Estimate.Percent.Low, s.Estimate.Percent.High)
		line += "  " + m.look.tones[good].Render(full) + m.look.perhaps.Render(perhaps) + m.look.faint.Render(rest)
	}
	if left != "" {
		line += "  " + left
	}
	return line
}

// totalsWidth is that of the numbers beside the graph.
const totalsWidth = 46

// totals are the numbers, with the graph of the rate beside them.
func (m *model) totals(s *status.Snapshot) []string {
	comma := func(parts ...string) string {
		return strings.Join(slices.DeleteFunc(parts, func(p string) bool { return p == "" }), ", ")
	}
	some := func(n int, what string) string {
		if n == 0 {
			return ""
		}
		return status.FormatCount(n) + " " + what
	}
	failed := "none failed"
	if s.Paths.Failed > 0 {
		failed = m.look.tones[bad].Render(some(s.Paths.Failed, "failed"))
	}
	label := func(name, text string) string { return " " + m.look.faint.Render(fmt.Sprintf("%-7s", name)) + text }
	average := ""
	if s.Rates.Over > 0 {
		average = fmt.Sprintf("%s over %s", status.FormatRate(s.Rates.Bytes), status.FormatLength(time.Duration(s.Rates.Over)*time.Second))
	}
	ended := comma(failed, some(s.Paths.Flushing, "to be flushed"), some(s.Paths.Vanished, "vanished"), some(s.Paths.Changed, "changed"), some(s.Paths.Skipped, "skipped"), some(s.Totals.Deleted, "deleted"), some(s.Totals.Differences, "differ"))
	all := []string{
		label("Paths", comma(status.FormatCount(s.Paths.Done())+" of "+status.FormatCount(s.Paths.Queued), some(s.Paths.Working, "in work"))),
		label("", ended),
		label("Files", status.FormatCount(s.Totals.Files)+" seen, "+status.FormatCount(s.Totals.TransferredFiles)+" sent"),
		label("Data", status.FormatBytes(s.Totals.Bytes)+" seen, "+status.FormatBytes(s.Totals.Sent)+" sent"),
		label("Rate", comma(status.FormatRate(s.Rates.Now)+" now", average)),
	}
	height := len(all)
	height += max(0, min((m.height-26)/4, 8)) // of a higher screen the graph has its share
	width := m.width - totalsWidth - 12
	if width < 10 {
		return all
	}
	for len(all) < height {
		all = append(all, "")
	}
	means, span := m.history.columns(width)
	most := slices.Max(means)
	rows := graph(means, most, height-1)
	for i := range all {
		side := strings.Repeat(" ", 9) + m.look.faint.Render("│")
		switch {
		case i == 0:
			side = m.look.faint.Render(fmt.Sprintf("%9s┤", status.FormatRate(max(most, 0))))
		case i == height-1:
			caption := "the last " + status.FormatLength(span*time.Duration(width)) + " "
			all[i] = fill(all[i], totalsWidth) + m.look.faint.Render(strings.Repeat(" ", 9)+"└"+strings.Repeat("─", max(0, width-len(caption)-1))+" "+caption)
			continue
		}
		all[i] = fill(all[i], totalsWidth) + side + m.look.graph.Render(rows[i])
	}
	return all
}

// rule is the title of a panel.
func (m *model) rule(number int, p panel, focus bool) string {
	name, line := m.look.name, m.look.faint
	mark := "─"
	if focus {
		name, line, mark = m.look.accent, m.look.accent, "━"
	}
	rows, all := p.size()
	count := status.FormatCount(all)
	if rows < all {
		count = status.FormatCount(rows) + " of " + count + " match"
	}
	if number == failuresPanel+1 && all > 0 {
		count = m.look.tones[bad].Render(count)
	}
	summary := p.summary()
	if summary != "" {
		summary = " " + summary + " "
	}
	title := fmt.Sprintf(" %d %s ", number, p.title())
	room := m.width - ansi.StringWidth(title) - ansi.StringWidth(count) - ansi.StringWidth(summary) - 4
	return line.Render(mark) + name.Render(title) + count + " " + line.Render(strings.Repeat(mark, max(0, room))) + m.look.faint.Render(summary) + line.Render(mark+mark)
}

// The one with the focus has so many lines before the others get any, and these get no fewer than least.
const (
	focusLines = 8
	otherLeast = 3
)

// panelLines shares the room among the panels.
func (m *model) panelLines(room int) []string {
	if m.shown == nil || m.shown.State == status.None {
		return nil
	}
	room -= len(m.panels) // their titles
	share := (room - focusLines) / (len(m.panels) - 1)
	heights := make([]int, len(m.panels))
	for i, p := range m.panels {
		rows, _ := p.size()
		if heights[i] = min(rows+1, max(share, 0)); rows == 0 || share < otherLeast {
			heights[i] = 0
		}
		if i != m.focus {
			room -= heights[i]
		}
	}
	heights[m.focus] = room
	// What the one with the focus does not need the others get.
	rows, _ := m.panels[m.focus].size()
	spare := max(0, room-max(rows+1, otherLeast))
	for i, p := range m.panels {
		rows, _ := p.size()
		if i == m.focus || rows == 0 {
			continue
		}
		more := min(spare, rows+1-heights[i])
		if heights[i] == 0 && more < min(otherLeast, rows+1) {
			continue
		}
		heights[i] += more
		heights[m.focus] -= more
		spare -= more
	}
	var all []string
	for i, p := range m.panels {
		all = append(all, m.rule(i+1, p, i == m.focus))
		all = append(all, p.lines(m.width, heights[i], i == m.focus, m.look)...)
	}
	return all
}

func (m *model) sessionLines(room int) []string {
	return append([]string{""}, m.list.lines(m.width, room-1, true, m.look)...)
}

// question is what is to be confirmed; "": nothing.
func (m *model) question() string {
	switch m.asks {
	case asksPause:
		return "Pause the session for all? What is being sent goes on. y: yes, else: no"
	case asksUnpause:
		return "Have the session go on? y: yes, else: no"
	}
	return ""
}

// turnPage gives the overlay its size and its text.
func (m *model) turnPage() {
	m.page.SetWidth(m.width)
	m.page.SetHeight(max(1, m.height-len(m.head())-1))
	switch m.overlay {
	case helpOverlay:
		m.page.SetContent(m.helpText())
	case detailOverlay:
		if m.isThere() { // else what was seen last stays
			m.page.SetContent(m.detailText())
		}
	}
}

func (m *model) helpText() string {
	k := keys
	groups := [][]key.Binding{
		{k.up, k.down, k.pageUp, k.pageDown, k.first, k.last},
		{k.next, k.previous, k.panel, k.enter, k.back, k.filter},
		{k.sort, k.turn, k.hold, k.pause, k.suspend, k.quit},
	}
	legend := []string{
		m.look.tones[good].Render("█") + " done, " + m.look.perhaps.Render("▒") + " perhaps, " + m.look.faint.Render("░") + " to do. With ~ it is a guess, and the range follows.",
		"▼ sorted by this column; the running paths otherwise begin with the oldest.",
		"A filter is any part of a line, also of what there was no room for.",
	}
	m.help.SetWidth(m.width)
	return "\n" + m.help.FullHelpView(groups) + "\n\n " + strings.Join(legend, "\n ")
}

// isThere tells whether the row of the details still is.
func (m *model) isThere() bool { return m.panels[m.focus].at() == m.detailed }

func (m *model) detailText() string {
	var b strings.Builder
	for _, f := range m.panels[m.focus].detail() {
		name := f.name
		for line := range strings.SplitSeq(f.text, "\n") {
			for part := range strings.SplitSeq(ansi.Wrap(line, max(10, m.width-16), "/"), "\n") {
				fmt.Fprintf(&b, "\n %s %s", m.look.faint.Render(fmt.Sprintf("%-12s", name)), part)
				name = ""
			}
		}
	}
	return b.String()
}

// foot is the last line.
func (m *model) foot() string {
	filter := m.look.tones[warn].Render("filter: " + m.filter)
	if m.filtering {
		return " " + filter
	}
	if text := m.question(); text != "" {
		return " " + m.look.tones[warn].Render(text)
	}
	if m.said != "" {
		return " " + m.look.tones[warn].Render(m.said)
	}
	k := keys
	short := []key.Binding{k.next, k.enter, k.filter, k.sort, k.hold, k.help, k.quit}
	switch {
	case m.overlay != noOverlay:
		short = []key.Binding{k.back, k.up, k.down, k.quit}
	case m.session == "":
		short = []key.Binding{bind("Enter", "watch", "enter"), k.filter, k.sort, k.help, k.quit}
	case m.listed:
		short = append([]key.Binding{bind("Esc", "list", "esc")}, short...)
	}
	m.help.SetWidth(m.width - 2)
	m.help.ShortSeparator = "  "
	foot := m.help.ShortHelpView(short)
	switch {
	case m.overlay == detailOverlay && !m.isThere():
		foot = m.look.tones[warn].Render("it is no longer there") + "  " + foot
	case m.filter != "":
		foot = filter + "  " + foot
	}
	return " " + foot
}
