// SPDX-License-Identifier: LGPL-2.1-or-later

package leader

import (
	"fmt"
	"math"
	"time"

	"vsc-zk/internal/session/wire"
	"vsc-zk/internal/status"
)

// How a run can end.
const (
	EndDone      = "done"      // all of it was worked through, whatever became of the paths
	EndSuspended = "suspended" // it can be gone on with
	EndBroken    = "broken"    // it could not go on
	EndRemoved   = "removed"   // it was found without a master, and cleaned up
)

// Summary is what became of a run, told by the leader that has ended it. Its JSON is for other programs.
type Summary struct {
	Session string    `json:"session"`
	Run     string    `json:"run"`    // the same as in the report
	Source  wire.Text `json:"source"` // the base
	Master  string    `json:"master"` // HOST:PID
	End     string    `json:"end"`
	Began   time.Time `json:"began"`
	Ended   time.Time `json:"ended"`
	Seconds float64   `json:"seconds"`
	Queued  int       `json:"queued"` // paths
	wire.Counts
	Totals   status.Totals `json:"totals"`
	Problem  string        `json:"problem,omitempty"` // why the run did not do all it was asked to
	Report   wire.Text     `json:"report,omitempty"`
	Failures wire.Text     `json:"failures,omitempty"` // --failed
	DoneFile wire.Text     `json:"done_file,omitempty"`
}

// Summary is what became of the run if this leader has ended it; nil: it has not.
func (l *Leader) Summary() *Summary {
	if !l.concluded {
		return nil
	}
	now := time.Now()
	s := &Summary{
		Session: l.client.Tree.Name(), Run: l.ledger.now().ID, Source: wire.Text(l.base.Dir), Master: l.client.Whoami, End: EndDone,
		Began: l.began.UTC().Truncate(time.Second), Ended: now.UTC().Truncate(time.Second), Seconds: math.Round(now.Sub(l.began).Seconds()),
		Queued: l.ledger.now().Paths() + l.foreign - l.again, Counts: *l.counts, Totals: l.totals(),
		Report: wire.Text(l.cfg.Report), Failures: wire.Text(l.cfg.Failed), DoneFile: wire.Text(l.cfg.DoneFile),
	}
	switch {
	case l.suspended:
		s.End = EndSuspended
	case l.broken != nil:
		s.End = EndBroken
	case l.cleaner != "":
		s.End = EndRemoved
	}
	if l.result != nil {
		s.Problem = l.result.Error()
	}
	return s
}

// totals are those of the run.
func (l *Leader) totals() status.Totals {
	t := l.observer.totals
	t.Deleted, t.Differences = l.counts.Deleted, l.counts.Differences
	return t
}

// Text is the summary for people, in one line.
func (s *Summary) Text() string {
	end := map[string]string{EndDone: "over", EndSuspended: "suspended", EndBroken: "broken off", EndRemoved: "cleaned up"}[s.End]
	took := s.Ended.Sub(s.Began)
	text := fmt.Sprintf("The run is %s after %s: %s, of %s paths; files: %s", end, status.FormatLength(took), s.Counts, status.FormatCount(s.Queued), s.Totals.Text())
	if s.Seconds > 0 {
		text += ", " + status.FormatRate(float64(s.Totals.Sent)/s.Seconds)
	}
	for _, file := range []struct{ what, name string }{{"report", s.Report.String()}, {"failed paths", s.Failures.String()}, {"done-file", s.DoneFile.String()}} {
		if file.name != "" {
			text += fmt.Sprintf("; %s: %s", file.what, file.name)
		}
	}
	return text
}
