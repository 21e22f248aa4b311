// SPDX-License-Identifier: LGPL-2.1-or-later

package pathbuilder

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// stamps walks and gives the stamps by encoded entries, the base replaced by B.
func stamps(t *testing.T, opts Options) map[string]uint64 {
	t.Helper()
	found := map[string]uint64{}
	err := WalkStamped(t.Context(), opts, func(f Found) error {
		found[strings.Replace(string(f.Encode()), opts.Base, "B", 1)] = f.Stamp
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if unique := len(slices.Compact(slices.Sorted(maps.Values(found)))); unique != len(found) || found["0_B"] == 0 && found["1_B"] == 0 {
		t.Errorf("%d different stamps: %v", unique, found)
	}
	return found
}

// changes lists the entries whose stamps were not there before.
func changes(before, after map[string]uint64) []string {
	known := map[uint64]bool{}
	for _, s := range before {
		known[s] = true
	}
	var list []string
	for entry, s := range after {
		if !known[s] {
			list = append(list, entry)
		}
	}
	slices.Sort(list)
	return list
}

func TestStampsTellChanges(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(base string) error
		want   []string
	}{
		{"nothing", func(string) error { return nil }, nil},
		{"content of a file", func(base string) error { return os.WriteFile(base+"/a/file", []byte("x"), 0o644) }, nil},
		{"far below the depth", func(base string) error { return os.Mkdir(base+"/a/b/c/new", 0o755) }, nil},
		{"new file", func(base string) error { return os.WriteFile(base+"/a/new", nil, 0o644) }, []string{"0_B/a"}},
		{"file gone", func(base string) error { return os.Remove(base + "/a/file") }, []string{"0_B/a"}},
		{"new in the base", func(base string) error { return os.WriteFile(base+"/new", nil, 0o644) }, []string{"0_B"}},
		{"new in a recursive entry", func(base string) error { return os.WriteFile(base+"/z/y/new", nil, 0o644) }, []string{"1_B/z/y"}},
		{"new directory", func(base string) error { return os.Mkdir(base+"/a/new", 0o755) }, []string{"0_B/a", "1_B/a/new"}},
		{"mode", func(base string) error { return os.Chmod(base+"/a/b", 0o700) }, []string{"1_B/a/b"}},
		// The children of what was moved keep their inodes and times.
		{"moved in", func(base string) error { return os.Rename(base+"/a", base+"/z/a") }, []string{"0_B", "0_B/z", "1_B/z/a"}},
		{"renamed", func(base string) error { return os.Rename(base+"/a", base+"/new") }, []string{"0_B", "0_B/new", "1_B/new/b"}},
		{"replaced", func(base string) error {
			return errors.Join(os.Rename(base+"/z/y", base+"/z/old"), os.Mkdir(base+"/z/y", 0o755), os.RemoveAll(base+"/z/old"))
		}, []string{"0_B/z", "1_B/z/y"}},
		{"swapped for a link", func(base string) error {
			return errors.Join(os.Rename(base+"/z/y", base+"/z/old"), os.Symlink("old", base+"/z/y"))
		}, []string{"0_B/z", "1_B/z/old"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			base := tree(t, "a/b/c/", "a/file", "z/y/x/")
			opts := Options{Base: base, Depth: 2}
			before := stamps(t, opts)
			time.Sleep(Settle)
			if err := c.change(base); err != nil {
				t.Fatal(err)
			}
			equal(t, "changed", changes(before, stamps(t, opts)), c.want)
		})
	}
}

// The entries are those of Walk, whatever is stamped, and a base at depth 0 or an excluded one has
// a stamp too.
func TestStampedEntries(t *testing.T) {
	base := tree(t, "a/b/c/", "a/.snapshots/", "z/", "link -> a", "f")
	for depth := range 4 {
		opts := Options{Base: base, Depth: depth, Exclude: snapshots}
		want, _, err := collect(t, opts)
		if err != nil {
			t.Fatal(err)
		}
		slices.Sort(want)
		equal(t, fmt.Sprint("depth ", depth), slices.Sorted(maps.Keys(stamps(t, opts))), want)
	}
	stamps(t, Options{Base: base + "/a/.snapshots", Depth: 2, Exclude: snapshots})

	// A base behind a link is stamped as what the link leads to.
	link := stamps(t, Options{Base: base + "/link"})
	if err := os.WriteFile(base+"/a/new", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	equal(t, "behind a link", changes(link, stamps(t, Options{Base: base + "/link"})), []string{"1_B"})
}

func TestUnreadableIsStamped(t *testing.T) {
	base := tree(t, "closed/x/", "listonly/y/", "z/")
	for p := base; p != "/" && p != os.TempDir(); p = p[:strings.LastIndexByte(p, '/')] {
		if err := os.Chmod(p, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, mode := range map[string]os.FileMode{"closed": 0o700, "listonly": 0o744} {
		if err := os.Chmod(base+"/"+name, mode); err != nil {
			t.Fatal(err)
		}
	}
	unprivileged(t)
	later := func(opts Options) map[string]Found {
		found := map[string]Found{}
		w := newWalker(opts, func(f Found) error { found[strings.TrimPrefix(f.Path, base)] = f; return nil })
		w.stamper = newStamper()
		w.stamper.now = func() time.Time { return time.Now().Add(time.Hour) }
		if err := w.walk(t.Context()); err != nil {
			t.Fatal(err)
		}
		return found
	}
	found := later(Options{Base: base, Depth: 2, Walkers: 1})
	// Its entries cannot be looked at, its own directory can.
	if f := found["/closed"]; !f.Recursive || f.Young || f.Stamp == 0 {
		t.Errorf("closed: %+v", f)
	}
	if f := found["/listonly/y"]; !f.Recursive || f.Young || f.Stamp == 0 {
		t.Errorf("what cannot be looked at must not count as changing for ever: %+v", f)
	}
	if f := found["/z"]; f.Young {
		t.Errorf("z: %+v", f)
	}
}

// duringRead is a context that does something when it is asked after some other times: after the
// first names of a directory are read.
type duringRead struct {
	context.Context
	others int
	do     func()
}

func (c *duringRead) Err() error {
	if c.others--; c.others < 0 && c.do != nil {
		c.do()
		c.do = nil
	}
	return c.Context.Err()
}

// What changes while a directory is being read may be missing from its children: the stamp must be
// an older one.
func TestStampIsTakenBeforeReading(t *testing.T) {
	var names []string
	for i := range chunk + 10 {
		names = append(names, fmt.Sprintf("file%d", i))
	}
	base := tree(t, names...)
	time.Sleep(Settle)
	w := newWalker(Options{Base: base}, nil)
	if err := w.prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.stamper = newStamper()
	d := newDir(base, 0, 1)
	changed := false
	w.read(&duringRead{t.Context(), 0, func() {
		changed = true
		if err := os.Mkdir(base+"/new", 0o755); err != nil {
			t.Error(err)
		}
	}}, d)
	if d.err != nil || !changed {
		t.Fatalf("read: %v, changed %v", d.err, changed)
	}
	if now := w.stamper.path(base, 0); now.hash == d.stamp.hash {
		t.Error("a directory made during the reading does not show in the stamp")
	}
}

func TestVanishedAtTheDepth(t *testing.T) {
	const many = 20 * share // several helpers
	var names []string
	for i := range many {
		names = append(names, fmt.Sprintf("%04d/", i))
	}
	base := tree(t, names...)
	for _, stamped := range []bool{false, true} {
		w := newWalker(Options{Base: base, Depth: 1}, nil)
		if err := w.prepare(t.Context()); err != nil {
			t.Fatal(err)
		}
		if stamped {
			w.stamper = newStamper()
		}
		f, err := openByPath(base)
		if err != nil {
			t.Fatal(err)
		}
		defer f.close()
		children := make([]child, many)
		for i := range children {
			c, ok := w.classify(newDir(base, 0, 1), f, dirName{fmt.Appendf(nil, "%04d", i), unix.DT_DIR})
			if !ok {
				t.Fatal("not a child")
			}
			children[i] = c
		}
		os.Remove(base + "/0077")
		os.Remove(base + "/0078")
		os.Symlink("/etc", base+"/0078")
		w.stampChildren(t.Context(), f, children)
		for i, c := range children {
			gone := stamped && (i == 77 || i == 78)
			if (c.kind == vanished) != gone || !gone && (c.stamp.hash != 0) != stamped {
				t.Errorf("stamped %v: %s is %v with stamp %x", stamped, c.name, c.kind, c.stamp.hash)
			}
		}
		if len(w.helpers) > 0 {
			t.Errorf("%d helpers did not come back", len(w.helpers))
		}
	}
}

func TestMayBeNow(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	for age, want := range map[time.Duration]bool{
		0: true, time.Second: true, -time.Second: true, 1001 * time.Millisecond: false,
		time.Hour: false, -1001 * time.Millisecond: false, -24 * time.Hour: false,
	} {
		if got := mayBeNow(now.Add(-age), now, time.Second); got != want {
			t.Errorf("age %v: %v", age, got)
		}
	}
}

func TestLocalClocks(t *testing.T) {
	if !newStamper().isLocal(deviceOf(t, "/dev/shm"), "/dev/shm") {
		t.Error("a tmpfs does not count as local")
	}
	if newStamper().isLocal(0, "/proc") || newStamper().isLocal(0, "/dev/shm/gone") {
		t.Error("a file system of unknown clock counts as local")
	}
}

func TestYoung(t *testing.T) {
	const dev = 77
	whole := unix.Timespec{Sec: 1_700_000_000}
	millis := unix.Timespec{Sec: whole.Sec, Nsec: 123_000_000}
	micros := unix.Timespec{Sec: whole.Sec, Nsec: 123_456_000}
	for _, c := range []struct {
		ctime  unix.Timespec
		age    time.Duration
		remote bool
		want   bool
	}{
		{whole, 0, false, true},
		{whole, 1999 * time.Millisecond, false, true},
		{whole, 2001 * time.Millisecond, false, false},
		{whole, -30 * time.Second, false, false},
		{whole, 61 * time.Second, true, true},
		{whole, 63 * time.Second, true, false},
		{whole, -30 * time.Second, true, true}, // the server's clock is ahead
		{millis, time.Second, false, true},
		{millis, time.Minute, true, true},
		{millis, 63 * time.Second, true, false},
		{micros, 0, false, false}, // Settle is enough
		{micros, 0, true, false},
		{micros, time.Second, true, false},
	} {
		s := newStamper()
		s.now = func() time.Time { return time.Unix(c.ctime.Unix()).Add(c.age) }
		s.local[dev] = !c.remote
		got, err := s.take("/dir", func(stat *unix.Stat_t) error {
			*stat = unix.Stat_t{Dev: dev, Mode: unix.S_IFDIR, Ctim: c.ctime}
			return nil
		})
		if err != nil || got.young != c.want {
			t.Errorf("%+v: %+v, %v", c, got, err)
		}
	}
}

func deviceOf(t *testing.T, path string) uint64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Sys().(*syscall.Stat_t).Dev
}

func TestHashStamp(t *testing.T) {
	seen := map[uint64]string{}
	for _, path := range []string{"", "/a", "/b", "/" + strings.Repeat("long", 500)} {
		for n := range uint64(4) {
			stat := unix.Stat_t{Ctim: unix.Timespec{Sec: int64(n & 1), Nsec: int64(n >> 1)}}
			h := hashStamp(path, &stat)
			if other, double := seen[h]; double {
				t.Errorf("%.9s %d has the stamp of %s", path, n, other)
			}
			seen[h] = fmt.Sprintf("%.9s %d", path, n)
			if again := hashStamp(path, &stat); again != h {
				t.Errorf("%.9s %d has two stamps", path, n)
			}
		}
	}
}
