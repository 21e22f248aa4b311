// SPDX-License-Identifier: LGPL-2.1-or-later

package destination

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"vsc-zk/internal/rsyncrunner"
	"vsc-zk/internal/session/guard"
	"vsc-zk/internal/session/member"
	"vsc-zk/internal/session/wire"
)

// partials are the directories, below the base, in which a run had begun a file and not ended well, so that what it had
// of it may be there. The next run over the directory completes and removes it, unless the file has vanished meanwhile.
type partials struct {
	mu   sync.Mutex
	dirs map[string]bool
}

// maxPartials bounds them. What is beyond stays where it is.
const maxPartials = 10_000

func (p *partials) note(dirs []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dirs == nil {
		p.dirs = map[string]bool{}
	}
	for _, dir := range dirs {
		if len(p.dirs) < maxPartials {
			p.dirs[dir] = true
		}
	}
}

// tidy removes what nobody will complete, at the end of a session of which all paths were sent. After another end they
// are there for the next session.
func (d *Destination) tidy(ctx context.Context, m *member.Member) {
	d.partials.mu.Lock()
	defer d.partials.mu.Unlock()
	if len(d.partials.dirs) == 0 {
		return
	}
	meta, _, ok, err := m.Meta(ctx)
	if err != nil || !ok || meta.End != wire.Done || meta.Ended.Failed > 0 || d.base.Problem() != nil {
		return
	}
	for dir := range d.partials.dirs {
		removed, err := removePartial(d.base, dir)
		switch {
		case err != nil:
			m.Log.Warn(err.Error(), "event", "partial-left", "path", wire.Text(filepath.Join(d.base.Dir, dir)), "error", err)
		case removed:
			m.Log.Info(fmt.Sprintf("What was received of files in %s that have vanished since is removed", wire.Text(filepath.Join(d.base.Dir, dir))), "event", "partial-removed", "path", wire.Text(filepath.Join(d.base.Dir, dir)))
		}
	}
}

// removePartial removes the partial files in a directory below the base, which keeps its time. No link leads out of
// the base.
func removePartial(base *guard.Base, dir string) (removed bool, err error) {
	defer func() {
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		} else if err != nil {
			err = fmt.Errorf("cannot remove %s in %s: %w; remove it by hand", rsyncrunner.PartialDir, wire.Text(filepath.Join(base.Dir, dir)), err)
		}
	}()
	root, err := os.OpenRoot(base.Dir)
	if err != nil {
		return false, err
	}
	defer root.Close()
	before, err := root.Stat(dir)
	if err != nil {
		return false, err
	}
	partial := filepath.Join(dir, rsyncrunner.PartialDir)
	if _, err := root.Lstat(partial); err != nil {
		return false, err
	}
	if err := root.RemoveAll(partial); err != nil {
		return false, err
	}
	return true, root.Chtimes(dir, time.Time{}, before.ModTime())
}
