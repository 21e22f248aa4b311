// SPDX-License-Identifier: LGPL-2.1-or-later

package session

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"vsc-zk/internal/pathbuilder"
	"vsc-zk/internal/zkclient"
)

// client is what every role of this process shares, over all its ZooKeeper
// sessions.
type client struct {
	cfg    Config
	tree   tree
	base   string // Path, absolute, without a trailing slash
	whoami string
	log    *slog.Logger
	joined func()       // tells the caller, once, that the start went well
	epoch  atomic.Int64 // czxid of the S/watch/ready this process works for, 0: none met yet
}

func newClient(ctx context.Context, cfg Config, logger, domain string) (*client, error) {
	t, err := newTree(cfg.Session)
	if err != nil {
		return nil, err
	}
	host, err := hostName(ctx, cfg.Host, domain)
	if err != nil {
		return nil, err
	}
	base, err := pathbuilder.CleanBase(cfg.Path)
	if err != nil {
		return nil, err
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Output == nil {
		cfg.Output = io.Discard
	}
	if cfg.Stdout == nil {
		cfg.Stdout = io.Discard
	}
	cfg = cfg.withDefaults()
	cfg.Zookeeper.Logger = cfg.Logger.With("logger", "zkclient")
	joined := cfg.Joined
	if joined == nil {
		joined = func() {}
	}
	return &client{
		cfg: cfg, tree: t, base: base, whoami: whoami(host),
		log: cfg.Logger.With("logger", logger), joined: sync.OnceFunc(joined),
	}, nil
}

// baseIsDir tells whether the base path is a directory now.
func (c *client) baseIsDir() bool {
	info, err := os.Stat(c.base)
	return err == nil && info.IsDir()
}

// checkBase refuses to start on a base path that is not there, unless the user
// has asked for no such check.
func (c *client) checkBase() error {
	if c.cfg.Netcat || !c.cfg.VerifyPath || c.baseIsDir() {
		return nil
	}
	return fmt.Errorf("cannot use path %q: it does not exist or is not a directory", c.base)
}

// member is a client in one ZooKeeper session: connected, and in its parties.
type member struct {
	*zkclient.Client
	*client
	all     *zkclient.Party
	parties map[string]*zkclient.Party
	group   sync.WaitGroup // background work of the role, ended with its context
	fail    func(error)    // ends the role's context, for background work that cannot go on
}

// run connects, joins the parties and runs the role. When the ZooKeeper session
// is lost the role's context ends, and once the role has returned it is run
// again in a new session. It returns what the role returns; if ctx ended, the
// cause of that.
func (c *client) run(ctx context.Context, parties []string, role func(context.Context, *member) error) error {
	for first := true; ; first = false {
		m, err := c.join(ctx, parties, first)
		if err != nil {
			return err
		}
		err = m.play(ctx, role)
		m.Close()
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case !errors.Is(err, zkclient.ErrSessionLost):
			return err
		}
		c.log.Warn("The ZooKeeper session was lost: work in hand is given up, connecting again")
	}
}

// play runs the role in a context that ends with the ZooKeeper session, and
// waits for all the role has started.
func (m *member) play(ctx context.Context, role func(context.Context, *member) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	m.fail = cancel
	unhook := context.AfterFunc(m.Context(), func() { cancel(context.Cause(m.Context())) })
	defer m.group.Wait()
	defer cancel(nil)
	defer unhook()
	return role(ctx, m)
}

// join makes one member. Only the first connection of a process may fail: a run
// of days has to outlive a ZooKeeper that is away for a while.
func (c *client) join(ctx context.Context, parties []string, first bool) (*member, error) {
	for {
		m, err := c.tryJoin(ctx, parties)
		switch {
		case err == nil:
			return m, nil
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case first || errors.Is(err, zkclient.ErrNoAuth):
			return nil, err
		}
		c.log.Warn(fmt.Sprintf("%v; trying again", err))
		if !sleep(ctx, c.cfg.Timing.Reconnect) {
			return nil, context.Cause(ctx)
		}
	}
}

func (c *client) tryJoin(ctx context.Context, parties []string) (*member, error) {
	zk, err := zkclient.Connect(ctx, c.cfg.Zookeeper)
	if err != nil {
		return nil, err
	}
	m := &member{Client: zk, client: c, parties: map[string]*zkclient.Party{}}
	for _, kind := range parties {
		p := zk.Party(c.tree.party(kind), c.whoami)
		if err := p.Join(ctx); err != nil {
			zk.Close()
			return nil, err
		}
		m.parties[kind] = p
	}
	m.all = m.parties[partyAll]
	if m.all != nil {
		zk.SetFence(m.all.Node())
	}
	return m, nil
}

// background runs work until the role's context ends; play waits for it.
func (m *member) background(work func()) {
	m.group.Add(1)
	go func() {
		defer m.group.Done()
		work()
	}()
}

// readyWatch follows S/watch/ready.
type readyWatch struct {
	started chan struct{} // closed once the node is there
	stopped chan struct{} // closed once it says stop, or is gone again
	gone    chan struct{} // closed once it is gone again
}

// watchReady follows S/watch/ready until ctx ends. The first node this process
// meets is its run's; if that is missing later, also in a later ZooKeeper
// session, or another has taken its place, the run is over.
func (m *member) watchReady(ctx context.Context) *readyWatch {
	w := &readyWatch{started: make(chan struct{}), stopped: make(chan struct{}), gone: make(chan struct{})}
	start := sync.OnceFunc(func() { close(w.started) })
	stop := sync.OnceFunc(func() { close(w.stopped); start() })
	gone := sync.OnceFunc(func() { close(w.gone); stop() })
	m.background(func() {
		err := m.WatchData(ctx, m.tree.ready(), func(data []byte, stat zkclient.Stat, exists bool) {
			m.log.Debug(fmt.Sprintf("Watch status is %q", data))
			switch epoch := m.epoch.Load(); {
			case exists && epoch == 0:
				m.epoch.Store(stat.Czxid)
			case epoch == 0:
				return // not yet made: a master will come
			case !exists || stat.Czxid != epoch:
				gone()
				return
			}
			if string(data) == watchStop {
				stop()
				return
			}
			start()
		})
		if err != nil && ctx.Err() == nil {
			m.fail(err) // nobody would ever hear of the end
		}
	})
	return w
}

// sleep waits for d; false if ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
