// SPDX-License-Identifier: LGPL-2.1-or-later

package session

import (
	"encoding/json"
	"fmt"

	"vsc-zk/internal/pathbuilder"
)

// What an entry of the queues begins with says what it is. The first two are the
// wire format of the Python program; the others are only in S/extQueue.
const (
	shallowPrefix   = "0_" // a directory's own content
	recursivePrefix = "1_" // and all below it
	rangePrefix     = "r_" // files of a directory, by their names: JSON
	leftoverPrefix  = "d_" // of a directory sent in ranges: what is to be deleted there
	linksPrefix     = "l_" // files that are hard links to each other: JSON
)

// task is an entry, decoded.
type task struct {
	entry pathbuilder.Entry // unless links
	names *nameRange        // only these files of the directory
	links []text            // files below the base; only they are sent

	leftovers bool // only delete, in the directory itself
}

// nameRange is the content of an entry of files.
type nameRange struct {
	Path text `json:"path"` // of the directory, absolute
	From text `json:"from"` // the first name, "": from the beginning
	To   text `json:"to"`   // the name after the last, "": to the end
}

func (r nameRange) encode() []byte {
	data, err := json.Marshal(r)
	if err != nil {
		panic(err) // strings
	}
	return append([]byte(rangePrefix), data...)
}

// decodeTask reads an entry.
func decodeTask(value []byte) (task, error) {
	if len(value) < len(shallowPrefix) {
		return task{}, fmt.Errorf("cannot read the path %q: it is too short", value)
	}
	prefix, rest := string(value[:len(shallowPrefix)]), value[len(shallowPrefix):]
	var t task
	var err error
	switch prefix {
	case linksPrefix:
		if err = json.Unmarshal(rest, &t.links); err != nil {
			err = fmt.Errorf("cannot read an entry of hard links: %w", err)
		}
	case rangePrefix:
		t.names = &nameRange{}
		if err = json.Unmarshal(rest, t.names); err != nil {
			return task{}, fmt.Errorf("cannot read an entry of files: %w", err)
		}
		t.entry, err = pathbuilder.Decode([]byte(shallowPrefix + string(t.names.Path)))
	case leftoverPrefix:
		t.leftovers = true
		t.entry, err = pathbuilder.Decode([]byte(shallowPrefix + string(rest)))
	default:
		t.entry, err = pathbuilder.Decode(value)
	}
	return t, err
}

// within refuses a task that is about something outside of the base, and returns
// its directory's path below it.
func (t task) within(base string) (rel string, err error) {
	for _, path := range t.links {
		if _, err := (pathbuilder.Entry{Path: base + "/" + string(path)}).Rel(base); err != nil {
			return "", err
		}
	}
	if t.links != nil {
		return "", nil
	}
	return t.entry.Rel(base)
}

// Kinds of paths: what is of one kind may go into one run of rsync.
const (
	shallow = iota
	recursive
	single // goes alone
)

func kindOf(value []byte) int {
	switch {
	case len(value) <= 2:
	case string(value[:2]) == shallowPrefix:
		return shallow
	case string(value[:2]) == recursivePrefix:
		return recursive
	}
	return single
}
