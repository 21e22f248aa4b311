// SPDX-License-Identifier: LGPL-2.1-or-later

package watch

import (
	"context"
	"errors"
	"sync"
	"time"

	"vsc-zk/internal/status"
	"vsc-zk/internal/zkclient"
)

// look is what one look at ZooKeeper has found.
type look struct {
	at      time.Time
	session string // "": all of which there is a run
	seen    []*status.Snapshot
	err     error // ZooKeeper does not answer, and nothing was seen
}

// feed takes looks.
type feed struct {
	zookeeper zkclient.Config
	every     time.Duration
	fallback  string // the session of a user who may not list them

	mu      sync.Mutex
	session string        // that is looked at; "": all
	changed chan struct{} // it is another one

	// What follows belongs to the goroutine that looks.
	zk      *zkclient.Client // nil: not connected
	readers *status.Readers
}

// newFeed connects, so that what keeps it from that is told before there is a screen.
func newFeed(ctx context.Context, cfg Config) (*feed, error) {
	f := &feed{zookeeper: cfg.Zookeeper, every: cfg.Every, fallback: cfg.Session, session: cfg.Session, changed: make(chan struct{}, 1)}
	if cfg.All {
		f.session = ""
	}
	return f, f.connect(ctx)
}

func (f *feed) connect(ctx context.Context) (err error) {
	f.zk, err = zkclient.Connect(ctx, f.zookeeper)
	f.readers = status.NewReaders(f.zk)
	return err
}

func (f *feed) close() {
	if f.zk != nil {
		f.zk.Close()
		f.zk = nil
	}
}

// choose has the next look, which comes at once, be at another session; "": at all.
func (f *feed) choose(session string) {
	f.mu.Lock()
	f.session = session
	f.mu.Unlock()
	select {
	case f.changed <- struct{}{}:
	default:
	}
}

// follow shows looks until show wants no more or ctx ends, whose cause it returns.
func (f *feed) follow(ctx context.Context, show func(look) (more bool)) error {
	for {
		l := f.look(ctx)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if !show(l) {
			return nil
		}
		select {
		case <-time.After(f.every):
		case <-f.changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// look takes one. After a session of ZooKeeper that is lost it begins another one.
func (f *feed) look(ctx context.Context) (l look) {
	f.mu.Lock()
	l.session = f.session
	f.mu.Unlock()
	if f.zk != nil && f.zk.Context().Err() != nil {
		f.close()
	}
	if f.zk == nil {
		l.err = f.connect(ctx)
	}
	if l.err == nil {
		l.seen, l.err = f.readers.Read(ctx, l.session)
		if l.session == "" && errors.Is(l.err, zkclient.ErrNoAuth) {
			l.seen, l.err = f.readers.Read(ctx, f.fallback)
		}
	}
	l.at = time.Now()
	return l
}
