// SPDX-License-Identifier: LGPL-2.1-or-later

package chaos

import (
	"bytes"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"vsc-zk/internal/testtree"
)

// roomMore is how much more room the destinations have than they need, in bytes.
const roomMore = 16 << 20

// trees makes the source, and mounts a file system for the destinations.
func (r *round) trees() {
	r.t.Helper()
	r.must(testtree.MakeTree(r.at("src"), r.plan.tree))
	size, sent, largest := int64(roomMore), int64(0), int64(0)
	for _, path := range below(r.at("src")) {
		info, err := os.Lstat(path)
		r.must(err)
		size += 3 * (info.Size() + 4096) // an earlier file, the one that is sent, and a temporary one
		if info.Mode().IsRegular() {
			sent, largest = sent+info.Size(), max(largest, info.Size())
		}
	}
	if r.plan.work > 0 {
		jobs := 0
		for _, n := range r.plan.jobs {
			jobs += n
		}
		rate := float64(max(sent/int64(jobs), largest)) / r.plan.work.Seconds()
		r.plan.options = append(r.plan.options, fmt.Sprintf("--arbitopts=bwlimit:%d", max(1, int(rate)/1024)))
	}
	r.must(os.Mkdir(r.at("fs"), 0o755))
	r.must(syscall.Mount("chaos", r.at("fs"), "tmpfs", 0, fmt.Sprintf("size=%d", size)))
	r.undo(func() { r.must(syscall.Unmount(r.at("fs"), syscall.MNT_DETACH)) })
	switch r.plan.prior {
	case empty:
		r.must(os.Mkdir(r.at("fs/dst"), 0o755))
	case older:
		if out, err := exec.Command("cp", "-a", "-T", r.at("src"), r.at("fs/dst")).CombinedOutput(); err != nil {
			r.t.Fatalf("cannot copy the source: %v: %s", err, out)
		}
		r.spoil(rand.New(rand.NewPCG(r.seed, 1)))
	}
}

// below are the paths of all that is in a directory, and its own, parents first.
func below(dir string) (paths []string) {
	_ = filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		paths = append(paths, path)
		return err
	})
	return paths
}

// spoil turns the copy of the source into an older one. Without --delete nothing is in the way of what comes.
func (r *round) spoil(random *rand.Rand) {
	for _, path := range slices.Backward(below(r.at("fs/dst"))[1:]) {
		info, err := os.Lstat(path)
		r.must(err)
		switch n := random.IntN(100); {
		case n < 60 && !info.IsDir():
			r.must(os.Remove(path))
		case n < 70 && info.Mode().IsRegular():
			r.must(os.Remove(path), os.WriteFile(path, bytes.Repeat([]byte{'o'}, random.IntN(5000)), 0o600))
		case n < 75 && r.plan.deletes():
			r.must(os.RemoveAll(path), os.WriteFile(path, []byte("in the way"), 0o600))
		case n < 80 && r.plan.deletes() && !info.IsDir():
			r.must(os.Remove(path), os.MkdirAll(path+"/in/the/way", 0o755))
		case n < 90 && r.plan.deletes() && info.IsDir():
			r.must(os.MkdirAll(path+"/surplus directory/deep", 0o755), os.WriteFile(path+"/surplus directory/file", nil, 0o600), os.WriteFile(path+"/surplus", nil, 0o600))
		}
	}
	old := time.Unix(1_000_000_000, 0) // rsync leaves a time alone that differs by less than a second
	for _, path := range slices.Backward(below(r.at("fs/dst"))) {
		if info, err := os.Lstat(path); err == nil && info.IsDir() {
			r.must(os.Chtimes(path, old, old))
		}
	}
}

// fill leaves no room on the file system of the destinations.
func (r *round) fill() {
	file, err := os.Create(r.at("fs/filler"))
	if err != nil {
		panic(err)
	}
	defer file.Close()
	for block := bytes.Repeat([]byte{'f'}, 64<<10); err == nil; {
		_, err = file.Write(block)
	}
}

func (r *round) drain() {
	if err := os.Remove(r.at("fs/filler")); err != nil {
		panic(err)
	}
}
