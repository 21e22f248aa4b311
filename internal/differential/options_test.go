// SPDX-License-Identifier: LGPL-2.1-or-later

package differential

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"

	"vsc-zk/internal/session"
)

// options are what a run is asked for.
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
}

func (o options) String() string {
	return fmt.Sprintf("depth %d, subpaths %q, delete %t, checksum %t, hardlinks %t, inplace %t, exclude %q of %q, below %t",
		o.depth, o.subpaths, o.delete, o.checksum, o.hardLinks, o.inplace, o.exclude, o.excludeUser, o.excludeBelow)
}

func (o options) set(c *session.Config) {
	c.Depth, c.Subpaths = o.depth, o.subpaths
	c.Rsync.Delete, c.Rsync.Checksum, c.Rsync.HardLinks, c.Rsync.Inplace = o.delete, o.checksum, o.hardLinks, o.inplace
	if o.exclude != "" {
		c.Exclude = regexp.MustCompile(o.exclude)
	}
	c.ExcludeUser, c.ExcludeBelow, c.AllowEmpty = o.excludeUser, o.excludeBelow, o.allowEmpty
}

// protecting is the pattern that also says what only the destination has.
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
	return o
}

// addSubpath makes the walk go deeper in one of the source's directories.
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

// depthAt is the level at which entries at and below rel are recursive.
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

// excluded names the directories that are left out, relative. It reads the tree in its own, slow way.
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

// rsyncArgs are the options of the one rsync that does the same.
func (o options) rsyncArgs(src string) []string {
	args := []string{"-a", "--numeric-ids"}
	if o.hardLinks {
		args = append(args, "--no-inc-recursive") // else 3.5.0 hangs if the first of several names cannot be made
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
