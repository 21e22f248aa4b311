// SPDX-License-Identifier: LGPL-2.1-or-later

package watch

import (
	"cmp"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/charmbracelet/x/ansi"

	"vsc-zk/internal/session/wire"
	"vsc-zk/internal/status"
)

// panel is a table with a title.
type panel interface {
	title() string
	summary() string
	set(s *status.Snapshot, names names)
	look(filter string)
	lines(width, height int, focus bool, look styles) []string
	move(by int)
	sort()
	turn()
	size() (rows, all int)
	at() string      // what makes the row at the cursor the same in the next snapshot; "": there is none
	detail() []field // of that row
}

// field is a line of the details.
type field struct{ name, text string }

// part is a panel of one kind of rows.
type part[T any] struct {
	table[T]
	name   string
	rowsOf func(*status.Snapshot) []T
	sum    func(*status.Snapshot) string
	fields func(T) []field
	shown  *status.Snapshot
	names  names
}

func (p *part[T]) title() string         { return p.name }
func (p *part[T]) summary() string       { return p.sum(p.shown) }
func (p *part[T]) size() (rows, all int) { return len(p.rows), len(p.all) }

func (p *part[T]) set(s *status.Snapshot, names names) {
	p.shown, p.names = s, names
	p.table.set(p.rowsOf(s))
}

func (p *part[T]) detail() []field {
	if len(p.rows) == 0 {
		return nil
	}
	return p.fields(p.rows[p.cursor])
}

// names are short for clients: the host, without its domain, and the process where one host has several.
type names map[string]string

func namesOf(s *status.Snapshot) names {
	short := func(who string) string {
		host := wire.HostOf(who)
		if net.ParseIP(host) == nil {
			host, _, _ = strings.Cut(host, ".")
		}
		return host
	}
	count := map[string]int{}
	for _, c := range s.Clients {
		count[short(c.Who)]++
	}
	n := names{}
	for _, c := range s.Clients {
		name := short(c.Who)
		if count[name] > 1 {
			name += strings.TrimPrefix(c.Who, wire.HostOf(c.Who))
		}
		n[c.Who] = wire.Text(name).String()
	}
	return n
}

// of is the short name of a client; one that is gone has its full one.
func (n names) of(who string) string {
	if name, ok := n[who]; ok {
		return name
	}
	return wire.Text(who).String()
}

// width is how wide a column of names has to be.
func (n names) width() int {
	widest := 8
	for _, name := range n {
		widest = max(widest, ansi.StringWidth(name))
	}
	return min(widest, 20)
}

// ago is how long something has lasted.
func ago(since, now time.Time) string {
	if since.IsZero() {
		return ""
	}
	return status.FormatLength(now.Sub(since))
}

func size(n int64) string {
	if n == 0 {
		return "-"
	}
	return status.FormatBytes(n)
}

func rate(n int64) string {
	if n == 0 {
		return "-"
	}
	return status.FormatRate(n)
}

// Places of the panels.
const (
	runsPanel = iota
	sourcesPanel
	destsPanel
	failuresPanel
)

func newPanels() []panel {
	return []panel{runsPart(), clientsPart(true), clientsPart(false), failuresPart()}
}

