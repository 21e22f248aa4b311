// SPDX-License-Identifier: LGPL-2.1-or-later

package main

import (
	"fmt"
	"io"
	"strconv"
	"time"

	"vsc-zk/internal/cli"
	"vsc-zk/internal/rsyncrunner"
	"vsc-zk/internal/session"
	"vsc-zk/internal/session/guard"
	"vsc-zk/internal/session/member"
	"vsc-zk/internal/zkclient"
)

// config is what package session has to know: what concerns every client, and a part for each role.
// All parts are filled in: a source can become the master, and a destination checks its rsync, too.
func (o *options) config(log *cli.Log, stdout io.Writer) session.Config {
	cfg := session.Config{
		Member: member.Config{
			Zookeeper: zkclient.Config{Servers: o.servers, User: o.user, Password: o.passwd},
			Session:   o.session,
			Host:      o.host,
			Domain:    o.domain,
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
		Stdout: stdout,
		Output: log.Output(),
	}
	if o.netcat {
		cfg.Lines = netcatLines
	}
	o.forSource(&cfg)
	o.forMaster(&cfg)
	o.forDestination(&cfg)
	return cfg
}

func (o *options) forSource(cfg *session.Config) {
	cfg.Jobs = o.jobs
	cfg.Worker.Batch = o.batch
	cfg.Stall = time.Duration(o.stall) * time.Second
	cfg.Worker.BatchTime = time.Duration(o.batchSeconds) * time.Second
	cfg.Prefetch = o.prefetch
	cfg.MaxDelete = o.maxDelete
	cfg.Rsync = rsyncrunner.Options{
		Delete:    o.delete,
		Checksum:  o.checksum,
		HardLinks: o.hardLinks,
		Inplace:   o.inplace,
		DryRun:    o.dryRun,
		Verify:    o.verify,
		Verbose:   o.verbose,
		DropCache: o.dropCache,
		Timeout:   o.timeout,
		Extra:     o.arbitOpts,
	}
}

func (o *options) forMaster(cfg *session.Config) {
	cfg.Leader.Depth = o.depth
	cfg.Leader.Walkers = o.walkers
	cfg.Leader.Subpaths = o.subpaths
	cfg.Leader.PathsFrom = o.pathsFrom
	cfg.Leader.DoneFile = o.doneFile
	cfg.Leader.Report = o.report
	cfg.Leader.Failed = o.failed
	cfg.Leader.MaxFailures = o.maxFailures
}

func (o *options) forDestination(cfg *session.Config) {
	cfg.Destination.Slots = o.slots
	cfg.Destination.Port = o.rsyncPort
	cfg.Destination.StartPort = o.startPort
}

// detaches tells whether the client goes into the background.
func (o *options) detaches() bool { return o.daemon && !o.state && !o.pathsOnly }

// logFileAt is the log file of a client that was started by a process of this pid.
func (o *options) logFileAt(starter int) (cli.LogFile, error) {
	path, err := cli.Expand(o.logFile, o.templateKeys(starter))
	if err != nil {
		return cli.LogFile{}, fmt.Errorf("cannot use --logfile: %w", err)
	}
	return cli.LogFile{Path: path, MaxBytes: o.maxBytes, BackupCount: o.backupCount}, nil
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

// netcatLines is how many paths --netcat makes up, as the original.
const netcatLines = 15
