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
	"strconv"
	"strings"
	"syscall"
	"time"

	"vsc-zk/internal/session"
)

// options are the options of a run that the single rsync has, too, and how the work is spread.
type options struct {
	Depth        int
	Subpaths     []string
	Delete       bool
	Checksum     bool
	HardLinks    bool
	Inplace      bool
	Exclude      string
	ExcludeUser  string
	ExcludeBelow bool
	AllowEmpty   bool
	MaxDelete    int // more than there can be; 0: no bound
	ACLs, XAttrs bool
	OneFS        bool   // --one-file-system
	UserMap      string // as are GroupMap and Extra: as the session takes them
	GroupMap     string
	Extra        []string
	DryRun       bool
	Sentinel     string // a file at the top; "": none

	spread
}

// spread is how the work is divided among the clients. The destination must not show it.
type spread struct {
	Auto      bool // the depth is found by looking at the tree
	Leads     int  // jobs of the master
	Jobs      []int
	Slots     []int
	Batch     int
	BatchTime time.Duration
	Window    int
	Flat      int
	Prefetch  int
	Slow      int // kB/s; 0: as fast as rsync can
	Idle      time.Duration
	After     time.Duration
	Settle    time.Duration
	Late      bool // one destination gets a run with all paths before others come
	Apart     bool // slaves and destinations are processes of their own, in mount namespaces of their own
	Inherit   bool // slaves take the master's options
	NoSync    bool
	Failures  int // at which the session ends: more than there are; 0: no bound
}

func (s spread) String() string {
	return fmt.Sprintf("processes %t, inherit %t, no sync %t, at most %d failures, auto %t, jobs %d %d, slots %d, batch %d of %v, window %d, flat %d, prefetch %d, slow %d, idle %v, cut after %v, settle %v",
		s.Apart, s.Inherit, s.NoSync, s.Failures, s.Auto, s.Leads, s.Jobs, s.Slots, s.Batch, s.BatchTime, s.Window, s.Flat, s.Prefetch, s.Slow, s.Idle, s.After, s.Settle)
}

func (s spread) set(c *session.Config) {
	if s.Auto {
		c.Leader.Depth = session.AutoDepth
	}
	c.Prefetch, c.Leader.NoSync, c.Leader.MaxFailures = s.Prefetch, s.NoSync, s.Failures
	c.Worker.Batch, c.Worker.BatchTime, c.Leader.Window, c.Leader.Flat = s.Batch, s.BatchTime, s.Window, s.Flat
	if s.Slow > 0 {
		c.Rsync.Extra = append(c.Rsync.Extra, fmt.Sprintf("bwlimit:%d", s.Slow))
	}
	c.Member.Timing.Idle, c.Member.Timing.SplitAfter, c.Member.Timing.Settle = s.Idle, s.After, s.Settle
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
	s.Leads, s.Jobs, s.Slots = pick(r, []int{0, 0, 1, 2, 3, 4}), few(0), few(1)
	if s.Leads > 0 && chance(r, 40) {
		s.Jobs = nil
	}
	if s.Jobs == nil && chance(r, 60) {
		s.Slots = s.Slots[:1]
	}
	s.Auto = chance(r, 20)
	s.Batch = pick(r, []int{0, 0, 1, 2, 5})
	if chance(r, 30) {
		s.BatchTime = 200 * time.Millisecond
	}
	if chance(r, 40) {
		s.Window = 3 + r.IntN(48)
	}
	if chance(r, 50) {
		s.Flat = 5 + r.IntN(26)
	}
	if chance(r, 80) {
		s.hasten(r)
	}
	if chance(r, 55) {
		s.Slow = pick(r, []int{50, 100, 200})
	}
	return s
}

// hasten has idle jobs ask for work soon, and get it soon.
func (s *spread) hasten(r *rand.Rand) {
	s.Idle = time.Duration(1+r.IntN(60)) * time.Millisecond
	s.After = time.Duration(1+r.IntN(200)) * time.Millisecond
	s.Settle = time.Duration(20+r.IntN(200)) * time.Millisecond
}

