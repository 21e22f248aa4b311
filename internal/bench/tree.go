// SPDX-License-Identifier: LGPL-2.1-or-later

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"vsc-zk/internal/slowfs"
	"vsc-zk/internal/testtree"
)

// delay is what T2 adds to an operation.
const delay = time.Millisecond

// tree is a source.
type tree struct {
	name        string
	disk        string // where it really is
	at          string // where slowfs shows it; "": nowhere
	mounted     *slowfs.FS
	dirs, files int
}

func makeTree(work, name string, o testtree.TreeOptions) (*tree, error) {
	dir := filepath.Join(work, name)
	if err := testtree.MakeTree(dir, o); err != nil {
		return nil, err
	}
	return countTree(name, dir)
}

// countTree is a tree that is there.
func countTree(name, dir string) (*tree, error) {
	t := &tree{name: name, disk: dir}
	err := filepath.WalkDir(t.disk, func(_ string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir():
			t.dirs++
		default:
			t.files++
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("cannot count %s: %w", name, err)
	}
	return t, nil
}

// others are the trees that show one thing each: many files, a real one, the least, and much in one file.
func others(work string, quick bool) (trees []*tree, err error) {
	empty, big := testtree.TreeOptions{Fanout: []int{20, 30, 32}, Files: 50}, 2<<30
	if quick {
		empty.Fanout, big = []int{10, 10, 4}, 64<<20
	}
	for _, t := range []struct {
		name    string
		options testtree.TreeOptions
	}{{"T3", empty}, {"one file", testtree.TreeOptions{Files: 1, Size: 1024}}, {"a large file", testtree.TreeOptions{Files: 1, Size: big}}} {
		made, err := makeTree(work, t.name, t.options)
		if err != nil {
			return nil, err
		}
		trees = append(trees, made)
	}
	if quick {
		return trees, nil
	}
	real, err := countTree("T4", "/usr/share")
	return append(trees, real), err
}

// slowly is the same tree behind slowfs.
func (t *tree) slowly(name, at string) (*tree, error) {
	if err := os.Mkdir(at, 0o755); err != nil {
		return nil, fmt.Errorf("cannot make a place for %s: %w", name, err)
	}
	return &tree{name: name, disk: t.disk, at: at, dirs: t.dirs, files: t.files}, nil
}

// fresh gives the directory to copy from, with nothing of it known to the kernel.
func (t *tree) fresh() (string, error) {
	if err := t.close(); err != nil {
		return "", err
	}
	if err := dropCaches(); err != nil {
		return "", err
	}
	if t.at == "" {
		return t.disk, nil
	}
	mounted, err := slowfs.Mount(t.disk, t.at, slowfs.Options{Delay: delay})
	if err != nil {
		return "", err
	}
	t.mounted = mounted
	return t.at, nil
}

// operations is the number of delayed operations since fresh.
func (t *tree) operations() float64 {
	if t.mounted == nil {
		return 0
	}
	return float64(t.mounted.Counts().Sum())
}

func (t *tree) close() error {
	if t.mounted == nil {
		return nil
	}
	mounted := t.mounted
	t.mounted = nil
	return mounted.Unmount()
}

const dropFile = "/proc/sys/vm/drop_caches"

// mayDrop says whether this user may empty the kernel's caches.
func mayDrop() bool { return unix.Access(dropFile, unix.W_OK) == nil }

// dropCaches empties the kernel's caches of files and names, if this user may.
func dropCaches() error {
	if !mayDrop() {
		return nil
	}
	unix.Sync()
	f, err := os.OpenFile(dropFile, os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("cannot drop the caches: %w", err)
	}
	_, err = f.WriteString("3\n")
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("cannot drop the caches: %w", err)
	}
	return nil
}
