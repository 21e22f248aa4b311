// SPDX-License-Identifier: LGPL-2.1-or-later

package pathbuilder

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// tree makes directories (names ending in /), links (name -> target) and files and returns the
// base.
func tree(t testing.TB, names ...string) string {
	t.Helper()
	base := filepath.Join(t.TempDir(), "tree")
	mkdir := func(p string) {
		if err := os.MkdirAll(p, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	mkdir(base)
	for _, name := range names {
		path, target, isLink := strings.Cut(name, " -> ")
		path = base + "/" + path
		var err error
		switch {
		case isLink:
			err = os.Symlink(target, path)
		case strings.HasSuffix(path, "/"):
			mkdir(path)
		default:
			mkdir(filepath.Dir(path))
			err = os.WriteFile(path, nil, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return base
}

// collect walks and gives the encoded entries, the base replaced by B, and the log lines.
func collect(t testing.TB, opts Options) (entries, lines []string, err error) {
	t.Helper()
	var log logLines
	opts.Logger = log.logger()
	err = Walk(t.Context(), opts, func(e Entry) error {
		entries = append(entries, strings.Replace(string(e.Encode()), opts.Base, "B", 1))
		return nil
	})
	for _, l := range log.all() {
		lines = append(lines, strings.ReplaceAll(l, opts.Base, "B"))
	}
	return entries, lines, err
}

// logLines keeps "LEVEL message" lines.
type logLines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logLines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *logLines) logger() *slog.Logger {
	return slog.New(&lineHandler{out: l})
}

func (l *logLines) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.DeleteFunc(strings.Split(l.buf.String(), "\n"), func(s string) bool { return s == "" })
}

type lineHandler struct{ out *logLines }

func (h *lineHandler) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelInfo }
func (h *lineHandler) WithAttrs([]slog.Attr) slog.Handler           { return h }
func (h *lineHandler) WithGroup(string) slog.Handler                { return h }
func (h *lineHandler) Handle(_ context.Context, r slog.Record) error {
	_, err := fmt.Fprintf(h.out, "%v %s\n", r.Level, r.Message)
	return err
}

func equal(t *testing.T, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s:\ngot  %q\nwant %q", what, got, want)
	}
}

var snapshots = regexp.MustCompile(`/\.snapshots(/.*|$)`)

// deepTree is a tree with a chain of directories well below the depth.
func deepTree(t *testing.T) string {
	return tree(t, "c1/", "b1/ba2/", "b1/bb2/file", "a1/aa2/.snapshots/x/", "a1/.snapshots/y", "a1/ac2/",
		"a1/ab2/aa3/sub1/", "a1/ab2/aa3/sub2/sub21/sub211/sub2112/")
}

func TestWalkDepths(t *testing.T) {
	base := deepTree(t)
	for depth, want := range [][]string{
		{"1_B"},
		{"0_B", "1_B/a1", "1_B/b1", "1_B/c1"},
		{"0_B", "0_B/a1", "1_B/a1/aa2", "1_B/a1/ab2", "1_B/a1/ac2", "0_B/b1", "1_B/b1/ba2", "1_B/b1/bb2", "0_B/c1"},
		{"0_B", "0_B/a1", "0_B/a1/aa2", "0_B/a1/ab2", "1_B/a1/ab2/aa3", "0_B/a1/ac2", "0_B/b1", "0_B/b1/ba2", "0_B/b1/bb2", "0_B/c1"},
	} {
		got, _, err := collect(t, Options{Base: base, Depth: depth, Exclude: snapshots})
		if err != nil {
			t.Fatal(err)
		}
		equal(t, fmt.Sprint("depth ", depth), got, want)
	}
}

func TestWalkSubpaths(t *testing.T) {
	base := deepTree(t)
	above := []string{"0_B", "0_B/a1", "0_B/a1/aa2", "0_B/a1/ab2"}
	after := []string{"0_B/a1/ac2", "0_B/b1", "0_B/b1/ba2", "0_B/b1/bb2", "0_B/c1"}
	for _, c := range []struct{ subpaths, want []string }{
		{[]string{"3_a1/ab2/aa3"},
			[]string{"0_B/a1/ab2/aa3", "0_B/a1/ab2/aa3/sub1", "0_B/a1/ab2/aa3/sub2", "0_B/a1/ab2/aa3/sub2/sub21", "1_B/a1/ab2/aa3/sub2/sub21/sub211"}},
		{[]string{"3_a1/ab2/aa3/", "3_" + base + "/a1/ab2/aa3/sub2"},
			[]string{"0_B/a1/ab2/aa3", "0_B/a1/ab2/aa3/sub1", "0_B/a1/ab2/aa3/sub2", "0_B/a1/ab2/aa3/sub2/sub21", "0_B/a1/ab2/aa3/sub2/sub21/sub211",
				"1_B/a1/ab2/aa3/sub2/sub21/sub211/sub2112"}},
		{[]string{"3_a1/ab2/aa3", "4_a1/ab2/aa3/sub2"},
			[]string{"0_B/a1/ab2/aa3", "0_B/a1/ab2/aa3/sub1", "0_B/a1/ab2/aa3/sub2", "0_B/a1/ab2/aa3/sub2/sub21", "0_B/a1/ab2/aa3/sub2/sub21/sub211",
				"0_B/a1/ab2/aa3/sub2/sub21/sub211/sub2112"}},
		{[]string{"0_a1/ab2/aa3"}, []string{"1_B/a1/ab2/aa3"}},
		{[]string{"4_" + base}, []string{"0_B/a1/ab2/aa3", "1_B/a1/ab2/aa3/sub1", "1_B/a1/ab2/aa3/sub2"}},
		// A subpath given after one below it reaches over that one too.
		{[]string{"1_a1/ab2/aa3", "4_a1"},
			[]string{"0_B/a1/ab2/aa3", "0_B/a1/ab2/aa3/sub1", "0_B/a1/ab2/aa3/sub2", "1_B/a1/ab2/aa3/sub2/sub21"}},
	} {
		got, _, err := collect(t, Options{Base: base, Depth: 3, Exclude: snapshots, Subpaths: c.subpaths})
		if err != nil {
			t.Errorf("%q: %v", c.subpaths, err)
		}
		equal(t, fmt.Sprint(c.subpaths), got, slices.Concat(above, c.want, after))
	}
}

func TestWalkRefusesSubpaths(t *testing.T) {
	base := tree(t, "a/b/c/d/", "a/file", "a/dirlink -> b", ".snapshots/x/", "z/")
	above := strings.Count(base, "/")
	for _, c := range []struct {
		subpaths []string
		want     []string // in the message
	}{
		{[]string{"a/b"}, []string{"cannot use subpath a/b:", "no _ after"}},
		{[]string{""}, []string{"no _ after"}},
		{[]string{"_a"}, []string{`"" is not a depth`}},
		{[]string{"-1_a"}, []string{`"-1" is not a depth`}},
		{[]string{"x_a"}, []string{`"x" is not a depth`, "write <depth>_<path>"}},
		{[]string{"3_"}, []string{"no path"}},
		{[]string{"3_a/../z"}, []string{"component"}},
		{[]string{"3_a//b"}, []string{"component"}},
		{[]string{"3_/"}, []string{"/ is not in the pathlist of " + base}},
		{[]string{"3_/a/b"}, []string{"/a/b is not in the pathlist of " + base}},
		{[]string{"3_" + base + "2/a"}, []string{base + "2/a is not in the pathlist of " + base}},
		{[]string{"3_a/b/c"}, []string{base + "/a/b/c is not in the pathlist of " + base + " with depth 2!", "goes 2 levels deep"}},
		{[]string{"2_a/b", "3_a/b/c/d", "3_a/b/c/d/e/f/g/h"}, []string{"cannot use subpath 3_a/b/c/d/e/f/g/h", "depth 2!", "no such file"}},
		{[]string{"3_nowhere"}, []string{base + "/nowhere is not in the pathlist of " + base + " with depth 2!", "no such file"}},
		{[]string{"3_a/file"}, []string{"is not a directory"}},
		{[]string{"3_a/dirlink"}, []string{"is a symbolic link"}},
		{[]string{"3_.snapshots"}, []string{"is excluded"}},
		{[]string{"3_.snapshots/x"}, []string{"/.snapshots is excluded"}},
		{[]string{"0_a"}, []string{fmt.Sprintf("depthlevel %d for subpath %s/a is not as deep as current depthlevel %d! Give it a depth of at least 1", above+1, base, above+2)}},
		{[]string{"4_z", "2_a"}, []string{fmt.Sprintf("depthlevel %d for subpath %s/a is not as deep as current depthlevel %d!", above+3, base, above+5)}},
		{[]string{"3_no\nline"}, []string{`"3_no\nline"`}},
	} {
		got, _, err := collect(t, Options{Base: base, Depth: 2, Exclude: snapshots, Subpaths: c.subpaths})
		if err == nil || len(got) > 0 {
			t.Errorf("%q: error %v and entries %q, want an error and none", c.subpaths, err, got)
			continue
		}
		if strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: not one line: %v", c.subpaths, err)
		}
		for _, want := range c.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%q: %v\nlacks %q", c.subpaths, err, want)
			}
		}
	}
}

