// SPDX-License-Identifier: LGPL-2.1-or-later

package wire

import (
	"encoding/json"
	"fmt"
	"strings"
)

// MaxJobs is the most that a source runs at once.
const MaxJobs = 1024

// Control is the content of S/control: what users have asked for while the run is under way. Who has read one
// version writes the next; the leader begins with an empty one, and takes Stop back. It counts once S/meta is
// valid.
type Control struct {
	Paused  bool           `json:"paused,omitempty"`  // nothing is begun
	Stop    bool           `json:"stop,omitempty"`    // the same, and the run is suspended when nothing is in work any more
	Jobs    map[string]int `json:"jobs,omitempty"`    // of the sources of a host, or of one, by its whoami
	Skip    []Text         `json:"skip,omitempty"`    // paths below the base that are not sent, in the order in which that was asked for
	Requeue int            `json:"requeue,omitempty"` // how often it was asked for that what has failed is queued again
}

// Held tells whether nothing is to be begun.
func (c Control) Held() bool { return c.Paused || c.Stop }

// JobsOf is how many jobs a source runs at once that was started with so many.
func (c Control) JobsOf(whoami string, own int) int {
	for _, name := range []string{whoami, HostOf(whoami)} {
		if jobs, ok := c.Jobs[name]; ok {
			return jobs
		}
	}
	return own
}

// Encode gives the content of the node.
func (c Control) Encode() []byte { return mustEncode(c) }

// DecodeControl reads it; an empty one asks for nothing.
func DecodeControl(data []byte) (c Control, err error) {
	if len(data) == 0 {
		return c, nil
	}
	if err := json.Unmarshal(data, &c); err != nil {
		return Control{}, fmt.Errorf("cannot read what was asked for: %w", err)
	}
	good := c.Requeue >= 0
	for _, jobs := range c.Jobs {
		good = good && jobs >= 0 && jobs <= MaxJobs
	}
	for _, path := range c.Skip {
		good = good && isBelow(string(path))
	}
	if !good {
		return Control{}, fmt.Errorf("cannot read what was asked for: %.100q", data)
	}
	return c, nil
}

// isBelow tells whether a path is one below a base.
func isBelow(path string) bool {
	for name := range strings.SplitSeq(path, "/") {
		if name == "" || name == "." || name == ".." || strings.Contains(name, "\x00") {
			return false
		}
	}
	return true
}

// Heed is the content of S/heeds/<whoami>, an ephemeral node of a source: what it has noted of S/control.
type Heed struct {
	Version int32 `json:"version"`           // of S/control; -1: none yet
	Jobs    int   `json:"jobs"`              // that it runs at once
	Running int   `json:"running,omitempty"` // that are still at work while nothing is to be begun
	BwLimit int64 `json:"bwlimit,omitempty"` // the bound of the session of which it has a share; 0: none
	Leads   bool  `json:"leads,omitempty"`   // it only leads, and never has jobs
}

// Encode gives the content of the node.
func (h Heed) Encode() []byte { return mustEncode(h) }

// DecodeHeed reads it.
func DecodeHeed(data []byte) (h Heed, err error) {
	if err := json.Unmarshal(data, &h); err != nil {
		return Heed{}, fmt.Errorf("cannot read what a source has noted: %w", err)
	}
	return h, nil
}
