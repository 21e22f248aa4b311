// SPDX-License-Identifier: LGPL-2.1-or-later

package worker

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"vsc-zk/internal/pathbuilder"
	"vsc-zk/internal/rsyncrunner"
)

// attributes tells, once each, of what rsync leaves behind unless it is asked for it. It looks at
// what the runs send, beside them, and only as long as it has something to tell.
type attributes struct {
	warn func(path, what, option string)

	mu             sync.Mutex
	acls, extended bool // may still be told of
}

// How many names of a run are looked at, however short it is, and however long.
const (
	leastAttributes = 256
	mostAttributes  = 5000
)

var errSeen = errors.New("all has been told")

// newAttributes returns nil if the user has said of all of them whether they are to be sent.
func newAttributes(o rsyncrunner.Options, warn func(path, what, option string)) *attributes {
	a := &attributes{warn: warn, acls: !o.ACLs && !o.Gives("no-acls"), extended: !o.XAttrs && !o.Gives("no-xattrs")}
	if !a.wanted() {
		return nil
	}
	return a
}

func (a *attributes) wanted() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.acls || a.extended
}

// seen is called for each name that was looked at.
func (a *attributes) seen(path string, found pathbuilder.Attributes) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if found.ACL && a.acls {
		a.acls = false
		a.warn(path, "an access control list", "acls")
	}
	if found.Extended && a.extended {
		a.extended = false
		a.warn(path, "extended attributes", "xattrs")
	}
	if a.acls || a.extended {
		return nil
	}
	return errSeen
}

// lookAtAttributes begins to look at what a run of rsync sends. The function that it gives is for the end of
// the run: it waits until enough has been looked at, but not for a file server that is dead.
func (t *Rsync) lookAtAttributes(ctx context.Context, job rsyncrunner.Job, skip func(path string) bool) (end func()) {
	if t.attributes == nil || !t.attributes.wanted() || job.Kind == rsyncrunner.LinkGroups || job.Kind == rsyncrunner.Listed || job.Kind == rsyncrunner.Leftovers {
		return func() {}
	}
	var over atomic.Bool
	done := make(chan struct{})
	go func() {
		defer close(done)
		dirs, looked := job.Names, 0
		if job.Kind.Files() { // of one directory, in order
			dirs = []string{above(job.Names[0])}
		}
		_ = pathbuilder.ScanAttributes(ctx, t.source.Tree, dirs, job.Kind == rsyncrunner.Recursive, skip, func(path string, found pathbuilder.Attributes) error {
			if looked++; looked > mostAttributes || looked > leastAttributes && over.Load() {
				return errSeen
			}
			return t.attributes.seen(path, found)
		})
	}()
	return func() {
		over.Store(true)
		select {
		case <-done:
		case <-time.After(t.cfg.Lookup):
		}
	}
}

func (t *Rsync) warnOfAttributes(path, what, option string) {
	full := t.source.Tree.Root() + "/" + path
	t.cfg.Logger.Warn(fmt.Sprintf("%s has %s, and there may be more: they are not sent. Give --%s to all sources if they are to be, or --arbitopts=no-%[3]s if not, and no source says this again",
		pathbuilder.Printable(full), what, option), "event", "not-sent", "path", full, "option", option)
}
