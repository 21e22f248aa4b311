// SPDX-License-Identifier: LGPL-2.1-or-later

package differential

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
)

// changer changes the source during a run, and remembers what cannot be found out afterwards. Its
// methods may be called at the same time.
type changer struct {
	grower
	options options
	stands  []string          // what is mounted in the source all the time
	guarded *regexp.Regexp    // what options.Exclude matches, nil: nothing
	before  map[string]uint64 // the inodes of what was in the source at the start

	mu   sync.Mutex
	deep []string // directories below recursive entries in which names have changed
	gone []string // names that were removed or renamed
	said []string // what was done, for the log
}

func newChanger(g grower, o options, stands []string) *changer {
	g.skip = false
	c := &changer{grower: g, options: o, stands: stands, before: map[string]uint64{}}
	dirs, files := c.list(c.at("src"))
	for _, rel := range slices.Concat(dirs, files) {
		c.before[rel] = c.inode(rel)
	}
	if o.Exclude != "" {
		c.guarded = regexp.MustCompile("skip")
	}
	return c
}

// change makes one change, or none if the thing to be changed is not there.
func (c *changer) change() {
	c.mu.Lock()
	defer c.mu.Unlock()
	src := c.at("src")
	dirs, files := c.list(src)
	dir := pick(c.Rand, dirs)
	if len(c.crowded) > 0 && chance(c.Rand, 30) {
		if many := pick(c.Rand, c.crowded); slices.Contains(dirs, many) {
			dir = many
			files = slices.DeleteFunc(files, func(rel string) bool { return filepath.Dir(rel) != many })
		}
	}
	files = slices.DeleteFunc(files, func(rel string) bool { return rel == c.options.Sentinel })
	if c.fixed(dir, false) || len(dir) > 2500 {
		return
	}
	victim := pick(c.Rand, dirs)
	movable := victim != "." && !c.fixed(victim, true)
	switch n := c.IntN(100); {
	case n < 20: // a new file
		c.moveIn(dir, func(path string) { c.must(os.WriteFile(path, c.content(), 0o600)); c.finish(path) })
	case n < 40: // a tree that is moved in
		c.moveIn(dir, c.tree)
	case n < 50: // a tree that is made there, from the top down
		path := c.free(src+"/"+dir, true)
		c.must(os.Mkdir(path, 0o755))
		c.touched(dir)
		for range 2 {
			rel, err := filepath.Rel(src, path)
			c.must(err)
			c.moveIn(rel, c.tree)
		}
		c.say("made %q", path)
	case n < 60 && len(files) > 0: // a file that is renamed or removed
		rel := pick(c.Rand, files)
		if c.fixed(filepath.Dir(rel), false) {
			return
		}
		if chance(c.Rand, 50) {
			c.must(os.Rename(src+"/"+rel, c.free(src+"/"+dir, false)))
			c.touched(dir)
		} else {
			c.must(os.Remove(src + "/" + rel))
		}
		c.removed(rel)
		c.say("renamed or removed the file %q", rel)
	case n < 75 && movable && !inside(dir, victim): // a directory that is renamed
		path := c.free(src+"/"+dir, true)
		c.must(os.Rename(src+"/"+victim, path))
		c.removed(victim)
		c.touched(dir)
		c.say("renamed %q to %q", victim, path)
	case n < 85 && movable: // a directory that is removed
		if chance(c.Rand, 50) {
			c.must(os.RemoveAll(src + "/" + victim))
		} else {
			c.must(os.Rename(src+"/"+victim, c.free(c.at("spare"), true)))
		}
		c.removed(victim)
		c.say("removed %q", victim)
	case movable: // a directory that is swapped with something else, in most cases a symlink
		c.must(os.Rename(src+"/"+victim, c.free(c.at("spare"), true)))
		switch c.IntN(4) {
		case 0:
			c.must(os.WriteFile(src+"/"+victim, c.content(), 0o600))
			c.finish(src + "/" + victim)
		case 1:
			c.moveTo(victim, c.tree)
		default:
			target := c.target()
			if chance(c.Rand, 50) {
				target = strings.Repeat("../", level(victim)) + "outside/directory"
			}
			c.must(os.Symlink(target, src+"/"+victim))
		}
		c.removed(victim)
		c.say("swapped %q", victim)
	}
}

func (c *changer) say(format string, args ...any) {
	c.said = append(c.said, fmt.Sprintf(format, args...))
}

// tree makes a small one with its times.
func (c *changer) tree(path string) {
	c.directory(path, func(path string) { c.files(path, 2); c.grow(path, 3) })
	c.ageDirectories(path)
}

// moveIn makes something new elsewhere and moves it into a directory of the source.
func (c *changer) moveIn(dir string, make func(path string)) {
	rel, err := filepath.Rel(c.at("src"), c.free(c.at("src")+"/"+dir, true))
	c.must(err)
	c.moveTo(rel, make)
	c.touched(dir)
	c.say("moved in %q", rel)
}

func (c *changer) moveTo(rel string, make func(path string)) {
	fresh := c.free(c.at("spare"), true)
	make(fresh)
	c.must(os.Rename(fresh, c.at("src")+"/"+rel))
}

// fixed tells whether the directory itself must stay, if whole, or else whether its names must.
func (c *changer) fixed(rel string, whole bool) bool {
	if c.guarded != nil && c.guarded.MatchString(rel) || below(rel, c.stands) {
		return true
	}
	if !whole {
		return false
	}
	if slices.ContainsFunc(c.stands, func(dir string) bool { return inside(dir, rel) }) {
		return true
	}
	for _, subpath := range c.options.Subpaths {
		if _, dir, _ := strings.Cut(subpath, "_"); inside(dir, rel) {
			return true
		}
	}
	if c.guarded == nil {
		return false
	}
	dirs, _ := c.list(c.at("src") + "/" + rel)
	for _, dir := range dirs {
		if c.guarded.MatchString(dir) {
			return true
		}
	}
	return false
}

// touched notes that the names in a directory of the source have changed.
func (c *changer) touched(dir string) {
	c.age(c.at("src") + "/" + dir)
	if level(dir) > c.options.depthAt(dir) {
		c.deep = append(c.deep, dir)
	}
}

// inode is 0 if the source does not have that name.
func (c *changer) inode(rel string) uint64 {
	info, err := os.Lstat(c.at("src") + "/" + rel)
	if err != nil {
		return 0
	}
	return info.Sys().(*syscall.Stat_t).Ino
}

// stayed tells whether something was where it is during the whole run, so that every rsync met it.
func (c *changer) stayed(rel string) bool {
	if below(rel, c.gone) {
		return false
	}
	for ; rel != "."; rel = filepath.Dir(rel) {
		if ino := c.inode(rel); ino == 0 || ino != c.before[rel] {
			return false
		}
	}
	return true
}

func (c *changer) removed(rel string) {
	c.gone = append(c.gone, rel)
	c.touched(filepath.Dir(rel))
}
