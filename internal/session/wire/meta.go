// SPDX-License-Identifier: LGPL-2.1-or-later

package wire

import (
	"bytes"
	"encoding/json"
)

// metaFormat is the version of S/meta's content.
const metaFormat = 1

// Meta is the content of S/meta: how far the session is. Only the leader writes it, in the
// transactions that do what it tells of.
type Meta struct {
	Format  int    `json:"format"`
	ID      string `json:"id"`                // of the leader that has begun the session
	Epoch   int64  `json:"epoch"`             // czxid of S/watch/ready; 0: not yet known
	Step    int    `json:"step"`              // transactions so far: no two contents are the same
	Queued  int    `json:"queued"`            // entries put into the queues of paths
	Cuts    int    `json:"cuts"`              // transactions that have put pieces of paths in their place
	Foreign int    `json:"foreign,omitempty"` // things set aside that are not the session's; they count as failed
	Again   int    `json:"again"`             // failures that were queued again, and then ended
	Pass    int    `json:"pass"`              // walks that are done
	Cursor  Text   `json:"cursor"`            // the last entry of this pass that was queued; all before it, in the walk's order, are
	Ended   Counts `json:"ended"`             // what became of them; Unfinished is not counted here
	Terms   Terms  `json:"terms,omitempty"`   // what all sources have to agree on; none: nobody has said

	Timeout float64 `json:"timeout,omitempty"` // of the leader's ZooKeeper session, in seconds
	End     string  `json:"end,omitempty"`     // "": it goes on; Done; else why the leader ends it before that
}

// NewMeta is the content of a session that begins.
func NewMeta(id string, epoch int64, terms Terms) Meta {
	return Meta{Format: metaFormat, ID: id, Epoch: epoch, Terms: terms}
}

// Paths is how many paths have to be accounted for.
func (m Meta) Paths() int { return m.Queued + m.Foreign - m.Again }

// Encode gives the content of the node.
func (m Meta) Encode() []byte { return mustEncode(m) }

// DecodeMeta reads the content of S/meta; ok is false if it cannot be read.
func DecodeMeta(data []byte) (m Meta, ok bool) {
	if json.Unmarshal(data, &m) != nil || m.Format != metaFormat {
		return Meta{}, false
	}
	return m, true
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
