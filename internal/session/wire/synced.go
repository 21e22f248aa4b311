// SPDX-License-Identifier: LGPL-2.1-or-later

package wire

import (
	"encoding/json"
	"fmt"
	"slices"
)

// What S/sync says. The leader makes it in the transaction that begins the session, and sets it again to
// ask all destinations to flush now.
const (
	SyncOn  = "on"  // what is completed counts when its destination has flushed it
	SyncOff = "off" // it counts at once
	SyncDry = "dry" // nothing is written at the destinations
)

// Synced is the content of S/synced/<whoami>: of which results of a destination the data is on its disk.
// Only that destination writes it. Results are told apart by their czxid.
type Synced struct {
	Through int64  `json:"through"`        // the data of all results up to this transaction, but for those in Void
	Void    []Span `json:"void,omitempty"` // in order
}

// Span is what nobody can rely on: the data of the results between two transactions. Where Error is "" their
// paths have to be sent again, otherwise they have failed.
type Span struct {
	After   int64  `json:"after"`
	Through int64  `json:"through"`
	Error   string `json:"error,omitempty"`
}

// maxSpans bounds the content of the node; a leader has long acted on what is older.
const maxSpans = 100

// Encode gives the content of the node.
func (s Synced) Encode() []byte { return mustEncode(s) }

// DecodeSynced reads the node.
func DecodeSynced(data []byte) (Synced, error) {
	var s Synced
	if err := json.Unmarshal(data, &s); err != nil {
		return Synced{}, fmt.Errorf("cannot read how far a destination has flushed: %w", err)
	}
	return s, nil
}

// To is what follows when all up to a transaction is on disk.
func (s Synced) To(through int64) Synced {
	s.Through = through
	return s
}

// ToVoid is what follows when nobody can rely on what was received since, up to a transaction.
func (s Synced) ToVoid(through int64, problem string) Synced {
	spans := append(slices.Clone(s.Void), Span{After: s.Through, Through: through, Error: problem})
	if len(spans) > maxSpans { // the two oldest become one, with all between them
		spans[1].After = spans[0].After
		spans = spans[1:]
	}
	return Synced{Through: through, Void: spans}
}

// Of is what a destination says of a result whose run has begun after a transaction, 0 if that is not known: known is
// false if it has not come to it, and span is nil if its data is on disk. A run that was there while nobody could rely
// on what was received may have written some of it, however late it has ended.
func (s Synced) Of(since, czxid int64) (span *Span, known bool) {
	if since <= 0 || since > czxid {
		since = czxid
	}
	for i := range s.Void {
		if s.Void[i].After < czxid && since <= s.Void[i].Through {
			return &s.Void[i], true
		}
	}
	return nil, czxid <= s.Through
}
