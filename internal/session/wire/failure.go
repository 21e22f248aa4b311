// SPDX-License-Identifier: LGPL-2.1-or-later

package wire

import (
	"encoding/json"
	"fmt"
)

// Failure is the content of a node of S/failures: a path that has failed, and was not ended otherwise since.
type Failure struct {
	Path   Text     `json:"path"`
	Errors []string `json:"errors,omitempty"` // the last lines
}

// maxFailure bounds the lines of a Failure, in bytes.
const maxFailure = 2000

// Encode leaves out the lines that do not fit.
func (f Failure) Encode() []byte {
	room := maxFailure
	for i := len(f.Errors) - 1; i >= 0; i-- {
		if room -= len(f.Errors[i]); room < 0 {
			f.Errors = f.Errors[i+1:]
			break
		}
	}
	return mustEncode(f)
}

// DecodeFailure reads the node.
func DecodeFailure(data []byte) (Failure, error) {
	var f Failure
	if err := json.Unmarshal(data, &f); err != nil || f.Path == "" {
		return Failure{}, fmt.Errorf("cannot read the failure %.100q", data)
	}
	return f, nil
}

// Part is the content of a node of S/parts: where a leader has written what became of the paths.
type Part struct {
	Who    string `json:"who"`
	Report Text   `json:"report,omitempty"`
}

// Encode gives the content of the node.
func (p Part) Encode() []byte { return mustEncode(p) }

// DecodePart reads the node.
func DecodePart(data []byte) (Part, error) {
	var p Part
	if err := json.Unmarshal(data, &p); err != nil {
		return Part{}, fmt.Errorf("cannot read where a report lies: %.100q", data)
	}
	return p, nil
}