func runsPart() panel {
	p := &part[status.Run]{name: "Running paths"}
	now := func() time.Time { return p.shown.Time }
	p.rowsOf = func(s *status.Snapshot) []status.Run {
		for _, c := range []int{2, 3} {
			p.columns[c].width = p.names.width()
		}
		return s.Runs
	}
	p.sum = func(s *status.Snapshot) string {
		if len(s.Runs) == 0 {
			return ""
		}
		return "oldest " + ago(s.Runs[0].Began, s.Time)
	}
	p.table = table[status.Run]{
		sorted: -1,
		key:    func(r status.Run) string { return r.Source + "\x00" + string(r.Path) },
		words: func(r status.Run) string {
			return strings.Join([]string{r.Path.String(), r.Source, r.Destination}, "\n")
		},
		columns: []column[status.Run]{
			{title: "FOR", width: 6, right: true, cell: func(r status.Run) string { return ago(r.Began, now()) },
				order: func(a, b status.Run) int { return a.Began.Compare(b.Began) }},
			{title: "PATH", least: 20, tail: true, cell: func(r status.Run) string { return r.Path.String() },
				order: func(a, b status.Run) int { return cmp.Compare(a.Path, b.Path) }},
			{title: "FROM", width: 8, cell: func(r status.Run) string { return p.names.of(r.Source) },
				order: func(a, b status.Run) int { return cmp.Compare(a.Source, b.Source) }},
			{title: "TO", width: 8, cell: func(r status.Run) string { return p.names.of(r.Destination) },
				order: func(a, b status.Run) int { return cmp.Compare(a.Destination, b.Destination) }},
			{title: "TRY", width: 3, right: true, drop: 3, cell: func(r status.Run) string { return number(r.Attempt) }},
			{title: "PATHS", width: 6, right: true, drop: 2, cell: func(r status.Run) string { return status.FormatCount(r.Paths) },
				order: func(a, b status.Run) int { return b.Paths - a.Paths }},
			{title: "SENT", width: 7, right: true, drop: 1, cell: func(r status.Run) string { return size(r.Sent) },
				order: func(a, b status.Run) int { return cmp.Compare(b.Sent, a.Sent) }},
			{title: "RATE", width: 9, right: true, cell: func(r status.Run) string { return rate(r.Rate) },
				order: func(a, b status.Run) int { return cmp.Compare(b.Rate, a.Rate) }},
		},
	}
	p.fields = func(r status.Run) []field {
		return []field{
			{"Path", r.Path.String()},
			{"Paths", fmt.Sprintf("%d in this run", r.Paths)},
			{"Source", wire.Text(r.Source).String()},
			{"Destination", wire.Text(r.Destination).String()},
			{"Began", status.FormatClock(r.Began, now()) + ", for " + ago(r.Began, now())},
			{"Attempt", number(r.Attempt)},
			{"Sent", status.FormatBytes(r.Sent) + ", " + status.FormatRate(r.Rate) + " now"},
		}
	}
	return p
}

// number is a count that may be unknown.
func number(n int) string {
	if n == 0 {
		return "-"
	}
	return status.FormatCount(n)
}

