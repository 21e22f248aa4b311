// SPDX-License-Identifier: LGPL-2.1-or-later

package rsyncrunner

import (
	"slices"
	"strings"
)

// Kind says what a run of rsync is about: what its names are, and what of them is sent.
type Kind int

const (
	Shallow    Kind = iota // directories: what is directly in them, subdirectories as empty ones
	Recursive              // directories with everything below them
	NameRange              // files of one directory; what is missing now is passed over
	LinkGroups             // files with several names, all names of each: copies become links
	Listed                 // files, and directories without what is in them; what is missing now is to be missing there
	Leftovers              // directories whose files went as NameRange: deletions, and nothing else
)

// Files reports whether the names are as those of files: each is sent alone, and a name that is, or has
// become, a directory is sent without its content. Other names are those of directories.
func (k Kind) Files() bool { return k == NameRange || k == LinkGroups || k == Listed }

// of returns the options of a run of a kind: the session's, as far as they suit the kind, and what
// the kind needs beside them.
func (o Options) of(kind Kind) Options {
	add := func(extra ...string) { o.Extra = append(slices.Clip(o.Extra), extra...) }
	switch kind {
	case NameRange:
		add("ignore-missing-args")
		if o.Delete {
			add("force") // a directory makes way for a file, as it does with --delete
		}
	case Listed:
		if o.Delete {
			add("delete-missing-args", "force")
		} else {
			add("ignore-missing-args")
		}
	case LinkGroups:
		if o.HasRules() {
			// The rules leave out a directory, but not a name below it that is in the list. What
			// earlier runs have sent is what the rules let through.
			add("existing")
		}
	case Leftovers:
		add("existing", "ignore-existing")
	}
	// Beside files nothing is deleted but what is listed: that is what Leftovers are for. And nothing makes way for the
	// names of LinkGroups, which are copies that are there already.
	if kind.Files() {
		o.Delete = false
		o.Extra = slices.DeleteFunc(slices.Clone(o.Extra), func(extra string) bool {
			known := lookup(extra)
			return known != nil && known.ours == "delete"
		})
	}
	return o
}

// Gives reports whether the user gives an option among the further ones, by one of its names.
func (o Options) Gives(name string) bool {
	return slices.ContainsFunc(o.Extra, func(extra string) bool {
		key, _, _ := strings.Cut(extra, ":")
		known := lookup(key)
		return known != nil && known == lookup(name)
	})
}

// HasRules reports whether the user leaves something out by rules of rsync's own.
func (o Options) HasRules() bool {
	return slices.ContainsFunc(o.Extra, func(extra string) bool {
		key, _, _ := strings.Cut(extra, ":")
		return key == "exclude" || key == "filter"
	})
}
