// SPDX-License-Identifier: LGPL-2.1-or-later

package wire

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Terms are what all sources of a session have to agree on: one with another base or other options would
// put something into the wrong place, or delete what the others keep. They are values of options by the
// options' names, as a config file has them; "yes" for a switch that is on, the items of a list with
// [TermSeparator] between them. What is off or not given is not in it.
type Terms map[string]Text

// Terms that destinations want to know, too.
const (
	PartialTerm = "partial" // what was received of a file is kept
	DryRunTerm  = "dryrun"  // nothing is written
	VerifyTerm  = "verify"  // likewise, by Go sources
)

// TermSeparator is what no item of a list can have in it.
const TermSeparator = "\x00"

// Difference is an option that a source was given otherwise than the leader.
type Difference struct {
	Option      string
	Master, Own Text // "": off, or not given
}

// Differences of a source's own terms from the leader's, in the order of the options.
func (t Terms) Differences(own Terms) (found []Difference) {
	all := maps.Clone(own)
	if all == nil {
		all = Terms{}
	}
	maps.Copy(all, t)
	for _, option := range slices.Sorted(maps.Keys(all)) {
		if t[option] != own[option] {
			found = append(found, Difference{option, t[option], own[option]})
		}
	}
	return found
}

func (d Difference) String() string {
	none := "none"
	if cmp.Or(d.Master, d.Own) == "yes" {
		none = "no"
	}
	shown := func(value Text) string {
		return cmp.Or(Text(strings.ReplaceAll(string(value), TermSeparator, ",")).String(), none)
	}
	return fmt.Sprintf("--%s (master: %s, here: %s)", d.Option, shown(d.Master), shown(d.Own))
}

// JoinDifferences is a list of them, for a message.
func JoinDifferences(differences []Difference) string {
	texts := make([]string, len(differences))
	for i, d := range differences {
		texts[i] = d.String()
	}
	return strings.Join(texts, ", ")
}
