// SPDX-License-Identifier: LGPL-2.1-or-later

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"vsc-zk/internal/testtree"
)

// tool is something that copies a tree.
type tool struct {
	name  string
	jobs  int
	again bool // also measure it where nothing is left to do
	warm  bool // and then once more, with the caches as they are
	part  bool // it leaves out attributes: only names and contents are compared
	copy  func(ctx context.Context, src, dst string) (cpu time.Duration, err error)
}

func (b *bench) rsync() tool {
	return tool{name: "rsync", jobs: 1, copy: func(ctx context.Context, src, dst string) (time.Duration, error) {
		_, cpu, err := b.timed(ctx, "rsync", "-a", src+"/", dst+"/")
		return cpu, err
	}}
}

// fpsync takes parts of so many files.
func (b *bench) fpsync(jobs, files int) tool {
	return tool{name: "fpsync", jobs: jobs, copy: func(ctx context.Context, src, dst string) (time.Duration, error) {
		_, cpu, err := b.timed(ctx, "fpsync", "-n", fmt.Sprint(jobs), "-f", fmt.Sprint(files), "-t", filepath.Join(b.work, "fpsync"), src+"/", dst+"/")
		return cpu, err
	}}
}

func (b *bench) rclone(jobs int) tool {
	return tool{name: "rclone", jobs: jobs, part: true, copy: func(ctx context.Context, src, dst string) (time.Duration, error) {
		_, cpu, err := b.timed(ctx, "rclone", "sync", "--config=", "--links", "--metadata", "--create-empty-src-dirs",
			fmt.Sprint("--transfers=", jobs), fmt.Sprint("--checkers=", jobs), src, dst)
		return cpu, err
	}}
}

// copies measures all tools on both trees, round by round.
func (b *bench) copies(ctx context.Context, disk, slow *tree, more []*tree, jobs []int) error {
	type run struct {
		tree *tree
		tool tool
	}
	again := func(t tool) tool { t.again = true; return t }
	runs := []run{
		{disk, b.rsync()}, {disk, b.fpsync(diskJobs, fewFiles)}, {disk, b.rclone(diskJobs)}, {disk, b.zkrsync(diskJobs)},
		{slow, again(b.rsync())}, {slow, again(b.fpsync(slowJobs, fewFiles))}, {slow, again(b.rclone(slowJobs))},
	}
	for _, n := range jobs {
		t := b.zkrsync(n)
		t.again = n == slowJobs
		runs = append(runs, run{slow, t})
	}
	for _, t := range more {
		for _, tool := range b.otherTools() {
			tool.again, tool.warm = true, true
			runs = append(runs, run{t, tool})
		}
	}
	for round := range b.rounds {
		for i := range runs {
			// Another one begins each time: what the run before has left to the machine is not always the same tool's.
			r := runs[(i+round*2)%len(runs)]
			if err := b.copy(ctx, r.tree, r.tool, round); err != nil {
				return err
			}
		}
	}
	return nil
}

// diskJobs and slowJobs are how many jobs work at once on T1 and T2.
const (
	diskJobs = 2
	slowJobs = 8
)

// fewFiles and manyFiles are how many files fpsync takes at once, of T1 and T2, and of the other trees: by default.
const (
	fewFiles  = 100
	manyFiles = 2000
)

// otherTools are measured on the other trees.
func (b *bench) otherTools() []tool {
	return []tool{b.rsync(), b.fpsync(diskJobs, manyFiles), b.rclone(diskJobs), b.zkrsync(diskJobs)}
}

// copy makes one cold copy, and does it again if the tool wants that.
func (b *bench) copy(ctx context.Context, t *tree, tool tool, round int) error {
	dst := filepath.Join(b.work, "dst")
	if err := os.Mkdir(dst, 0o755); err != nil {
		return fmt.Errorf("cannot make a destination: %w", err)
	}
	defer os.RemoveAll(dst)
	passes := []key{{}}
	if tool.again {
		passes = append(passes, key{again: true})
	}
	if tool.warm {
		passes = append(passes, key{again: true, warm: true})
	}
	for _, pass := range passes {
		src, err := t.disk, error(nil)
		if !pass.warm {
			src, err = t.fresh()
		}
		if err != nil {
			return err
		}
		if err := b.warm(ctx); err != nil {
			return err
		}
		begin := time.Now()
		cpu, err := tool.copy(ctx, src, dst)
		if err != nil {
			return err
		}
		s := sample{seconds: time.Since(begin).Seconds(), cpu: cpu.Seconds(), operations: t.operations()}
		if err := b.same(ctx, t.disk, dst, tool.part); err != nil {
			return fmt.Errorf("%s with %d jobs on %s: %w", tool.name, tool.jobs, t.name, err)
		}
		b.samples.add(key{t.name, tool.name, tool.jobs, pass.again, pass.warm}, s)
		what := "cold"
		if pass.again {
			what = "again"
		}
		if pass.warm {
			what = "warm"
		}
		fmt.Fprintf(b.log, "round %d of %d: %s %-8s %2d jobs %-6s %7.2f s %6.2f CPU s %7.0f operations\n",
			round+1, b.rounds, t.name, tool.name, tool.jobs, what, s.seconds, s.cpu, s.operations)
	}
	return t.close()
}

// warm reads the programs, so that a run does not pay for that.
func (b *bench) warm(ctx context.Context) error {
	for _, program := range [][]string{
		{"rsync", "--version"}, {"fpart", "-V"}, {"rclone", "version"}, {filepath.Join(b.bin, "zkrsync"), "--version"}, {"find", "--version"},
	} {
		if _, err := b.command(ctx, program[0], program[1:]...); err != nil {
			return err
		}
	}
	return nil
}

// same is an error if two trees differ; with part, if names or contents do.
func (b *bench) same(ctx context.Context, src, dst string, part bool) error {
	if part {
		_, err := b.command(ctx, "diff", "-rq", "--no-dereference", src, dst)
		return err
	}
	differences, err := testtree.Compare(src, dst)
	if err != nil {
		return err
	}
	if len(differences) > 0 {
		return fmt.Errorf("the copy differs in %d places, first %s", len(differences), differences[0])
	}
	return nil
}
