// SPDX-License-Identifier: LGPL-2.1-or-later

package wire

import (
	"encoding/json"
	"errors"
)

// ErrEnded is the end of a client whose run its leader has ended before all was done.
var ErrEnded = errors.New("the master has ended the run before all was done")

// ErrHalted is the end of a client whose run was stopped because a user has asked for that. It is also an ErrEnded.
var ErrHalted = errors.New("it was stopped, as was asked for (zkrsync --stop)")

// StandBy is the content of a contender of S/lock that takes the session over when its leader is gone.
const StandBy = "stand-by"

// Resume is that of one that does so also if it has met no leader.
const Resume = "resume"

// Done is what [Meta] says of the end of a session that was led to its end.
const Done = "done"

// Halted is what it says of the end of one that was stopped.
const Halted = "halted"

// Epitaph is the content of S/watch: how the last session of this name has ended. It is for
// clients that were not connected then, and stays.
type Epitaph struct {
	Epoch   int64  `json:"epoch"`             // of that session
	Cleaner string `json:"cleaner,omitempty"` // the source that found it without a leader; "": its own leader ended it
}

// Encode gives the content of the node.
func (e Epitaph) Encode() []byte { return mustEncode(e) }

// DecodeEpitaph reads the node; what cannot be read is about no session.
func DecodeEpitaph(data []byte) Epitaph {
	var e Epitaph
	if json.Unmarshal(data, &e) != nil {
		return Epitaph{}
	}
	return e
}
