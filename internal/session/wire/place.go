// SPDX-License-Identifier: LGPL-2.1-or-later

package wire

import (
	"encoding/json"
	"fmt"
)

// Place is the content of S/place: what the leader's base is, for the workers of other nodes to compare
// theirs with.
type Place struct {
	Sign
	Mounts []Mounted `json:"mounts,omitempty"` // below it
}

// Sign is by what a directory can be known on another node.
type Sign struct {
	FSID  uint64 `json:"fsid"` // of the file system; 0: it has none
	Inode uint64 `json:"inode"`
	Names []Text `json:"names"` // some of those in it; none: it is empty
}

// Mounted is a directory where a file system is mounted.
type Mounted struct {
	Path Text `json:"path"` // below the base
	Sign
}

// Encode gives the content of the node.
func (p Place) Encode() []byte { return mustEncode(p) }

// DecodePlace reads it.
func DecodePlace(data []byte) (p Place, err error) {
	if err := json.Unmarshal(data, &p); err != nil {
		return Place{}, fmt.Errorf("cannot read what the master's base is: %w", err)
	}
	return p, nil
}

// Position is the content of an ephemeral node of S/parties/bases: where a client's base stands on its
// machine, for clients of the same machine to see whether one is in the other.
type Position struct {
	Who     string `json:"who"`
	Source  bool   `json:"source"`            // it is a source's, not a destination's
	Boot    string `json:"boot"`              // tells one start of one machine's kernel from all others
	Dir     Text   `json:"dir"`               // as the client calls it
	Above   []Spot `json:"above"`             // the base, the mount point that it is below, the one that this is below, ...
	Below   []Spot `json:"below,omitempty"`   // what is mounted in it
	Exclude string `json:"exclude,omitempty"` // of a source: what is left out, by path
	Partial bool   `json:"partial,omitempty"` // of a source: rsync leaves out more, of which nobody else can judge
}

// Spot is a directory as a kernel knows it.
type Spot struct {
	Device string `json:"device"`
	Path   Text   `json:"path"`         // within the file system
	At     Text   `json:"at,omitempty"` // where it is seen, below the base
}

// Encode gives the content of the node.
func (p Position) Encode() []byte { return mustEncode(p) }

// DecodePosition reads it.
func DecodePosition(data []byte) (p Position, err error) {
	if err := json.Unmarshal(data, &p); err != nil {
		return Position{}, fmt.Errorf("cannot read where a base stands: %w", err)
	}
	return p, nil
}
