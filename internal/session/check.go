// SPDX-License-Identifier: LGPL-2.1-or-later

package session

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"vsc-zk/internal/getent"
	"vsc-zk/internal/private"
	"vsc-zk/internal/rsyncrunner"
	"vsc-zk/internal/session/destination"
	"vsc-zk/internal/session/guard"
	"vsc-zk/internal/session/member"
	"vsc-zk/internal/session/wire"
	"vsc-zk/internal/status"
	"vsc-zk/internal/zkclient"
)

// Finding is what Check says about one thing: how it is, or what is wrong with it and what to do.
type Finding struct {
	What string // the thing, in a word or two
	Good string // how it is, if Err is nil
	Err  error
	Note bool // Err keeps nobody from working
}

// How long Check waits for one server, and for a file system.
const (
	checkServer = 5 * time.Second
	checkFiles  = 20 * time.Second
)

// checkClock is by how much the clock of a host may be off: what changes while a run is taken over is found
// by times, with a minute to spare.
const checkClock = 10 * time.Second

// Files that one job of a source or one slot of a destination has open at most, and the rest of a client.
const (
	filesPerJob = 16
	filesOfRest = 64
)

// Check looks for all that would keep a client of this configuration from working: a source, a destination, or
// with neither what concerns both. It joins nothing; of what it writes (a znode that goes at once, files
// without names) nothing stays.
func Check(ctx context.Context, cfg Config, source, dest bool, tell func(Finding)) {
	c := checker{cfg: cfg, source: source, destination: dest, tell: tell}
	if c.servers(ctx) {
		c.zookeeper(ctx)
	}
	c.rsync(ctx)
	if cfg.Base.Path != "" {
		// Below a file server that hangs nobody comes back.
		found := make(chan Finding)
		go func() {
			defer close(found)
			c.base(func(f Finding) { found <- f })
		}()
		c.await(ctx, found)
	}
	if source {
		c.say("files", "what --done-file, --report, --failed, --history, --paths-from and --changed name can be used", cmp.Or(cfg.checkLeader(), cfg.checkExclude(ctx)))
	}
	if dest {
		c.reach(ctx)
	}
	c.temporary()
	c.limits()
}

// checker is one Check.
type checker struct {
	cfg                 Config
	source, destination bool
	tell                func(Finding)
}

func (c *checker) say(what, good string, err error) {
	c.tell(Finding{What: what, Good: good, Err: err})
}

func (c *checker) note(what string, err error) { c.tell(Finding{What: what, Err: err, Note: true}) }

// await passes on what a goroutine finds, as long as that comes.
func (c *checker) await(ctx context.Context, found <-chan Finding) {
	for {
		select {
		case f, more := <-found:
			if !more {
				return
			}
			c.tell(f)
		case <-ctx.Done():
			return
		case <-time.After(checkFiles):
			c.say("base", "", fmt.Errorf("cannot look at %s: its file system has not answered for %v", c.cfg.Base.Path, checkFiles))
			return
		}
	}
}

// servers asks each server by itself, and tells whether one has answered.
func (c *checker) servers(ctx context.Context) bool {
	servers, _, err := zkclient.ParseServers(c.cfg.Member.Zookeeper.Servers)
	if err != nil {
		c.say("ZooKeeper", "", err)
		return false
	}
	problems := make([]error, len(servers))
	var group errgroup.Group
	for i, server := range servers {
		group.Go(func() error {
			one := c.cfg.Member.Zookeeper
			one.Servers, one.ConnectTimeout = []string{server}, checkServer
			zk, err := zkclient.Connect(ctx, one)
			if problems[i] = err; err == nil {
				zk.Close()
			}
			return nil
		})
	}
	_ = group.Wait()
	answers := 0
	for _, err := range problems {
		if err == nil {
			answers++
		}
	}
	for i, err := range problems {
		if err != nil && answers > 0 {
			c.note("ZooKeeper", fmt.Errorf("%w; clients use the other servers", err))
			continue
		}
		c.say("ZooKeeper", servers[i]+" answers", err)
	}
	return answers > 0
}

// zookeeper looks at the tree, the rights on it, the session and the clock.
func (c *checker) zookeeper(ctx context.Context) {
	client, err := newClient(ctx, c.cfg, sourceLogger)
	var m *member.Member
	if err == nil {
		m, err = client.Connect(ctx)
	}
	if err != nil {
		c.say("ZooKeeper", "", err)
		return
	}
	defer m.ZK.Close()
	const way = "type zkinitree --configfiles=zkinitree.cfg, with your own copy of the example"
	_, found, err := m.ZK.Exists(ctx, wire.Base)
	if err == nil && !found {
		err = fmt.Errorf("cannot find %s: %s", wire.Base, way)
	}
	c.say("tree", wire.Base+" is there", err)
	if err != nil {
		return
	}
	ahead, err := c.try(ctx, m)
	if errors.Is(err, zkclient.ErrNoAuth) {
		err = fmt.Errorf("%w; give --user and --passwd-file as zkinitree.cfg has them, or put these in and %s", err, way)
	}
	user := c.cfg.Member.Zookeeper.User
	c.say("rights", fmt.Sprintf("user %s may run sessions", user), err)
	if err != nil {
		return
	}
	c.say("session", fmt.Sprintf("nobody else's is called %s", m.Tree.Name()), m.CheckNodes(ctx))
	off := ahead.Abs()
	err = nil
	if off > checkClock {
		direction := "ahead of"
		if ahead < 0 {
			direction = "behind"
		}
		err = fmt.Errorf("the clock of this host is %v %s that of ZooKeeper; have both set by one time server: timedatectl set-ntp true, or chronyc makestep", off.Round(time.Second), direction)
	}
	c.say("clock", fmt.Sprintf("%v from that of ZooKeeper", off.Round(10*time.Millisecond)), err)
}

