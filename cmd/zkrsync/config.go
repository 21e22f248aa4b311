// SPDX-License-Identifier: LGPL-2.1-or-later

package main

import (
	"fmt"
	"io"
	"strconv"
	"time"

	"vsc-zk/internal/cli"
	"vsc-zk/internal/link"
	"vsc-zk/internal/rsyncrunner"
	"vsc-zk/internal/session"
	"vsc-zk/internal/session/destination"
	"vsc-zk/internal/session/guard"
	"vsc-zk/internal/session/leader"
	"vsc-zk/internal/session/member"
	"vsc-zk/internal/session/worker"
	"vsc-zk/internal/zkclient"
)

// netcatLines is how many paths --netcat makes up, as in the original.
const netcatLines = 15

// config is what package session has to know: what concerns every client, what all sources agree
// on, and a part for each role. All parts are filled in: a source can become the master, and a
// destination checks its rsync, too. joined is called when the client has joined the session.
func (o *options) config(log *cli.Log, version string, stdout io.Writer, joined func()) session.Config {
	lines := 0
	if o.netcat {
		lines = netcatLines
	}
	return session.Config{
		Member: member.Config{
			Zookeeper: zkclient.Config{Servers: o.servers, User: o.user, Password: o.passwd, TLS: o.tls.Config(), SessionTimeout: time.Duration(o.sessionTimeout) * time.Second},
			Session:   o.session,
			Host:      o.host,
			Domain:    o.domain,
			Version:   version,
			Joined:    joined,
			Logger:    log.Logger(),
		},

		Base: guard.Config{
			Path:         o.rsyncPath,
			VerifyPath:   o.verifyPath,
			Sentinel:     o.sentinel,
			AllowEmpty:   o.allowEmpty,
			Exclude:      o.excludeRe,
			ExcludeUser:  o.excludeUser,
			ExcludeBelow: o.excludeBelow,
		},
		Rsync: rsyncrunner.Options{
			Delete:        o.delete,
			Checksum:      o.checksum,
			HardLinks:     o.hardLinks,
			Inplace:       o.inplace,
			Partial:       o.partial,
			ACLs:          o.acls,
			XAttrs:        o.xattrs,
			OneFileSystem: o.oneFileSystem,
			UserMap:       o.userMap,
			GroupMap:      o.groupMap,
			DryRun:        o.dryRun,
			Verify:        o.verify,
			Verbose:       o.verbose,
			DropCache:     o.dropCache,
			Timeout:       o.timeout,
			Extra:         o.arbitOpts,
		},
		MaxDelete: o.maxDelete,
		Lines:     lines,
		Inherit:   o.inherit,
		Resume:    o.resume,
		Master:    o.master,
		NoMaster:  o.noMaster,

		Jobs:     o.jobs,
		Prefetch: o.prefetch,
		Stall:    time.Duration(o.stall) * time.Second,
		Link:     session.Link{Mode: link.Mode(o.link), Only: o.linkOnly},
		Worker: worker.Config{
			Batch:     o.batch,
			BatchTime: time.Duration(o.batchSeconds) * time.Second,
		},
		Leader: leader.Config{
			Depth:       o.depth,
			Walkers:     o.walkers,
			Subpaths:    o.subpaths,
			PathsFrom:   o.pathsFrom,
			History:     o.history,
			Changed:     o.changedFile(),
			DoneFile:    o.doneFile,
			Report:      o.report,
			Failed:      o.failed,
			NoSync:      o.noSync,
			MaxFailures: o.maxFailures,
			LateRetries: o.lateRetries,
			BwLimit:     o.limit(),
		},
		Destination: destination.Config{
			Slots:     o.slots,
			FlushEach: time.Duration(o.syncInterval) * time.Second,
			Port:      o.rsyncPort,
			StartPort: o.startPort,
			Bind:      o.bind,
			Open:      o.openDaemon,
		},

		Stdout: stdout,
		Output: log.Output(!o.netcat),
	}
}

// limit is the bandwidth of the session, which problem has found good.
func (o *options) limit() int {
	rate, _ := parseRate(o.bwLimit)
	return rate
}

// detaches tells whether the client goes into the background.
func (o *options) detaches() bool { return o.daemon && !o.aside() }

// hasRole tells whether this process is to take part in a session, or, with --check, to be looked at as one that does.
func (o *options) hasRole() bool { return o.source || o.destination || o.local != "" }

// aside tells whether it does something else than to take part.
func (o *options) aside() bool {
	return o.state || o.watch || o.pathsOnly || o.checks || o.steers() != ""
}

// needsBase tells whether it has to know the base directory.
func (o *options) needsBase() bool {
	switch {
	case o.state, o.watch, o.steers() != "", o.onlyShows(), o.checks && !o.hasRole():
		return false
	}
	return !(o.inherit && o.source)
}

// logFileAt is the log file of a client that was started by a process of this pid. What steers a run, watches one, or
// shows some in the foreground, has none.
func (o *options) logFileAt(starter int) (cli.LogFile, error) {
	if o.steers() != "" || o.watch || o.onlyShows() && !o.daemon {
		return cli.LogFile{}, nil
	}
	path, err := cli.Expand(o.logFile, o.templateKeys(starter))
	if err != nil {
		return cli.LogFile{}, &session.OptionError{Option: "logfile", Err: fmt.Errorf("cannot use --logfile: %w", err)}
	}
	return cli.LogFile{Path: path, MaxBytes: o.maxBytes, BackupCount: o.backupCount}, nil
}

// templateKeys are what %(key)s stands for in the names of log and pid file.
func (o *options) templateKeys(starter int) map[string]string {
	rstype := "None"
	switch {
	case o.local != "":
		rstype = "local"
	case o.source:
		rstype = "source"
	case o.destination:
		rstype = "dest"
	}
	return map[string]string{"session": o.session, "rstype": rstype, "pid": strconv.Itoa(starter)}
}
