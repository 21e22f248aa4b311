// SPDX-License-Identifier: LGPL-2.1-or-later

package wire

import (
	"errors"
	"fmt"
)

// ErrIncomplete is the end of a session in which some paths failed or are unfinished, deletions
// stopped at their bound, or a comparison found differences.
var ErrIncomplete = errors.New("the run ended with paths that are not done")

// Counts is what became of the paths of a session; every path queued is in exactly one of the first
// six.
type Counts struct {
	Unfinished int `json:"unfinished"`
	Failed     int `json:"failed"`
	Completed  int `json:"completed"`
	Vanished   int `json:"vanished"`
	Changed    int `json:"changed"`
	Skipped    int `json:"skipped"`

	Deleted     int  `json:"deleted"`     // entries deleted at the destination
	Differences int  `json:"differences"` // found by --verify
	Exhausted   bool `json:"exhausted"`   // deletions stopped at --max-delete
}

// Add counts the paths of a result.
func (c *Counts) Add(r Result) {
	switch r.Outcome {
	case Completed:
		c.Completed += len(r.Paths)
	case Vanished:
		c.Vanished += len(r.Paths)
	case Changed:
		c.Changed += len(r.Paths)
	case Skipped:
		c.Skipped += len(r.Paths)
	case Unended:
	default:
		c.Failed += len(r.Paths)
	}
	c.Deleted += r.Deleted
	c.Differences += r.Differences
	c.Exhausted = c.Exhausted || r.Exhausted
}

// Plus is the sum of two counts.
func (c Counts) Plus(d Counts) Counts {
	return Counts{
		Unfinished: c.Unfinished + d.Unfinished, Failed: c.Failed + d.Failed, Completed: c.Completed + d.Completed,
		Vanished: c.Vanished + d.Vanished, Changed: c.Changed + d.Changed, Skipped: c.Skipped + d.Skipped,
		Deleted: c.Deleted + d.Deleted, Differences: c.Differences + d.Differences, Exhausted: c.Exhausted || d.Exhausted,
	}
}

// Ended is the number of paths that are in no queue any more.
func (c Counts) Ended() int { return c.Failed + c.Completed + c.Vanished + c.Changed + c.Skipped }

// Problem is why the session did not do all it was asked to, nil if it did. Paths that vanished or
// changed are no problem of the session.
func (c Counts) Problem() error {
	switch {
	case c.Failed > 0 || c.Unfinished > 0:
		return fmt.Errorf("%w: %d failed, %d unfinished, %d completed", ErrIncomplete, c.Failed, c.Unfinished, c.Completed)
	case c.Skipped > 0:
		return fmt.Errorf("%w: %d were skipped, as was asked for", ErrIncomplete, c.Skipped)
	case c.Exhausted:
		return fmt.Errorf("%w: deletions stopped at --max-delete", ErrIncomplete)
	case c.Differences > 0:
		return fmt.Errorf("%w: %d differences between source and destination", ErrIncomplete, c.Differences)
	}
	return nil
}

func (c Counts) String() string {
	text := fmt.Sprintf("%d completed, %d failed, %d vanished, %d changed, %d unfinished", c.Completed, c.Failed, c.Vanished, c.Changed, c.Unfinished)
	if c.Skipped > 0 {
		text += fmt.Sprintf(", %d skipped", c.Skipped)
	}
	return text
}
