// SPDX-License-Identifier: LGPL-2.1-or-later

package wire

import (
	"encoding/json"
	"fmt"
)

// Outcome is what became of a path.
type Outcome string

const (
	Unended   Outcome = "" // it was given back; the result tells of no path
	Completed Outcome = "completed"
	Failed    Outcome = "failed"   // after the last attempt
	Vanished  Outcome = "vanished" // it, or files in it, were gone before they could be sent
	Skipped   Outcome = "skipped"  // a user did not want it to be sent
	Changed   Outcome = "changed"  // it is no directory any more, or lies below a symbolic link
)

// Result is the content of a node of S/results: what became of the paths of one run. Workers write
// it in the transaction that removes the paths.
type Result struct {
	Paths    []Text   `json:"paths"` // values of entries, "1_/data/a"
	Outcome  Outcome  `json:"outcome"`
	Attempts int      `json:"attempts"`
	Seconds  float64  `json:"seconds"`         // of the run, or of all attempts together
	Bytes    int64    `json:"bytes"`           // size of the files transferred, for all paths together
	Who      string   `json:"who"`             // the worker; UnknownWorker: a Python one
	Dest     string   `json:"dest,omitempty"`  // the destination that has received the last attempt; "": none has
	Since    int64    `json:"since,omitempty"` // a transaction before the last attempt began; 0: not known
	Errors   []string `json:"errors,omitempty"`
	Within   bool     `json:"within,omitempty"` // Vanished: the path is there, and files in it have vanished

	Deleted     int      `json:"deleted,omitempty"`     // entries that rsync has deleted
	Exhausted   bool     `json:"exhausted,omitempty"`   // the budget of deletions was at its end
	Differences int      `json:"differences,omitempty"` // of --verify: how many
	Examples    []string `json:"examples,omitempty"`    // the first of them
}

// Doubtful tells whether a worker has not found its paths: another client has to look, as it may be the
// worker's node that does not see them.
func (r Result) Doubtful() bool {
	return r.Outcome == Changed || r.Outcome == Vanished && !r.Within
}

// UnknownWorker is who has sent what a Python worker has recorded: that one does not say.
const UnknownWorker = ""

// maxResult bounds the lines that a result carries, in bytes: a node has to stay well below
// ZooKeeper's limit of a request, 1 MiB.
const maxResult = 64 << 10

// maxNode bounds the result as a whole.
const maxNode = 900 << 10

// Encode drops the lines that do not fit into a node, and shortens paths that do not.
func (r Result) Encode() []byte {
	room := maxResult
	for _, lines := range []*[]string{&r.Errors, &r.Examples} {
		for i, line := range *lines {
			if room -= len(line); room < 0 {
				*lines = append((*lines)[:i:i], fmt.Sprintf("... and %d more", len(*lines)-i))
				break
			}
		}
	}
	data := mustEncode(r)
	if len(data) > maxNode { // no path that the leader has queued is as long
		paths := make([]Text, len(r.Paths))
		for i, path := range r.Paths {
			paths[i] = path[:min(len(path), 1000)]
		}
		r.Paths = paths
		data = mustEncode(r)
	}
	return data
}

// DecodeResult reads a node of S/results. One that cannot be right tells of nothing.
func DecodeResult(data []byte) (Result, error) {
	var r Result
	if err := json.Unmarshal(data, &r); err != nil {
		return Result{}, fmt.Errorf("cannot read the result %.100q: %w", data, err)
	}
	switch r.Outcome {
	case Unended, Completed, Failed, Vanished, Changed, Skipped:
	default:
		return Result{}, fmt.Errorf("cannot read the result %.100q: it has no known outcome", data)
	}
	if r.Attempts < 0 || r.Bytes < 0 || r.Deleted < 0 || r.Differences < 0 || r.Seconds < 0 || len(r.Paths) > 0 == (r.Outcome == Unended) {
		return Result{}, fmt.Errorf("cannot read the result %.100q: its numbers cannot be right", data)
	}
	return r, nil
}
