// SPDX-License-Identifier: LGPL-2.1-or-later

// Zkrsync spreads the rsync of one large directory tree over many processes and nodes, which
// ZooKeeper coordinates. Package session says how.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"sync"
	"syscall"

	"vsc-zk/internal/cli"
	"vsc-zk/internal/level"
	"vsc-zk/internal/link"
	"vsc-zk/internal/session"
	"vsc-zk/internal/session/leader"
	"vsc-zk/internal/session/wire"
	"vsc-zk/internal/zkclient"
)

// Exit statuses beside 0; the help lists them. A signal n gives 128+n.
const (
	exitError      = 1
	exitNoSession  = 14 // --state: there is no run
	exitStill      = 15 // --state: the run stands still
	exitLeaderless = 16 // --state: the run has no master
	exitEnded      = 20 // the master has ended the run before all was done
	exitHalted     = 21 // the run was stopped, as a user has asked for
	exitIncomplete = 23 // the run is over, not all paths are done
	exitUnnoted    = 24 // what was asked for is not noted by all

	// In place of exitError, with --sysexits; the numbers are those of sysexits.h.
	exitTryAgain   = 75
	exitNotAllowed = 77
	exitConfig     = 78
)

func main() {
	os.Exit(run(context.Background(), os.Args[1:], os.Environ(), os.Stdout, os.Stderr))
}

func run(ctx context.Context, args, environ []string, stdout, stderr io.Writer) int {
	var o options
	program := newProgram(&o)
	parsed, err := program.Parse(args, environ, stdout, stderr)
	var exit *cli.Exit
	if errors.As(err, &exit) {
		if exit.Code == exitError && o.sysexits {
			return exitConfig
		}
		return exit.Code
	}
	logConfig := cli.LogConfig{Level: program.Level(), JSON: o.logFormat == "json", Quiet: program.Quiet(), Program: "zkrsync", Stderr: stderr}
	supervisor := newSupervisor()
	if supervisor != nil {
		logConfig.Heard = supervisor.Said
	}
	log := cli.NewLog(logConfig)
	defer log.Close()
	refuse := func(err error) int {
		parsed.Warn(log.Logger()) // that may be the reason
		why := traced(err, parsed)
		code := o.errorStatus(err)
		log.Logger().Error(why, "error", why, "status", code)
		return code
	}
	if o.local != "" {
		if err := o.setLocal(parsed); err != nil {
			return refuse(err)
		}
	}
	if err := o.problem(); err != nil {
		return refuse(err)
	}
	if err := keepFromChildren(); err != nil {
		return refuse(err)
	}
	o.asked = make(chan struct{}, 1)
	on := map[syscall.Signal]func(){syscall.SIGUSR1: func() {
		select {
		case o.asked <- struct{}{}:
		default: // that is about to be told
		}
	}}
	if o.detaches() && isDaemon() || isService(os.Getenv) {
		on[syscall.SIGHUP] = log.Reopen // for who rotates logs; else it is the end of a terminal
	}
	ctx, stop := cli.WithSignals(ctx, on)
	defer stop()
	ignoreBrokenPipe()

	starter := os.Getpid()
	pidFile := ""
	joined := func() {} // called once the client has joined the session
	if supervisor != nil {
		joined = supervisor.ready
		over := make(chan struct{})
		var told sync.WaitGroup
		told.Go(func() { supervisor.run(ctx, over) })
		defer told.Wait()
		defer close(over)
	}
	if o.detaches() {
		d, err := detach(ctx, &o, parsed.Args, environ, log.Logger(), stderr)
		if err != nil {
			return refuse(err)
		}
		if d.parent {
			parsed.WarnOfSecrets(log.Logger())
			return d.code
		}
		defer d.end()
		starter, pidFile, joined = d.starter, d.pidFile, d.up
	}
	file, err := o.logFileAt(starter)
	if err == nil {
		err = o.checkFiles(file.Path, pidFile)
	}
	wrongFile := err // for --check, which only looks
	if o.checks {
		file.Path, err = "", nil
	}
	if at, given := parsed.Origin("logfile"); o.state && (!given || at != "") {
		file.Path = "" // the file of the clients is not for who looks at them
	}
	if err == nil {
		err = log.Open(file)
	}
	if err != nil {
		return refuse(err)
	}
	if !o.checks {
		parsed.Warn(log.Logger())
	}

	cfg := o.config(log, program.Version, stdout, joined)
	cfg.Member.Ending = ctx
	cfg.Given = func(option string) bool { _, given := parsed.Origin(option); return given }
	o.allSessions = !cfg.Given("session")
	cfg.Link.OnlyTLS = cfg.Given("link") && cfg.Link.Mode == link.TLS
	if o.watch {
		return o.exitStatus(ctx, o.showWatch(ctx, cfg, environ, stdout), parsed, log.Logger())
	}
	hideProgress := func() {}
	if !program.Quiet() {
		hideProgress = showProgress(&cfg, log, stdout, stderr)
	}
	var ended *leader.Summary
	cfg.Ended = func(s leader.Summary) { ended = &s }
	err = o.play(ctx, cfg, parsed, wrongFile, stdout)
	hideProgress()
	status := o.exitStatus(ctx, err, parsed, log.Logger())
	if ended != nil {
		log.Logger().Log(ctx, level.Notice, ended.Text(), "event", "summary")
	}
	if ended != nil && o.onEnd != "" {
		onEnd(ctx, o.onEnd, environ, *ended, status, onEndLimit, log.Logger())
	}
	return status
}

