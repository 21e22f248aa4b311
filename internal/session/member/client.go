// SPDX-License-Identifier: LGPL-2.1-or-later

package member

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"vsc-zk/internal/session/wire"
	"vsc-zk/internal/zkclient"
)

// Client is one process of a session, over all its ZooKeeper sessions.
type Client struct {
	Tree   wire.Tree
	Whoami string // settled when it has joined a session for the first time
	Timing Timing
	Log    *slog.Logger
	Joined func() // tells whoever started the process, once, that the start went well

	system  string    // the host, as it calls itself
	version string    // of the program
	since   time.Time // when the process began
	board   board

	number    int  // in Whoami
	named     bool // nobody else has that
	checked   bool // the nodes of the session are nobody else's
	zookeeper zkclient.Config
	ending    context.Context       // ended: the client is asked to end
	epoch     atomic.Int64          // czxid of the S/watch/ready this process works for, 0: none met yet
	end       atomic.Pointer[error] // how that session ended, nil: it has not
}

// NewClient makes a client whose messages come from the named logger.
func NewClient(ctx context.Context, cfg Config, logger string) (*Client, error) {
	tree, err := wire.NewTree(cfg.Session)
	if err != nil {
		return nil, err
	}
	host, err := hostName(ctx, cfg.Host, cfg.Domain)
	if err != nil {
		return nil, err
	}
	c := &Client{
		Tree: tree, Whoami: wire.Whoami(host, os.Getpid()), number: os.Getpid(), Timing: cfg.Timing.withDefaults(),
		Joined: func() {}, zookeeper: cfg.Zookeeper, version: cfg.Version, since: time.Now(),
		ending: context.Background(),
	}
	c.system, _ = os.Hostname() // it is only shown
	handler := slog.Handler(slog.DiscardHandler)
	if cfg.Logger != nil {
		handler = cfg.Logger.Handler()
	}
	log := slog.New(warnings{handler, &c.board})
	c.Log = log.With("logger", logger)
	if cfg.Ending != nil {
		c.ending = cfg.Ending
	}
	c.zookeeper.Logger = log.With("logger", "zkclient")
	if cfg.Joined != nil {
		c.Joined = sync.OnceFunc(cfg.Joined)
	}
	return c, nil
}

// Epoch is the czxid of the S/watch/ready that this process works for; 0: it has met none.
func (c *Client) Epoch() int64 { return c.epoch.Load() }

// SetEpoch has the process work for the session whose S/watch/ready has this czxid.
func (c *Client) SetEpoch(czxid int64) { c.epoch.Store(czxid) }

// Ending ends when the client is asked to end, with the cause.
func (c *Client) Ending() context.Context { return c.ending }

// Ended is why the session that this process works for has ended before its work was done; nil: it has
// not, or as it should.
func (c *Client) Ended() error {
	if end := c.end.Load(); end != nil {
		return *end
	}
	return nil
}

// Reopen forgets how the session has ended: it goes on.
func (c *Client) Reopen() { c.end.Store(nil) }

// ErrRejoin is what a role returns that goes on in a new ZooKeeper session.
var ErrRejoin = errors.New("a new ZooKeeper session is needed")

// Run connects, joins the parties and plays the role, again and again over lost ZooKeeper sessions.
// It returns what the role returns; if ctx ended, the cause of that.
func (c *Client) Run(ctx context.Context, parties []string, role func(context.Context, *Member) error) error {
	for first := true; ; first = false {
		m, err := c.join(ctx, parties, first)
		if err != nil {
			return err
		}
		err = m.Play(ctx, func(ctx context.Context, m *Member) error {
			m.Background(func() { m.tell(ctx) })
			return role(ctx, m)
		})
		m.ZK.Close()
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, ErrRejoin):
			if err != ErrRejoin {
				c.Log.Warn(err.Error(), "event", "rejoin", "error", err)
			}
			continue
		case !errors.Is(err, zkclient.ErrSessionLost):
			return err
		}
		c.Log.Warn("The ZooKeeper session was lost: work in hand is given up, connecting again", "event", "session-lost", "error", err)
	}
}

// join makes one member. Only the first connection of a process may fail, and that of one which is
// asked to end.
func (c *Client) join(ctx context.Context, parties []string, first bool) (*Member, error) {
	for began := time.Now(); ; {
		m, err := c.Join(ctx, parties)
		switch {
		case err == nil:
			return m, nil
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case first && !errors.Is(err, zkclient.ErrSessionLost) || errors.Is(err, zkclient.ErrNoAuth), c.ending.Err() != nil && time.Since(began) >= c.Timing.Ending:
			return nil, err
		}
		c.Log.Warn(err.Error()+"; trying again", "error", err)
		if err := zkclient.Sleep(ctx, c.Timing.Reconnect); err != nil {
			return nil, err
		}
	}
}

// Join connects once, and joins the parties in their order.
func (c *Client) Join(ctx context.Context, parties []string) (*Member, error) {
	m, err := c.Connect(ctx)
	if err != nil {
		return nil, err
	}
	if !c.checked {
		if err := m.CheckNodes(ctx); err != nil {
			m.ZK.Close()
			return nil, err
		}
		c.checked = true
	}
	for _, kind := range parties {
		if err := m.Enter(ctx, kind); err != nil {
			m.ZK.Close()
			return nil, err
		}
	}
	return m, nil
}

// Connect makes a member that is in no party, to look.
func (c *Client) Connect(ctx context.Context) (*Member, error) {
	zk, err := zkclient.Connect(ctx, c.zookeeper)
	if err != nil {
		return nil, err
	}
	return &Member{ZK: zk, Client: c, Tree: c.Tree, Log: c.Log, parties: map[string]*zkclient.Party{}, others: map[string]*zkclient.Party{}}, nil
}
