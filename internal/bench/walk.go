// SPDX-License-Identifier: LGPL-2.1-or-later

package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"vsc-zk/internal/pathbuilder"
)

// listArg makes this program list directories: the walks are measured as processes, as find is.
const listArg = "-list"

// walkers are the ways to list all directories of a tree, one a line.
var walkers = []string{"find", "WalkDir", "Walk"}

func (b *bench) walks(ctx context.Context, trees ...*tree) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("cannot find this program: %w", err)
	}
	for round := range b.rounds {
		for _, t := range trees {
			for i := range walkers {
				walker := walkers[(i+round)%len(walkers)]
				dir, err := t.fresh()
				if err != nil {
					return err
				}
				program := []string{self, listArg, walker, dir}
				if walker == "find" {
					program = []string{"find", dir, "-type", "d"}
				}
				if err := b.warm(ctx); err != nil {
					return err
				}
				begin := time.Now()
				lines, err := b.command(ctx, program[0], program[1:]...)
				if err != nil {
					return err
				}
				s := sample{seconds: time.Since(begin).Seconds(), operations: t.operations()}
				if got := strings.Count(lines, "\n"); got != t.dirs {
					return fmt.Errorf("%s lists %d directories of %d", walker, got, t.dirs)
				}
				b.samples.add(key{tree: t.name, tool: walker}, s)
				fmt.Fprintf(b.log, "round %d of %d: %s walk %-8s %7.3f s %7.0f operations\n", round+1, b.rounds, t.name, walker, s.seconds, s.operations)
				if err := t.close(); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// list writes the path of each directory of a tree on a line.
func list(ctx context.Context, walker, dir string, out io.Writer) error {
	lines := bufio.NewWriter(out)
	var err error
	if walker == "Walk" {
		// Deeper than the tree: every directory is read, none left to an rsync.
		err = pathbuilder.Walk(ctx, pathbuilder.Options{Base: dir, Depth: 100}, func(e pathbuilder.Entry) error {
			_, err := fmt.Fprintln(lines, e.Path)
			return err
		})
	} else {
		err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				_, err = fmt.Fprintln(lines, path)
			}
			return err
		})
	}
	if err != nil {
		return err
	}
	return lines.Flush()
}
