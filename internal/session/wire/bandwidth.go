// SPDX-License-Identifier: LGPL-2.1-or-later

package wire

import (
	"encoding/json"
	"fmt"
)

// Use is the content of S/rates/<whoami>, an ephemeral node of a source: what it does with its share of the
// bandwidth. It is there only while there is a bound.
type Use struct {
	Rate  int64 `json:"rate"`  // what it sends, in bytes a second
	Links int   `json:"links"` // runs at work
	Held  bool  `json:"held"`  // it would send more
}

// Encode gives the content of the node.
func (u Use) Encode() []byte { return mustEncode(u) }

// DecodeUse reads it.
func DecodeUse(data []byte) (u Use, err error) {
	if err := json.Unmarshal(data, &u); err != nil {
		return Use{}, fmt.Errorf("cannot read what a source uses: %w", err)
	}
	if u.Rate < 0 || u.Links < 0 {
		return Use{}, fmt.Errorf("cannot read what a source uses: %.100q", data)
	}
	return u, nil
}

// Shares is the content of S/shares: what each source may send, in bytes a second, by whoami. Only the leader
// writes it. Who is not named has to wait until it is. It is void if neither its epoch nor its czxid is that of
// the session; then, and if there is none, nothing bounds a source.
type Shares struct {
	Epoch int64            `json:"epoch"`
	Limit int64            `json:"limit,omitempty"` // that is divided
	Rates map[string]int64 `json:"rates,omitempty"`
}

// Encode gives the content of the node.
func (s Shares) Encode() []byte { return mustEncode(s) }

// DecodeShares reads it.
func DecodeShares(data []byte) (s Shares, err error) {
	if err := json.Unmarshal(data, &s); err != nil {
		return Shares{}, fmt.Errorf("cannot read the sources' shares of the bandwidth: %w", err)
	}
	return s, nil
}