func (o options) String() string {
	return fmt.Sprintf("depth %d, subpaths %q, delete %t, checksum %t, hardlinks %t, inplace %t, exclude %q of %q, below %t, at most %d deletions, "+
		"acls %t, xattrs %t, one file system %t, usermap %q, groupmap %q, arbitopts %q, dry run %t, sentinel %q; %s",
		o.Depth, o.Subpaths, o.Delete, o.Checksum, o.HardLinks, o.Inplace, o.Exclude, o.ExcludeUser, o.ExcludeBelow, o.MaxDelete,
		o.ACLs, o.XAttrs, o.OneFS, o.UserMap, o.GroupMap, o.Extra, o.DryRun, o.Sentinel, o.spread)
}

func (o options) set(c *session.Config) {
	c.Leader.Depth, c.Leader.Subpaths = o.Depth, o.Subpaths
	c.Rsync.Delete, c.Rsync.Checksum, c.Rsync.HardLinks, c.Rsync.Inplace = o.Delete, o.Checksum, o.HardLinks, o.Inplace
	if o.Exclude != "" {
		c.Base.Exclude = regexp.MustCompile(o.Exclude)
	}
	c.Base.ExcludeUser, c.Base.ExcludeBelow, c.Base.AllowEmpty = o.ExcludeUser, o.ExcludeBelow, o.AllowEmpty
	c.Base.Sentinel = o.Sentinel
	c.MaxDelete = cmp.Or(o.MaxDelete, -1)
	c.Rsync.ACLs, c.Rsync.XAttrs, c.Rsync.OneFileSystem, c.Rsync.DryRun = o.ACLs, o.XAttrs, o.OneFS, o.DryRun
	c.Rsync.UserMap, c.Rsync.GroupMap = o.UserMap, o.GroupMap
	c.Rsync.Extra = slices.Clone(o.Extra)
}

// protecting is the pattern from which the session also learns what to keep at the destination
// only.
const protecting = "/skip(/.*|$)"

func randomOptions(r *rand.Rand) options {
	o := options{
		Depth:  1 + r.IntN(5),
		Delete: chance(r, 65), Checksum: chance(r, 30), HardLinks: chance(r, 60), Inplace: chance(r, 25),
	}
	if chance(r, 40) {
		o.Exclude = pick(r, []string{"/skip[^/]*$", protecting, "/skip", "skip( one|\\*)"})
		o.ExcludeBelow = chance(r, 60)
		if chance(r, 30) {
			o.ExcludeUser = foreignUser
		}
	}
	if chance(r, 15) {
		o.MaxDelete = pick(r, []int{2000, 100_000})
	}
	o.spread = randomSpread(r)
	return o
}

// arbitrary are options that are only passed on. Those of the second kind are for files without other names: with
// --hardlinks it depends on the order of the names what becomes of the others.
var arbitrary = [2][]string{
	{"ignore-times", "max-size:2000", "min-size:100", "executability", "chmod:Dg+s,F-w", "chmod:u+rwX,o=", "no-specials", "munge-links", "sparse", "no-whole-file", "modify-window:1", "fuzzy", "compress"},
	{"size-only", "update", "existing", "ignore-existing", "no-times", "omit-dir-times", "exclude:f1*", "exclude:/d1*/", "exclude:d2/***", "filter:- *[13579]", "filter:P f2*", "no-perms", "no-owner", "no-group", "no-links", "safe-links"},
}

