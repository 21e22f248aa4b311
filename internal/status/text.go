// SPDX-License-Identifier: LGPL-2.1-or-later

package status

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"vsc-zk/internal/session/wire"
)

// most is how many runs, and failures, the text names.
const most = 20

// Headline is the first line of the text, in the words of the Python program.
func (s *Snapshot) Headline() string {
	if s.State == None {
		return "No active session"
	}
	return fmt.Sprintf("Remaining: %d, Failed: %d", s.Paths.Remaining, s.Paths.Failed)
}

// Text is the snapshot for people.
func (s *Snapshot) Text(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintln(&b, s.Headline())
	if s.State != None {
		s.summary(&b)
		s.clients(&b)
		s.running(&b)
		s.failed(&b)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// JSON is the snapshot for programs, as one line.
func (s *Snapshot) JSON(w io.Writer) error {
	out := json.NewEncoder(wire.Harmless(w))
	out.SetEscapeHTML(false)
	return out.Encode(s)
}

func (s *Snapshot) summary(b *strings.Builder) {
	fmt.Fprintf(b, "Session %s: %s", printable(s.Session), s.FormatState())
	if !s.Began.IsZero() {
		fmt.Fprintf(b, "; begun at %s, %s ago", FormatClock(s.Began, s.Time), FormatLength(s.Time.Sub(s.Began)))
	}
	fmt.Fprintln(b)
	t := newTable(b)
	if e := s.Estimate; e.By != "" {
		done := e.Done()
		if left := e.Left(); left != "" {
			done += ", " + left + " left"
		}
		t.row("  done", done+", by "+map[string]string{ByReport: "the report of an earlier run", ByPaths: "paths", ByWalk: "the place of the walk in the tree"}[e.By])
	}
	if s.Phase != "" {
		t.row("  phase", s.FormatPhase())
	}
	p, skipped := s.Paths, ""
	if p.Skipped > 0 {
		skipped = fmt.Sprintf(", %s skipped", FormatCount(p.Skipped))
	}
	paths := fmt.Sprintf("%s queued, %s remaining (%s in work", FormatCount(p.Queued), FormatCount(p.Remaining), FormatCount(p.Working))
	if p.Flushing > 0 {
		paths += fmt.Sprintf(", %s to be flushed", FormatCount(p.Flushing))
	}
	t.row("  paths", fmt.Sprintf("%s), %s completed, %s failed, %s vanished, %s changed", paths, FormatCount(p.Completed), FormatCount(p.Failed), FormatCount(p.Vanished), FormatCount(p.Changed))+skipped)
	t.row("  files", s.Totals.Text())
	if r := s.Rates; r.Now > 0 || r.Over > 0 {
		rate := FormatRate(r.Now) + " now"
		if r.Over > 0 {
			rate += fmt.Sprintf("; in the last %s %s, %s files/s, %s paths/s", FormatLength(time.Duration(r.Over*float64(time.Second))), FormatRate(r.Bytes), FormatDecimal(r.Files), FormatDecimal(r.Paths))
		}
		t.row("  rate", rate)
	}
	t.flush()
}

// Text is what rsyncs have done.
func (t Totals) Text() string {
	text := fmt.Sprintf("%s looked at (%s), %s transferred (%s), %s sent", FormatCount(t.Files), FormatBytes(t.Bytes), FormatCount(t.TransferredFiles), FormatBytes(t.TransferredBytes), FormatBytes(t.Sent))
	if t.Deleted > 0 {
		text += fmt.Sprintf(", %s deleted", FormatCount(t.Deleted))
	}
	if t.Differences > 0 {
		text += fmt.Sprintf(", %s differences", FormatCount(t.Differences))
	}
	return text
}

func (s *Snapshot) clients(b *strings.Builder) {
	if len(s.Clients) == 0 {
		return
	}
	fmt.Fprintf(b, "\nClients (%d)\n", len(s.Clients))
	t := newTable(b)
	for _, c := range s.Clients {
		role := c.Role
		if role == "" {
			role = "waiting"
		}
		if c.Program == Python {
			role += " (Python)"
		}
		if c.Master {
			role = "master"
			if c.Program == Python {
				role = "master (Python)"
			}
		}
		does, more := "", ""
		if c.Source != nil {
			does, more = fmt.Sprintf("%d of %d jobs", c.Source.Busy, c.Source.Jobs), FormatRate(c.Source.Rate)
		}
		if d := c.Dest; d != nil {
			does, more = fmt.Sprintf("%d of %d slots", d.Busy, d.Slots), FormatRate(d.Rate)
			if d.Size > 0 {
				more += fmt.Sprintf(", %s free (%s %%)", FormatBytes(d.Free), part(d.Free, d.Size))
			}
			if d.Inodes > 0 {
				more += fmt.Sprintf(", %s %% of inodes", part(d.FreeInodes, d.Inodes))
			}
			if d.State != wire.Active && d.State != "" {
				more += ", " + printable(d.State)
			}
			if d.Why != "" {
				more += ": " + d.Why.String()
			}
		}
		load := ""
		if c.Load != nil {
			load = fmt.Sprintf("load %.1f", *c.Load)
		}
		t.row("  "+printable(c.Who), role, does, load, more)
	}
	t.flush()
	said := false
	for _, c := range s.Clients {
		if w := c.Warning; w != nil {
			if !said {
				fmt.Fprint(b, "\nLast warnings\n")
			}
			said = true
			fmt.Fprintf(b, "  %s  %s  %s\n", FormatClock(w.Time, s.Time), printable(c.Who), w.Text)
		}
	}
}

func part(some, all uint64) string { return FormatPercent(100 * float64(some) / float64(all)) }

func (s *Snapshot) running(b *strings.Builder) {
	if len(s.Runs) == 0 {
		return
	}
	fmt.Fprintf(b, "\nRunning (%d), the oldest first\n", len(s.Runs))
	t := newTable(b)
	for _, r := range s.Runs[:min(len(s.Runs), most)] {
		path := r.Path.String()
		if r.Paths > 1 {
			path += fmt.Sprintf(" and %d more", r.Paths-1)
		}
		sent := ""
		if r.Attempt > 0 {
			sent = FormatBytes(r.Sent) + ", " + FormatRate(r.Rate)
			if r.Attempt > 1 {
				sent += fmt.Sprintf(", attempt %d", r.Attempt)
			}
		}
		to := "?"
		if r.Destination != "" {
			to = printable(r.Destination)
		}
		t.row("  "+FormatLength(s.Time.Sub(r.Began)), path, printable(r.Source)+" to "+to, sent)
	}
	t.flush()
	andMore(b, len(s.Runs)-most)
}

func (s *Snapshot) failed(b *strings.Builder) {
	if len(s.Failures) == 0 {
		return
	}
	all := len(s.Failures) + s.FailuresLeft
	fmt.Fprintf(b, "\nFailed (%d)\n", all)
	for _, f := range s.Failures[:min(len(s.Failures), most)] {
		fmt.Fprintf(b, "  %s\n", f.Path)
		if why := f.Why(); why != "" {
			fmt.Fprintf(b, "      %s\n", why)
		}
	}
	andMore(b, all-min(len(s.Failures), most))
}

func andMore(b *strings.Builder, n int) {
	if n > 0 {
		fmt.Fprintf(b, "  and %d more\n", n)
	}
}

// table has columns that are as wide as they need to be.
type table struct{ w *tabwriter.Writer }

func newTable(b *strings.Builder) table { return table{tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)} }

func (t table) row(cells ...string) {
	fmt.Fprintln(t.w, strings.TrimRight(strings.Join(cells, "\t"), "\t"))
}

func (t table) flush() { _ = t.w.Flush() } // a strings.Builder takes everything

// printable is a text of others as a terminal may show it.
func printable(text string) string { return wire.Text(text).String() }
