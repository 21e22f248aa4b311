// SPDX-License-Identifier: LGPL-2.1-or-later

package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"vsc-zk/internal/cli"
	"vsc-zk/internal/link"
	"vsc-zk/internal/pathbuilder"
	"vsc-zk/internal/private"
	"vsc-zk/internal/session"
	"vsc-zk/internal/session/wire"
	"vsc-zk/internal/zkclient"
	"vsc-zk/internal/zkserver"
)

// A local session: a private ZooKeeper, and in this process a source with jobs and a destination. What it
// needs to go on after an interruption is in a directory of its own, for each pair of source and destination:
//
//	lock       held by the process that works
//	password   of the ZooKeeper user; nobody else has rights there
//	zkrs.conf  for looking at the session while it runs
//	zookeeper  the server's files
//
// When the run has come to its end the directory goes.

// localName is what a source and a destination of a local session are known by. As one process they need two
// names.
const (
	localSource      = "127.0.0.2"
	localDestination = "127.0.0.1"
)

// localLeave is how long the destination has to end by itself when the source has.
const localLeave = 5 * time.Second

// localRestarts is how often a server that has ended is started again.
const localRestarts = 5

// notLocal are the options that --local decides itself, or that mean nothing then.
var notLocal = []string{"servers", "user", "passwd", "passwd-file", "zk-tls", "zk-ca", "zk-cert", "zk-key",
	"source", "destination", "state", "watch", "pathsonly", "check", "inherit", "master", "no-master", "netcat",
	"host", "domain", "bind", "rsyncport", "open-daemon", "link-only", "verifypath"}

// setLocal puts what suits one machine in place of the defaults.
func (o *options) setLocal(parsed *cli.Parsed) error {
	for _, option := range notLocal {
		if _, given := parsed.Origin(option); given {
			return &session.OptionError{Option: option, Err: fmt.Errorf("cannot use --%s with --local: that is a session of its own, with its own ZooKeeper", option)}
		}
	}
	given := func(option string) bool { _, given := parsed.Origin(option); return given }
	if !given("jobs") {
		o.jobs = max(2, min(runtime.NumCPU(), 8))
	}
	if o.jobs < 1 {
		return &session.OptionError{Option: "jobs", Err: fmt.Errorf("cannot use --jobs=%d with --local: nobody would send", o.jobs)}
	}
	if !given("slots") {
		o.slots = o.jobs
	}
	if !given("depth") {
		o.depth = session.AutoDepth
	}
	if !given("link") {
		o.link = string(link.Plain)
	}
	if !given("session") {
		o.session = "local"
	}
	o.user, o.servers = "local", []string{localDestination} // the port shows later
	for _, name := range []*string{&o.rsyncPath, &o.local, &o.zookeeperHome} {
		if *name == "" {
			continue
		}
		absolute, err := filepath.Abs(*name)
		if err != nil {
			return err
		}
		*name = absolute
	}
	return nil
}

// playLocal runs a local session. It returns what the source does.
func (o *options) playLocal(ctx context.Context, cfg session.Config) (err error) {
	log := cfg.Member.Logger
	if err := os.Mkdir(o.local, 0o777); err != nil && !errors.Is(err, fs.ErrExist) {
		return &session.OptionError{Option: "local", Err: fmt.Errorf("cannot make the destination: %w", err)}
	}
	dir, unlock, err := o.claimState(cfg.Base.Path)
	if err != nil {
		return err
	}
	defer unlock()
	zookeeper := filepath.Join(dir, "zookeeper")
	switch _, missing := os.Stat(zookeeper); {
	case missing == nil && !o.resume:
		log.Warn("An earlier run from here to there was interrupted; this one begins anew. --resume would have gone on with it", "event", "begins-anew")
		if err := os.RemoveAll(zookeeper); err != nil {
			return fmt.Errorf("cannot begin anew: %w", err)
		}
	case missing != nil && o.resume:
		log.Info("There is nothing to go on with: this run begins")
	}
	program, err := zkserver.Find(o.zookeeperHome)
	if err != nil {
		return err
	}
	server, err := program.Private(ctx, zookeeper)
	if err != nil {
		return err
	}
	defer func() { server.Stop(syscall.SIGTERM) }()
	addr := server.Addr()
	if err := o.prepareLocal(ctx, &cfg, dir, addr); err != nil {
		return err
	}
	log.Info("ZooKeeper listens on "+addr+". To look at this session: zkrsync --state --configfiles="+filepath.Join(dir, "zkrs.conf"), "server", addr)

	end, err := o.accompany(ctx, cfg)
	if err != nil {
		return err
	}
	interrupted, err := runLocal(ctx, cfg, o.local, server)
	end()
	if err == nil || !interrupted && errors.Is(err, wire.ErrIncomplete) {
		server.Stop(syscall.SIGTERM)
		return cmp.Or(err, os.RemoveAll(dir)) // an account with failures says more
	}
	log.Warn(fmt.Sprintf("What is not done is kept in %s: the same command with --resume goes on with it", dir), "event", "interrupted", "file", dir)
	return err
}

