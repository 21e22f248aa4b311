// SPDX-License-Identifier: LGPL-2.1-or-later

package differential

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"vsc-zk/internal/session"
)

// options are the options of a run that the single rsync has, too, and how the work is spread.
type options struct {
	depth        int
	subpaths     []string
	delete       bool
	checksum     bool
	hardLinks    bool
	inplace      bool
	exclude      string
	excludeUser  string
	excludeBelow bool
	allowEmpty   bool
	maxDelete    int // more than there can be; 0: no bound

	spread
}

// spread is how the work is divided among the clients. The destination must not show it.
type spread struct {
	auto      bool // the depth is found by looking at the tree
	leads     int  // jobs of the master
	jobs      []int
	slots     []int
	batch     int
	batchTime time.Duration
	window    int
	flat      int
	prefetch  int
	slow      int // kB/s; 0: as fast as rsync can
	idle      time.Duration
	after     time.Duration
	settle    time.Duration
	late      bool // one destination gets a run with all paths before others come
}

func (s spread) String() string {
	return fmt.Sprintf("auto %t, jobs %d %d, slots %d, batch %d of %v, window %d, flat %d, prefetch %d, slow %d, idle %v, cut after %v, settle %v",
		s.auto, s.leads, s.jobs, s.slots, s.batch, s.batchTime, s.window, s.flat, s.prefetch, s.slow, s.idle, s.after, s.settle)
}

func (s spread) set(c *session.Config) {
	if s.auto {
		c.Leader.Depth = session.AutoDepth
	}
	c.Prefetch = s.prefetch
	c.Worker.Batch, c.Worker.BatchTime, c.Leader.Window, c.Leader.Flat = s.batch, s.batchTime, s.window, s.flat
	if s.slow > 0 {
		c.Rsync.Extra = []string{fmt.Sprintf("bwlimit:%d", s.slow)}
	}
	c.Member.Timing.Idle, c.Member.Timing.SplitAfter, c.Member.Timing.Settle = s.idle, s.after, s.settle
}

func randomSpread(r *rand.Rand) spread {
	var s spread
	few := func(least int) []int { // a number for each client
		var n []int
		for range 1 + r.IntN(3) {
			n = append(n, max(least, pick(r, []int{0, 1, 1, 2, 2, 3, 4})))
		}
		return n
	}
	s.leads, s.jobs, s.slots = pick(r, []int{0, 0, 1, 2, 3, 4}), few(0), few(1)
	if s.leads > 0 && chance(r, 40) {
		s.jobs = nil
	}
	if s.jobs == nil && chance(r, 60) {
		s.slots = s.slots[:1]
	}
	s.auto = chance(r, 20)
	s.batch = pick(r, []int{0, 0, 1, 2, 5})
	if chance(r, 30) {
		s.batchTime = 200 * time.Millisecond
	}
	if chance(r, 40) {
		s.window = 3 + r.IntN(48)
	}
	if chance(r, 50) {
		s.flat = 5 + r.IntN(26)
	}
	if chance(r, 80) {
		s.hasten(r)
	}
	if chance(r, 55) {
		s.slow = pick(r, []int{50, 100, 200})
	}
	return s
}

// hasten has idle jobs ask for work soon, and get it soon.
func (s *spread) hasten(r *rand.Rand) {
	s.idle = time.Duration(1+r.IntN(60)) * time.Millisecond
	s.after = time.Duration(1+r.IntN(200)) * time.Millisecond
	s.settle = time.Duration(20+r.IntN(200)) * time.Millisecond
}

func (o options) String() string {
	return fmt.Sprintf("depth %d, subpaths %q, delete %t, checksum %t, hardlinks %t, inplace %t, exclude %q of %q, below %t, at most %d deletions; %s",
		o.depth, o.subpaths, o.delete, o.checksum, o.hardLinks, o.inplace, o.exclude, o.excludeUser, o.excludeBelow, o.maxDelete, o.spread)
}

func (o options) set(c *session.Config) {
	c.Leader.Depth, c.Leader.Subpaths = o.depth, o.subpaths
	c.Rsync.Delete, c.Rsync.Checksum, c.Rsync.HardLinks, c.Rsync.Inplace = o.delete, o.checksum, o.hardLinks, o.inplace
	if o.exclude != "" {
		c.Base.Exclude = regexp.MustCompile(o.exclude)
	}
	c.Base.ExcludeUser, c.Base.ExcludeBelow, c.Base.AllowEmpty = o.excludeUser, o.excludeBelow, o.allowEmpty
	c.MaxDelete = cmp.Or(o.maxDelete, -1)
	o.spread.set(c)
}