// clientsPart has the sources, or the destinations.
func clientsPart(sources bool) panel {
	p := &part[status.Client]{name: "Sources"}
	if !sources {
		p.name = "Destinations"
	}
	now := func() time.Time { return p.shown.Time }
	p.rowsOf = func(s *status.Snapshot) (all []status.Client) {
		p.columns[0].width = max(p.names.width(), 11)
		for _, c := range s.Clients {
			if (c.Role == wire.RoleDestination) != sources {
				all = append(all, c)
			}
		}
		return all
	}
	note := func(c status.Client) string { return strings.Join(notes(c, now()), "; ") }
	name := column[status.Client]{title: "SOURCE", width: 11, cell: func(c status.Client) string { return p.names.of(c.Who) },
		order: func(a, b status.Client) int { return cmp.Compare(a.Who, b.Who) }}
	load := column[status.Client]{title: "LOAD", width: 5, right: true, drop: 1, cell: func(c status.Client) string {
		if c.Load == nil {
			return "-"
		}
		return fmt.Sprintf("%.1f", *c.Load)
	}, order: func(a, b status.Client) int { return cmp.Compare(value(b.Load), value(a.Load)) }}
	up := column[status.Client]{title: "UP", width: 6, right: true, drop: 2, cell: func(c status.Client) string { return cmp.Or(ago(c.Since, now()), "-") },
		order: func(a, b status.Client) int { return a.Since.Compare(b.Since) }}
	rest := column[status.Client]{title: "NOTE", least: 30, cell: note}
	p.table = table[status.Client]{
		sorted: -1,
		key:    func(c status.Client) string { return c.Who },
		words:  func(c status.Client) string { return c.Who + "\n" + c.Host + "\n" + note(c) },
		tone:   func(c status.Client) tone { return toneOf(c, now()) },
	}
	if sources {
		p.columns = []column[status.Client]{name,
			{title: "JOBS", width: 7, right: true, cell: func(c status.Client) string { return busy(source(c).Busy, source(c).Jobs) },
				order: func(a, b status.Client) int { return source(b).Busy - source(a).Busy }},
			{title: "RATE", width: 9, right: true, cell: func(c status.Client) string { return rate(source(c).Rate) },
				order: func(a, b status.Client) int { return cmp.Compare(source(b).Rate, source(a).Rate) }},
			{title: "SENT", width: 7, right: true, cell: func(c status.Client) string { return size(source(c).Sent) },
				order: func(a, b status.Client) int { return cmp.Compare(source(b).Sent, source(a).Sent) }},
			load, up, rest}
		p.sum = func(s *status.Snapshot) string {
			n := s.Count()
			return fmt.Sprintf("%s of %s jobs busy", status.FormatCount(n.BusyJobs), status.FormatCount(n.Jobs))
		}
	} else {
		name.title = "DESTINATION"
		p.columns = []column[status.Client]{name,
			{title: "SLOTS", width: 7, right: true, cell: func(c status.Client) string { return busy(dest(c).Busy, dest(c).Slots) },
				order: func(a, b status.Client) int { return dest(b).Busy - dest(a).Busy }},
			{title: "RATE", width: 9, right: true, cell: func(c status.Client) string { return rate(dest(c).Rate) },
				order: func(a, b status.Client) int { return cmp.Compare(dest(b).Rate, dest(a).Rate) }},
			{title: "FREE", width: 12, right: true, cell: func(c status.Client) string { return free(dest(c).Free, dest(c).Size, true) },
				order: func(a, b status.Client) int { return cmp.Compare(dest(a).Free, dest(b).Free) }},
			{title: "INODES", width: 6, right: true, drop: 3, cell: func(c status.Client) string { return free(dest(c).FreeInodes, dest(c).Inodes, false) }},
			load, up, rest}
		p.sum = func(s *status.Snapshot) string {
			n := s.Count()
			return fmt.Sprintf("%s of %s slots in use", status.FormatCount(n.BusySlots), status.FormatCount(n.Slots))
		}
	}
	p.fields = func(c status.Client) []field {
		all := []field{{"Client", wire.Text(c.Who).String()}}
		if c.Master {
			all = append(all, field{"Role", "master"})
		}
		program := "Python"
		if c.Program == status.Go {
			program = strings.TrimSpace("Go " + wire.Text(c.Version).String())
		}
		all = append(all, field{"Program", program})
		if c.Host != "" {
			all = append(all, field{"Host", wire.Text(c.Host).String()}, field{"Base", c.Base.String()},
				field{"Since", status.FormatClock(c.Since, now()) + ", for " + ago(c.Since, now())}, field{"Load", fmt.Sprintf("%.2f", value(c.Load))})
		}
		if s := c.Source; s != nil {
			all = append(all, field{"Jobs", busy(s.Busy, s.Jobs) + " busy"}, field{"Sent", status.FormatBytes(s.Sent) + ", " + status.FormatRate(s.Rate) + " now"})
		}
		if d := c.Dest; d != nil {
			all = append(all, field{"Slots", busy(d.Busy, d.Slots) + " in use"}, field{"Receives", status.FormatRate(d.Rate)},
				field{"State", stateOf(d, now())}, field{"Free", free(d.Free, d.Size, true) + " of " + status.FormatBytes(d.Size)},
				field{"Inodes", free(d.FreeInodes, d.Inodes, false) + " free"})
		}
		if w := c.Warning; w != nil {
			all = append(all, field{"Warning", status.FormatClock(w.Time, now()) + " " + w.Text.String()})
		}
		return all
	}
	return p
}

// source and dest are for sorting and showing those that are none yet, too.
func source(c status.Client) status.Source {
	if c.Source == nil {
		return status.Source{}
	}
	return *c.Source
}

func dest(c status.Client) status.Destination {
	if c.Dest == nil {
		return status.Destination{}
	}
	return *c.Dest
}

func value(n *float64) float64 {
	if n == nil {
		return 0
	}
	return *n
}

func busy(n, of int) string {
	if of == 0 {
		return "-"
	}
	return fmt.Sprintf("%d/%d", n, of)
}

// free is what is left of a whole that may be unknown.
func free(n, of uint64, size bool) string {
	if of == 0 {
		return "-"
	}
	part := status.FormatPercent(100*float64(n)/float64(of)) + "%"
	if !size {
		return part
	}
	return status.FormatBytes(n) + " " + part
}

func stateOf(d *status.Destination, now time.Time) string {
	text := wire.Text(cmp.Or(d.State, "has not offered itself yet")).String()
	if d.State != wire.Active && !d.Since.IsZero() {
		text += " for " + ago(d.Since, now)
	}
	if d.Why != "" {
		text += ": " + d.Why.String()
	}
	return text
}

// recent is how long a warning counts.
const recent = 10 * time.Minute