func TestWalkOrderIsByComponent(t *testing.T) {
	base := tree(t, "a/z/", "a-b/", "a/\xff/", "B/", "a/é/", "a b/", "a.b/")
	got, _, err := collect(t, Options{Base: base, Depth: 2})
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "order", got, []string{"0_B", "0_B/B", "0_B/a", "1_B/a/z", "1_B/a/é", "1_B/a/\xff", "0_B/a b", "0_B/a-b", "0_B/a.b"})
}

func TestWalkNotes(t *testing.T) {
	base := tree(t, "a/.snapshots/x/", "a/file", "filelink -> a/file", "deadlink -> nowhere", "dirlink -> a", "z\n/", "z\n/loop -> ..", ".snapshots -> a")
	got, lines, err := collect(t, Options{Base: base, Depth: 3, Exclude: snapshots})
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "entries", got, []string{"0_B", "0_B/a", "0_B/z\n"})
	equal(t, "log", lines, []string{
		"INFO directory symlink not added B/.snapshots",
		"INFO excluding path B/a/.snapshots",
		"INFO directory symlink not added B/dirlink",
		`INFO directory symlink not added "B/z\n/loop"`,
		"INFO pathlist of path B contains 3 entries",
	})
}

func TestWalkExcludeUser(t *testing.T) {
	base := tree(t, "a/.snapshots/x/", "b/.snapshots/")
	me, other := "root", "daemon"
	if os.Geteuid() != 0 {
		t.Fatal("this test changes owners: run it as root")
	}
	if err := os.Lchown(base+"/b/.snapshots", 1, 1); err != nil {
		t.Fatal(err)
	}
	for user, want := range map[string][]string{
		"":    {"0_B", "0_B/a", "0_B/b"},
		me:    {"0_B", "0_B/a", "0_B/b", "1_B/b/.snapshots"},
		other: {"0_B", "0_B/a", "1_B/a/.snapshots", "0_B/b"},
	} {
		got, _, err := collect(t, Options{Base: base, Depth: 2, Exclude: snapshots, ExcludeUser: user})
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "owner "+user, got, want)
	}
	_, _, err := collect(t, Options{Base: base, Depth: 2, Exclude: snapshots, ExcludeUser: "no-such-user"})
	if err == nil || !strings.Contains(err.Error(), "no-such-user") {
		t.Errorf("unknown user: %v", err)
	}
	if _, _, err := collect(t, Options{Base: base, Depth: 2, ExcludeUser: "no-such-user"}); err != nil {
		t.Errorf("a user without a pattern matters to nobody: %v", err)
	}
}

