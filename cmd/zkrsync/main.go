// SPDX-License-Identifier: LGPL-2.1-or-later

// Zkrsync spreads the rsync of one large directory tree over many processes and
// nodes, which ZooKeeper coordinates. Package session says how.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"time"

	"vsc-zk/internal/cli"
	"vsc-zk/internal/rsyncrunner"
	"vsc-zk/internal/session"
	"vsc-zk/internal/session/destination"
	"vsc-zk/internal/session/guard"
	"vsc-zk/internal/session/leader"
	"vsc-zk/internal/session/member"
	"vsc-zk/internal/session/wire"
	"vsc-zk/internal/session/worker"
	"vsc-zk/internal/zkclient"
)

// Exit statuses beside 0; the guide lists them. A signal n gives 128+n.
const (
	exitError      = 1
	exitNoSession  = 14 // --state: nothing is queued
	exitIncomplete = 23 // the run is over, not all paths are done
)

func main() {
	os.Exit(run(context.Background(), os.Args[1:], os.Environ(), os.Stdout, os.Stderr))
}

func run(ctx context.Context, args, environ []string, stdout, stderr io.Writer) int {
	var o options
	program := newProgram(&o)
	parsed, err := program.Parse(args, environ, stdout, stderr)
	if exit := (*cli.Exit)(nil); errors.As(err, &exit) {
		return exit.Code
	}
	logConfig := o.logConfig(program.Level(), stderr)
	early, _ := cli.OpenLog(logConfig) // cannot fail without a file
	refuse := func(err error) int {
		for _, warning := range parsed.Warnings { // they may be why
			early.Logger().Warn(warning)
		}
		early.Logger().Error(err.Error())
		return exitError
	}
	if err := errors.Join(err, o.validate()); err != nil {
		return refuse(err)
	}
	if err := keepFromChildren(); err != nil {
		return refuse(err)
	}
	ctx, stop := withSignals(ctx)
	defer stop()
	ignoreBrokenPipe()

	starter := os.Getpid()
	detached := func() {} // called once the daemon is up
	if o.daemon && !o.state && !o.pathsOnly {
		d, err := detach(ctx, &o, environ, early.Logger(), stderr)
		if err != nil {
			return refuse(err)
		}
		if d.parent {
			return d.code
		}
		defer d.end()
		starter, detached = d.starter, d.up
	}

	logConfig.File, err = cli.Expand(o.logFile, o.templateKeys(starter))
	if err != nil {
		return refuse(fmt.Errorf("cannot use --logfile: %w", err))
	}
	log, err := cli.OpenLog(logConfig)
	if err != nil {
		return refuse(err)
	}
	defer log.Close()
	for _, warning := range parsed.Warnings {
		log.Logger().Warn(warning)
	}

	cfg := o.config(log, stdout)
	cfg.Member.Joined = detached
	return exitStatus(ctx, o.play(ctx, cfg, stdout), log.Logger())
}

// errNoSession: --state found nothing.
const errNoSession = refusal("No active session")

// play does what the role options ask for: --state before --pathsonly before
// the roles, as in the original.
func (o *options) play(ctx context.Context, cfg session.Config, stdout io.Writer) error {
	switch {
	case o.state:
		return showState(ctx, cfg, stdout)
	case o.pathsOnly:
		return showPaths(ctx, cfg, stdout)
	case o.destination:
		return session.Destination(ctx, cfg)
	}
	if len(o.arbitOpts) > 0 {
		cfg.Member.Logger.With("logger", "RsyncSource").Warn("Adding unchecked flags --" + strings.Join(o.arbitOpts, " --"))
	}
	return session.Source(ctx, cfg)
}

// showState prints how far the session is.
func showState(ctx context.Context, cfg session.Config, stdout io.Writer) error {
	status, err := session.State(ctx, cfg)
	if err != nil {
		return err
	}
	line := fmt.Sprintf("Remaining: %d, Failed: %d", status.Remaining, status.Failed)
	if !status.Running {
		line, err = errNoSession.Error(), errNoSession
	}
	cfg.Member.Logger.With("logger", "RsyncSource").Info(line)
	fmt.Fprintln(stdout, line)
	return err
}

