// SPDX-License-Identifier: LGPL-2.1-or-later

// Demo is what "make demo" runs: "zkrsync --local" on a tree, and then a full comparison of source and
// destination. When it ends everything that it started is gone. The exit status is 1 if anything went wrong
// or differs.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"vsc-zk/internal/status"
	"vsc-zk/internal/testtree"
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
	bin, src, dst, depth string
	jobs                 int
}

func parse(args []string) (options, error) {
	var o options
	f := flag.NewFlagSet("demo", flag.ContinueOnError)
	f.StringVar(&o.bin, "bin", "bin", "directory of the programs")
	f.StringVar(&o.src, "src", "", "tree to copy; empty: one with odd names is made")
	f.StringVar(&o.dst, "dst", "", "where to; empty: a temporary directory")
	f.IntVar(&o.jobs, "jobs", 4, "transfers at once")
	f.StringVar(&o.depth, "depth", "auto", "depth of the path queue")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("cannot use argument %q", f.Arg(0))
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
	if err := o.prepare(work); err != nil {
		return err
	}
	begin := time.Now()
	if err := o.copy(ctx, work, out); err != nil {
		return err
	}
	if err := o.report(time.Since(begin), out); err != nil {
		return err
	}
	differences, err := testtree.Compare(o.src, o.dst)
	if err != nil {
		return fmt.Errorf("cannot compare source and destination: %w", err)
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

// prepare makes the source that was not given, and finds a place for the destination.
func (o *options) prepare(work string) error {
	if o.dst == "" {
		o.dst = filepath.Join(work, "dst")
	}
	if o.src != "" {
		return nil
	}
	o.src = filepath.Join(work, "src")
	return testtree.MakeTree(o.src, testtree.TreeOptions{
		Fanout: []int{8, 6, 4}, Files: 8, Size: 4096, Names: testtree.OddNames, HardLinks: true,
	})
}

// copy runs the program the way a user does, with its state among what the demo removes.
func (o *options) copy(ctx context.Context, work string, out io.Writer) error {
	cmd := exec.CommandContext(ctx, filepath.Join(o.bin, "zkrsync"), "--local="+o.dst, "-r", o.src,
		fmt.Sprint("--jobs=", o.jobs), "--depth="+o.depth, "--hardlinks", "--logfile=")
	fmt.Fprintln(out, "$ "+strings.Join(cmd.Args, " "))
	cmd.Env = append(os.Environ(), "XDG_STATE_HOME="+work)
	cmd.Stdout, cmd.Stderr = out, os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = time.Minute
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("cannot finish the run: %w", err)
	}
	return nil
}

// report says how much was moved, and how fast.
func (o *options) report(took time.Duration, out io.Writer) error {
	var files, dirs int
	var bytes int64
	err := filepath.WalkDir(o.src, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		switch {
		case d.IsDir():
			dirs++
		case d.Type().IsRegular():
			info, err := d.Info()
			if err != nil {
				return err
			}
			files++
			bytes += info.Size()
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("cannot count the source: %w", err)
	}
	seconds := took.Seconds()
	fmt.Fprintf(out, "Moved      %d files (%s) in %d directories\n", files, status.FormatBytes(bytes), dirs)
	fmt.Fprintf(out, "Took       %.1f s, with the start of ZooKeeper: %.0f files/s, %s\n", seconds, float64(files)/seconds, status.FormatRate(float64(bytes)/seconds))
	return nil
}
