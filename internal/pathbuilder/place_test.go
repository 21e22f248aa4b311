// SPDX-License-Identifier: LGPL-2.1-or-later

package pathbuilder

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// placeOf notes what a directory is, the way old and new kernels allow.
func placeOf(t *testing.T, base string, reusedIDs bool) *Place {
	t.Helper()
	tree, err := OpenTree(base)
	if err != nil {
		t.Fatal(err)
	}
	p := &Place{tree: tree, reusedIDs: reusedIDs}
	if err := p.note(); err != nil {
		t.Fatal(err)
	}
	return p
}

// wantPlace checks whether a base is what it was, and how often it has come back.
func wantPlace(t *testing.T, what string, p *Place, is bool, turns int) {
	t.Helper()
	n, err := p.Check()
	if (err == nil) != is || n != turns {
		t.Errorf("%s: %d, %v; want %v after %d turns", what, n, err, is, turns)
	}
	if err != nil && (!strings.HasPrefix(err.Error(), "cannot use ") || strings.Contains(err.Error(), "\n")) {
		t.Errorf("%s: message %q", what, err)
	}
}

// imageOf makes an ext4 in a file, and mounts it to make directories there.
func imageOf(t *testing.T, at string, dirs ...string) string {
	t.Helper()
	image := filepath.Join(t.TempDir(), "image")
	if out, err := exec.CommandContext(t.Context(), "sh", "-c", `truncate -s 4M "$1" && mkfs.ext4 -qF "$1"`, "-", image).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	mountImage(t, image, at)
	for _, dir := range dirs {
		mustMkdir(t, at+"/"+dir)
	}
	mustUnmount(t, at)
	return image
}

func mountImage(t *testing.T, image, at string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), "mount", "-o", "loop", image, at).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	t.Cleanup(func() { unix.Unmount(at, unix.MNT_DETACH) })
}

// A file system that is mounted again is the same, whatever its mount is called; another of its type, with the same inode at
// its root, is not.
func TestPlaceMountedAgain(t *testing.T) {
	withMounts(t, func(t *testing.T) {
		oldAndNew(t, func(t *testing.T, reusedIDs bool) {
			base := tree(t)
			mine, other := imageOf(t, base, "a", "b"), imageOf(t, base)
			same := imageOf(t, base, "a", "b") // in name and inode
			mountImage(t, mine, base)
			p := placeOf(t, base, reusedIDs)
			wantPlace(t, "at rest", p, true, 0)
			mustUnmount(t, base)
			wantPlace(t, "unmounted", p, false, 0)
			mountImage(t, other, base)
			wantPlace(t, "another file system", p, false, 0)
			mustMkdir(t, base+"/c", base+"/b")
			wantPlace(t, "another file system with one of the names", p, false, 0)
			mustUnmount(t, base)
			mountImage(t, mine, base)
			turns := 1
			if reusedIDs { // the ids may be the same again
				turns, _ = p.Check()
			}
			wantPlace(t, "mounted again", p, true, turns)
			if err := os.Rename(base+"/a", base+"/x"); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(base+"/b", base+"/y"); err != nil {
				t.Fatal(err)
			}
			wantPlace(t, "with other names", p, true, turns)
			mustMount(t, "over", base, "tmpfs", 0)
			wantPlace(t, "mounted over", p, false, turns)
			mustUnmount(t, base)
			wantPlace(t, "below that", p, true, turns)
			mustUnmount(t, base)

			mountImage(t, mine, base)
			p = placeOf(t, base, reusedIDs)
			mustUnmount(t, base)
			mountImage(t, same, base)
			wantPlace(t, "a copy", p, false, 0)
		})
	})
}

// A bind mount that comes back is the same, and what lies below the mount point is not.
func TestPlaceBound(t *testing.T) {
	withMounts(t, func(t *testing.T) {
		oldAndNew(t, func(t *testing.T, reusedIDs bool) {
			data, base := tree(t, "a/"), tree(t)
			mustMount(t, data, base, "", unix.MS_BIND)
			p := placeOf(t, base, reusedIDs)
			mustUnmount(t, base)
			wantPlace(t, "unmounted", p, false, 0)
			mustMkdir(t, base+"/other")
			wantPlace(t, "unmounted, with something in it", p, false, 0)
			mustMkdir(t, base+"/a")
			wantPlace(t, "unmounted, with a name that a receiver has made", p, false, 0)
			mustMount(t, data, base, "", unix.MS_BIND)
			if _, err := p.Check(); err != nil {
				t.Error(err)
			}
			if err := os.Remove(base + "/a"); err != nil {
				t.Fatal(err)
			}
			if _, err := p.Check(); err != nil { // emptied where it is
				t.Error(err)
			}
			mustUnmount(t, base)
			mustMount(t, data, base, "", unix.MS_BIND)
			if _, err := p.Check(); (err == nil) != reusedIDs {
				t.Errorf("mounted again, and empty: %v", err)
			}
		})
	})
}

// A directory that takes the place of the base is another one, unless it has something of it.
func TestPlaceReplaced(t *testing.T) {
	base := tree(t, "a/", "b")
	p := placeOf(t, base, false)
	if err := os.Rename(base, base+".away"); err != nil {
		t.Fatal(err)
	}
	wantPlace(t, "gone", p, false, 0)
	mustMkdir(t, base)
	wantPlace(t, "empty", p, false, 0)
	mustMkdir(t, base+"/c")
	wantPlace(t, "another", p, false, 0)
	mustMkdir(t, base+"/b")
	wantPlace(t, "with one of the names", p, true, 0)

	base = tree(t)
	p = placeOf(t, base, false)
	if err := os.Rename(base, base+".away"); err != nil {
		t.Fatal(err)
	}
	mustMkdir(t, base+"/c")
	wantPlace(t, "it was empty", p, true, 0)
}
