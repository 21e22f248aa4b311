// SPDX-License-Identifier: LGPL-2.1-or-later

package leader

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"vsc-zk/internal/pathbuilder"
	"vsc-zk/internal/session/guard"
	"vsc-zk/internal/session/wire"
)

// survey is what the walks and the cuts of a session have found in the tree. A walk and the splitter use
// it at the same time.
type survey struct {
	base        *guard.Base
	cfg         Config
	flatAllowed func() bool   // a directory may be sent in ranges of names
	skips       *skips        // nil: nothing is
	every       time.Duration // between two looks at a base that is away
	log         *slog.Logger

	mu        sync.Mutex
	depth     int               // chosen, or AutoDepth
	stamps    map[uint64]uint64 // directories that were queued, in the state they had then, and their inodes
	inodeless bool              // inodes mean nothing
	since     time.Time         // zero: stamps has all; else that of what was queued by an earlier leader is not known, and this is the begin of the session
	deeper    map[string]bool   // directories whose entries were cut
	disturbed bool              // the base was away during the last walk
	part      float64           // of the tree that the walk has come through
}

func newSurvey(base *guard.Base, cfg Config, flatAllowed func() bool, every time.Duration, log *slog.Logger) *survey {
	return &survey{
		base: base, cfg: cfg, flatAllowed: flatAllowed, every: every, log: log,
		depth: cfg.Depth, stamps: map[uint64]uint64{}, deeper: map[string]bool{},
	}
}

// autoEntries is how many entries AutoDepth is for: enough to begin with for some tens of jobs. What
// turns out to be large is cut later.
const autoEntries = 100

// chooseDepth finds the depth if it is to be found.
func (s *survey) chooseDepth(ctx context.Context) error {
	if s.depth != AutoDepth {
		return nil
	}
	depth, err := pathbuilder.AutoDepth(ctx, s.options(), autoEntries)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.depth = depth
	s.log.Info(fmt.Sprintf("Depth %d is chosen for this tree", depth), "event", "depth", "depth", depth)
	return nil
}

// options are those of a walk.
func (s *survey) options() pathbuilder.Options {
	s.mu.Lock()
	defer s.mu.Unlock()
	return pathbuilder.Options{
		Base: s.base.Dir, Depth: s.depth, Subpaths: s.cfg.Subpaths, Walkers: s.cfg.Walkers,
		Exclude: s.base.Config.Exclude, ExcludeUser: s.base.Config.ExcludeUser,
		LeaveOut: s.leavesOut, OneFileSystem: s.base.Config.OneFileSystem,
		Logger: s.log.With("logger", "zkrsync"),
	}
}

// leavesOut tells whether a directory is no path of its own: by rules of rsync's, or as it is skipped, and the account
// tells so.
func (s *survey) leavesOut(rel string) bool {
	leaveOut := s.base.Config.LeaveOut
	return leaveOut != nil && leaveOut(rel) || s.base.Skips(rel) && s.skips.tells(rel)
}

// check refuses options that no walk could be made with.
func (s *survey) check(ctx context.Context) error { return pathbuilder.Check(ctx, s.options()) }

// fresh notes a directory, and tells whether it has changed since it was last noted.
func (s *survey) fresh(found pathbuilder.Found) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if inode, seen := s.stamps[found.Stamp]; seen && (s.inodeless || inode == found.Inode) {
		return false
	}
	if !found.Young { // else the next walk could not tell a change from none
		s.stamps[found.Stamp] = found.Inode
	}
	return true
}

// inherited judges the directories that an earlier leader has looked at, whose stamps are not known: what has
// changed since the session began, or lies in a directory that has, is taken for changed.
type inherited struct {
	since   time.Time       // zero: there are none
	changed map[string]bool // directories
}

// unchanged tells whether a directory that is fresh was sent in the state that it has.
func (i *inherited) unchanged(found pathbuilder.Found) bool {
	if i.since.IsZero() {
		return false
	}
	old := !found.Changed.IsZero() && found.Changed.Before(i.since.Add(-clockSlack)) && !i.changed[filepath.Dir(found.Path)]
	if !old && !found.Recursive {
		i.changed[found.Path] = true
	}
	return old
}

