// SPDX-License-Identifier: LGPL-2.1-or-later

package status

import (
	"strings"
	"time"

	"vsc-zk/internal/session/wire"
)

// State is whether a session goes on.
type State string

const (
	None       State = "none"       // there is no run
	Running    State = "running"    // it goes on
	Still      State = "still"      // it waits for something: Waits says for what
	Leaderless State = "leaderless" // it has no master
)

// Snapshot is a session at one moment.
type Snapshot struct {
	Format  int       `json:"format"` // of this; 1
	Time    time.Time `json:"time"`   // when it was taken
	Session string    `json:"session"`
	State   State     `json:"state"`
	Waits   []Wait    `json:"waits"`           // why it stands still
	Master  string    `json:"master"`          // HOST:PID; "": none
	Began   time.Time `json:"began,omitzero"`  // zero: not known, as under a Python master
	Phase   string    `json:"phase,omitempty"` // walking, leftovers, retrying, linking or ending; "": not known
	Walk    int       `json:"walk,omitempty"`  // the number of the walk, from 1

	Control  Control  `json:"control"`
	Paths    Paths    `json:"paths"`
	Totals   Totals   `json:"totals"`
	Rates    Rates    `json:"rates"`
	Estimate Estimate `json:"estimate"`

	Clients      []Client  `json:"clients"`       // the master first, then sources and destinations by name
	Runs         []Run     `json:"runs"`          // under way, the oldest first
	Failures     []Failure `json:"failures"`      // some of them, at most MaxFailures
	FailuresLeft int       `json:"failures_left"` // that are not among these
}

// MaxFailures is how many failures a snapshot names.
const MaxFailures = 100

// Wait is what a run waits for: clients, sources, destinations or bytes.
type Wait struct {
	For   string    `json:"for"`
	Since time.Time `json:"since,omitzero"` // zero: not known
}

// Paths are counts.
type Paths struct {
	Queued    int `json:"queued"`    // so far, those of cut ones too
	Remaining int `json:"remaining"` // of these
	Working   int `json:"working"`   // of these, in work
	Flushing  int `json:"flushing"`  // of these, sent: they count when their destination has flushed them
	Completed int `json:"completed"`
	Failed    int `json:"failed"`
	Vanished  int `json:"vanished"`
	Changed   int `json:"changed"`
	Skipped   int `json:"skipped"` // as a user has asked for
}

// Totals are what rsyncs have done.
type Totals struct {
	Files            int64 `json:"files"`             // that they have looked at, directories too
	TransferredFiles int64 `json:"transferred_files"` // that were new or changed
	Bytes            int64 `json:"bytes"`             // size of the files that they have looked at
	TransferredBytes int64 `json:"transferred_bytes"` // of those that were new or changed
	Sent             int64 `json:"sent"`              // bytes that they have sent, those of the runs under way too
	Counted          int64 `json:"-"`                 // of these, those of runs that have ended: it never falls
	Deleted          int   `json:"deleted"`           // files and directories, at the destinations
	Differences      int   `json:"differences"`       // that --verify has found
}

// Rates are what is done in a second.
type Rates struct {
	Now   int64   `json:"now"`   // bytes over links, in the last seconds
	Over  float64 `json:"over"`  // seconds, for the others; 0: they are not known
	Paths float64 `json:"paths"` // that have ended
	Files float64 `json:"files"`
	Bytes float64 `json:"bytes"` // sent
}

// Client is one that is connected.
type Client struct {
	Who     string       `json:"who"`     // HOST:PID
	Role    string       `json:"role"`    // source or destination; "": it has none yet
	Program string       `json:"program"` // go or python
	Master  bool         `json:"master"`
	Host    string       `json:"host,omitempty"` // as its system calls itself; this and what follows only Go clients say
	Version string       `json:"version,omitempty"`
	Since   time.Time    `json:"since,omitzero"`
	Load    *float64     `json:"load,omitempty"` // of its host
	Base    wire.Text    `json:"base,omitempty"`
	Warning *Warning     `json:"warning,omitempty"` // the last one that it has logged
	Source  *Source      `json:"source,omitempty"`  // of a source that works
	Dest    *Destination `json:"destination,omitempty"`
}

// Warning is a line of a client's log.
type Warning struct {
	Time time.Time `json:"time"`
	Text wire.Text `json:"text"`
}

// Source is what a source does.
type Source struct {
	Jobs int   `json:"jobs"` // runs at once, at the most
	Busy int   `json:"busy"` // runs under way
	Sent int64 `json:"sent"` // bytes, over links
	Rate int64 `json:"rate"` // bytes a second of that now
}

// Destination is what a destination offers. What of its file system is not known is 0.
type Destination struct {
	Slots      int       `json:"slots"`
	Busy       int       `json:"busy"`           // slots that are in use
	State      string    `json:"state"`          // active, paused or disabled; "": it has not offered itself yet
	Why        wire.Text `json:"why,omitempty"`  // what keeps it from receiving
	Since      time.Time `json:"since,omitzero"` // of that state
	Rate       int64     `json:"rate"`           // bytes a second that sources send to it now
	Size       uint64    `json:"size"`           // of the file system of its base
	Free       uint64    `json:"free"`
	Inodes     uint64    `json:"inodes"`
	FreeInodes uint64    `json:"free_inodes"`
}

// Run is one rsync and what it carries.
type Run struct {
	Path        wire.Text `json:"path"`  // the first, as the report names it
	Paths       int       `json:"paths"` // how many it carries
	Source      string    `json:"source"`
	Destination string    `json:"destination"` // "": not known
	Began       time.Time `json:"began"`
	Attempt     int       `json:"attempt,omitempty"` // from 1; of this and what follows a Python source says nothing
	Sent        int64     `json:"sent"`
	Rate        int64     `json:"rate"`
}

// Failure is a path that has failed so far.
type Failure struct {
	Path   wire.Text   `json:"path"`
	Errors []wire.Text `json:"errors,omitempty"`
}

// Why is the line that says most: the first that is about the files, else the first; "" if there is none.
func (f Failure) Why() string {
	for _, line := range f.Errors {
		if text := line.String(); !strings.HasPrefix(text, "exit status ") && !strings.HasPrefix(text, "rsync error: ") {
			return text
		}
	}
	if len(f.Errors) == 0 {
		return ""
	}
	return f.Errors[0].String()
}

// Estimate is a guess of how far the run is.
type Estimate struct {
	By      string `json:"by"`      // what it rests on: report, paths or walk; "": nothing, and it says nothing
	Guess   bool   `json:"guess"`   // false: it is known
	Percent Range  `json:"percent"` // done
	Seconds *Range `json:"seconds"` // until the end; null: nobody can say
}

// Range is between two numbers; they may be the same.
type Range struct {
	Low  float64 `json:"low"`
	High float64 `json:"high"`
}
