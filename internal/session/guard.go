// SPDX-License-Identifier: LGPL-2.1-or-later

package session

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"

	"vsc-zk/internal/pathbuilder"
)

// guard looks at the source before and after each run of rsync: what it finds
// wrong would lose or delete something at the destination.
type guard struct {
	*client
	tree     *pathbuilder.Tree
	mounts   *pathbuilder.Mounts
	excluder *pathbuilder.Excluder // nil: nothing is excluded
}

// newGuard notes what the base is and what is mounted there: something else
// later is not what the user saw when starting this client.
func newGuard(ctx context.Context, c *client) (*guard, error) {
	g := &guard{client: c}
	if c.cfg.Netcat {
		return g, nil
	}
	var err error
	if g.tree, err = pathbuilder.OpenTree(c.base); err != nil {
		return nil, err
	}
	if g.mounts, err = g.tree.Mounts(); err != nil {
		return nil, err
	}
	if c.cfg.Exclude == nil {
		return g, nil
	}
	var owner *uint32
	if c.cfg.ExcludeUser != "" {
		uid, err := pathbuilder.LookupUser(ctx, c.cfg.ExcludeUser)
		if err != nil {
			return nil, err
		}
		owner = &uid
	}
	g.excluder = pathbuilder.NewExcluder(c.cfg.Exclude, owner)
	return g, nil
}

// before says whether the entry is still what was queued; an error says why
// rsync must not be run on it.
func (g *guard) before(entry pathbuilder.Entry, rel string) (pathbuilder.State, error) {
	state, err := g.tree.Check(rel)
	if err != nil || state != pathbuilder.Present {
		return state, err
	}
	return state, g.sameMount(entry, rel)
}

// sameMount refuses to delete where something else is mounted than at the
// start, or nothing.
func (g *guard) sameMount(entry pathbuilder.Entry, rel string) error {
	switch {
	case !g.cfg.Rsync.Delete:
		return nil
	case entry.Recursive:
		return g.mounts.SameBelow(rel)
	}
	return g.mounts.Same(rel)
}

// after is the second look, directly after a run that may have deleted: if the
// file system went away meanwhile, the run cannot count as good.
func (g *guard) after(entry pathbuilder.Entry, rel string) error {
	err := g.sameMount(entry, rel)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // it vanished, which is no change of mounts
	}
	return err
}

// excluded gives the directories of an entry that are not to be sent, relative to
// the base: a shallow run would create them empty, or delete them at the
// destination.
func (g *guard) excluded(ctx context.Context, entry pathbuilder.Entry, rel string) (map[string]bool, error) {
	if g.excluder == nil {
		return nil, nil
	}
	var names []string
	var err error
	switch {
	case !entry.Recursive:
		names, err = g.excluder.Children(ctx, entry.Path)
	case g.cfg.ExcludeBelow:
		names, err = g.excluder.Below(ctx, entry.Path)
	}
	if err != nil {
		return nil, err
	}
	paths := make(map[string]bool, len(names))
	for _, name := range names {
		paths[path.Join(rel, name)] = true
	}
	return paths, nil
}

// filters are rsync's patterns for what is excluded.
func filters(excluded map[string]bool) ([]string, error) {
	patterns := make([]string, 0, len(excluded))
	for _, rel := range slices.Sorted(maps.Keys(excluded)) {
		pattern, err := pathbuilder.FilterRule(rel, true)
		if err != nil {
			return nil, err
		}
		patterns = append(patterns, pattern)
	}
	return patterns, nil
}

// protected are the names that must not be deleted at the destination, although
// the source may no longer have them: a pattern /NAME(/.*|$) says which.
func (g *guard) protected() []string {
	if g.cfg.Exclude == nil || !g.cfg.ExcludeBelow {
		return nil
	}
	if name, ok := pathbuilder.ProtectName(g.cfg.Exclude); ok {
		return []string{pathbuilder.ProtectRule(name)}
	}
	return nil
}

// warnUnprotected says what --exclude-below cannot do with this pattern.
func (c *client) warnUnprotected() {
	if !c.cfg.ExcludeBelow || !c.cfg.Rsync.Delete || c.cfg.Exclude == nil {
		return
	}
	if _, ok := pathbuilder.ProtectName(c.cfg.Exclude); !ok {
		c.log.Warn(fmt.Sprintf("--exclude-below cannot protect what exists at the destination only: --delete deletes it there though it matches %q. "+
			"A pattern of the form /name(/.*|$) protects that name", c.cfg.Exclude))
	}
}

// checkRsync finds what would make every run of rsync fail.
func (c *client) checkRsync(ctx context.Context) error {
	if c.cfg.Netcat {
		return nil
	}
	if _, err := exec.LookPath("rsync"); err != nil {
		return fmt.Errorf("cannot work without rsync: %w; install it, or correct PATH", err)
	}
	return c.cfg.Rsync.Validate(ctx, "")
}

// refusal is a text of the Python program, which logs are searched for.
type refusal string

func (r refusal) Error() string { return string(r) }

const errBasePath = refusal("Basepath not available")

// baseProblem says why nothing can be sent from the base path now, nil if it can.
func (c *client) baseProblem() error {
	switch {
	case c.cfg.Netcat:
		return nil
	case c.cfg.VerifyPath && !c.baseIsDir():
		return errBasePath
	}
	if err := c.checkSentinel(); err != nil {
		return err
	}
	return c.checkNotEmpty()
}

// checkSentinel looks for the file that says that the right file system is
// mounted.
func (c *client) checkSentinel() error {
	if c.cfg.Sentinel == "" || c.cfg.Netcat {
		return nil
	}
	if _, err := os.Lstat(filepath.Join(c.base, c.cfg.Sentinel)); err != nil {
		return fmt.Errorf("cannot use %q: the file %q that --sentinel names is not in it (%w)", c.base, c.cfg.Sentinel, err)
	}
	return nil
}

// checkNotEmpty refuses an empty source root when rsync may delete: what looks
// empty is most often a file system that is not mounted, and the destination
// would be wiped.
func (c *client) checkNotEmpty() error {
	if !c.cfg.Rsync.Delete || c.cfg.AllowEmpty || c.cfg.Netcat {
		return nil
	}
	dir, err := os.Open(c.base)
	if err != nil {
		return fmt.Errorf("cannot look into the source before deleting: %w", err)
	}
	defer dir.Close()
	switch _, err := dir.Readdirnames(1); {
	case errors.Is(err, io.EOF):
		return fmt.Errorf("cannot use --delete: source %q is empty, is its file system mounted? (--allow-empty if this is meant)", c.base)
	case err != nil:
		return fmt.Errorf("cannot look into the source before deleting: %w", err)
	}
	return nil
}