// addParameters adds options that say more of how things are sent than most sessions do.
func (o *options) addParameters(r *rand.Rand, changes bool) {
	o.ACLs, o.XAttrs, o.OneFS, o.Inherit, o.NoSync = chance(r, 20), chance(r, 20), chance(r, 20), chance(r, 25), chance(r, 15)
	o.DryRun = chance(r, 4)
	if chance(r, 20) && !o.ACLs {
		o.UserMap = pick(r, []string{"54321:12345", "0:1,54321:0", "*:7", "daemon:root,1000-60000:9"})
	}
	if chance(r, 20) && !o.ACLs {
		o.GroupMap = pick(r, []string{"54322:7", "*:54322", "root:daemon"})
	}
	if chance(r, 20) {
		o.Sentinel = "the sentinel"
	}
	if chance(r, 20) {
		o.Failures = 1_000_000
	}
	possible := arbitrary[0]
	if !o.HardLinks && !changes {
		possible = slices.Concat(possible, arbitrary[1])
	}
	possible = slices.DeleteFunc(slices.Clone(possible), func(extra string) bool {
		switch extra { // of what contradicts it one takes effect; an rsync that has two processes on one machine takes another than one with a daemon
		case "no-owner":
			return o.UserMap != ""
		case "no-group":
			return o.GroupMap != ""
		case "no-perms":
			return o.ACLs || o.Inplace // the latter is refused, as are the next
		case "ignore-existing", "update", "size-only":
			return o.Inplace
		}
		return false
	})
	for range pick(r, []int{0, 0, 0, 1, 1, 2}) {
		o.Extra = append(o.Extra, pick(r, possible))
	}
	o.Apart = chance(r, 35)
}

// addSubpath has the walk go deeper in one of the source's directories.
func (o *options) addSubpath(r *rand.Rand, src string, dirs []string) {
	excluded := o.excluded(src)
	for range 10 {
		rel := pick(r, dirs)
		if level := level(rel); level > 0 && level <= o.Depth && !below(rel, excluded) {
			o.Subpaths = []string{fmt.Sprintf("%d_%s", o.Depth-level+r.IntN(3), rel)}
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
	depth := o.Depth
	for _, subpath := range o.Subpaths {
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
	if o.Exclude == "" {
		return nil
	}
	pattern := regexp.MustCompile(o.Exclude)
	err := filepath.WalkDir(root, func(path string, entry os.DirEntry, err error) error {
		if err != nil || !entry.IsDir() || path == root {
			return err
		}
		info, err := entry.Info()
		if err != nil || !pattern.MatchString(path) {
			return err
		}
		if o.ExcludeUser != "" && info.Sys().(*syscall.Stat_t).Uid != foreign {
			return nil
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		if parent := filepath.Dir(rel); !o.ExcludeBelow && level(parent) >= o.depthAt(parent) {
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

// numbers has those for the names of users and groups: with --numeric-ids the single rsync knows no names, and a session
// takes them for these numbers.
var numbers = strings.NewReplacer("root", "0", foreignUser, strconv.Itoa(foreign))

// rsyncArgs are the options of the single rsync that does the same.
func (o options) rsyncArgs(src string) []string {
	args := []string{"-a", "--numeric-ids"}
	if o.HardLinks {
		// Without it rsync 3.5.0 hangs if it cannot make the first of several names.
		args = append(args, "--no-inc-recursive")
	}
	for option, wanted := range map[string]bool{
		"--delete": o.Delete, "--checksum": o.Checksum, "--hard-links": o.HardLinks, "--inplace": o.Inplace,
		"--acls": o.ACLs, "--xattrs": o.XAttrs, "--one-file-system": o.OneFS, "--dry-run": o.DryRun,
		"--usermap=" + numbers.Replace(o.UserMap): o.UserMap != "", "--groupmap=" + numbers.Replace(o.GroupMap): o.GroupMap != "",
	} {
		if wanted {
			args = append(args, option)
		}
	}
	for _, extra := range o.Extra {
		args = append(args, "--"+strings.Replace(extra, ":", "=", 1))
	}
	for _, rel := range o.excluded(src) {
		if strings.ContainsAny(rel, "*?[") {
			// Only then a backslash escapes.
			rel = regexp.MustCompile(`[*?[\\]`).ReplaceAllString(rel, `\$0`)
		}
		args = append(args, "--filter=- /"+rel+"/")
	}
	if o.Exclude == protecting {
		args = append(args, "--filter=P skip/")
	}
	return args
}
