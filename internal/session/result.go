// SPDX-License-Identifier: LGPL-2.1-or-later

package session

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"unicode/utf8"
)

// outcome is what became of a path.
type outcome string

const (
	outcomeNone      outcome = "" // it was given back; of no path
	outcomeCompleted outcome = "completed"
	outcomeFailed    outcome = "failed"   // after the last attempt
	outcomeVanished  outcome = "vanished" // it, or files in it, were gone before they could be sent
	outcomeChanged   outcome = "changed"  // it is no directory any more, or lies below a symbolic link
)

// result is the content of a node of S/results: what became of the paths of one
// rsync run. Slaves write it in the transaction that removes the paths.
type result struct {
	Paths    []text   `json:"paths"` // entries, "1_/data/a"
	Outcome  outcome  `json:"outcome"`
	Attempts int      `json:"attempts"`
	Seconds  float64  `json:"seconds"` // of the run, or of all attempts together
	Bytes    int64    `json:"bytes"`   // size of the files transferred, for all paths together
	Who      string   `json:"who"`     // the slave
	Errors   []string `json:"errors,omitempty"`

	Deleted     int      `json:"deleted,omitempty"`     // entries rsync has deleted
	Exhausted   bool     `json:"exhausted,omitempty"`   // the budget of deletions was at its end
	Differences int      `json:"differences,omitempty"` // --verify: how many
	Examples    []string `json:"examples,omitempty"`    // the first of them
}

// maxResult bounds the lines a result carries, in bytes: a node has to stay
// well below ZooKeeper's limit of a request, 1 MiB.
const maxResult = 64 << 10

// bound drops what does not fit into a node.
func (r *result) bound() {
	room := maxResult
	for _, lines := range []*[]string{&r.Errors, &r.Examples} {
		for i, line := range *lines {
			if room -= len(line); room < 0 {
				*lines = append((*lines)[:i:i], fmt.Sprintf("... and %d more", len(*lines)-i))
				break
			}
		}
	}
}

func (r *result) encode() []byte {
	r.bound()
	data, err := json.Marshal(r)
	if err != nil {
		panic(err) // strings and numbers
	}
	return data
}

// text is a string of any bytes. In JSON it is a string if it is UTF-8, else
// {"base64": "..."}.
type text string

func (s text) MarshalJSON() ([]byte, error) {
	if utf8.ValidString(string(s)) {
		return json.Marshal(string(s))
	}
	return json.Marshal(map[string]string{"base64": base64.StdEncoding.EncodeToString([]byte(s))})
}

func (s *text) UnmarshalJSON(data []byte) error {
	if len(data) > 0 && data[0] == '"' {
		return json.Unmarshal(data, (*string)(s))
	}
	var raw struct {
		Base64 []byte `json:"base64"`
	}
	if err := json.Unmarshal(data, &raw); err != nil {
		return fmt.Errorf("cannot read a path: %w", err)
	}
	*s = text(raw.Base64)
	return nil
}
