// SPDX-License-Identifier: LGPL-2.1-or-later

package wire

import (
	"encoding/json"
	"fmt"
	"strings"

	"vsc-zk/internal/pathbuilder"
)

// Kind says what a task is about. Tasks of one kind may go into one run, if Joins says so.
type Kind int

const (
	Unreadable Kind = iota // its content cannot be read; Task.Err says why
	Shallow                // a directory's own content
	Recursive              // a directory and all below it
	Range                  // files of a directory, by a range of their names
	Leftovers              // what is to be deleted in a directory that was sent in ranges
	Links                  // files that are hard links to each other
	Listed                 // files and directories, each alone, that somebody has listed as changed
)

// Kinds is the number of kinds.
const Kinds = int(Listed) + 1

// Joins tells whether several tasks of the kind may go into one run.
func (k Kind) Joins() bool { return k == Shallow || k == Recursive || k == Listed }

// Named tells whether a task of the kind names files, rather than a directory.
func (k Kind) Named() bool { return k == Links || k == Listed }

// What an entry begins with says what it is. The first two are the wire format of the Python
// program, the others are only in S/extQueue; r_, l_ and c_ are followed by JSON.
const (
	shallowPrefix   = "0_"
	recursivePrefix = "1_"
	rangePrefix     = "r_"
	leftoverPrefix  = "d_"
	linksPrefix     = "l_"
	listedPrefix    = "c_"
)

// Task is the content of an entry, decoded once when it is read.
type Task struct {
	Value Text // as it stands in the queue
	Kind  Kind
	Dir   string // the directory, absolute; "" where Kind.Named
	From  string // of Range: the first name, "": from the beginning
	To    string // of Range: the name after the last, "": to the end
	Files []Text // where Kind.Named: below the base
	Err   error  // of Unreadable
}

// nameRange is the JSON of a Range.
type nameRange struct {
	Path Text `json:"path"`
	From Text `json:"from"`
	To   Text `json:"to"`
}

// DirTask is the task of a directory that a walk has found.
func DirTask(entry pathbuilder.Entry) Task {
	t := Task{Value: Text(entry.Encode()), Kind: Shallow, Dir: entry.Path}
	if entry.Recursive {
		t.Kind = Recursive
	}
	return t
}

// RangeTask is the task of the files of a directory from one name to before another.
func RangeTask(dir, from, to string) Task {
	data := mustEncode(nameRange{Text(dir), Text(from), Text(to)})
	return Task{Value: Text(rangePrefix + string(data)), Kind: Range, Dir: dir, From: from, To: to}
}

// LeftoversTask is the task of the deletions in a directory.
func LeftoversTask(dir string) Task {
	return Task{Value: Text(leftoverPrefix + dir), Kind: Leftovers, Dir: dir}
}

// LinksTask is the task of groups of hard links, each with all its files.
func LinksTask(files []Text) Task {
	return Task{Value: Text(linksPrefix + string(mustEncode(files))), Kind: Links, Files: files}
}

// ListedTask is the task of files and directories that somebody has listed.
func ListedTask(files []Text) Task {
	return Task{Value: Text(listedPrefix + string(mustEncode(files))), Kind: Listed, Files: files}
}

// DecodeTask reads the value of an entry. It always gives a task: one that cannot be read is of the
// kind Unreadable, as whoever meets it has to account for it.
func DecodeTask(value []byte) Task {
	t, err := decodeTask(string(value))
	if err != nil {
		return Task{Value: Text(value), Err: err}
	}
	return t
}

func decodeTask(value string) (t Task, err error) {
	t.Value = Text(value)
	if len(value) < len(shallowPrefix) {
		return t, fmt.Errorf("cannot read the path %q: it is too short", value)
	}
	dir := value
	switch prefix, rest := value[:len(shallowPrefix)], value[len(shallowPrefix):]; prefix {
	case linksPrefix, listedPrefix:
		what := "hard links"
		if t.Kind = Links; prefix == listedPrefix {
			t.Kind, what = Listed, "listed files"
		}
		if err := json.Unmarshal([]byte(rest), &t.Files); err != nil {
			return t, fmt.Errorf("cannot read an entry of %s: %w", what, err)
		}
		if len(t.Files) == 0 {
			return t, fmt.Errorf("cannot read an entry of %s: it names no file", what)
		}
		return t, nil
	case rangePrefix:
		var r nameRange
		if err := json.Unmarshal([]byte(rest), &r); err != nil {
			return t, fmt.Errorf("cannot read an entry of files: %w", err)
		}
		t.Kind, t.From, t.To = Range, string(r.From), string(r.To)
		dir = shallowPrefix + string(r.Path)
	case leftoverPrefix:
		t.Kind = Leftovers
		dir = shallowPrefix + rest
	case recursivePrefix:
		t.Kind = Recursive
	default:
		t.Kind = Shallow
	}
	entry, err := pathbuilder.Decode([]byte(dir))
	t.Dir = entry.Path
	return t, err
}

// Entry is the directory as a walk finds it.
func (t Task) Entry() pathbuilder.Entry {
	return pathbuilder.Entry{Path: t.Dir, Recursive: t.Kind == Recursive}
}

// Within refuses a task about something outside of the base, and gives its directory's path below
// the base; "" where Kind.Named.
func (t Task) Within(base string) (rel string, err error) {
	for _, file := range t.Files {
		if _, err := (pathbuilder.Entry{Path: base + "/" + string(file)}).Rel(base); err != nil {
			return "", err
		}
	}
	if t.Kind.Named() {
		return "", nil
	}
	return t.Entry().Rel(base)
}

// Holds tells whether a file, by its path below the base, is one of the task's: one of another range
// of the same directory is not.
func (t Task) Holds(path string) bool {
	if t.Kind != Range {
		return true
	}
	name := path[strings.LastIndexByte(path, '/')+1:]
	return name >= t.From && (t.To == "" || name < t.To)
}

// OnlyForGo tells whether a Python worker would misread the task or does not know it: it writes
// line-separated lists without a leading "./", where a line break splits a name and a line that
// begins with # or ; is a comment.
func (t Task) OnlyForGo(base string) bool {
	if t.Kind != Shallow && t.Kind != Recursive {
		return true
	}
	rel, err := t.Within(base)
	if err != nil {
		return false
	}
	return strings.ContainsAny(rel, "\n\r") || strings.HasPrefix(rel, "#") || strings.HasPrefix(rel, ";")
}
