// SPDX-License-Identifier: LGPL-2.1-or-later

package destination

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"vsc-zk/internal/rsyncrunner"
	"vsc-zk/internal/session/guard"
	"vsc-zk/internal/session/member"
	"vsc-zk/internal/session/pool"
	"vsc-zk/internal/session/wire"
	"vsc-zk/internal/zkclient"
)

// attempts is how often a daemon, or its announcement, may fail before the destination ends.
const attempts = 3

// errPortReserved: --rsyncport names a port another destination has.
var errPortReserved = errors.New("the port is reserved by another destination of this session on this host")

// Config is what a destination needs to know beside its base.
type Config struct {
	Port      int // 0: the first free one from StartPort
	StartPort int
	Slots     int // jobs served at once, 0: one
	DropCache bool
	TempDir   string    // the daemon's configurations
	Output    io.Writer // of the daemon, as it comes; nil: none
	Logger    *slog.Logger
}

// Destination is a destination process, over all its ZooKeeper sessions.
type Destination struct {
	client *member.Client
	base   *guard.Base // nil: lines are received, into no base
	cfg    Config
	starts int // that have failed, of a daemon or of its announcement
}

// New makes a destination that does not serve yet. Without a base it is one of the netcat test.
func New(client *member.Client, base *guard.Base, cfg Config) *Destination {
	cfg.Slots = max(cfg.Slots, 1)
	if cfg.Output == nil {
		cfg.Output = io.Discard
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Destination{client: client, base: base, cfg: cfg}
}

// daemon is what serves the sources: rsync, or the netcat test.
type daemon interface {
	Done() <-chan struct{} // closed when it has ended by itself
	Err() error            // why, after Done
	Stop()                 // ends it with all its children
}

// Play serves until the session is over.
func (d *Destination) Play(ctx context.Context, m *member.Member) error {
	d.client.Joined()
	ready := m.WatchReady(ctx)
	select {
	case <-ready.Started:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	for {
		err := d.serve(ctx, m, ready)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err == nil, errors.Is(err, errPortReserved):
			return err
		}
		if d.starts++; d.starts >= attempts {
			return fmt.Errorf("cannot serve as a destination, after %d tries: %w", attempts, err)
		}
		d.client.Log.Error(fmt.Sprintf("%v; trying again", err), "event", "serve-again", "attempt", d.starts, "error", err)
		if err := zkclient.Sleep(ctx, d.client.Timing.Retry); err != nil {
			return err
		}
	}
}

// serve reserves a port, runs a daemon on it and keeps the destination's state
// true, until the session is over (nil) or something fails.
func (d *Destination) serve(ctx context.Context, m *member.Member, ready *member.Ready) (err error) {
	select {
	case <-ready.Stopped:
		return nil
	default:
	}
	server, port, err := d.listen(ctx, m)
	if err != nil {
		return err
	}
	defer func() {
		server.Stop()
		if err != nil {
			err = errors.Join(err, d.freePort(ctx, m, port))
		}
	}()

	offer, err := pool.NewOffer(ctx, m, port, d.cfg.Slots)
	if err != nil {
		return err
	}
	present := d.available() // what the sources have been told of the base path
	if err := d.tell(ctx, offer, present); err != nil {
		return err
	}
	missing := false // from the queue, at the last look
	look := time.NewTicker(d.client.Timing.PathCheck)
	defer look.Stop()
	offered := time.Now()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-ready.Stopped:
			d.client.Log.Debug("the run is over")
			return nil
		case <-server.Done():
			return fmt.Errorf("cannot go on serving on port %d: %w", port, server.Err())
		case <-look.C:
		}
		now := d.available()
		if now == present {
			if !now || time.Since(offered) < d.client.Timing.SetAside {
				continue
			}
			// Whoever has taken this destination out of the queue may have been wrong,
			// or be gone. One that only sets it aside has put it back by the second look.
			offered = time.Now()
			queued, err := offer.Queued(ctx)
			if err != nil {
				return err
			}
			if missing = !queued && !missing; missing {
				continue
			}
		}
		if !now {
			d.client.Log.Info("Basepath not available")
		}
		if err := d.tell(ctx, offer, now); err != nil {
			return err
		}
		present, offered, missing = now, time.Now(), false
	}
}

// tell the sources whether they may send here.
func (d *Destination) tell(ctx context.Context, offer *pool.Offer, present bool) error {
	if present {
		return offer.Activate(ctx)
	}
	return offer.Pause(ctx)
}

