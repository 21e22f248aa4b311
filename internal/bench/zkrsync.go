// SPDX-License-Identifier: LGPL-2.1-or-later

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"vsc-zk/internal/zktest"
)

// startZooKeeper starts a server and sets up its tree. The caller stops it.
func (b *bench) startZooKeeper(ctx context.Context) (stop func(), err error) {
	dir := filepath.Join(b.work, "zookeeper")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, fmt.Errorf("cannot make a directory for ZooKeeper: %w", err)
	}
	server, err := zktest.Launch(ctx, dir)
	if err != nil {
		return nil, err
	}
	b.servers = server.Addr()
	_, err = b.command(ctx, filepath.Join(b.bin, "zkinitree"),
		"--configfiles="+filepath.Join(b.examples, "zkinitree.cfg"), "--servers="+b.servers)
	if err != nil {
		server.Stop()
		return nil, err
	}
	return server.Stop, nil
}

// zkrsync is one source process, which is the master too, and one destination process.
func (b *bench) zkrsync(jobs int) tool {
	return tool{name: "zkrsync", jobs: jobs, copy: func(ctx context.Context, src, dst string) (time.Duration, error) {
		var cpu [2]time.Duration
		both, ctx := errgroup.WithContext(ctx)
		client := func(cpu *time.Duration, args ...string) {
			both.Go(func() (err error) {
				_, *cpu, err = b.timed(ctx, filepath.Join(b.bin, "zkrsync"), append(args,
					"--configfiles="+filepath.Join(b.examples, "zkrs.conf"), "--servers="+b.servers,
					"--session=bench", "--host=localhost", "--logfile=")...)
				return err
			})
		}
		client(&cpu[0], "-D", "-r", dst, fmt.Sprintf("--slots=%d", jobs))
		client(&cpu[1], "-S", "-r", src, fmt.Sprintf("--jobs=%d", jobs), "--depth="+b.depth)
		err := both.Wait()
		return cpu[0] + cpu[1], err
	}}
}