func TestWalkExcludedBase(t *testing.T) {
	base := tree(t, ".snapshots/a/b/") + "/.snapshots"
	got, lines, err := collect(t, Options{Base: base, Depth: 2, Exclude: snapshots})
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "entries", got, []string{"0_B"})
	equal(t, "log", lines, []string{"INFO excluding path B", "INFO pathlist of path B contains 1 entries"})
	_, _, err = collect(t, Options{Base: base, Depth: 2, Exclude: snapshots, Subpaths: []string{"2_a"}})
	if err == nil || !strings.Contains(err.Error(), "is excluded") {
		t.Errorf("subpath: %v", err)
	}
}

func TestWalkBases(t *testing.T) {
	link := tree(t, "real/a/b/", "link -> real") + "/link"
	got, _, err := collect(t, Options{Base: link, Depth: 1})
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "base that is a link", got, []string{"0_B", "1_B/a"})

	var root []string
	err = Walk(t.Context(), Options{Base: "/", Depth: 1}, func(e Entry) error { root = append(root, string(e.Encode())); return nil })
	if err != nil {
		t.Fatal(err)
	}
	if root[0] != "0_/" || !slices.Contains(root, "1_/etc") || !slices.Contains(root, "1_/proc") {
		t.Errorf("base /: %q", root)
	}
	var sub []string
	err = Walk(t.Context(), Options{Base: "/", Depth: 1, Subpaths: []string{"1_/usr", "1_usr/lib"}}, func(e Entry) error { sub = append(sub, string(e.Encode())); return nil })
	if err != nil {
		t.Fatal(err)
	}
	if sub[0] != "0_/" || !slices.Contains(sub, "0_/usr") || !slices.Contains(sub, "0_/usr/lib") || !slices.Contains(sub, "1_/etc") {
		t.Errorf("subpaths of base /: %q", sub)
	}

	dir := tree(t, "file", "dead -> nowhere")
	for _, base := range []string{dir + "/file", dir + "/nothing", dir + "/dead", dir + "/no\nthing"} {
		for depth := range 2 {
			_, _, err := collect(t, Options{Base: base, Depth: depth})
			if err == nil || !strings.HasPrefix(err.Error(), "cannot walk "+Printable(base)+": ") || strings.Contains(err.Error(), "\n") {
				t.Errorf("base %q: %v", base, err)
			}
		}
	}
	if _, _, err := collect(t, Options{Base: dir, Depth: -1}); err == nil {
		t.Error("negative depth: no error")
	}
}

