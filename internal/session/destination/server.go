// SPDX-License-Identifier: LGPL-2.1-or-later

package destination

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"

	"vsc-zk/internal/link"
	"vsc-zk/internal/rsyncrunner"
	"vsc-zk/internal/session/member"
)

// server serves sources: a listener lets them in, and an rsync serves each connection.
type server struct {
	d         *Destination
	rsync     *rsyncrunner.Daemon
	listener  *link.Listener
	following sync.WaitGroup
	unfollow  context.CancelFunc
}

// refusal is what a source of the Python version, or any rsync, is told.
const refusal = "this destination of zkrsync takes only sources of its session that prove who they are; for others it has to be started with --open-daemon"

// newServer begins to serve on a port; rsync is closed with it.
func (d *Destination) newServer(ctx context.Context, m *member.Member, rsync *rsyncrunner.Daemon, port int) (*server, error) {
	known := newKeys(m)
	s := &server{d: d, rsync: rsync}
	var err error
	s.listener, err = link.Listen(link.ListenerConfig{
		Address: d.cfg.Bind, Port: port, Identity: d.cfg.Identity, Mode: d.cfg.Mode, Slots: d.cfg.Slots,
		Known: known.has, Learn: known.learn, Open: d.cfg.Open, Refusal: refusal, Serve: s.serve, Logger: d.cfg.Logger,
	})
	if err != nil {
		return nil, err
	}
	var following context.Context
	following, s.unfollow = context.WithCancel(ctx)
	s.following.Go(func() {
		if err := known.follow(following, s.listener.Check); err != nil && following.Err() == nil {
			m.Fail(err) // nobody would be cut off any more
		}
	})
	return s, nil
}

// serve has an rsync serve one connection.
func (s *server) serve(ctx context.Context, conn *os.File) error {
	err := s.rsync.Serve(ctx, conn)
	if errors.Is(err, rsyncrunner.ErrStalled) {
		s.d.client.Log.Warn(fmt.Sprintf("An rsync of this destination is ended: %v", err), "event", "stalled", "destination", s.d.client.Whoami, "error", err)
	}
	return err
}

// Try enters the module as a source does, through the listener, and leaves again before anything is sent. Only what
// rsync itself writes is not tried.
func (s *server) Try(ctx context.Context) error {
	conn, err := link.Dial(ctx, s.d.cfg.Identity, link.Target{Addr: s.listener.Addr(), Fingerprint: s.d.cfg.Identity.Fingerprint()})
	if err == nil {
		err = rsyncrunner.Enter(ctx, conn, s.d.client.Tree.Module())
		conn.Close()
	}
	if err != nil {
		return fmt.Errorf("cannot use the rsync daemon of this destination on port %d: %w", s.listener.Port(), err)
	}
	return nil
}

func (s *server) Done() <-chan struct{} { return s.listener.Done() }

func (s *server) Err() error { return s.listener.Err() }

func (s *server) Stop() {
	s.unfollow()
	s.following.Wait()
	s.listener.Stop()
	s.rsync.Close()
}