// notes are what is to be said of a client, the most important first.
func notes(c status.Client, now time.Time) (all []string) {
	if c.Dest != nil && c.Dest.State != wire.Active {
		all = append(all, stateOf(c.Dest, now))
	}
	if c.Master {
		all = append(all, "master")
	}
	if c.Program == status.Python {
		all = append(all, "Python")
	}
	if c.Role == "" {
		all = append(all, "has just come")
	}
	if w := c.Warning; w != nil {
		all = append(all, status.FormatClock(w.Time, now)+" "+w.Text.String())
	}
	return all
}

func toneOf(c status.Client, now time.Time) tone {
	switch {
	case c.Dest != nil && c.Dest.State != wire.Active:
		return warn
	case c.Warning != nil && now.Sub(c.Warning.Time) < recent:
		return warn
	case c.Dest != nil && c.Dest.Size > 0 && c.Dest.Free < c.Dest.Size/50:
		return warn
	}
	return plain
}

func failuresPart() panel {
	p := &part[status.Failure]{name: "Failures"}
	p.rowsOf = func(s *status.Snapshot) []status.Failure { return s.Failures }
	p.sum = func(s *status.Snapshot) string {
		if s.FailuresLeft == 0 {
			return ""
		}
		return fmt.Sprintf("and %s more, not shown", status.FormatCount(s.FailuresLeft))
	}
	lines := func(f status.Failure) (all []string) {
		for _, e := range f.Errors {
			all = append(all, e.String())
		}
		return all
	}
	why := func(f status.Failure) string { return cmp.Or(f.Why(), "-") }
	p.table = table[status.Failure]{
		sorted: -1,
		key:    func(f status.Failure) string { return string(f.Path) },
		words:  func(f status.Failure) string { return f.Path.String() + "\n" + strings.Join(lines(f), "\n") },
		columns: []column[status.Failure]{
			{title: "PATH", least: 20, tail: true, cell: func(f status.Failure) string { return f.Path.String() },
				order: func(a, b status.Failure) int { return cmp.Compare(a.Path, b.Path) }},
			{title: "ERROR", least: 35, cell: why, order: func(a, b status.Failure) int { return cmp.Compare(why(a), why(b)) }},
		},
	}
	p.fields = func(f status.Failure) []field {
		return []field{{"Path", f.Path.String()}, {"Errors", strings.Join(lines(f), "\n")}}
	}
	return p
}

// newSessions is the list of sessions.
func newSessions() *table[*status.Snapshot] {
	order := func(by func(s *status.Snapshot) float64) func(a, b *status.Snapshot) int {
		return func(a, b *status.Snapshot) int { return cmp.Compare(by(b), by(a)) }
	}
	return &table[*status.Snapshot]{
		sorted: -1,
		key:    func(s *status.Snapshot) string { return s.Session },
		words:  func(s *status.Snapshot) string { return s.Session + "\n" + s.FormatState() },
		tone:   func(s *status.Snapshot) tone { return stateTones[s.State] },
		columns: []column[*status.Snapshot]{
			{title: "SESSION", least: 14, cell: func(s *status.Snapshot) string { return wire.Text(s.Session).String() },
				order: func(a, b *status.Snapshot) int { return cmp.Compare(a.Session, b.Session) }},
			{title: "DONE", width: 5, right: true, cell: func(s *status.Snapshot) string {
				done, _, _ := strings.Cut(s.Estimate.Done(), " (")
				return cmp.Or(done, "-")
			}, order: order(func(s *status.Snapshot) float64 { return s.Estimate.Percent.Middle() })},
			{title: "PATHS LEFT", width: 10, right: true, cell: func(s *status.Snapshot) string { return status.FormatCount(s.Paths.Remaining) },
				order: order(func(s *status.Snapshot) float64 { return float64(s.Paths.Remaining) })},
			{title: "FAILED", width: 7, right: true, drop: 1, cell: func(s *status.Snapshot) string { return status.FormatCount(s.Paths.Failed) },
				order: order(func(s *status.Snapshot) float64 { return float64(s.Paths.Failed) })},
			{title: "RATE", width: 9, right: true, cell: func(s *status.Snapshot) string { return rate(s.Rates.Now) },
				order: order(func(s *status.Snapshot) float64 { return float64(s.Rates.Now) })},
			{title: "STATE", least: 32, cell: func(s *status.Snapshot) string { return s.FormatState() }},
		},
	}
}
