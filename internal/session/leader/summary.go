// SPDX-License-Identifier: LGPL-2.1-or-later

package leader

import (
	"math"
	"time"

	"vsc-zk/internal/session/wire"
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
	Problem  string    `json:"problem,omitempty"` // why the run did not do all it was asked to
	Report   wire.Text `json:"report,omitempty"`
	Failures wire.Text `json:"failures,omitempty"` // --failed
	DoneFile wire.Text `json:"done_file,omitempty"`
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
		Queued: l.ledger.now().Paths() + l.foreign - l.again, Counts: *l.counts,
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
