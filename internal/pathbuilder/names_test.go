// SPDX-License-Identifier: LGPL-2.1-or-later

package pathbuilder

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// kinds reads a directory and returns its names with what they are, sorted.
func kinds(t *testing.T, path string) []string {
	t.Helper()
	dir, err := openByPath(path)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.close()
	var got []string
	err = dir.names(t.Context(), func(n dirName) error {
		got = append(got, fmt.Sprintf("%d %s", n.kind, n.bytes))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(got)
	return got
}

func TestNames(t *testing.T) {
	base := tree(t, "dir/", "..a/", ".b", "...", "file", "link -> dir", "dead -> nowhere", "new\nline/", "\xff/", "-x", strings.Repeat("n", 255), strings.Repeat("\xff", 255)+"/")
	if err := syscall.Mkfifo(base+"/fifo", 0o600); err != nil {
		t.Fatal(err)
	}
	want := []string{"4 dir", "4 ..a", "8 .b", "8 ...", "8 file", "10 link", "10 dead", "4 new\nline", "4 \xff", "8 -x", "1 fifo",
		"8 " + strings.Repeat("n", 255), "4 " + strings.Repeat("\xff", 255)}
	slices.Sort(want)
	equal(t, "names", kinds(t, base), want)

	var names, files []string
	for i := range 5000 { // more than a buffer takes
		names = append(names, fmt.Sprintf("%0*d", 1+i%200, i))
		files = append(files, fmt.Sprintf("8 %0*d", 1+i%200, i))
	}
	slices.Sort(files)
	equal(t, "many names", kinds(t, tree(t, names...)), files)
}

// untold is a directory of a file system that does not tell what its names are, and tells a name
// that is not there any more.
type untold struct{ fusefs.LoopbackNode }

func (n *untold) WrapChild(context.Context, fusefs.InodeEmbedder) fusefs.InodeEmbedder {
	return &untold{fusefs.LoopbackNode{RootData: n.RootData}}
}

func (n *untold) OpendirHandle(ctx context.Context, _ uint32) (fusefs.FileHandle, uint32, syscall.Errno) {
	names, errno := n.Readdir(ctx)
	if errno != fusefs.OK {
		return nil, 0, errno
	}
	defer names.Close()
	told := &untoldNames{[]*fuse.DirEntry{{Name: "ghost"}}}
	for names.HasNext() {
		entry, errno := names.Next()
		if errno != fusefs.OK {
			return nil, 0, errno
		}
		told.left = append(told.left, &fuse.DirEntry{Name: entry.Name, Ino: entry.Ino})
	}
	return told, 0, fusefs.OK
}

type untoldNames struct{ left []*fuse.DirEntry }

func (n *untoldNames) Readdirent(context.Context) (*fuse.DirEntry, syscall.Errno) {
	if len(n.left) == 0 {
		return nil, fusefs.OK
	}
	first := n.left[0]
	n.left = n.left[1:]
	return first, fusefs.OK
}

// Where a file system does not tell what names are, they are looked at.
func TestNamesOfUntoldKind(t *testing.T) {
	base := tree(t, "dir/x/y/", "dir/file", "file", "link -> dir", ".snapshots/a/", "new\nline/")
	mounted := t.TempDir()
	top := &untold{fusefs.LoopbackNode{RootData: &fusefs.LoopbackRoot{Path: base}}}
	top.RootData.RootNode = top
	server, err := fusefs.Mount(mounted, top, &fusefs.Options{MountOptions: fuse.MountOptions{DisableReadDirPlus: true, DirectMount: true}})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Wait()
	defer func() {
		if err := server.Unmount(); err != nil {
			t.Error(err)
		}
	}()
	buf, err := rawNames(mounted)
	if err != nil {
		t.Fatal(err)
	}
	if n, _, err := parseDirent(buf); err != nil || n.kind != unix.DT_UNKNOWN {
		t.Fatalf("the file system tells that %s is %d, %v", n.bytes, n.kind, err)
	}
	equal(t, "kinds", kinds(t, mounted), kinds(t, base))
	for depth := range 4 {
		want, _, err := collect(t, Options{Base: base, Depth: depth, Exclude: snapshots})
		if err != nil {
			t.Fatal(err)
		}
		got, _, err := collect(t, Options{Base: mounted, Depth: depth, Exclude: snapshots})
		if err != nil {
			t.Fatal(err)
		}
		equal(t, fmt.Sprint("depth ", depth), got, want)
	}
}

func rawNames(path string) ([]byte, error) {
	dir, err := openByPath(path)
	if err != nil {
		return nil, err
	}
	defer dir.close()
	buf := make([]byte, 4096)
	n, err := unix.ReadDirent(dir.fd, buf)
	return buf[:max(n, 0)], err
}

func TestNamesErrors(t *testing.T) {
	base := tree(t, "gone\n/", "file")
	for name, want := range map[string]error{"/none\n": fs.ErrNotExist, "/file": syscall.ENOTDIR} {
		if _, err := openByPath(base + name); !errors.Is(err, want) || !strings.HasPrefix(err.Error(), "cannot open directory ") || strings.Contains(err.Error(), "\n") {
			t.Errorf("open %q: %v", name, err)
		}
	}
	dir, err := openByPath(base + "/gone\n")
	if err != nil {
		t.Fatal(err)
	}
	defer dir.close()
	if err := os.Remove(dir.path); err != nil {
		t.Fatal(err)
	}
	err = dir.names(t.Context(), func(dirName) error { return nil })
	if !errors.Is(err, fs.ErrNotExist) || err.Error() != `cannot read directory "`+base+`/gone\n": no such file or directory` {
		t.Errorf("removed directory: %v", err)
	}
	if cause(err) != unix.ENOENT {
		t.Errorf("cause: %v", cause(err))
	}
}

func TestParseDirent(t *testing.T) {
	whole, err := rawNames(tree(t, "f"))
	if err != nil {
		t.Fatal(err)
	}
	_, first, err := parseDirent(whole)
	if err != nil {
		t.Fatal(err)
	}
	for size := range first {
		if n, _, err := parseDirent(whole[:size]); err == nil {
			t.Errorf("%d of %d bytes are understood: %q", size, first, n.bytes)
		}
	}
	for _, length := range []uint16{0, 1, 19, uint16(len(whole)) + 1, 65535} {
		bad := slices.Clone(whole)
		binary.NativeEndian.PutUint16(bad[lengthAt:], length)
		if n, _, err := parseDirent(bad); err == nil {
			t.Errorf("length %d is understood: %q", length, n.bytes)
		}
	}
}

// lengthAt is where struct linux_dirent64 has its length, see getdents(2).
const lengthAt = 16

// BenchmarkNames reads a flat directory.
func BenchmarkNames(b *testing.B) {
	const files = 20_000
	var names []string
	for i := range files {
		names = append(names, fmt.Sprintf("file-%06d.dat", i))
	}
	base := tree(b, names...)
	b.Run("names", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			dir, err := openByPath(base)
			if err != nil {
				b.Fatal(err)
			}
			seen := 0
			if err := dir.names(b.Context(), func(dirName) error { seen++; return nil }); err != nil || seen != files {
				b.Fatal(seen, err)
			}
			dir.close()
		}
		b.ReportMetric(float64(b.N)*files/b.Elapsed().Seconds(), "names/s")
	})
	b.Run("os.ReadDir", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if list, err := os.ReadDir(base); err != nil || len(list) != files {
				b.Fatal(len(list), err)
			}
		}
		b.ReportMetric(float64(b.N)*files/b.Elapsed().Seconds(), "names/s")
	})
	b.Run("ranges", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if ranges, err := Ranges(b.Context(), base, files/20); err != nil || len(ranges) != 20 {
				b.Fatal(len(ranges), err)
			}
		}
		b.ReportMetric(float64(b.N)*files/b.Elapsed().Seconds(), "names/s")
	})
}
