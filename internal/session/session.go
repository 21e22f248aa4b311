// SPDX-License-Identifier: LGPL-2.1-or-later

package session

import (
	"cmp"
	"context"
	"fmt"
	"os/exec"

	"vsc-zk/internal/link"
	"vsc-zk/internal/rsyncrunner"
	"vsc-zk/internal/session/destination"
	"vsc-zk/internal/session/guard"
	"vsc-zk/internal/session/leader"
	"vsc-zk/internal/session/member"
	"vsc-zk/internal/session/wire"
)

// Names of loggers, as in the Python program.
const (
	sourceLogger      = "RsyncSource"
	destinationLogger = "RsyncDestination"
	daemonLogger      = "RunDestination"
)

// Destination runs a destination until the session is over: it waits for a leader, starts a daemon and
// offers it to the sources.
func Destination(ctx context.Context, cfg Config) error {
	ctx, release := untilAsked(ctx, cfg.Member, func(error) bool { return false })
	defer release()
	client, err := newClient(ctx, cfg, destinationLogger)
	if err != nil {
		return err
	}
	base, err := cfg.newBase()
	if err != nil {
		return err
	}
	role := cfg.Destination
	role.DropCache, role.Output, role.Stall = cfg.Rsync.DropCache, cfg.Output, cfg.Stall
	role.Mode = cmp.Or(cfg.Link.Mode, link.TLS)
	if role.Identity, err = link.NewIdentity(); err != nil {
		return err
	}
	role.Logger = client.Log.With("logger", daemonLogger)
	if cfg.Lines > 0 {
		base = nil
	} else if err := cmp.Or(checkBase(base), checkRsync(ctx, &cfg)); err != nil {
		return err
	}
	if err := cfg.checkDestination(ctx, client.Whoami); err != nil {
		return err
	}
	d := destination.New(client, base, role)
	err = client.Run(ctx, []string{wire.PartyAll, wire.PartyDests, wire.PartyExt}, cfg.watched(func(ctx context.Context, m *member.Member) error {
		if base != nil {
			if err := meet(ctx, m, base, cfg, false); err != nil {
				return err
			}
		}
		return d.Play(ctx, m)
	}))
	return cmp.Or(err, client.Ended())
}

// untilAsked gives a context that ends when the client is asked to end, unless that is enough for it
// to end by itself.
func untilAsked(ctx context.Context, cfg member.Config, asked func(cause error) bool) (_ context.Context, release func()) {
	ctx, end := context.WithCancelCause(ctx)
	unhook := func() bool { return true }
	if ending := cfg.Ending; ending != nil {
		unhook = context.AfterFunc(ending, func() {
			if cause := context.Cause(ending); !asked(cause) {
				end(cause)
			}
		})
	}
	return ctx, func() { unhook(); end(nil) }
}

// newClient makes the part that every role has.
func newClient(ctx context.Context, cfg Config, logger string) (*member.Client, error) {
	if logger == sourceLogger {
		cfg.Member.Domain = "" // nobody has to reach a source
	}
	return member.NewClient(ctx, cfg.Member, logger)
}

func (c Config) newBase() (*guard.Base, error) {
	place, rsync := c.Base, c.Rsync.Adopt()
	place.Delete, place.OneFileSystem, place.LeaveOut = rsync.Delete, rsync.OneFileSystem, rsync.LeavesOut()
	return guard.NewBase(place)
}

// checkRsync finds what would make every run of rsync fail.
func checkRsync(ctx context.Context, cfg *Config) (err error) {
	if _, err := exec.LookPath("rsync"); err != nil {
		return fmt.Errorf("cannot work without rsync: %w; install it, or correct PATH", err)
	}
	if err := rsyncrunner.CheckVersion(ctx); err != nil {
		return err
	}
	cfg.Rsync, err = cfg.Rsync.Ready(ctx)
	return err
}

// PathsOnly walks the tree and fills the path queue as a leader does, then removes the queue again.
func PathsOnly(ctx context.Context, cfg Config) (built leader.Built, err error) {
	client, err := newClient(ctx, cfg, sourceLogger)
	if err != nil {
		return built, err
	}
	base, err := cfg.newBase()
	if err != nil {
		return built, err
	}
	if err := cmp.Or(checkBase(base), base.CheckExclude()); err != nil {
		return built, err
	}
	role := cfg.Leader
	role.Report, role.Failed, role.Lines = "", "", cfg.Lines // nothing becomes of the paths
	l := leader.New(ctx, client, base, role, leader.Asked{Rsync: cfg.Rsync, MaxDelete: -1}, nil)
	m, err := client.Join(ctx, []string{wire.PartyAll, wire.PartyExt, wire.PartySources})
	if err != nil {
		return built, err
	}
	defer m.ZK.Close()
	err = m.Play(ctx, func(ctx context.Context, m *member.Member) error {
		built, err = l.PathsOnly(ctx, m)
		return err
	})
	return built, err
}
