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
	if err := cfg.Rsync.Validate(ctx, ""); err != nil {
		return err
	}
	d := &destination{client: c}
	return c.run(ctx, []string{partyAll, partyDests, partyExt}, d.play)
}

// destination is a destination process over all its ZooKeeper sessions.
type destination struct {
	*client
	starts int // of a daemon that then failed
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
		case err == nil:
			return nil
		case errors.Is(err, errPortReserved) || errors.Is(err, zkclient.ErrSessionLost):
			return err
		}
		if d.starts++; d.starts == attempts {
			return fmt.Errorf("cannot serve as a destination, after %d tries: %w", attempts, err)
		}
		d.log.Error(fmt.Sprintf("%v; trying another port", err))
	}
}

// serve reserves a port, runs a daemon on it and keeps the destination's state
// true, until the run is over (nil) or the daemon has died.
func (d *destination) serve(ctx context.Context, m *member, watch *readyWatch) error {
	select {
	case <-watch.stopped:
		return nil
	default:
	}
	port, err := d.reservePort(ctx, m)
	if err != nil {
		return err
	}
	server, err := d.startDaemon(ctx, port)
	if err != nil {
		return errors.Join(err, d.freePort(ctx, m, port))
	}
	defer server.Stop()

	present := false // what the sources have been told of the base path
	if d.available() {
		if err := m.activate(ctx, port); err != nil {
			return err
		}
		present = true
	} else if err := m.pause(ctx); err != nil {
		return err
	}
	look := time.NewTicker(d.cfg.Timing.PathCheck)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-watch.stopped:
			d.log.Debug("the run is over")
			return nil
		case <-server.Done():
			return errors.Join(fmt.Errorf("cannot go on serving on port %d: %w", port, server.Err()), d.freePort(ctx, m, port))
		case <-look.C:
		}
		now := d.available()
		if now == present {
			continue
		}
		present = now
		if now {
			err = m.activate(ctx, port)
		} else {
			d.log.Info("Basepath not available")
			err = m.pause(ctx)
		}
		if err != nil {
			return err
		}
	}
}

// available tells whether sources may send here; without verification always.
func (d *destination) available() bool {
	return d.cfg.Netcat || !d.cfg.VerifyPath || d.baseIsDir()
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
func (d *destination) reservePort(ctx context.Context, m *member) (int, error) {
	if d.cfg.Port == 0 {
		return d.tryReserve(ctx, m)
	}
	// The node of a lost session of ours may be there for a while.
	patience := d.cfg.Zookeeper.SessionTimeout
	if patience == 0 {
		patience = 10 * time.Second
	}
	for end := time.Now().Add(patience * 3 / 2); ; {
		port, err := d.tryReserve(ctx, m)
		if !errors.Is(err, errPortReserved) || time.Now().After(end) {
			return port, err
		}
		if !sleep(ctx, d.cfg.Timing.Poll) {
			return 0, context.Cause(ctx)
		}
	}
}

func (d *destination) tryReserve(ctx context.Context, m *member) (port int, err error) {
	lock := m.Lock(m.tree.portLock(), m.whoami)
	if err := lock.Acquire(ctx); err != nil {
		return 0, fmt.Errorf("cannot lock the ports: %w", err)
	}
	defer func() { err = errors.Join(err, m.unlock(ctx, lock)) }()

	if port, err = d.choosePort(ctx, m); err != nil {
		return 0, err
	}
	// Also makes a node of an earlier session of this process ours.
	path := m.tree.portMap(m.whoami)
	if err := m.Delete(ctx, path); err != nil && !errors.Is(err, zkclient.ErrNoNode) {
		return 0, fmt.Errorf("cannot publish port %d: %w", port, err)
	}
	if _, err := m.CreatePath(ctx, path, fmt.Append(nil, port), zkclient.Ephemeral); err != nil {
		return 0, fmt.Errorf("cannot publish port %d: %w", port, err)
	}
	return port, nil
}

func (d *destination) choosePort(ctx context.Context, m *member) (int, error) {
	host := hostOf(m.whoami)
	first, last := d.cfg.StartPort, 65535
	if d.cfg.Port != 0 {
		first, last = d.cfg.Port, d.cfg.Port
	}
	for port := first; port <= last; port++ {
		if d.cfg.Port == 0 && rsyncrunner.PortFree(port) != nil {
			continue
		}
		_, err := m.CreatePath(ctx, m.tree.usedPort(host, port), nil, zkclient.Ephemeral)
		if err == nil {
			return port, nil
		}
		if !errors.Is(err, zkclient.ErrNodeExists) {
			return 0, fmt.Errorf("cannot reserve port %d: %w", port, err)
		}
	}
	if d.cfg.Port != 0 {
		return 0, fmt.Errorf("cannot use port %d (--rsyncport): %w", d.cfg.Port, errPortReserved)
	}
	return 0, fmt.Errorf("cannot find a free port from %d on (--startport)", d.cfg.StartPort)
}

func (d *destination) freePort(ctx context.Context, m *member, port int) error {
	err := m.Delete(ctx, m.tree.usedPort(hostOf(m.whoami), port))
	if err != nil && !errors.Is(err, zkclient.ErrNoNode) {
		return fmt.Errorf("cannot free port %d: %w", port, err)
	}
	return nil
}
