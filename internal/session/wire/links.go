// SPDX-License-Identifier: LGPL-2.1-or-later

package wire

import (
	"encoding/json"
	"fmt"
	"path/filepath"
)

// LinkGroup is what one path holds of a group of hard links. Groups are told apart by the inode's
// number alone: nodes number devices differently, and the number of links may change. Two that share
// it are sent in one run, which does no harm.
type LinkGroup struct {
	Ino   uint64 `json:"ino"`
	Paths []Text `json:"paths"`          // below the base
	Held  bool   `json:"held,omitempty"` // they were not sent with their path
}

// EncodeLinks gives the content of a node of S/links.
func EncodeLinks(groups []LinkGroup) []byte { return mustEncode(groups) }

// DecodeLinks reads a node of S/links.
func DecodeLinks(data []byte) ([]LinkGroup, error) {
	var groups []LinkGroup
	if err := json.Unmarshal(data, &groups); err != nil {
		return nil, fmt.Errorf("cannot read a note of hard links: %w", err)
	}
	for _, group := range groups {
		for _, file := range group.Paths {
			if !filepath.IsLocal(string(file)) || filepath.Clean(string(file)) != string(file) {
				return nil, fmt.Errorf("cannot read a note of hard links: %.100q is no file below the base", file)
			}
		}
	}
	return groups, nil
}
