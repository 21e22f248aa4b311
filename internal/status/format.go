// SPDX-License-Identifier: LGPL-2.1-or-later

package status

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"vsc-zk/internal/session/wire"
)

// How readers show what a snapshot holds to people.

// FormatBytes is a size, as 8.6 MB.
func FormatBytes[N int64 | uint64 | float64](n N) string { return humanize.Bytes(uint64(max(n, 0))) }

// FormatRate is a number of bytes a second, as 8.6 MB/s.
func FormatRate[N int64 | float64](n N) string { return FormatBytes(n) + "/s" }

// FormatCount is a number, as 1,234,567.
func FormatCount[N int | int64](n N) string { return humanize.Comma(int64(n)) }

// FormatDecimal is a number, with one digit behind the point where that says something.
func FormatDecimal(n float64) string {
	if n >= 10 || n == 0 {
		return FormatCount(int64(n))
	}
	return fmt.Sprintf("%.1f", n)
}

// FormatLength is a length of time in two units, as 3m05s, 2h05m or 4d02h.
func FormatLength(d time.Duration) string {
	s := int64(max(d, 0).Round(time.Second) / time.Second)
	switch {
	case s < 60:
		return fmt.Sprintf("%ds", s)
	case s < 3600:
		return fmt.Sprintf("%dm%02ds", s/60, s%60)
	case s < 86400:
		return fmt.Sprintf("%dh%02dm", s/3600, s/60%60)
	}
	return fmt.Sprintf("%dd%02dh", s/86400, s/3600%24)
}

// FormatClock is a time as somebody at now calls it: of another day with its date.
func FormatClock(t, now time.Time) string {
	t, now = t.Local(), now.Local()
	if t.Year() == now.Year() && t.YearDay() == now.YearDay() {
		return t.Format("15:04:05")
	}
	return t.Format("2006-01-02 15:04")
}

// Done is what is done, as 42 %, or ~42 % (38 to 47) where it is a guess; "" if nobody can say.
func (e Estimate) Done() string {
	if e.By == "" {
		return ""
	}
	if !e.Guess {
		return FormatPercent(e.Percent.Low) + " %"
	}
	low, high := FormatPercent(e.Percent.Low), FormatPercent(e.Percent.High)
	text := FormatPercent(e.Percent.Middle()) + " %"
	if !strings.HasPrefix(text, "<") {
		text = "~" + text
	}
	if low != high {
		text += " (" + low + " to " + high + ")"
	}
	return text
}

// FormatPercent is a part, from 0 to 100, without its sign. It is never more than there is.
func FormatPercent(part float64) string {
	if part > 0 && part < 1 {
		return "<1"
	}
	return fmt.Sprint(math.Floor(part))
}

// Left is how long it will go on, as ~3h10m (2h50m to 4h02m); "" if nobody can say.
func (e Estimate) Left() string {
	if e.Seconds == nil {
		return ""
	}
	low, high := formatSeconds(e.Seconds.Low), formatSeconds(e.Seconds.High)
	text := "~" + formatSeconds(e.Seconds.Middle())
	if low != high {
		text += " (" + low + " to " + high + ")"
	}
	return text
}

// formatSeconds bounds what it shows: a guess of years is none.
func formatSeconds(s float64) string {
	return FormatLength(time.Duration(min(s, 1000*86400)) * time.Second)
}

// Middle lies between the two numbers.
func (r Range) Middle() float64 { return (r.Low + r.High) / 2 }

// Format says what a run waits for, and since when.
func (w Wait) Format(now time.Time) string {
	text := map[string]string{
		wire.WaitClients: "no source and no destination", wire.WaitSources: "no source", wire.WaitDestinations: "no destination", wire.WaitBytes: "nothing moves",
	}[w.For]
	if text == "" {
		text = w.For
	}
	if !w.Since.IsZero() {
		text += " since " + FormatClock(w.Since, now)
	}
	return wire.Text(text).String()
}

// FormatState is the state in words, with its reasons.
func (s *Snapshot) FormatState() string {
	switch s.State {
	case None:
		return "no active session"
	case Leaderless:
		return "no master: nobody keeps the account, or ends the run"
	case Still:
		reasons := make([]string, len(s.Waits))
		for i, w := range s.Waits {
			reasons[i] = w.Format(s.Time)
		}
		return "standing still: " + strings.Join(reasons, ", ")
	}
	if held := s.Control.Held(); held != "" {
		return held + ", as was asked for"
	}
	return "running"
}

// FormatPhase is the phase in words.
func (s *Snapshot) FormatPhase() string {
	switch s.Phase {
	case "walking":
		if s.Walk > 1 {
			return fmt.Sprintf("looking for what has changed, walk %d", s.Walk)
		}
		return "sending the tree"
	case "leftovers":
		return "deleting what ranges have left over"
	case "retrying":
		return "trying once more what has failed"
	case "linking":
		return "linking files between paths"
	}
	return "ending"
}

// Count is how many clients, and jobs or slots of these, of each kind there are.
func (s *Snapshot) Count() (n Counts) {
	for _, c := range s.Clients {
		if c.Source != nil {
			n.Sources++
			n.Jobs += c.Source.Jobs
			n.BusyJobs += c.Source.Busy
		}
		if c.Dest != nil {
			n.Dests++
			n.Slots += c.Dest.Slots
			n.BusySlots += c.Dest.Busy
		}
	}
	return n
}

// Counts are those of Count.
type Counts struct{ Sources, Jobs, BusyJobs, Dests, Slots, BusySlots int }

// Done is how many have been sent, have failed, or need not be sent any more; those too that are still to be flushed.
func (p Paths) Done() int { return p.Queued - p.Remaining + p.Flushing }

// Line is a run in one line.
func (s *Snapshot) Line() string {
	if s.State == None {
		return s.FormatState()
	}
	n := s.Count()
	parts := []string{
		s.Estimate.Done(),
		fmt.Sprintf("%s of %s paths", FormatCount(s.Paths.Done()), FormatCount(s.Paths.Queued)),
		FormatCount(s.Totals.Files) + " files",
		FormatBytes(s.Totals.Sent),
		FormatRate(s.Rates.Now),
	}
	if !s.Began.IsZero() {
		parts = append(parts, FormatLength(s.Time.Sub(s.Began)))
	}
	if left := s.Estimate.Left(); left != "" {
		parts = append(parts, left+" left")
	}
	parts = append(parts,
		Plural(n.Sources, "source"),
		fmt.Sprintf("%d of %d slots", n.BusySlots, n.Slots),
		FormatCount(s.Paths.Failed)+" failed")
	if s.State != Running || s.Control.Held() != "" {
		parts = append(parts, s.FormatState())
	}
	if parts[0] == "" {
		parts = parts[1:]
	}
	return strings.Join(parts, ", ")
}

// Plural is so many of something, as 1 source or 1,234 sources.
func Plural(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return FormatCount(n) + " " + what
}
