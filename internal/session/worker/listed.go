// SPDX-License-Identifier: LGPL-2.1-or-later

package worker

import (
	"path"
	"slices"
	"strings"

	"vsc-zk/internal/pathbuilder"
)

// everything is the entry of the base with all below it.
var everything = pathbuilder.Entry{Recursive: true}

// listedNames fills in which names of a list of changed ones rsync gets. One that is not there is deleted at the
// destination, if anything is; where the directory above it is not there either, it is that which is.
func (t *Rsync) listedNames(p *part) error {
	apart, err := t.source.Apart(everything, "")
	if err != nil {
		return err
	}
	states := map[string]pathbuilder.State{"": pathbuilder.Present}
	look := func(dir string) (pathbuilder.State, error) {
		state, known := states[dir]
		if !known {
			var err error
			if state, err = t.source.Tree.Check(dir); err != nil {
				return 0, err
			}
			states[dir] = state
		}
		return state, nil
	}
	skips := func(file, name string) (bool, error) {
		base := t.source.Base
		if base.Skips(file) || base.Skips(name) {
			return true, nil
		}
		if !base.Config.Delete || len(base.SkippedIn(name, true)) == 0 {
			return false, nil
		}
		state, err := look(name)
		return state != pathbuilder.Present, err // what it was is deleted, with all in it
	}
	leftOut := t.source.Base.Config.LeaveOut
	seen, kept := map[string]bool{}, map[string]bool{}
	for _, file := range p.held.task.Files {
		name := string(file)
		if i := slices.IndexFunc(apart, func(a pathbuilder.Apart) bool { return name == a.Rel || strings.HasPrefix(name, a.Rel+"/") }); i >= 0 {
			if !kept[apart[i].Rel] {
				p.apart, kept[apart[i].Rel] = append(p.apart, apart[i]), true
			}
			continue
		}
		dir := above(name)
		state, err := look(dir)
		for err == nil && state == pathbuilder.Vanished {
			name, dir = dir, above(dir)
			state, err = look(dir)
		}
		if err != nil {
			return err
		}
		// What is no directory any more, but a link, is for a line of its own.
		if state != pathbuilder.Present || seen[name] || t.source.Excludes(name) || t.source.LeftOut(dir) || leftOut != nil && leftOut(name) {
			continue
		}
		if skip, err := skips(string(file), name); err != nil {
			return err
		} else if skip {
			continue
		}
		seen[name] = true
		p.names = append(p.names, name)
	}
	t.sayApart(p.apart)
	return nil
}

// above is the directory of a name below the base, "" for the base.
func above(name string) string {
	if dir := path.Dir(name); dir != "." {
		return dir
	}
	return ""
}
