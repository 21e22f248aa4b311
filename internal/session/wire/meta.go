// SPDX-License-Identifier: LGPL-2.1-or-later

package wire

import (
	"bytes"
	"encoding/json"
	"time"
)

// metaFormat is the version of S/meta's content.
const metaFormat = 2

// Phase is what a session is at. The phases come in this order; walks may come several times.
type Phase string

const (
	Walking  Phase = "walk"      // a walk, or what stands in its place, and the work on what it has queued
	Leaving  Phase = "leftovers" // deletions in directories that were sent in ranges
	Retrying Phase = "late"      // what has failed
	Linking  Phase = "links"     // hard links between paths
	Ending   Phase = "end"       // nothing is queued any more
)

// Meta is the content of S/meta: how far the session is. Only the leader writes it, in the
// transactions that do what it tells of. With the nodes that are named beside it, it is all that
// another leader needs to go on.
type Meta struct {
	Format  int     `json:"format"`
	ID      string  `json:"id"`                // of the session
	Lead    string  `json:"lead"`              // who leads it now: a leader's own id
	Epoch   int64   `json:"epoch"`             // czxid of S/watch/ready; 0: not yet known
	Began   int64   `json:"began"`             // when, in seconds since 1970
	Step    int     `json:"step"`              // transactions so far: no two contents are the same
	Queued  int     `json:"queued"`            // entries put into the queues of paths
	Cuts    int     `json:"cuts"`              // transactions that have put pieces of paths in their place
	Cut     *Cut    `json:"cut,omitempty"`     // a path that is replaced by its pieces in several transactions
	Foreign int     `json:"foreign,omitempty"` // things set aside that are not the session's; they count as failed
	Again   int     `json:"again"`             // failures that were queued again, and then ended
	Plan    Plan    `json:"plan"`
	Steered Steered `json:"steered"`        // what was done of S/control
	Lost    int     `json:"lost,omitempty"` // groups of hard links that are not kept
	Stage   Stage   `json:"stage"`

	Ended Counts `json:"ended"`           // what became of them; Unfinished is not counted here
	Work  Work   `json:"work"`            // that this has taken, to guess by what is left
	Terms Terms  `json:"terms,omitempty"` // what all sources have to agree on; none: nobody has said

	Timeout float64 `json:"timeout,omitempty"` // of the leader's ZooKeeper session, in seconds
	End     string  `json:"end,omitempty"`     // "": it goes on; Done; Halted; else why the leader ends it before that
}

// Steered is what was done of what S/control asks for.
type Steered struct {
	Version int32 `json:"version"`           // of S/control, all of which was done
	Skips   int   `json:"skips,omitempty"`   // of its paths that are skipped
	Requeue int   `json:"requeue,omitempty"` // how often what had failed was queued again
	Puts    int   `json:"puts,omitempty"`    // transactions that have done that
}

// Stage is what is being done.
type Stage struct {
	Phase   Phase `json:"phase"`
	Pass    int   `json:"pass"`              // walks that are done
	Changed int   `json:"changed,omitempty"` // entries of the last of them
	Linked  bool  `json:"linked,omitempty"`  // the phase of the hard links has come
	Late    int   `json:"late,omitempty"`    // rounds of retries, before the hard links or after them
	Found   int   `json:"found"`             // entries of this phase that were queued
	Cursor  Text  `json:"cursor"`            // the last of them; all before it, in the order of the phase, are
	Fed     bool  `json:"fed,omitempty"`     // all of this phase are
	Gaps    bool  `json:"gaps,omitempty"`    // what was queued is not all: this phase has to come again
	Whole   bool  `json:"whole,omitempty"`   // this walk takes everything that its leader has not queued itself
}

// Plan is how a session's tree is cut, which its leaders have to do alike.
type Plan struct {
	Depth    int    `json:"depth"`              // levels below the base that become paths
	Subpaths []Text `json:"subpaths,omitempty"` // of --rsubpaths
	List     string `json:"list,omitempty"`     // hash of the paths of a file that are sent instead of a tree; "": a tree
}

// Work is what paths have taken that sources have ended which say so; one that ended twice counts twice.
type Work struct {
	Paths    int     `json:"paths,omitempty"`
	Seconds  float64 `json:"seconds,omitempty"`  // of rsync, of all together
	Squares  float64 `json:"squares,omitempty"`  // of the seconds of each
	Foreseen float64 `json:"foreseen,omitempty"` // seconds that they were expected to take, by an earlier run's report
}

// Add counts a result of which so many seconds were foreseen.
func (w *Work) Add(r Result, foreseen float64) {
	w.Foreseen += foreseen
	if n := float64(len(r.Paths)); n > 0 && r.Who != UnknownWorker {
		w.Paths += len(r.Paths)
		w.Seconds += r.Seconds
		w.Squares += r.Seconds * r.Seconds / n
	}
}

// Plus is the sum of both.
func (w Work) Plus(v Work) Work {
	return Work{w.Paths + v.Paths, w.Seconds + v.Seconds, w.Squares + v.Squares, w.Foreseen + v.Foreseen}
}

// Cut is how far a path is replaced by its pieces.
type Cut struct {
	Node string `json:"node"` // name in S/split
	Last Text   `json:"last"` // the last piece that was queued
}

// NewMeta is the content of a session that begins; lead is the leader that begins it.
func NewMeta(lead string, began time.Time, terms Terms) Meta {
	return Meta{Format: metaFormat, ID: lead, Lead: lead, Began: began.Unix(), Stage: Stage{Phase: Walking}, Terms: terms}
}

// Paths is how many paths have to be accounted for.
func (m Meta) Paths() int { return m.Queued + m.Foreign - m.Again }

// Encode gives the content of the node.
func (m Meta) Encode() []byte { return mustEncode(m) }

// DecodeMeta reads the content of S/meta; ok is false if it cannot be read.
func DecodeMeta(data []byte) (m Meta, ok bool) {
	if json.Unmarshal(data, &m) != nil || m.Format != metaFormat || !m.Stage.Phase.known() || m.Plan.Depth < 0 {
		return Meta{}, false
	}
	return m, true
}

func (p Phase) known() bool {
	return p == Walking || p == Leaving || p == Retrying || p == Linking || p == Ending
}

// OtherFormat is the version of a content that this program cannot read; ok is false if it can, or if it is
// no such content at all.
func OtherFormat(data []byte) (format int, ok bool) {
	var m struct {
		Format int `json:"format"`
	}
	return m.Format, json.Unmarshal(data, &m) == nil && m.Format > 0 && m.Format != metaFormat
}

// Equal tells whether the contents are the same.
func (m Meta) Equal(n Meta) bool { return bytes.Equal(m.Encode(), n.Encode()) }

// Of tells whether the content is of the session that an epoch names.
func (m Meta) Of(epoch int64) bool { return epoch != 0 && m.Epoch == epoch }

// MetaOf decodes S/meta, a node made at czxid, if it is of the session that an epoch names. Until it is written for
// the first time that says where it was made: in one transaction with S/watch/ready.
func MetaOf(data []byte, czxid, epoch int64) (Meta, bool) {
	meta, ok := DecodeMeta(data)
	if ok && meta.Epoch == 0 && czxid == epoch {
		meta.Epoch = czxid
	}
	return meta, ok && meta.Of(epoch)
}
