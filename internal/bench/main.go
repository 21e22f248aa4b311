// SPDX-License-Identifier: LGPL-2.1-or-later

// Bench is what "make bench" runs: how long this program takes for a tree,
// beside a single rsync and fpsync, on this machine. It prints Markdown.
//
// T1 is a tree of small files on a local disk. T2 is the same tree behind
// package slowfs: what a large shared file system feels like. Every copy starts
// with nothing in the caches: they are dropped, and T2 is mounted anew, before
// every run, for all programs alike. The programs themselves are warm. Runs are
// made in turn, round by round, in another order each time; what a run left at
// the destination is compared with the tree in full, and the first difference
// ends everything.
//
// Four more trees show one thing each: T3 a million empty files in 20,000 directories, T4 what this machine has in
// /usr/share, one file, and one of 2 GB. They are copied, then compared with cold caches, and once more with
// warm ones.
//
// The time of a run of zkrsync is from starting a destination
// and a source until both have ended; ZooKeeper runs already.
//
// Everything is unmounted, ended and removed in every case; after a SIGKILL only
// files below the working directory remain.
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

	"vsc-zk/internal/slowfs"
	"vsc-zk/internal/testtree"
	"vsc-zk/internal/zktest"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	var err error
	if len(os.Args) == 4 && os.Args[1] == listArg {
		err = list(ctx, os.Args[2], os.Args[3], os.Stdout)
	} else if err = slowfs.Isolate(); err == nil {
		err = run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	}
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		os.Exit(1)
	}
}

// options are the command line.
type options struct {
	bin, examples, dir string
	rounds             int
	quick              bool
	depth              string
}

func parse(args []string) (options, error) {
	var o options
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.StringVar(&o.bin, "bin", "bin", "directory of the two programs")
	f.StringVar(&o.examples, "examples", "examples", "directory of the two example files")
	f.StringVar(&o.dir, "dir", os.TempDir(), "where to make the trees and their copies")
	f.IntVar(&o.rounds, "rounds", 3, "runs of each kind")
	f.BoolVar(&o.quick, "quick", false, "one round over half a tree, to see whether everything works")
	f.StringVar(&o.depth, "depth", "3", "zkrsync --depth")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("cannot use argument %q", f.Arg(0))
	}
	if o.rounds < 1 || o.rounds > 100 {
		return o, fmt.Errorf("cannot make %d rounds: give 1 to 100", o.rounds)
	}
	for _, dir := range []*string{&o.bin, &o.examples, &o.dir} {
		abs, err := filepath.Abs(*dir)
		if err != nil {
			return o, fmt.Errorf("cannot find %q: %w", *dir, err)
		}
		*dir = abs
	}
	return o, nil
}

// bench is one run of everything.
type bench struct {
	options
	work    string // directory of all files
	servers string // ZooKeeper
	log     io.Writer
	most    time.Duration // that a child process may take
	grace   time.Duration // from its SIGTERM to SIGKILL
	samples samples
}

func run(ctx context.Context, args []string, out, log io.Writer) (err error) {
	o, err := parse(args)
	if err != nil {
		return err
	}
	options := testtree.TreeOptions{Fanout: []int{10, 10, 5}, Files: 8, Size: 1024}
	wideOptions := testtree.TreeOptions{Fanout: []int{17, 17, 17}, Files: 4}
	jobs := []int{1, 2, 4, 8, 16}
	if o.quick {
		o.rounds, jobs = 1, []int{1, 2, 8}
		options.Fanout, wideOptions.Fanout = []int{5, 10, 5}, []int{9, 9, 9}
	}
	work, err := os.MkdirTemp(o.dir, "zkrsync-bench-")
	if err != nil {
		return fmt.Errorf("cannot make a working directory: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	private := filepath.Join(work, "examples")
	if err := zktest.PrivateCopy(o.examples, private); err != nil {
		return err
	}
	o.examples = private
	b := &bench{options: o, work: work, log: log, most: 5 * time.Minute, grace: 10 * time.Second, samples: samples{}}

	machine, err := b.machine(ctx)
	if err != nil {
		return err
	}
	begin, before := time.Now(), load()
	queue, err := b.queue(ctx)
	if err != nil {
		return err
	}
	disk, err := makeTree(work, "T1", options)
	if err != nil {
		return err
	}
	more, err := others(work, o.quick)
	if err != nil {
		return err
	}
	wide, err := makeTree(work, "wide", wideOptions)
	if err != nil {
		return err
	}
	slow, err := disk.slowly("T2", filepath.Join(work, "T2"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, slow.close()) }()

	stop, err := b.startZooKeeper(ctx)
	if err != nil {
		return err
	}
	defer stop()
	if err := b.copies(ctx, disk, slow, more, jobs); err != nil {
		return err
	}
	if err := b.walks(ctx, wide, slow); err != nil {
		return err
	}
	r := report{bench: b, machine: machine, loads: before + " and " + load(), disk: disk, slow: slow, more: more, wide: wide, jobs: jobs, queue: queue, took: time.Since(begin)}
	_, err = io.WriteString(out, r.String())
	return err
}