// try does with a znode that goes at once what sessions need, and tells by how much this host's clock is ahead
// of the server's that has made it.
func (c *checker) try(ctx context.Context, m *member.Member) (ahead time.Duration, err error) {
	before := time.Now()
	path, err := m.ZK.Create(ctx, wire.Base+"/.check-", nil, zkclient.EphemeralSequential)
	if err != nil {
		return 0, err
	}
	middle := before.Add(time.Since(before) / 2)
	stat, _, err := m.ZK.Exists(ctx, path)
	if _, listed := m.ZK.Children(ctx, wire.Base); err == nil {
		err = listed
	}
	return middle.Sub(time.UnixMilli(stat.Made)), cmp.Or(err, m.ZK.Delete(ctx, path))
}

func (c *checker) rsync(ctx context.Context) {
	version, file, err := rsyncrunner.Version(ctx)
	if err == nil {
		err = checkRsync(ctx, &c.cfg)
	}
	c.say("rsync", fmt.Sprintf("%s (%s)", version, file), err)
	if err != nil || !c.source {
		return
	}
	if follows, err := rsyncrunner.FollowsLinks(ctx); err == nil && follows {
		c.note("rsync", fmt.Errorf("%s is older than 3.5.0, and follows links that the owners of directories swap in while it reads: install a newer one where others own directories", version))
	}
	if os.Geteuid() != 0 {
		c.note("user", errors.New("this is not root, so what this user cannot read fails"))
	}
}

// base looks at the base, what it lies on, and what can be done there.
func (c *checker) base(tell func(Finding)) {
	base, err := c.cfg.newBase()
	if err == nil {
		err = checkBase(base)
	}
	if err == nil && c.source {
		err = cmp.Or(base.CheckExclude(), base.CheckNotEmpty())
	}
	if err != nil {
		tell(Finding{What: "base", Err: err})
		return
	}
	on, err := base.On()
	tell(Finding{What: "base", Good: fmt.Sprintf("%s, on %s", base.Dir, on), Err: err})
	if !c.destination {
		return
	}
	space, err := guard.SpaceBelow(base.Dir)
	err = cmp.Or(err, guard.Room(base.Dir), guard.TryWrite(base.Dir, false))
	tell(Finding{What: "room", Good: room(space), Err: err})
	if os.Geteuid() != 0 {
		tell(Finding{What: "user", Err: errors.New("this is not root, so owners, groups, devices and some links are not preserved"), Note: true})
	}
}

// room is how much there is, as states tell it.
func room(space guard.Space) string {
	text := fmt.Sprintf("%s of %s free", status.FormatBytes(space.Free), status.FormatBytes(space.Size))
	if space.Inodes > 0 {
		text += fmt.Sprintf(", %d of %d inodes", space.Unused, space.Inodes)
	}
	return text
}

// reach looks at what sources need to get to this destination.
func (c *checker) reach(ctx context.Context) {
	client, err := newClient(ctx, c.cfg, destinationLogger)
	if err != nil {
		c.say("name", "", err)
		return
	}
	host := wire.HostOf(client.Whoami)
	err = cmp.Or(c.cfg.checkDestination(ctx, client.Whoami), getent.CheckHost(ctx, host))
	c.say("name", "sources reach this destination as "+host, err)
	if err == nil && destination.IsLoopback(ctx, host) {
		c.note("name", fmt.Errorf("%s is a loopback address: sources on other hosts cannot reach it; give a name or an address that they can with --host", host))
	}
	port, err := c.port()
	c.say("port", fmt.Sprintf("%d is free; a firewall has to let sources through to it", port), err)
}

// port finds the port that the destination would have.
func (c *checker) port() (port int, err error) {
	d := c.cfg.Destination
	first, last := d.StartPort, 65535
	if d.Port != 0 {
		first, last = d.Port, d.Port
	}
	for port = first; port <= last; port++ {
		var listener net.Listener
		if listener, err = net.Listen("tcp", net.JoinHostPort(d.Bind, strconv.Itoa(port))); err == nil {
			return port, listener.Close()
		}
	}
	return 0, fmt.Errorf("cannot listen on a port from %d to %d: %w; see who does with ss -ltnp, or give another --startport or --rsyncport", first, last, err)
}

func (c *checker) temporary() {
	dir, err := private.TempDir(c.cfg.Destination.TempDir, "zkrsync-")
	if err == nil {
		err = os.Remove(dir)
	} else if !strings.Contains(err.Error(), "TMPDIR") {
		err = fmt.Errorf("cannot make temporary files (set TMPDIR to a directory that can be written): %w", err)
	}
	c.say("temporary", "files can be made in "+cmp.Or(c.cfg.Destination.TempDir, os.TempDir()), err)
}

func (c *checker) limits() {
	jobs := 1
	if c.source {
		jobs = max(jobs, c.cfg.Jobs)
	}
	if c.destination {
		jobs = max(jobs, c.cfg.Destination.Slots)
	}
	need := uint64(filesOfRest + jobs*filesPerJob)
	var limit unix.Rlimit
	err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit)
	if err == nil && limit.Max < need {
		err = fmt.Errorf("this process may have %d files open, and %d jobs or slots may need %d: type ulimit -n %[3]d as root, or set LimitNOFILE=%[3]d in the unit", limit.Max, jobs, need)
	}
	c.say("open files", fmt.Sprintf("%d are allowed, at most %d are needed", limit.Max, need), err)
}
