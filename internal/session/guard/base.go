// SPDX-License-Identifier: LGPL-2.1-or-later

package guard

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"vsc-zk/internal/pathbuilder"
	"vsc-zk/internal/session/wire"
)

// Config is what a base has to be, and what of it is left out. Sources of a session agree on all of
// it.
type Config struct {
	Path       string // the base: of the source or of the destination
	VerifyPath bool   // look whether the base is there
	Sentinel   string // name below the base without which nothing runs; "": none
	Delete     bool   // rsync may delete at the destination
	AllowEmpty bool   // an empty source is not refused with Delete

	Exclude      *regexp.Regexp // directories that are left out; nil: none
	ExcludeUser  string         // only those of this user; "": of any
	ExcludeBelow bool           // also below the depth

	OneFileSystem bool                  // what is mounted below the base is left out
	LeaveOut      func(rel string) bool // as rules of rsync's do; nil: nothing
}

// Base is the base path of a client. Its methods may be called at the same time.
type Base struct {
	Dir    string // absolute, without a trailing slash
	Config Config

	mu     sync.Mutex
	tree   *pathbuilder.Tree
	place  *pathbuilder.Place  // what the base was when it was first there; nil: it was not there yet
	mounts *pathbuilder.Mounts // below it; nil: nobody has asked
	away   bool                // it was said that something is wrong with it

	expected *wire.Place // what the leader's is; nil: that is known to be the same, or not of interest

	skip []string // what is not to be sent, though it is there: paths below the base
}

// NewBase refuses a path that cannot be a base.
func NewBase(cfg Config) (*Base, error) {
	dir, err := pathbuilder.CleanBase(cfg.Path)
	if err != nil {
		return nil, err
	}
	return &Base{Dir: dir, Config: cfg}, nil
}

// ErrBasePath says that there is no directory at the base.
//
//lint:ignore ST1005 the text is the Python program's, which logs are searched for
var ErrBasePath = errors.New("Basepath not available")

// CheckStart refuses to start on a base that is not there, unless the user has asked for no such
// check, or that has no sentinel.
func (b *Base) CheckStart() error {
	if b.Config.VerifyPath && !b.isDir() {
		return fmt.Errorf("cannot use path %q: it does not exist or is not a directory", b.Dir)
	}
	if _, err := b.Turns(); err != nil {
		return err
	}
	return b.checkSentinel()
}

// Problem says why nothing can be received into the base now, nil if it can.
func (b *Base) Problem() error {
	if b.Config.VerifyPath && !b.isDir() {
		return ErrBasePath
	}
	if err := b.compare(); err != nil {
		return err
	}
	if _, err := b.Turns(); err != nil {
		return err
	}
	return b.checkSentinel()
}

// Turns is an error if the base is not what it was when it was first looked at. It counts how often the
// base has come back on another mount: between two looks that give the same number it was there.
func (b *Base) Turns() (int, error) {
	if !b.Config.VerifyPath && !b.isDir() {
		return 0, nil
	}
	place, err := b.noted()
	if err != nil {
		return 0, err
	}
	return place.Check()
}

// noted is what the base was when it was first looked at, which may be now.
func (b *Base) noted() (place *pathbuilder.Place, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.place != nil {
		return b.place, nil
	}
	if b.tree == nil {
		if b.tree, err = pathbuilder.OpenTree(b.Dir); err != nil {
			return nil, err
		}
	}
	b.place, err = b.tree.Place()
	return b.place, err
}

// On says what the base lies on: the file system, its type, and where it is mounted.
func (b *Base) On() (string, error) {
	place, err := b.noted()
	if err != nil {
		return "", err
	}
	return place.String(), nil
}

// notedMounts is what was mounted below the base when they were first looked at, which may be now.
func (b *Base) notedMounts() (mounts *pathbuilder.Mounts, err error) {
	place, err := b.noted()
	if err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.mounts == nil {
		b.mounts, err = place.Mounts()
	}
	return b.mounts, err
}

// NewMounts are the directories where something is mounted since this client started, if rsync may delete:
// what is there is not part of the source. It holds for any path, absolute, below one of them too.
func (b *Base) NewMounts() (holds func(path string) bool, err error) {
	if !b.Config.Delete {
		return func(string) bool { return false }, nil
	}
	mounts, err := b.notedMounts()
	if err != nil {
		return nil, err
	}
	apart, err := mounts.Look("", true, true)
	if err != nil {
		return nil, err
	}
	return func(path string) bool {
		rel, err := pathbuilder.Entry{Path: path}.Rel(b.Dir)
		return err == nil && slices.ContainsFunc(apart, func(a pathbuilder.Apart) bool {
			return a.New && (rel == a.Rel || strings.HasPrefix(rel, a.Rel+"/"))
		})
	}, nil
}

