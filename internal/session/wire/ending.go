// SPDX-License-Identifier: LGPL-2.1-or-later

package wire

import (
	"encoding/json"
	"errors"
)

// ErrEnded is the end of a client whose run its leader has ended before all was done.
var ErrEnded = errors.New("the master has ended the run before all was done")

// StandBy is the content of a contender of S/lock that takes the session over when its leader is gone.
const StandBy = "stand-by"

// Done is what [Meta] says of the end of a session that was led to its end.
const Done = "done"

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