// showPaths builds the path queue for nothing and prints how long it took.
func showPaths(ctx context.Context, cfg session.Config, stdout io.Writer) error {
	built, err := session.PathsOnly(ctx, cfg)
	if errors.Is(err, session.ErrLocked) {
		return fmt.Errorf("%w: %w", refusal("There is already a lock on the pathtree of this session"), err)
	}
	if err != nil {
		return err
	}
	line := fmt.Sprintf("Building with depth %d took %f seconds walltime. there are %d paths in the Queue", built.Depth, built.Took.Seconds(), built.Paths)
	cfg.Member.Logger.Info(line)
	fmt.Fprintln(stdout, line)
	return nil
}

// exitStatus turns what a role returned into an exit status, and says it.
func exitStatus(ctx context.Context, err error, log *slog.Logger) int {
	var ended *signalError
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errNoSession):
		return exitNoSession
	case errors.Is(err, wire.ErrIncomplete):
		log.Error(err.Error())
		return exitIncomplete
	case errors.As(context.Cause(ctx), &ended):
		log.Warn(ended.Error())
		return 128 + int(ended.signal)
	default:
		log.Error(err.Error())
		return exitError
	}
}

// templateKeys are what %(key)s stands for in the names of log and pid file.
func (o *options) templateKeys(starter int) map[string]string {
	rstype := "None"
	switch {
	case o.source:
		rstype = "source"
	case o.destination:
		rstype = "dest"
	}
	return map[string]string{"session": o.session, "rstype": rstype, "pid": strconv.Itoa(starter)}
}

func (o *options) logConfig(level slog.Level, stderr io.Writer) cli.LogConfig {
	return cli.LogConfig{
		Level: level, MaxBytes: o.maxBytes, BackupCount: o.backupCount,
		JSON: o.logFormat == "json", Program: "zkrsync", Stderr: stderr,
	}
}

// config is what the session's package has to know.
func (o *options) config(log *cli.Log, stdout io.Writer) session.Config {
	cfg := session.Config{
		Member: member.Config{
			Zookeeper: zkclient.Config{Servers: o.servers, User: o.user, Password: o.passwd},
			Session:   o.session, Host: o.host, Domain: o.domain, Logger: log.Logger(),
		},
		Base: guard.Config{
			Path: o.rsyncPath, VerifyPath: o.verifyPath, Sentinel: o.sentinel, AllowEmpty: o.allowEmpty,
			Exclude: o.excludeRe, ExcludeUser: o.excludeUser, ExcludeBelow: o.excludeBelow,
		},
		Rsync: rsyncrunner.Options{
			Delete: o.delete, Checksum: o.checksum, HardLinks: o.hardLinks, Inplace: o.inplace, DryRun: o.dryRun,
			Verify: o.verify, Verbose: o.verbose, DropCache: o.dropCache, Timeout: o.timeout, Extra: o.arbitOpts,
		},
		MaxDelete: o.maxDelete,
		Jobs:      o.jobs,
		Worker:    worker.Config{Batch: o.batch, BatchTime: time.Duration(o.batchSeconds) * time.Second},
		Prefetch:  o.prefetch,
		Leader: leader.Config{
			Depth: o.depth, Walkers: o.walkers, Subpaths: o.subpaths,
			PathsFrom: o.pathsFrom, DoneFile: o.doneFile, Report: o.report, Failed: o.failed,
		},
		Destination: destination.Config{Port: o.rsyncPort, StartPort: o.startPort, Slots: o.slots},
		Stdout:      stdout, Output: log.Output(),
	}
	if o.netcat {
		cfg.Lines = netcatLines
	}
	return cfg
}

// netcatLines is how many paths --netcat makes up, as the original.
const netcatLines = 15