// protecting is the pattern from which the session also learns what to keep at the destination
// only.
const protecting = "/skip(/.*|$)"

func randomOptions(r *rand.Rand) options {
	o := options{
		depth:  1 + r.IntN(5),
		delete: chance(r, 65), checksum: chance(r, 30), hardLinks: chance(r, 60), inplace: chance(r, 25),
	}
	if chance(r, 40) {
		o.exclude = pick(r, []string{"/skip[^/]*$", protecting, "/skip", "skip( one|\\*)"})
		o.excludeBelow = chance(r, 60)
		if chance(r, 30) {
			o.excludeUser = foreignUser
		}
	}
	if chance(r, 15) {
		o.maxDelete = pick(r, []int{2000, 100_000})
	}
	o.spread = randomSpread(r)
	return o
}

// addSubpath has the walk go deeper in one of the source's directories.
func (o *options) addSubpath(r *rand.Rand, src string, dirs []string) {
	excluded := o.excluded(src)
	for range 10 {
		rel := pick(r, dirs)
		if level := level(rel); level > 0 && level <= o.depth && !below(rel, excluded) {
			o.subpaths = []string{fmt.Sprintf("%d_%s", o.depth-level+r.IntN(3), rel)}
			return
		}
	}
}

// level is how far below the root a path is.
func level(rel string) int {
	if rel == "." {
		return 0
	}
	return strings.Count(rel, "/") + 1
}

// inside tells whether a path is dir or below it.
func inside(rel, dir string) bool {
	return dir == "." || rel == dir || strings.HasPrefix(rel, dir+"/")
}

func below(rel string, dirs []string) bool {
	return slices.ContainsFunc(dirs, func(dir string) bool { return inside(rel, dir) })
}

// depthAt is the level at which the entries at and below rel are recursive.
func (o options) depthAt(rel string) int {
	depth := o.depth
	for _, subpath := range o.subpaths {
		number, dir, _ := strings.Cut(subpath, "_")
		if inside(rel, dir) {
			depth = level(dir) + int(number[0]-'0')
		}
	}
	return depth
}

// excluded returns the directories that are left out, relative to root. It reads the tree in its
// own, slow way.
func (o options) excluded(root string) (dirs []string) {
	if o.exclude == "" {
		return nil
	}
	pattern := regexp.MustCompile(o.exclude)
	err := filepath.WalkDir(root, func(path string, entry os.DirEntry, err error) error {
		if err != nil || !entry.IsDir() || path == root {
			return err
		}
		info, err := entry.Info()
		if err != nil || !pattern.MatchString(path) {
			return err
		}
		if o.excludeUser != "" && info.Sys().(*syscall.Stat_t).Uid != foreign {
			return nil
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		if parent := filepath.Dir(rel); !o.excludeBelow && level(parent) >= o.depthAt(parent) {
			return nil // a recursive entry holds it
		}
		dirs = append(dirs, rel)
		return filepath.SkipDir
	})
	if err != nil {
		panic(err) // the tree is at rest
	}
	return dirs
}

// rsyncArgs are the options of the single rsync that does the same.
func (o options) rsyncArgs(src string) []string {
	args := []string{"-a", "--numeric-ids"}
	if o.hardLinks {
		// Without it rsync 3.5.0 hangs if it cannot make the first of several names.
		args = append(args, "--no-inc-recursive")
	}
	for option, wanted := range map[string]bool{"--delete": o.delete, "--checksum": o.checksum, "--hard-links": o.hardLinks, "--inplace": o.inplace} {
		if wanted {
			args = append(args, option)
		}
	}
	for _, rel := range o.excluded(src) {
		if strings.ContainsAny(rel, "*?[") {
			// Only then a backslash escapes.
			rel = regexp.MustCompile(`[*?[\\]`).ReplaceAllString(rel, `\$0`)
		}
		args = append(args, "--filter=- /"+rel+"/")
	}
	if o.excludeBelow && o.exclude == protecting {
		args = append(args, "--filter=P skip/")
	}
	return args
}
