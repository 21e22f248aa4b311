// SPDX-License-Identifier: LGPL-2.1-or-later

// Demo is what "make demo" runs: a real session on one machine. It starts a private ZooKeeper, sets
// up its tree with zkinitree, runs a master, sources and destinations, compares source and
// destination in full, and says who moved what and how fast. When it ends everything that it
// started is gone. The exit status is 1 if anything went wrong or differs.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"vsc-zk/internal/testtree"
	"vsc-zk/internal/zktest"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "demo: %v\n", err)
		os.Exit(1)
	}
}

// options are the demo's command line.
type options struct {
	bin, examples         string
	src, dst              string
	sources, dests, depth int
}

func parse(args []string) (options, error) {
	var o options
	f := flag.NewFlagSet("demo", flag.ContinueOnError)
	f.StringVar(&o.bin, "bin", "bin", "directory of the two programs")
	f.StringVar(&o.examples, "examples", "examples", "directory of the two example files")
	f.StringVar(&o.src, "src", "", "tree to copy; empty: one with odd names is made")
	f.StringVar(&o.dst, "dst", "", "where to; empty: a temporary directory")
	f.IntVar(&o.sources, "sources", 2, "sources beside the master")
	f.IntVar(&o.dests, "dests", 2, "destinations")
	f.IntVar(&o.depth, "depth", 3, "depth of the path queue")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("cannot use argument %q", f.Arg(0))
	}
	if o.sources < 1 || o.dests < 1 || o.depth < 1 {
		return o, errors.New("cannot run with less than one source, one destination and depth 1")
	}
	for _, dir := range []*string{&o.bin, &o.examples, &o.src, &o.dst} {
		if *dir == "" {
			continue
		}
		abs, err := filepath.Abs(*dir)
		if err != nil {
			return o, fmt.Errorf("cannot find %q: %w", *dir, err)
		}
		*dir = abs
	}
	return o, nil
}

func run(ctx context.Context, args []string, out io.Writer) (err error) {
	o, err := parse(args)
	if err != nil {
		return err
	}
	work, err := os.MkdirTemp("", "zkrsync-demo-")
	if err != nil {
		return fmt.Errorf("cannot make a working directory: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()

	private := filepath.Join(work, "examples")
	if err := zktest.PrivateCopy(o.examples, private); err != nil {
		return err
	}
	o.examples = private
	if err := prepareTrees(&o, work, out); err != nil {
		return err
	}
	dir := filepath.Join(work, "zookeeper")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return fmt.Errorf("cannot make a directory for ZooKeeper: %w", err)
	}
	server, err := zktest.Launch(ctx, dir)
	if err != nil {
		return err
	}
	defer server.Stop()
	fmt.Fprintf(out, "ZooKeeper  on %s, in %s\n", server.Addr(), work)

	s := &session{options: o, servers: server.Addr(), work: work, out: out}
	begin := time.Now()
	if err := s.run(ctx); err != nil {
		return err
	}
	took := time.Since(begin)

	differences, err := testtree.Compare(o.src, o.dst)
	if err != nil {
		return fmt.Errorf("cannot compare source and destination: %w", err)
	}
	if err := s.report(took); err != nil {
		return err
	}
	if len(differences) > 0 {
		for _, line := range differences[:min(len(differences), 50)] {
			fmt.Fprintln(out, "  "+line)
		}
		return fmt.Errorf("source and destination differ in %d places", len(differences))
	}
	fmt.Fprintln(out, "Identical  content, types, modes, owners, times and links")
	return nil
}

// prepareTrees makes the source and the destination that were not given.
func prepareTrees(o *options, work string, out io.Writer) error {
	if o.src == "" {
		o.src = filepath.Join(work, "src")
		err := testtree.MakeTree(o.src, testtree.TreeOptions{
			Fanout: []int{8, 6, 4}, Files: 8, Size: 4096, Names: testtree.OddNames, HardLinks: true,
		})
		if err != nil {
			return err
		}
	}
	if o.dst == "" {
		o.dst = filepath.Join(work, "dst")
	}
	if err := os.MkdirAll(o.dst, 0o755); err != nil {
		return fmt.Errorf("cannot make the destination: %w", err)
	}
	fmt.Fprintf(out, "Source     %s\nDestination %s\n", o.src, o.dst)
	return nil
}
