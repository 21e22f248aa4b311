// SPDX-License-Identifier: LGPL-2.1-or-later

package destination

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"vsc-zk/internal/rsyncrunner"
	"vsc-zk/internal/session/member"
	"vsc-zk/internal/session/pool"
	"vsc-zk/internal/session/wire"
	"vsc-zk/internal/zkclient"
)

// errPortReserved: --rsyncport names a port another destination has.
var errPortReserved = errors.New("the port is reserved by another destination of this session on this host")

// listen begins to serve on a port that it reserves: the given one, or the first that no destination of the
// session has reserved on this host and no program has open.
func (d *Destination) listen(ctx context.Context, m *member.Member) (server daemon, port int, err error) {
	start, undo, err := d.prepare(ctx, m)
	if err != nil {
		return nil, 0, err
	}
	defer func() {
		if err != nil {
			undo()
		}
	}()
	if d.cfg.Port == 0 {
		return d.tryListen(ctx, m, start)
	}
	// The node of a lost session of ours may be there for a while.
	patience := m.ZK.SessionTimeout()
	for end := time.Now().Add(patience * 3 / 2); ; {
		server, port, err := d.tryListen(ctx, m, start)
		if !errors.Is(err, errPortReserved) || time.Now().After(end) {
			return server, port, err
		}
		if err := zkclient.Sleep(ctx, d.client.Timing.Poll); err != nil {
			return nil, 0, err
		}
	}
}

func (d *Destination) tryListen(ctx context.Context, m *member.Member, start starter) (server daemon, port int, err error) {
	lock := m.ZK.Lock(m.Tree.PortLock(), d.client.Whoami)
	if err := lock.Acquire(ctx); err != nil {
		return nil, 0, err
	}
	defer func() {
		if e := m.Unlock(ctx, lock); e != nil {
			err = errors.Join(err, e)
		}
		if err != nil && server != nil {
			server.Stop()
		}
	}()
	if server, port, err = d.choosePort(ctx, m, start); err != nil {
		return nil, 0, err
	}
	if err := pool.PublishPort(ctx, m, port); err != nil {
		return server, 0, errors.Join(err, d.freePort(ctx, m, port))
	}
	return server, port, nil
}

func (d *Destination) choosePort(ctx context.Context, m *member.Member, start starter) (daemon, int, error) {
	host := wire.HostOf(d.client.Whoami)
	first, last := d.cfg.StartPort, 65535
	if d.cfg.Port != 0 {
		first, last = d.cfg.Port, d.cfg.Port
	}
	for port := first; port <= last; port++ {
		_, err := m.ZK.CreatePath(ctx, m.Tree.UsedPort(host, port), nil, zkclient.Ephemeral)
		if errors.Is(err, zkclient.ErrNodeExists) {
			continue
		}
		if err != nil {
			return nil, 0, err
		}
		server, err := start(port)
		if err == nil {
			return server, port, nil
		}
		if e := d.freePort(ctx, m, port); e != nil {
			return nil, 0, errors.Join(err, e)
		}
		if d.cfg.Port != 0 || !errors.Is(err, syscall.EADDRINUSE) {
			return nil, 0, err
		}
	}
	if d.cfg.Port != 0 {
		return nil, 0, fmt.Errorf("cannot use port %d (--rsyncport): %w", d.cfg.Port, errPortReserved)
	}
	return nil, 0, fmt.Errorf("cannot find a free port from %d on (--startport)", first)
}

// starter begins to serve on a port.
type starter func(port int) (daemon, error)

// prepare makes what is needed whatever port it will be; undo takes that back.
func (d *Destination) prepare(ctx context.Context, m *member.Member) (start starter, undo func(), err error) {
	if d.base == nil {
		return func(port int) (daemon, error) {
			return rsyncrunner.StartNetcat(ctx, d.cfg.Bind, port, d.cfg.Output, d.cfg.Logger)
		}, func() {}, nil
	}
	cfg := rsyncrunner.DaemonConfig{
		Module: d.client.Tree.Module(), Path: d.base.Dir, DropCache: d.cfg.DropCache, Stall: d.cfg.Stall,
		TempDir: d.cfg.TempDir, Output: d.cfg.Output, Logger: d.cfg.Logger,
	}
	terms, err := m.Terms(ctx)
	if err != nil {
		return nil, nil, err
	}
	if terms[wire.PartialTerm] != "" {
		cfg.Begun = d.partials.note
	}
	cfg.Looks = !d.cfg.Open && (terms[wire.DryRunTerm] != "" || terms[wire.VerifyTerm] != "")
	rsync, err := rsyncrunner.NewDaemon(ctx, cfg)
	if err != nil {
		return nil, nil, err
	}
	return func(port int) (daemon, error) { return d.newServer(ctx, m, rsync, port) }, rsync.Close, nil
}

func (d *Destination) freePort(ctx context.Context, m *member.Member, port int) error {
	err := m.ZK.Delete(ctx, m.Tree.UsedPort(wire.HostOf(d.client.Whoami), port))
	if err != nil && !errors.Is(err, zkclient.ErrNoNode) {
		return fmt.Errorf("cannot free port %d: %w", port, err)
	}
	return nil
}