// inherit has later walks go on from those of another leader: what they have cut, and since when.
func (s *survey) inherit(plan wire.Plan, deeper []string, since time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.depth, s.cfg.Subpaths, s.since = plan.Depth, nil, since
	for _, subpath := range plan.Subpaths {
		s.cfg.Subpaths = append(s.cfg.Subpaths, string(subpath))
	}
	for _, dir := range deeper {
		s.deeper[dir] = true
	}
}

// plan is how the tree is cut.
func (s *survey) plan() wire.Plan {
	s.mu.Lock()
	defer s.mu.Unlock()
	plan := wire.Plan{Depth: max(s.depth, 0)}
	for _, subpath := range s.cfg.Subpaths {
		plan.Subpaths = append(plan.Subpaths, wire.Text(subpath))
	}
	return plan
}

// A directory with another inode and the ctime that it had may have been exchanged for another one. But if
// that is so of most directories, their file system gives out inodes as it likes.

// renumbered judges, in a later walk, the directories with nothing but another inode.
type renumbered struct {
	survey *survey
	emit   func(pathbuilder.Found) error
	open   bool                // it is not yet known what they mean
	held   []pathbuilder.Found // until then
	others int                 // directories that were as they had been
}

// enoughHeld is how many directories with other inodes are held back at the most.
const enoughHeld = 10_000

// take emits what has changed.
func (r *renumbered) take(found pathbuilder.Found) error {
	s := r.survey
	s.mu.Lock()
	inode, seen := s.stamps[found.Stamp]
	s.mu.Unlock()
	switch {
	case !seen || !r.open:
	case inode == found.Inode:
		r.others++
	default:
		if r.held = append(r.held, found); len(r.held) < enoughHeld {
			return nil
		}
		return r.decide()
	}
	if s.fresh(found) {
		return r.emit(found)
	}
	return nil
}

// decide tells what other inodes mean, and emits what was held back if they mean something. The base
// may have kept its inode in any case.
func (r *renumbered) decide() error {
	s, held := r.survey, r.held
	r.open, r.held = false, nil
	if len(held) > 0 && len(held) >= 3*(r.others-1) {
		s.mu.Lock()
		s.inodeless = true
		s.mu.Unlock()
		s.log.Warn(fmt.Sprintf("The file system of %s gives directories other inode numbers while nothing changes: they are told apart by their times alone",
			wire.Text(s.base.Dir)), "event", "inodes-change", "path", wire.Text(s.base.Dir), "count", len(held))
	}
	for _, found := range held {
		if s.fresh(found) {
			if err := r.emit(found); err != nil {
				return err
			}
		}
	}
	return nil
}

// round is which walk is made.
type round struct {
	first bool      // everything is new
	whole bool      // what this leader has not queued itself is, whoever else may have
	after wire.Text // the last task that was queued in it; "": none was
}

// walk emits what has changed since the last walk, everything in the first one. One over which the base was
// away is disturbed: what it has not seen is for another.
func (s *survey) walk(ctx context.Context, r round, emit func(wire.Task) error) error {
	if err := s.base.Await(ctx, s.log, s.every, s.base.Problem); err != nil {
		return err
	}
	s.mu.Lock()
	s.disturbed = false
	s.mu.Unlock()
	turns, err := s.base.Turns()
	if err == nil {
		err = s.walkOnce(ctx, r, emit)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if now, away := s.base.Turns(); away != nil || now != turns {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.disturbed = true
		return nil
	}
	if err != nil {
		return err
	}
	return s.base.CheckNotEmpty()
}

// isDisturbed tells whether the last walk was disturbed.
func (s *survey) isDisturbed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.disturbed
}

// walked is how much of the tree the walk has come through, from 0 to 1.
func (s *survey) walked() float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.part
}

