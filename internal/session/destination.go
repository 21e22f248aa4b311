// SPDX-License-Identifier: LGPL-2.1-or-later

package session

import (
	"context"
	"errors"
	"fmt"
	"time"

	"vsc-zk/internal/rsyncrunner"
	"vsc-zk/internal/zkclient"
)

// errPortReserved: --rsyncport names a port another destination has.
var errPortReserved = errors.New("the port is reserved by another destination of this session on this host")

// Destination runs a destination until the run is over: it waits for a master,
// starts a daemon and offers it to the sources.
func Destination(ctx context.Context, cfg Config) error {
	c, err := newClient(ctx, cfg, "RsyncDestination", cfg.Domain)
	if err != nil {
		return err
	}
	if err := c.checkBase(); err != nil {
		return err
	}
	if err := c.checkSentinel(); err != nil {
		return err
	}
	if err := c.checkRsync(ctx); err != nil {
		return err
	}
	d := &destination{client: c}
	return c.run(ctx, []string{partyAll, partyDests, partyExt}, d.play)
}

// destination is a destination process over all its ZooKeeper sessions.
type destination struct {
	*client
	starts int // that have failed, of a daemon or of its announcement
}

// daemon is what serves the sources: rsync, or the netcat test.
type daemon interface {
	Done() <-chan struct{} // closed when it has ended by itself
	Err() error            // why, after Done
	Stop()                 // ends it with all its children
}

func (d *destination) play(ctx context.Context, m *member) error {
	d.joined()
	watch := m.watchReady(ctx)
	select {
	case <-watch.started:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	for {
		err := d.serve(ctx, m, watch)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err == nil, errors.Is(err, errPortReserved):
			return err
		}
		if d.starts++; d.starts >= attempts {
			return fmt.Errorf("cannot serve as a destination, after %d tries: %w", attempts, err)
		}
		d.log.Error(fmt.Sprintf("%v; trying again", err))
		if !sleep(ctx, d.cfg.Timing.Retry) {
			return context.Cause(ctx)
		}
	}
}

// serve reserves a port, runs a daemon on it and keeps the destination's state
// true, until the run is over (nil) or something fails.
func (d *destination) serve(ctx context.Context, m *member, watch *readyWatch) (err error) {
	select {
	case <-watch.stopped:
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

	if err := m.publishSlots(ctx); err != nil {
		return err
	}
	present := d.available() // what the sources have been told of the base path
	if err := d.tell(ctx, m, port, present); err != nil {
		return err
	}
	missing := false // from the queue, at the last look
	look := time.NewTicker(d.cfg.Timing.PathCheck)
	defer look.Stop()
	offered := time.Now()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-watch.stopped:
			d.log.Debug("the run is over")
			return nil
		case <-server.Done():
			return fmt.Errorf("cannot go on serving on port %d: %w", port, server.Err())
		case <-look.C:
		}
		now := d.available()
		if now == present {
			if !now || time.Since(offered) < d.cfg.Timing.SetAside {
				continue
			}
			// Whoever has taken this destination out of the queue may have been wrong,
			// or be gone. One that only sets it aside has put it back by the second look.
			offered = time.Now()
			queued, err := m.destQueued(ctx, port)
			if err != nil {
				return err
			}
			if missing = !queued && !missing; missing {
				continue
			}
		}
		if !now {
			d.log.Info("Basepath not available")
		}
		if err := d.tell(ctx, m, port, now); err != nil {
			return err
		}
		present, offered, missing = now, time.Now(), false
	}
}

// tell the sources whether they may send here.
func (d *destination) tell(ctx context.Context, m *member, port int, present bool) error {
	if present {
		return m.activate(ctx, port)
	}
	return m.pause(ctx)
}

// collisions bounds how often a port may be lost to another program between the
// look at it and the daemon's start. Destinations of several sessions that start
// together on one host all try the same ports.
const collisions = 50

// listen starts a daemon on a port that it has reserved.
func (d *destination) listen(ctx context.Context, m *member) (server daemon, port int, err error) {
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
		d.log.Debug(fmt.Sprintf("%v; trying the next port", err))
		first = port + 1
	}
	return nil, 0, err
}

