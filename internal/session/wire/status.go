// SPDX-License-Identifier: LGPL-2.1-or-later

package wire

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// Roles of clients.
const (
	RoleSource      = "source"
	RoleDestination = "destination"
)

// Status is the content of S/status/<whoami>, an ephemeral node of each client: what it does, for people to look at.
// No client acts on what another says here. Times are in seconds since 1970.
type Status struct {
	Role    string   `json:"role"`              // source or destination
	Host    string   `json:"host"`              // as its system calls itself
	Version string   `json:"version"`           // of the program
	Since   int64    `json:"since"`             // when the process began
	Load    float64  `json:"load"`              // of its host: what runs or waits to, over the last minute
	Warning *Warning `json:"warning,omitempty"` // the last one that it has logged; an error is one, too
	Base    Text     `json:"base,omitempty"`

	Source      *SourceStatus      `json:"source,omitempty"`      // of a source that works
	Destination *DestinationStatus `json:"destination,omitempty"` // of a destination that serves
	Leader      *LeaderStatus      `json:"leader,omitempty"`      // of the leader
}

// Warning is a line of a client's log.
type Warning struct {
	Time int64 `json:"time"`
	Text Text  `json:"text"`
}

// SourceStatus is what a source's jobs do.
type SourceStatus struct {
	Jobs int         `json:"jobs"` // runs at once, at the most
	Sent int64       `json:"sent"` // bytes over links since the process began
	Rate int64       `json:"rate"` // bytes a second of that, since the node was written before
	Runs []RunStatus `json:"runs,omitempty"`
}

// RunStatus is a run that is under way.
type RunStatus struct {
	Path        Text   `json:"path"`        // the first one, as it stands in the queue
	Paths       int    `json:"paths"`       // how many it carries
	Destination string `json:"destination"` // whoami
	Began       int64  `json:"began"`
	Attempt     int    `json:"attempt"` // from 1
	Sent        int64  `json:"sent"`    // bytes over its link; to a destination of the Python program: not known, 0
	Rate        int64  `json:"rate"`    // bytes a second of that
}

// DestinationStatus is what a destination offers.
type DestinationStatus struct {
	Slots  int    `json:"slots"`
	State  string `json:"state"`         // Active or Paused; "": it has not offered itself yet
	Why    Text   `json:"why,omitempty"` // what keeps it from receiving; "": nothing
	Since  int64  `json:"since"`         // of that state
	Size   uint64 `json:"size"`          // bytes of the base's file system; 0: not known
	Free   uint64 `json:"free"`
	Inodes uint64 `json:"inodes"` // 0: it does not count them
	Unused uint64 `json:"unused"` // inodes
}

// LeaderStatus is what the leader knows beside what S/meta and S/stats tell.
type LeaderStatus struct {
	Walked   float64   `json:"walked"`             // the part of the tree that the first walk has come through, 0 to 1; a guess
	Flushing int       `json:"flushing"`           // paths that were sent, and count when their destination has flushed them
	Rates    Rates     `json:"rates"`              // over the last minutes
	Progress int64     `json:"progress"`           // when something was queued, sent or ended last
	Waits    []Wait    `json:"waits,omitempty"`    // why the run stands still; none: it does not
	Foreseen *Foreseen `json:"foreseen,omitempty"` // from the report of an earlier run; nil: none was given
}

// Rates are what was done in a second.
type Rates struct {
	Over  float64 `json:"over"` // seconds that were looked at; 0: nothing is known
	Paths float64 `json:"paths"`
	Files float64 `json:"files"` // that rsyncs have looked at
	Bytes float64 `json:"bytes"` // that they have sent
}

// What a run can wait for.
const (
	WaitClients      = "clients"      // there is neither a source nor a destination
	WaitSources      = "sources"      // there is no source that works
	WaitDestinations = "destinations" // there is no destination
	WaitBytes        = "bytes"        // nothing moves
)

// Wait is why a run stands still, and since when.
type Wait struct {
	For   string `json:"for"`
	Since int64  `json:"since"`
}

// Foreseen is what an earlier run's report makes of this one, in seconds of rsync.
type Foreseen struct {
	Total float64 `json:"total"`
	Done  float64 `json:"done"`
}

// maxStatus bounds the content of the node, and maxWarning the text of a Warning.
const (
	maxStatus  = 256 << 10
	maxWarning = 1000
)

// NewWarning bounds the text.
func NewWarning(time int64, text string) *Warning {
	return &Warning{Time: time, Text: Text(text[:min(len(text), maxWarning)])}
}

// Encode gives the content of the node; of very many runs the paths are shortened.
func (s Status) Encode() []byte {
	data := mustEncode(s)
	for most := 1000; len(data) > maxStatus && s.Source != nil && most > 1; most /= 4 {
		source := *s.Source
		source.Runs = make([]RunStatus, len(s.Source.Runs))
		for i, run := range s.Source.Runs {
			run.Path = run.Path[:min(len(run.Path), most)]
			source.Runs[i] = run
		}
		s.Source = &source
		data = mustEncode(s)
	}
	return data
}

// DecodeStatus reads the node.
func DecodeStatus(data []byte) (s Status, err error) {
	if err := json.Unmarshal(data, &s); err != nil {
		return Status{}, fmt.Errorf("cannot read the status of a client: %w", err)
	}
	if s.Role != RoleSource && s.Role != RoleDestination {
		return Status{}, fmt.Errorf("cannot read the status of a client: its role is %.100q", s.Role)
	}
	return s, nil
}

// Same tells whether nobody needs to hear of what has become of t. The load of a host, and how full its file system
// is, change all the time.
func (s Status) Same(t Status) bool { return bytes.Equal(s.rough().Encode(), t.rough().Encode()) }

func (s Status) rough() Status {
	s.Load = 0
	if s.Leader != nil {
		l := *s.Leader
		l.Rates.Over = 0
		s.Leader = &l
	}
	if s.Destination != nil {
		d := *s.Destination
		d.Free, d.Unused = perMille(d.Free, d.Size), perMille(d.Unused, d.Inodes)
		s.Destination = &d
	}
	return s
}

// perMille is a part of a whole, in thousandths.
func perMille(part, whole uint64) uint64 { return part / max(whole/1000, 1) }