// Await returns when problem is nil, or ctx ends. Of all who wait for the base it says once that they do,
// and once that it is over.
func (b *Base) Await(ctx context.Context, log *slog.Logger, every time.Duration, problem func() error) error {
	why := problem()
	if why == nil {
		return nil
	}
	look := time.NewTicker(every)
	defer look.Stop()
	for why != nil {
		b.Tell(log, why)
		select {
		case <-look.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		why = problem()
	}
	b.Tell(log, nil)
	return nil
}

// Tell says why something waits for the base, or with nil that it goes on, unless that was said.
func (b *Base) Tell(log *slog.Logger, why error) {
	switch {
	case !b.turn(why != nil):
	case why != nil:
		log.Warn(why.Error()+", waiting", "event", "base-away", "path", wire.Text(b.Dir), "error", why)
	default:
		log.Warn(fmt.Sprintf("The base path %s is back: going on", pathbuilder.Printable(b.Dir)), "event", "base-back", "path", wire.Text(b.Dir))
	}
}

// turn notes whether the base is away, and tells whether that was not known.
func (b *Base) turn(away bool) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	news := b.away != away
	b.away = away
	return news
}

// Look says what has become of a directory below the base; an error if the base itself is not what it
// was, so that nothing can be said.
func (b *Base) Look(rel string) (pathbuilder.State, error) {
	before, err := b.Turns()
	if err == nil {
		_, err = b.noted()
	}
	if err != nil {
		return 0, err
	}
	state, looked := b.tree.Check(rel)
	after, err := b.Turns()
	if err == nil && before != after {
		err = fmt.Errorf("cannot judge %s: it was away while it was looked at", b.Dir)
	}
	return state, cmp.Or(err, looked)
}

// SourceProblem says why nothing can be sent from the base now, nil if it can.
func (b *Base) SourceProblem() error {
	if err := b.Problem(); err != nil {
		return err
	}
	return b.CheckNotEmpty()
}

func (b *Base) isDir() bool {
	info, err := os.Stat(b.Dir)
	return err == nil && info.IsDir()
}

// checkSentinel looks for the file that says that the right file system is mounted.
func (b *Base) checkSentinel() error {
	if b.Config.Sentinel == "" {
		return nil
	}
	if _, err := os.Lstat(filepath.Join(b.Dir, b.Config.Sentinel)); err != nil {
		return fmt.Errorf("cannot use %q: the file %q that --sentinel names is not in it (%w)", b.Dir, b.Config.Sentinel, err)
	}
	return nil
}

// CheckNotEmpty refuses an empty source when rsync may delete: what looks empty is most often a file
// system that is not mounted, and the destination would be wiped.
func (b *Base) CheckNotEmpty() error {
	if !b.Config.Delete || b.Config.AllowEmpty {
		return nil
	}
	dir, err := os.Open(b.Dir)
	if err != nil {
		return fmt.Errorf("cannot look into the source before deleting: %w", err)
	}
	defer dir.Close()
	switch _, err := dir.Readdirnames(1); {
	case errors.Is(err, io.EOF):
		return fmt.Errorf("cannot use --delete: source %q is empty, is its file system mounted? (--allow-empty if this is meant)", b.Dir)
	case err != nil:
		return fmt.Errorf("cannot look into the source before deleting: %w", err)
	}
	return nil
}

// CheckExclude refuses a pattern that is found in the base's own path: it would be found in every path
// below that, too.
func (b *Base) CheckExclude() error {
	if b.Config.Exclude == nil || !b.Config.Exclude.MatchString(b.Dir) {
		return nil
	}
	return fmt.Errorf("cannot use --excludere=%s with --rsyncpath=%s: the pattern matches the base itself, and so all that is below it. "+
		"Patterns are looked for in whole paths: one of the form /name(/.*|$) is for directories of that name, and an empty one (--excludere=) leaves out nothing",
		b.Config.Exclude, b.Dir)
}

// Unprotected says what ExcludeBelow cannot do with this pattern, "" if it can do all.
func (b *Base) Unprotected() string {
	if !b.Config.ExcludeBelow || !b.Config.Delete || b.Config.Exclude == nil {
		return ""
	}
	if _, ok := pathbuilder.ProtectName(b.Config.Exclude); ok {
		return ""
	}
	return fmt.Sprintf("--exclude-below cannot protect what exists at the destination only: --delete deletes it there though it matches %q. "+
		"A pattern of the form /name(/.*|$) protects that name", b.Config.Exclude)
}