// available tells whether sources may send here; without verification always.
func (d *destination) available() bool {
	return d.cfg.Netcat || (!d.cfg.VerifyPath || d.baseIsDir()) && d.checkSentinel() == nil
}

func (d *destination) startDaemon(ctx context.Context, port int) (daemon, error) {
	log := d.cfg.Logger.With("logger", "RunDestination")
	if d.cfg.Netcat {
		return rsyncrunner.StartNetcat(ctx, port, d.cfg.Output, log)
	}
	return rsyncrunner.StartDaemon(ctx, rsyncrunner.DaemonConfig{
		Module: d.tree.module(), Path: d.base, Port: port, DropCache: d.cfg.Rsync.DropCache,
		TempDir: d.cfg.TempDir, Output: d.cfg.Output, Logger: log,
	})
}

// reservePort takes a port for this destination: the given one, or the first
// that no destination of the session has reserved on this host and no program
// has open.
func (d *destination) reservePort(ctx context.Context, m *member, from int) (int, error) {
	if d.cfg.Port == 0 {
		return d.tryReserve(ctx, m, from)
	}
	// The node of a lost session of ours may be there for a while.
	patience := d.cfg.Zookeeper.SessionTimeout
	if patience == 0 {
		patience = 10 * time.Second
	}
	for end := time.Now().Add(patience * 3 / 2); ; {
		port, err := d.tryReserve(ctx, m, d.cfg.Port)
		if !errors.Is(err, errPortReserved) || time.Now().After(end) {
			return port, err
		}
		if !sleep(ctx, d.cfg.Timing.Poll) {
			return 0, context.Cause(ctx)
		}
	}
}

func (d *destination) tryReserve(ctx context.Context, m *member, from int) (port int, err error) {
	lock := m.Lock(m.tree.portLock(), m.whoami)
	if err := lock.Acquire(ctx); err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, m.unlock(ctx, lock)) }()
	if port, err = d.choosePort(ctx, m, from); err != nil {
		return 0, err
	}
	if err := m.publishPort(ctx, port); err != nil {
		return 0, errors.Join(err, d.freePort(ctx, m, port))
	}
	return port, nil
}

// publishPort sets S/portmap of this client. A node of its lost ZooKeeper session
// is replaced at once: a Python slave crashes when it finds none.
func (m *member) publishPort(ctx context.Context, port int) error {
	path, data := m.tree.portMap(m.whoami), fmt.Append(nil, port)
	for {
		stat, found, err := m.Exists(ctx, path)
		switch {
		case err != nil:
			return err
		case found && stat.EphemeralOwner == m.SessionID():
			_, err = m.Set(ctx, path, data, -1)
		case found:
			err = m.Multi(ctx, zkclient.OpDelete(path), zkclient.OpCreate(path, data, zkclient.Ephemeral))
		default:
			_, err = m.CreatePath(ctx, path, data, zkclient.Ephemeral)
		}
		if !errors.Is(err, zkclient.ErrConnectionLoss) && !errors.Is(err, zkclient.ErrNoNode) && !errors.Is(err, zkclient.ErrNodeExists) {
			return err
		}
	}
}

func (d *destination) choosePort(ctx context.Context, m *member, from int) (int, error) {
	host := hostOf(m.whoami)
	last := 65535
	if d.cfg.Port != 0 {
		last = from
	}
	for port := from; port <= last; port++ {
		// Reserved first, tried then: a try on the port of another destination could get
		// into the way of its daemon's start.
		_, err := m.CreatePath(ctx, m.tree.usedPort(host, port), nil, zkclient.Ephemeral)
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

func (d *destination) freePort(ctx context.Context, m *member, port int) error {
	err := m.Delete(ctx, m.tree.usedPort(hostOf(m.whoami), port))
	if err != nil && !errors.Is(err, zkclient.ErrNoNode) {
		return fmt.Errorf("cannot free port %d: %w", port, err)
	}
	return nil
}