// play does what the options ask for: --state before --pathsonly before the roles, as in the original.
func (o *options) play(ctx context.Context, cfg session.Config, parsed *cli.Parsed, wrongFile error, stdout io.Writer) error {
	switch {
	case o.steers() != "":
		return o.steer(ctx, cfg, stdout)
	case o.checks:
		return o.check(ctx, cfg, parsed, wrongFile, stdout)
	case o.state:
		return o.showState(ctx, cfg, stdout)
	case o.pathsOnly:
		return showPaths(ctx, cfg, stdout)
	case o.onlyShows():
		return o.show(ctx, cfg, stdout)
	case o.local != "":
		return o.playLocal(ctx, cfg)
	}
	end, err := o.accompany(ctx, cfg)
	if err != nil {
		return err
	}
	defer end()
	if o.destination {
		return session.Destination(context.WithoutCancel(ctx), cfg) // which knows when it has to end
	}
	if len(o.arbitOpts) > 0 {
		cfg.Member.Logger.Warn("Adding unchecked flags --"+strings.Join(o.arbitOpts, " --"), "logger", "RsyncSource", "flags", o.arbitOpts)
	}
	return session.Source(context.WithoutCancel(ctx), cfg)
}

// showPaths builds the path queue for nothing and prints how long that took.
func showPaths(ctx context.Context, cfg session.Config, stdout io.Writer) error {
	built, err := session.PathsOnly(ctx, cfg)
	if err != nil {
		return err
	}
	line := fmt.Sprintf("Building with depth %d took %f seconds walltime. there are %d paths in the Queue", built.Depth, built.Took.Seconds(), built.Paths)
	cfg.Member.Logger.Info(line, "depth", built.Depth, "seconds", built.Took, "count", built.Paths)
	fmt.Fprintln(stdout, line)
	return nil
}

// exitStatus turns what a role returned into an exit status, and says it.
func (o *options) exitStatus(ctx context.Context, err error, parsed *cli.Parsed, log *slog.Logger) int {
	ended := cli.EndedBy(ctx)
	var found *stateFound
	switch {
	case err == nil:
		return 0
	case ended != nil && errors.Is(err, ended): // it has told what became of the run
		log.Warn(err.Error(), "signal", int(ended.Signal), "status", ended.ExitStatus())
		return ended.ExitStatus()
	case errors.Is(err, wire.ErrHalted):
		log.Warn(err.Error(), "error", err, "status", exitHalted)
		return exitHalted
	case errors.Is(err, wire.ErrEnded):
		log.Error(err.Error(), "error", err, "status", exitEnded)
		return exitEnded
	case errors.Is(err, errCheck):
		return exitError
	case errors.As(err, &found):
		return found.status
	case errors.Is(err, session.ErrNoRun):
		log.Error(err.Error(), "error", err, "status", exitNoSession)
		return exitNoSession
	case errors.Is(err, session.ErrUnnoted):
		log.Error(err.Error(), "error", err, "status", exitUnnoted)
		return exitUnnoted
	case errors.Is(err, wire.ErrIncomplete):
		log.Error(err.Error(), "error", err, "status", exitIncomplete)
		return exitIncomplete
	case ended != nil:
		log.Warn(fmt.Sprintf("%v: %v", ended, err), "signal", int(ended.Signal), "status", ended.ExitStatus())
		return ended.ExitStatus()
	}
	message := traced(err, parsed)
	if errors.Is(err, session.ErrLocked) {
		message = "There is already a lock on the pathtree of this session: " + message
	}
	code := o.errorStatus(err)
	log.Error(message, "error", err, "status", code)
	return code
}

// errorStatus is exitError or, with --sysexits, what a supervisor can act on. A base that is not there may
// only not be mounted yet.
func (o *options) errorStatus(err error) int {
	var of *session.OptionError
	switch {
	case !o.sysexits:
		return exitError
	case errors.Is(err, zkclient.ErrNoAuth), errors.Is(err, fs.ErrPermission):
		return exitNotAllowed
	case errors.Is(err, session.ErrTerms), errors.As(err, &of) && !(of.Option == "rsyncpath" && o.rsyncPath != ""):
		return exitConfig
	}
	return exitTryAgain
}