// unprivileged takes from this thread what lets root read everything.
func unprivileged(t *testing.T) {
	t.Helper()
	runtime.LockOSThread()
	if os.Geteuid() == 0 {
		if err := syscall.Setfsuid(65534); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		syscall.Setfsuid(os.Geteuid())
		runtime.UnlockOSThread()
	})
}

func TestWalkUnreadable(t *testing.T) {
	base := tree(t, "a/x/", "closed\n/x/y/", "listonly/.snapshots/q/", "z/y/")
	for p := base; p != os.TempDir() && p != "/"; p = filepath.Dir(p) {
		if err := os.Chmod(p, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, mode := range map[string]os.FileMode{"closed\n": 0o700, "listonly": 0o744} {
		if err := os.Chmod(base+"/"+name, mode); err != nil {
			t.Fatal(err)
		}
	}
	unprivileged(t)
	// One walker: everything is read by this thread.
	got, lines, err := collect(t, Options{Base: base, Depth: 4, Walkers: 1, Exclude: snapshots, ExcludeUser: "root"})
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "entries", got, []string{"0_B", "0_B/a", "0_B/a/x", "1_B/closed\n", "0_B/listonly", "1_B/listonly/.snapshots", "0_B/z", "0_B/z/y"})
	equal(t, "log", lines, []string{
		`ERROR cannot read directory "B/closed\n": permission denied; everything below it is one recursive entry`,
		"ERROR cannot learn the owner of B/listonly/.snapshots: permission denied; it is not excluded",
		"ERROR cannot read directory B/listonly/.snapshots: permission denied; everything below it is one recursive entry",
		"INFO pathlist of path B contains 8 entries",
	})

	closed := base + "/closed\n"
	if _, _, err := collect(t, Options{Base: closed, Depth: 1, Walkers: 1}); !errors.Is(err, syscall.EACCES) {
		t.Errorf("unreadable base: %v", err)
	}
}

func TestWalkChangingTree(t *testing.T) {
	base := tree(t, "a/", "gone/x/", "link/x/", "file/x/", "z/")
	var log logLines
	var got []string
	// One walker: nothing but the base is read before its first entry.
	err := Walk(t.Context(), Options{Base: base, Depth: 3, Walkers: 1, Logger: log.logger()}, func(e Entry) error {
		if e.Path == base {
			for _, name := range []string{"gone", "link", "file"} {
				if err := os.RemoveAll(base + "/" + name); err != nil {
					return err
				}
			}
			if err := errors.Join(os.Symlink("/etc", base+"/link"), os.WriteFile(base+"/file", nil, 0o644)); err != nil {
				return err
			}
		}
		got = append(got, strings.Replace(string(e.Encode()), base, "B", 1))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "entries", got, []string{"0_B", "0_B/a", "0_B/z"})
	want := []string{"INFO pathlist of path " + base + " contains 3 entries"}
	for _, name := range []string{"link", "gone", "file"} {
		want = slices.Insert(want, 0, "WARN directory "+base+"/"+name+" vanished during the walk")
	}
	equal(t, "log", log.all(), want)
}

func TestWalkStops(t *testing.T) {
	var names []string
	for i := range 400 {
		names = append(names, fmt.Sprintf("d%d/e%d/", i%20, i))
	}
	base := tree(t, names...)
	stop := errors.New("told to stop")

	count := 0
	err := Walk(t.Context(), Options{Base: base, Depth: 3}, func(Entry) error {
		if count++; count == 30 {
			return stop
		}
		return nil
	})
	if err != stop || count != 30 {
		t.Errorf("error of emit: got %v after %d entries", err, count)
	}

	ctx, cancel := context.WithCancelCause(t.Context())
	count = 0
	err = Walk(ctx, Options{Base: base, Depth: 1}, func(Entry) error { // nothing left to read
		if count++; count == 10 {
			cancel(stop)
		}
		return nil
	})
	if err != stop || count != 10 {
		t.Errorf("context: got %v after %d entries", err, count)
	}
	if err := Walk(ctx, Options{Base: base, Depth: 3}, func(Entry) error { return errors.New("emitted") }); err != stop {
		t.Errorf("ended context: got %v", err)
	}
}

// A reader that hangs on a slow file system must not keep the walk from ending, nor count as an
// unreadable directory.
func TestWalkStopsWhileReading(t *testing.T) {
	for _, walkers := range []int{1, 4} {
		base := tree(t, "a/x/", "b/x/")
		ctx, cancel := context.WithCancelCause(t.Context())
		stop := errors.New("told to stop")
		var got []string
		started := make(chan struct{})
		w := newWalker(Options{Base: base, Depth: 3, Walkers: walkers}, func(e Found) error {
			got = append(got, e.Path)
			if walkers > 1 { // one reads a before the walk asks for it
				<-started
			}
			return nil
		})
		var reading atomic.Int32
		w.ahead.read = func(ctx context.Context, d *dir) {
			reading.Add(1)
			defer reading.Add(-1)
			if d.path == base+"/a" {
				close(started)
				cancel(stop)
				<-ctx.Done()
				time.Sleep(20 * time.Millisecond)
			}
			w.read(ctx, d)
		}
		if err := w.walk(ctx); err != stop {
			t.Errorf("%d walkers: %v", walkers, err)
		}
		if n := reading.Load(); n != 0 {
			t.Errorf("%d walkers: %d still read after the end", walkers, n)
		}
		if len(got) > 1 { // the base may be out or not, a must not
			t.Errorf("%d walkers: entries %q", walkers, got)
		}
	}
}

// What was read and not emitted is bounded, whatever the tree: a slow session must not fill the
// master's memory.
func TestReadAheadIsBounded(t *testing.T) {
	var names []string
	for i := range 1000 {
		names = append(names, fmt.Sprintf("d%d/e%d/f%d/", i%10, i/10%10, i))
	}
	base := tree(t, names...)
	const limit, walkers, depth, widest = 30, 4, 4, 10
	var reads, underWay, most atomic.Int32
	var w *walker
	count := 0
	w = newWalker(Options{Base: base, Depth: depth, Walkers: walkers}, func(Found) error {
		if count++; count == 40 || count == 500 {
			settled := reads.Load()
			for begin := time.Now(); time.Since(begin) < 50*time.Millisecond; time.Sleep(time.Millisecond) {
				if n := reads.Load(); n != settled {
					settled, begin = n, time.Now()
				}
			}
		}
		w.ahead.mu.Lock()
		defer w.ahead.mu.Unlock()
		// Each reader has one under way.
		if most := limit + walkers*(1+widest); w.ahead.held > most {
			return fmt.Errorf("%d are held, more than %d", w.ahead.held, most)
		}
		return nil
	})
	w.ahead.limit = limit
	w.ahead.read = func(ctx context.Context, d *dir) {
		n := underWay.Add(1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		reads.Add(1)
		time.Sleep(100 * time.Microsecond)
		w.read(ctx, d)
		underWay.Add(-1)
	}
	if err := w.walk(t.Context()); err != nil {
		t.Fatal(err)
	}
	if count != 1+10+100+1000 || reads.Load() != int32(count) {
		t.Errorf("%d entries, %d reads", count, reads.Load())
	}
	if w.ahead.held != 0 || w.ahead.todo.Len() != 0 {
		t.Errorf("left over: %d held, %d to do", w.ahead.held, w.ahead.todo.Len())
	}
	if most.Load() != walkers {
		t.Errorf("%d read at once, want %d", most.Load(), walkers)
	}
}

// A directory that has more children than may be held is no reason to read one after the other:
// what the walk is at is not ahead of it.
func TestWideDirectoriesAreReadAhead(t *testing.T) {
	var names []string
	for i := range 200 {
		names = append(names, fmt.Sprintf("d%03d/e/", i))
	}
	base := tree(t, names...)
	const limit, walkers = 8, 4
	var underWay atomic.Int32
	var together atomic.Int32 // directories that were read while others were too
	count := 0
	w := newWalker(Options{Base: base, Depth: 2, Walkers: walkers}, func(Found) error {
		if count++; count == 1 { // the readers come to the limit, and have to be woken up
			time.Sleep(50 * time.Millisecond)
		}
		return nil
	})
	w.ahead.limit = limit
	w.ahead.read = func(ctx context.Context, d *dir) {
		if underWay.Add(1) > 1 {
			together.Add(1)
		}
		time.Sleep(time.Millisecond)
		w.read(ctx, d)
		underWay.Add(-1)
	}
	if err := w.walk(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := together.Load(); n < 100 {
		t.Errorf("%d of 200 directories were read while others were", n)
	}
}

// What has been read but not walked takes no more than a child's place: millions of them may be in
// one directory.
func TestWideDirectoriesAreSmall(t *testing.T) {
	const wide = 5000
	base := tree(t)
	for i := range wide {
		if err := os.Mkdir(fmt.Sprintf("%s/%08d", base, i), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	var before, during runtime.MemStats
	count := 0
	w := newWalker(Options{Base: base, Depth: 2, Walkers: 1}, func(Found) error {
		if count++; count == 1 {
			runtime.GC()
			runtime.ReadMemStats(&during)
		}
		return nil
	})
	runtime.GC()
	runtime.ReadMemStats(&before)
	if err := w.walk(t.Context()); err != nil {
		t.Fatal(err)
	}
	if count != 1+wide {
		t.Errorf("%d entries", count)
	}
	if each := (int64(during.HeapAlloc) - int64(before.HeapAlloc)) / wide; each > 150 {
		t.Errorf("%d bytes are held for each child", each)
	}
}

// BenchmarkWalk stands beside filepath.WalkDir; "stamped" looks at each recursive entry.
func BenchmarkWalk(b *testing.B) {
	var names []string
	for i := range 1000 {
		names = append(names, fmt.Sprintf("d%d/e%d/f%d/file", i%10, i/10%10, i))
	}
	base := tree(b, names...)
	const dirs = 1 + 10 + 100 + 1000
	run := func(name string, walk func(count *int) error) {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				count := 0
				if err := walk(&count); err != nil || count != dirs {
					b.Fatal(count, err)
				}
			}
			b.ReportMetric(float64(b.N)*dirs/b.Elapsed().Seconds(), "dirs/s")
		})
	}
	run("filepath.WalkDir", func(count *int) error {
		return filepath.WalkDir(base, func(_ string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				*count++
			}
			return err
		})
	})
	for _, walkers := range []int{1, 8} {
		opts := Options{Base: base, Depth: 4, Walkers: walkers}
		run(fmt.Sprint("walkers=", walkers), func(count *int) error {
			return Walk(b.Context(), opts, func(Entry) error { *count++; return nil })
		})
		opts.Depth = 3
		run(fmt.Sprint("stamped/walkers=", walkers), func(count *int) error {
			return WalkStamped(b.Context(), opts, func(Found) error { *count++; return nil })
		})
	}
}

// A component that its owner swaps for a link while the walk is below it leads nowhere: neither the directory
// itself nor one above it. The base may be a link.
func TestWalkFollowsNoSwappedComponent(t *testing.T) {
	top := t.TempDir()
	base, secret, link := filepath.Join(top, "base"), filepath.Join(top, "secret"), filepath.Join(top, "link")
	for _, dir := range []string{base + "/a/b/c", secret + "/b/c/hidden"} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(base, link); err != nil {
		t.Fatal(err)
	}
	for name, byComponent := range map[string]bool{"openat2": false, "by component": true} {
		w := newWalker(Options{Base: link, Depth: 3}, func(Found) error { return nil })
		if err := w.prepare(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.tree.byComponent = byComponent
		open := func(rel string) error {
			fd, err := w.open(&dir{path: link + rel, level: strings.Count(rel, "/")})
			if err == nil {
				err = syscall.Close(fd)
			}
			return err
		}
		for _, rel := range []string{"", "/a", "/a/b", "/a/b/c"} {
			if err := open(rel); err != nil {
				t.Errorf("%s: %s: %v", name, rel, err)
			}
		}
		if err := errors.Join(os.Rename(base+"/a", base+"/old"), os.Symlink(secret, base+"/a")); err != nil {
			t.Fatal(err)
		}
		for _, rel := range []string{"/a", "/a/b", "/a/b/c"} {
			if err := open(rel); !isGone(err) {
				t.Errorf("%s: %s through a link that was swapped in: %v", name, rel, err)
			}
		}
		if err := errors.Join(os.Remove(base+"/a"), os.Rename(base+"/old", base+"/a")); err != nil {
			t.Fatal(err)
		}
	}
}
