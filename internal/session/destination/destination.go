// SPDX-License-Identifier: LGPL-2.1-or-later

package destination

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"vsc-zk/internal/link"
	"vsc-zk/internal/session/guard"
	"vsc-zk/internal/session/member"
	"vsc-zk/internal/session/pool"
	"vsc-zk/internal/session/wire"
	"vsc-zk/internal/zkclient"
)

// attempts is how often a daemon, or its announcement, may fail within Timing.Unsteady before the
// destination ends.
const attempts = 3

// Config is what a destination needs to know beside its base.
type Config struct {
	Port      int // 0: the first free one from StartPort
	StartPort int
	Bind      string // the address to listen on; "": all
	Slots     int    // jobs served at once, 0: one
	DropCache bool
	Identity  *link.Identity // what this process is known by to sources
	Mode      link.Mode      // how bytes travel
	Open      bool           // any rsync that reaches the port is served
	Stall     time.Duration  // an rsync in which nothing moves for so long is ended; 0: it is not
	FlushEach time.Duration  // between two flushes of the base's file system at the most, 0: 5 min
	TempDir   string         // the daemon's configurations
	Output    io.Writer      // of the daemon, as it comes; nil: none
	Logger    *slog.Logger
}

// Destination is a destination process, over all its ZooKeeper sessions.
type Destination struct {
	client  *member.Client
	base    *guard.Base // nil: lines are received, into no base
	cfg     Config
	health  *health
	flusher *flusher
	failed  []time.Time // when starts have failed, of a daemon or of its announcement
	served  bool        // it has offered itself
	offered offered

	partials partials
}

// New makes a destination that does not serve yet. Without a base it is one of the netcat test.
func New(client *member.Client, base *guard.Base, cfg Config) *Destination {
	cfg.Slots = max(cfg.Slots, 1)
	cfg.FlushEach = cmp.Or(cfg.FlushEach, 5*time.Minute)
	if cfg.Output == nil {
		cfg.Output = io.Discard
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	d := &Destination{client: client, base: base, cfg: cfg, health: &health{base: base}, flusher: newFlusher(base)}
	client.Tell(d.say)
	return d
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
	sync, err := readSync(ctx, m)
	if err != nil {
		return err
	}
	d.health.writes = sync != wire.SyncDry
	if sync == wire.SyncOn && d.base != nil {
		if err := d.flusher.begin(ctx, m); err != nil {
			return err
		}
		m.Background(func() { d.flusher.run(ctx, m, d.cfg.FlushEach) })
		defer d.flusher.leave(ctx, m)
	}
	if d.base != nil {
		if err := d.publishKey(ctx, m); err != nil {
			return err
		}
	}
	m.Background(func() { warnOfLoopback(ctx, m) })
	if err := d.persist(ctx, m, ready); err != nil {
		return err
	}
	d.tidy(ctx, m)
	return nil
}

// publishKey tells sources by what they know this destination, and how bytes travel to it.
func (d *Destination) publishKey(ctx context.Context, m *member.Member) error {
	key := wire.Key{Fingerprint: d.cfg.Identity.Fingerprint(), Mode: string(d.cfg.Mode)}
	return m.PublishKey(ctx, key)
}

// persist serves, again and again over failures, until the session is over. A daemon that dies now and
// then in days is started again each time; one that dies again and again at once is not.
func (d *Destination) persist(ctx context.Context, m *member.Member, ready *member.Ready) error {
	for {
		err := d.serve(ctx, m, ready)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err == nil, errors.Is(err, errPortReserved), errors.Is(err, errUnfit):
			return err
		}
		d.failed = append(d.failed, time.Now())
		for time.Since(d.failed[0]) > d.client.Timing.Unsteady {
			d.failed = d.failed[1:]
		}
		if len(d.failed) >= attempts {
			return fmt.Errorf("cannot serve as a destination, after %d tries: %w", attempts, err)
		}
		d.client.Log.Error(fmt.Sprintf("%v; trying again", err), "event", "serve-again", "attempt", len(d.failed), "error", err)
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
	watch := d.health.watch(ctx, server, d.client.Timing)
	defer func() {
		watch.stop()
		server.Stop()
		if err != nil {
			err = errors.Join(err, d.freePort(ctx, m, port))
		}
	}()
	stopped := func() error {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-server.Done():
			return fmt.Errorf("cannot go on serving on port %d: %w", port, server.Err())
		default: // ready.Stopped
			d.client.Log.Debug("the run is over")
			return nil
		}
	}

	var problem *trouble
	select {
	case <-ctx.Done():
		return stopped()
	case <-server.Done():
		return stopped()
	case <-ready.Stopped:
		return stopped()
	case problem = <-watch.found:
	case <-time.After(d.client.Timing.Silent):
		problem = d.health.silent(d.client.Timing.Silent)
	}
	if problem != nil && !problem.waits && !d.served {
		return fmt.Errorf("%w: %w", errUnfit, problem)
	}
	offer, err := pool.NewOffer(ctx, m, port, d.cfg.Slots, d.cfg.Open || d.base == nil)
	if err != nil {
		return err
	}
	if err := pool.PublishLack(ctx, m, d.lack()); err != nil {
		return err
	}
	if err := d.tell(ctx, offer, problem); err != nil {
		return err
	}
	d.served = true
	fine := problem == nil // what the sources have been told
	missing := false       // from the queue, at the last look
	offered := time.Now()
	for {
		select {
		case <-ctx.Done():
			return stopped()
		case <-ready.Stopped:
			return stopped()
		case <-server.Done():
			return stopped()
		case problem = <-watch.found:
		case <-time.After(d.client.Timing.Silent):
			problem = d.health.silent(d.client.Timing.Silent)
		}
		if problem != nil && problem.moved {
			d.flusher.doubt()
		}
		if fine == (problem == nil) {
			if !fine || time.Since(offered) < d.client.Timing.SetAside {
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
				watch.suspect()
				continue
			}
		}
		if err := d.tell(ctx, offer, problem); err != nil {
			return err
		}
		fine, offered, missing = problem == nil, time.Now(), false
	}
}

// tell the sources whether they may send here, and the log why not.
func (d *Destination) tell(ctx context.Context, offer *pool.Offer, problem *trouble) error {
	d.offered.set(problem)
	if problem == nil {
		return offer.Activate(ctx)
	}
	d.client.Log.Log(ctx, problem.level, fmt.Sprintf("%v. Nothing is received until that has changed", problem), "event", "cannot-receive", "destination", d.client.Whoami, "error", problem.error)
	return offer.Pause(ctx)
}
