// SPDX-License-Identifier: LGPL-2.1-or-later

package wire

import (
	"encoding/json"
	"fmt"
	"slices"
)

// Wanted is the content of S/wanted: entries in work that the leader would like to give to idle jobs,
// by [WantedName]. Their holders look at it when a run takes long, and may finish a large file first; Python workers
// do not, and are not asked. It is empty when no job is idle.
type Wanted struct {
	Split []string `json:"split,omitempty"` // can be cut into smaller ones
	Share []string `json:"share,omitempty"` // cannot, but may be one of several in a run
}

// WantedName names an entry in work by the path of its taken node and the czxid of that: an entry
// that is given back and taken again keeps its name, but not this.
func WantedName(taken string, czxid int64) string { return fmt.Sprintf("%s@%x", taken, czxid) }

// Encode gives the content of the node.
func (w Wanted) Encode() []byte { return mustEncode(w) }

// DecodeWanted reads the node; what cannot be read wants nothing.
func DecodeWanted(data []byte) Wanted {
	var w Wanted
	if json.Unmarshal(data, &w) != nil {
		return Wanted{}
	}
	return w
}

// Len is the number of entries that are wanted.
func (w Wanted) Len() int { return len(w.Split) + len(w.Share) }

// Equal tells whether the same entries are wanted, in the same order.
func (w Wanted) Equal(v Wanted) bool {
	return slices.Equal(w.Split, v.Split) && slices.Equal(w.Share, v.Share)
}