// collisions bounds how often a port may be lost to another program between the
// look at it and the daemon's start. Destinations of several sessions that start
// together on one host all try the same ports.
const collisions = 50

// listen starts a daemon on a port that it has reserved.
func (d *Destination) listen(ctx context.Context, m *member.Member) (server daemon, port int, err error) {
	first := d.cfg.StartPort
	for range collisions {
		if port, err = d.reservePort(ctx, m, first); err != nil {
			return nil, 0, err
		}
		if server, err = d.startDaemon(ctx, port); err == nil {
			return server, port, nil
		}
		if e := d.freePort(ctx, m, port); e != nil {
			return nil, 0, errors.Join(err, e)
		}
		if ctx.Err() != nil || d.cfg.Port != 0 || rsyncrunner.PortFree(port) == nil && !errors.Is(err, rsyncrunner.ErrStranger) {
			return nil, 0, err // not for the port
		}
		d.client.Log.Debug(fmt.Sprintf("%v; trying the next port", err))
		first = port + 1
	}
	return nil, 0, err
}

// available tells whether sources may send here; without verification always.
func (d *Destination) available() bool {
	return d.base == nil || d.base.Problem() == nil
}

func (d *Destination) startDaemon(ctx context.Context, port int) (daemon, error) {
	log := d.cfg.Logger.With("logger", "RunDestination")
	if d.base == nil {
		return rsyncrunner.StartNetcat(ctx, port, d.cfg.Output, log)
	}
	return rsyncrunner.StartDaemon(ctx, rsyncrunner.DaemonConfig{
		Module: d.client.Tree.Module(), Path: d.base.Dir, Port: port, DropCache: d.cfg.DropCache,
		TempDir: d.cfg.TempDir, Output: d.cfg.Output, Logger: log,
	})
}

// reservePort takes a port for this destination: the given one, or the first
// that no destination of the session has reserved on this host and no program
// has open.
func (d *Destination) reservePort(ctx context.Context, m *member.Member, from int) (int, error) {
	if d.cfg.Port == 0 {
		return d.tryReserve(ctx, m, from)
	}
	// The node of a lost session of ours may be there for a while.
	patience := m.ZK.SessionTimeout()
	for end := time.Now().Add(patience * 3 / 2); ; {
		port, err := d.tryReserve(ctx, m, d.cfg.Port)
		if !errors.Is(err, errPortReserved) || time.Now().After(end) {
			return port, err
		}
		if err := zkclient.Sleep(ctx, d.client.Timing.Poll); err != nil {
			return 0, err
		}
	}
}

func (d *Destination) tryReserve(ctx context.Context, m *member.Member, from int) (port int, err error) {
	lock := m.ZK.Lock(m.Tree.PortLock(), d.client.Whoami)
	if err := lock.Acquire(ctx); err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, m.Unlock(ctx, lock)) }()
	if port, err = d.choosePort(ctx, m, from); err != nil {
		return 0, err
	}
	if err := pool.PublishPort(ctx, m, port); err != nil {
		return 0, errors.Join(err, d.freePort(ctx, m, port))
	}
	return port, nil
}

func (d *Destination) choosePort(ctx context.Context, m *member.Member, from int) (int, error) {
	host := wire.HostOf(d.client.Whoami)
	last := 65535
	if d.cfg.Port != 0 {
		last = from
	}
	for port := from; port <= last; port++ {
		// Reserved first, tried then: a try on the port of another destination could get
		// into the way of its daemon's start.
		_, err := m.ZK.CreatePath(ctx, m.Tree.UsedPort(host, port), nil, zkclient.Ephemeral)
		if errors.Is(err, zkclient.ErrNodeExists) {
			continue
		}
		if err != nil {
			return 0, err
		}
		if d.cfg.Port != 0 || rsyncrunner.PortFree(port) == nil {
			return port, nil
		}
		if err := d.freePort(ctx, m, port); err != nil {
			return 0, err
		}
	}
	if d.cfg.Port != 0 {
		return 0, fmt.Errorf("cannot use port %d (--rsyncport): %w", d.cfg.Port, errPortReserved)
	}
	return 0, fmt.Errorf("cannot find a free port from %d on (--startport)", from)
}

func (d *Destination) freePort(ctx context.Context, m *member.Member, port int) error {
	err := m.ZK.Delete(ctx, m.Tree.UsedPort(wire.HostOf(d.client.Whoami), port))
	if err != nil && !errors.Is(err, zkclient.ErrNoNode) {
		return fmt.Errorf("cannot free port %d: %w", port, err)
	}
	return nil
}
