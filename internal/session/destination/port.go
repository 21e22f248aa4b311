// SPDX-License-Identifier: LGPL-2.1-or-later

package destination

import (
	"context"
	"errors"
	"fmt"
	"time"

	"vsc-zk/internal/rsyncrunner"
	"vsc-zk/internal/session/member"
	"vsc-zk/internal/session/pool"
	"vsc-zk/internal/session/wire"
	"vsc-zk/internal/zkclient"
)

// errPortReserved: --rsyncport names a port another destination has.
var errPortReserved = errors.New("the port is reserved by another destination of this session on this host")

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

func (d *Destination) startDaemon(ctx context.Context, port int) (daemon, error) {
	log := d.cfg.Logger.With("logger", "RunDestination")
	if d.base == nil {
		return rsyncrunner.StartNetcat(ctx, port, d.cfg.Output, log)
	}
	return rsyncrunner.StartDaemon(ctx, rsyncrunner.DaemonConfig{
		Module: d.client.Tree.Module(), Hidden: d.key.Module, Path: d.base.Dir, Port: port, DropCache: d.cfg.DropCache,
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