// runLocal runs the source and the destination, and returns what the source does. If the destination ends
// before that, or the server is lost for good, the source is asked to end.
func runLocal(ctx context.Context, cfg session.Config, dst string, server *zkserver.Private) (interrupted bool, err error) {
	ctx, ask := context.WithCancelCause(ctx)
	defer ask(nil)
	over, leave := context.WithCancelCause(context.Background())
	defer leave(nil)
	outer := context.WithoutCancel(ctx)

	source, destination := cfg, cfg
	source.Member.Host, source.Member.Ending = localSource, ctx
	destination.Base.Path, destination.Member.Host, destination.Member.Ending = dst, localDestination, over
	destination.Member.Joined, destination.Watch = nil, nil

	received := make(chan error, 1)
	go func() {
		err := session.Destination(outer, destination)
		if err != nil {
			ask(err)
		}
		received <- err
	}()
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		if err := keep(over, server, cfg.Member.Logger); err != nil {
			ask(err)
		}
	}()

	err = session.Source(outer, source)
	if interrupted = ctx.Err() != nil; interrupted && cli.EndedBy(ctx) == nil {
		err = context.Cause(ctx)
	}
	late := time.AfterFunc(localLeave, func() { leave(errors.New("the run is over")) })
	<-received
	late.Stop()
	leave(nil)
	<-watched
	return interrupted, err
}

// keep starts the server again when it has ended, a few times, until ctx ends.
func keep(ctx context.Context, server *zkserver.Private, log *slog.Logger) error {
	for restarts := 0; ; restarts++ {
		select {
		case <-ctx.Done():
			return nil
		case <-server.Done():
		}
		err := server.Err()
		if restarts == localRestarts {
			return err
		}
		log.Warn(err.Error()+"; it is started again", "event", "zookeeper-again", "error", err)
		if err := server.Start(ctx); err != nil && ctx.Err() == nil {
			return err
		}
	}
}

// claimState makes the directory of this pair of source and destination, or finds it, and locks it.
func (o *options) claimState(src string) (dir string, unlock func(), err error) {
	base := os.Getenv("XDG_STATE_HOME")
	if home := os.Getenv("HOME"); base == "" && home != "" {
		base = filepath.Join(home, ".local", "state")
	}
	if !filepath.IsAbs(base) {
		return "", nil, errors.New("cannot keep the state of a local session: set HOME or XDG_STATE_HOME to a directory of yours")
	}
	pair := sha256.Sum256([]byte(realPath(src) + "\x00" + realPath(o.local)))
	base = filepath.Join(base, "zkrsync")
	dir = filepath.Join(base, fmt.Sprintf("local-%x", pair[:8]))
	if err = os.MkdirAll(base, 0o700); err == nil {
		err = private.KeepDir(dir)
	}
	if err != nil {
		return "", nil, fmt.Errorf("cannot keep the state of a local session: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return "", nil, fmt.Errorf("cannot keep the state of a local session: %w", err)
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		lock.Close()
		return "", nil, fmt.Errorf("cannot start: another zkrsync works from %s to %s (%w)", pathbuilder.Printable(src), pathbuilder.Printable(o.local), err)
	}
	return dir, func() { lock.Close() }, nil
}

// prepareLocal sets up the tree of a private ZooKeeper, and what the clients have to know of it.
func (o *options) prepareLocal(ctx context.Context, cfg *session.Config, dir, addr string) error {
	passwordFile := filepath.Join(dir, "password")
	password, err := os.ReadFile(passwordFile)
	if errors.Is(err, fs.ErrNotExist) {
		password = []byte(rand.Text())
		err = os.WriteFile(passwordFile, password, 0o600)
	}
	if err != nil {
		return fmt.Errorf("cannot keep the password of the private ZooKeeper: %w", err)
	}
	zookeeper := &cfg.Member.Zookeeper
	zookeeper.Servers, zookeeper.Password = []string{addr}, string(password)
	settings := fmt.Sprintf("[MAIN]\nservers=%s\nuser=%s\npasswd-file=%s\nsession=%s\nrsyncpath=%s\n",
		addr, o.user, percent(passwordFile), percent(o.session), percent(cfg.Base.Path))
	if err := os.WriteFile(filepath.Join(dir, "zkrs.conf"), []byte(settings), 0o600); err != nil {
		return fmt.Errorf("cannot write a config file: %w", err)
	}
	zk, err := zkclient.Connect(ctx, *zookeeper)
	if err != nil {
		return err
	}
	defer zk.Close()
	// The root and what ZooKeeper has there itself are open to all users of the machine otherwise.
	for _, node := range []string{"/", "/zookeeper", "/zookeeper/quota", path.Dir(wire.Base), wire.Base} {
		if _, err := zk.Create(ctx, node, nil, zkclient.Persistent); err == nil {
			continue
		} else if node != "/" && !errors.Is(err, zkclient.ErrNodeExists) {
			return err
		}
		if err := zk.SetACL(ctx, node, zk.ACL()); err != nil {
			return err
		}
	}
	return bury(ctx, zk, wire.Base)
}

// bury removes what earlier clients have left that goes with them: whoever has the lock knows that they are
// dead, and need not wait until ZooKeeper has seen it.
func bury(ctx context.Context, zk *zkclient.Client, node string) error {
	names, err := zk.Children(ctx, node)
	if err != nil {
		return err
	}
	for _, name := range names {
		child := path.Join(node, name)
		stat, found, err := zk.Exists(ctx, child)
		switch {
		case err != nil:
			return err
		case found && stat.EphemeralOwner != 0:
			err = zk.Delete(ctx, child)
		case stat.NumChildren > 0:
			err = bury(ctx, zk, child)
		}
		if err != nil && !errors.Is(err, zkclient.ErrNoNode) {
			return err
		}
	}
	return nil
}

// percent writes a value for a config file or a template.
func percent(value string) string { return strings.ReplaceAll(value, "%", "%%") }
