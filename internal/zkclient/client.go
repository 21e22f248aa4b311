// SPDX-License-Identifier: LGPL-2.1-or-later

package zkclient

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/go-zookeeper/zk"
)

// Client is one ZooKeeper session. Its methods may be called from several goroutines at once.
type Client struct {
	*session

	servers []string
	chroot  string
	acl     []zk.ACL
	poll    time.Duration
	conn    *zk.Conn
	events  <-chan zk.Event
	done    chan struct{} // closed when the library's goroutines have ended

	adding chan struct{} // held by the one AddCounters at work

	state   sync.Mutex // guards what follows
	closed  bool
	fence   string
	watches map[watchKey]*watch
	arming  int            // requests under way that set watches
	tasks   sync.WaitGroup // every goroutine of this client
}

// Connect makes a session. It returns when the session stands and the credentials have been
// presented, at the latest after cfg.ConnectTimeout. The server does not notice a wrong password
// then; it shows as [ErrNoAuth] later. A chroot must exist.
func Connect(ctx context.Context, cfg Config) (*Client, error) {
	if cfg.TLS == nil {
		return connect(ctx, cfg, (&net.Dialer{}).DialContext)
	}
	dial, err := cfg.TLS.dialer()
	if err != nil {
		return nil, err
	}
	return connect(ctx, cfg, dial)
}

func connect(ctx context.Context, cfg Config, tcp dialFunc) (*Client, error) {
	cfg = cfg.withDefaults()
	servers, chroot, err := ParseServers(cfg.Servers)
	if err != nil {
		return nil, err
	}
	c := &Client{
		session: newSession(context.WithoutCancel(ctx), cfg, len(servers), tcp),
		servers: servers,
		chroot:  chroot,
		acl:     zk.WorldACL(zk.PermAll),
		poll:    cfg.PollInterval,
		done:    make(chan struct{}),
		adding:  make(chan struct{}, 1),
		watches: make(map[watchKey]*watch),
	}
	c.session.watching = c.watching
	if cfg.User != "" {
		c.acl = zk.DigestACL(zk.PermAll, cfg.User, cfg.Password)
	}
	c.conn, c.events, err = zk.Connect(servers, cfg.SessionTimeout,
		zk.WithDialer(c.dial(len(servers))),
		zk.WithHostProvider(&hosts{quitting: c.quitting}),
		zk.WithEventCallback(c.event),
		zk.WithLogger(libraryLog{c.log}),
	)
	if err != nil {
		return nil, fmt.Errorf("cannot connect to ZooKeeper: %w", err)
	}
	go c.shutdown()

	ctx, cancel := context.WithTimeout(ctx, cfg.ConnectTimeout)
	defer cancel()
	if err := c.establish(ctx, cfg); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

func (c *Client) establish(ctx context.Context, cfg Config) error {
	if err := c.ready(ctx); err != nil {
		return c.connectError(ctx, cfg, err)
	}
	c.announce()
	for _, fn := range []func(){c.clock, c.report} {
		if err := c.start(fn); err != nil {
			return err
		}
	}
	if cfg.User != "" {
		_, err := await(ctx, c, func() (struct{}, error) {
			return struct{}{}, c.retry(ctx, func() error {
				return c.conn.AddAuth("digest", []byte(cfg.User+":"+cfg.Password))
			})
		}, nil)
		if err != nil {
			return c.connectError(ctx, cfg, err)
		}
	}
	if c.chroot == "" {
		return nil
	}
	_, found, err := c.Exists(ctx, "/")
	if err != nil {
		return c.connectError(ctx, cfg, err)
	}
	if !found {
		return fmt.Errorf("cannot use the servers' chroot %s: %w; create it first", c.chroot, ErrNoNode)
	}
	return nil
}

// connectError is the line that a user sees when there is no ZooKeeper.
func (c *Client) connectError(ctx context.Context, cfg Config, err error) error {
	if !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("cannot connect to ZooKeeper at %s as user %q: %w", strings.Join(c.servers, ","), cfg.User, err)
	}
	c.mu.Lock()
	var notes []string
	for server, why := range c.notes {
		notes = append(notes, fmt.Sprintf("%s: %v", server, why))
	}
	c.mu.Unlock()
	sort.Strings(notes)
	if len(notes) == 0 {
		notes = append(notes, err.Error())
	}
	return fmt.Errorf("cannot connect to ZooKeeper at %s as user %q within %v: %s; check that a server runs there and that host and port are right",
		strings.Join(c.servers, ","), cfg.User, cfg.ConnectTimeout, strings.Join(notes, "; "))
}

// Context ends when the session has: the cause matches [ErrSessionLost].
func (c *Client) Context() context.Context { return c.ctx }

// SessionID is the session's number, as in the EphemeralOwner of its ephemeral nodes.
func (c *Client) SessionID() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.id
}

// Seen is a transaction that is over: the last of which this client has heard.
func (c *Client) Seen() int64 { return c.seen() }

// SetFence makes every later Multi begin with a check that path exists, an ephemeral node of this
// session such as its own party znode. When path is gone the Multi is refused as [ErrSessionLost].
// AddCounters counts by the version of this node, and leaves its data as they are. An empty path
// removes the fence.
func (c *Client) SetFence(path string) {
	c.state.Lock()
	defer c.state.Unlock()
	c.fence = path
}

func (c *Client) fencePath() string {
	c.state.Lock()
	defer c.state.Unlock()
	return c.fence
}

// Close ends the session, so that its ephemeral nodes go at once. It returns when nothing of the
// client runs any more: after a round trip, or after about a second when the server does not
// answer.
func (c *Client) Close() {
	c.state.Lock()
	c.closed = true
	c.state.Unlock()
	c.end(errClosed)
	<-c.done
	c.tasks.Wait()
}

// shutdown ends the library once the session has ended.
func (c *Client) shutdown() {
	defer close(c.done)
	<-c.ctx.Done()
	if context.Cause(c.ctx) != errClosed || !c.connected() {
		c.cut() // nothing that still waits may be sent
		<-c.parked
	}
	close(c.closing)
	c.conn.Close() // the farewell; waits a second for the answer
	c.cut()
	for range c.events { // closed as the last act of the library
	}
}

// libraryLog takes the library's log lines.
type libraryLog struct{ log *slog.Logger }

func (l libraryLog) Printf(format string, args ...any) {
	l.log.Debug(fmt.Sprintf(format, args...))
}