func (s *survey) walkOnce(ctx context.Context, r round, emit func(wire.Task) error) error {
	opts := s.options()
	if r.first || r.whole { // each directory that is skipped has its place in the account
		opts.LeaveOut = s.base.Config.LeaveOut
	}
	if !r.first {
		opts.Subpaths = slices.DeleteFunc(slices.Clone(opts.Subpaths), s.subpathGone)
	}
	s.mu.Lock()
	deeper := maps.Clone(s.deeper)
	known := &inherited{since: s.since, changed: map[string]bool{}}
	s.mu.Unlock()
	if r.first || r.whole {
		known.since = time.Time{}
	}
	opts.Deeper = func(path string) bool { return deeper[path] }
	isNew, err := s.base.NewMounts()
	if err != nil {
		return err
	}
	send := func(found pathbuilder.Found) error {
		s.mu.Lock()
		s.part = found.Part
		s.mu.Unlock()
		if isNew(found.Path) || known.unchanged(found) {
			return nil
		}
		tasks, err := s.tasks(ctx, found)
		return errors.Join(err, emitAll(tasks)(ctx, emit))
	}
	if r.after != "" {
		last := wire.DecodeTask([]byte(r.after))
		if opts.After = last.Entry(); last.Kind == wire.Range && last.To != "" {
			tasks, err := s.rest(ctx, last)
			if err := errors.Join(err, emitAll(tasks)(ctx, emit)); err != nil {
				return err
			}
		}
	}
	changed := &renumbered{survey: s, emit: send, open: !r.first}
	if err := pathbuilder.WalkStamped(ctx, opts, changed.take); err != nil {
		return err
	}
	return changed.decide()
}

// rest is what follows on a range of a directory.
func (s *survey) rest(ctx context.Context, last wire.Task) (tasks []wire.Task, err error) {
	ranges, err := pathbuilder.Ranges(ctx, last.Dir, s.cfg.Flat)
	if err != nil {
		return nil, ignoreGone(err)
	}
	from := last.To
	for _, r := range ranges {
		if r.To == "" || r.To > from {
			tasks = append(tasks, wire.RangeTask(last.Dir, from, r.To))
			from = r.To
		}
	}
	return tasks, nil
}

// ignoreGone drops the error of a directory that is not there any more: the walk tells of that.
func ignoreGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		return nil
	}
	return err
}

// subpathGone tells whether a directory of --rsubpaths, which was there at the first walk, is not there
// any more: that ends no session.
func (s *survey) subpathGone(subpath string) bool {
	_, dir, _ := strings.Cut(subpath, "_")
	if !strings.HasPrefix(dir, "/") {
		dir = filepath.Join(s.base.Dir, dir)
	}
	if info, err := os.Lstat(dir); err == nil && info.IsDir() {
		return false
	}
	s.log.Warn(fmt.Sprintf("Subpath %s is not there any more, or no directory", wire.Text(dir)), "event", "subpath-gone", "path", wire.Text(dir))
	return true
}

// A directory with very many files would keep one rsync busy for long after all others are done. It is
// sent in ranges of names instead, open to both ends, so that a file made meanwhile belongs to one of
// them. They list their files one by one and delete nothing but what is in the place of one of them. What
// is to be deleted in the directory is done by one more run over it, when all ranges have ended: two at
// once would delete each other's temporary files.

// tasks gives the tasks for what was found: the directory itself, or ranges of it.
func (s *survey) tasks(ctx context.Context, found pathbuilder.Found) ([]wire.Task, error) {
	if !s.isFlat(found) {
		return []wire.Task{wire.DirTask(found.Entry)}, nil
	}
	pieces := (found.Names + s.cfg.Flat - 1) / s.cfg.Flat
	ranges, err := pathbuilder.Ranges(ctx, found.Path, (found.Names+pieces-1)/pieces)
	if err != nil || len(ranges) < 2 {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return []wire.Task{wire.DirTask(found.Entry)}, nil // whoever sends it meets what is wrong with it
	}
	var tasks []wire.Task
	for _, r := range ranges {
		tasks = append(tasks, wire.RangeTask(found.Path, r.From, r.To))
	}
	return tasks, nil
}

// isFlat tells whether a directory is worth being cut into ranges.
func (s *survey) isFlat(found pathbuilder.Found) bool {
	return !found.Recursive && found.Names > s.cfg.Flat && s.flatAllowed()
}

// cutDeeper has later walks go one level deeper at a directory whose entry was cut.
func (s *survey) cutDeeper(dir string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deeper[dir] = true
}
