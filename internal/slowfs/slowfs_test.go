// SPDX-License-Identifier: LGPL-2.1-or-later

package slowfs

import (
	"bufio"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vsc-zk/internal/testtree"
)

// everything is a tree with all that the builder knows.
var everything = testtree.TreeOptions{Fanout: []int{2, 2}, Files: 2, Size: 5000, Names: testtree.OddNames, HardLinks: true, FarHardLinks: true}

// mount mounts dir until the test ends.
func mount(t *testing.T, dir string, o Options) (*FS, string) {
	t.Helper()
	at := t.TempDir()
	f, err := Mount(dir, at, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Unmount(); err != nil {
			t.Error(err)
		}
		if mounted(t, at) {
			t.Errorf("%s is still mounted", at)
		}
	})
	if !mounted(t, at) {
		t.Fatalf("%s is not mounted", at)
	}
	return f, at
}

func mounted(t *testing.T, at string) bool {
	t.Helper()
	table, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Contains(string(table), " "+at+" fuse.slowfs ")
}

func makeTree(t *testing.T, dir string) string {
	t.Helper()
	if err := testtree.MakeTree(dir, everything); err != nil {
		t.Fatal(err)
	}
	return dir
}

func compare(t *testing.T, a, b string) {
	t.Helper()
	differences, err := testtree.Compare(a, b)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range differences[:min(len(differences), 20)] {
		t.Error(line)
	}
}

func rsync(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("rsync", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("rsync %q: %v\n%s", args, err, out)
	}
	return string(out)
}

func TestTreeReadsTheSame(t *testing.T) {
	dir := makeTree(t, t.TempDir())
	_, at := mount(t, dir, Options{})
	compare(t, dir, at)
}

func TestTreeIsWrittenTheSame(t *testing.T) {
	below := t.TempDir()
	_, at := mount(t, below, Options{})
	compare(t, makeTree(t, t.TempDir()), makeTree(t, at))
	compare(t, at, below)
}

func TestRsyncFromAndTo(t *testing.T) {
	dir, below := makeTree(t, t.TempDir()), t.TempDir()
	_, from := mount(t, dir, Options{})
	_, to := mount(t, below, Options{})
	rsync(t, "-aHAX", from+"/", to+"/")
	compare(t, dir, below)
	if out := rsync(t, "-aHAXi", "--checksum", "--delete", from+"/", to+"/"); out != "" {
		t.Errorf("a second run still changes:\n%s", out)
	}
	if err := os.WriteFile(filepath.Join(from, "later"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(from, "odd")); err != nil {
		t.Fatal(err)
	}
	// Two directory times within one second are the same to rsync.
	if err := os.Chtimes(from, time.Time{}, time.Unix(1_000_000_000, 123_456_789)); err != nil {
		t.Fatal(err)
	}
	rsync(t, "-aHAX", "--delete", "--inplace", from+"/", to+"/")
	compare(t, dir, below)
}

// A Statx that follows links would get this wrong. The kernel asks for a birth time with it, as ls
// and stat do.
func TestStatxOfLink(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink("nowhere", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	_, at := mount(t, dir, Options{Keep: time.Nanosecond})
	for range 2 {
		var st unix.Statx_t
		err := unix.Statx(unix.AT_FDCWD, at+"/link", unix.AT_SYMLINK_NOFOLLOW, unix.STATX_BASIC_STATS|unix.STATX_BTIME, &st)
		if err != nil || st.Mode&unix.S_IFMT != unix.S_IFLNK {
			t.Errorf("statx of a link says mode %o, %v", st.Mode, err)
		}
	}
}

// Each step of this test costs what it would cost a client of a metadata server.
func TestDelays(t *testing.T) {
	dir := t.TempDir()
	if err := testtree.MakeTree(dir, testtree.TreeOptions{Fanout: []int{1}, Files: 3, Size: 10}); err != nil {
		t.Fatal(err)
	}
	const delay, keep = 7 * time.Hour, time.Hour
	var slept atomic.Int64
	f, at := mount(t, dir, Options{Delay: delay, Keep: keep, Sleep: func(d time.Duration) {
		if d != delay {
			t.Errorf("slept %v instead of %v", d, delay)
		}
		slept.Add(1)
	}})
	last := f.Counts()
	step := func(name string, want Counts, act func() error) {
		t.Helper()
		if err := act(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		now := f.Counts()
		got := Counts{now.Lookup - last.Lookup, now.Getattr - last.Getattr, now.Opendir - last.Opendir, now.Open - last.Open, now.Create - last.Create}
		if last = now; got != want {
			t.Errorf("%s: counted %+v, want %+v", name, got, want)
		}
	}
	lstat := func(name string) func() error {
		return func() error { _, err := os.Lstat(at + "/" + name); return err }
	}
	step("a path is looked up name by name", Counts{Lookup: 2}, lstat("dir000/file000"))
	step("and remembered", Counts{}, lstat("dir000/file000"))
	// An absent name is remembered by nobody.
	for range 2 {
		step("an absent name", Counts{Lookup: 1}, func() error {
			if err := lstat("none")(); !errors.Is(err, fs.ErrNotExist) {
				return errors.New("it is there")
			}
			return nil
		})
	}
	step("a directory is read without what is in it", Counts{Opendir: 1}, func() error {
		fd, err := unix.Open(at+"/dir000", unix.O_RDONLY|unix.O_DIRECTORY, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		n, err := unix.ReadDirent(fd, make([]byte, 4096))
		if err == nil && n < 5*24 {
			return errors.New("there is nothing in it")
		}
		return err
	})
	step("which therefore has to be looked up", Counts{Lookup: 2}, func() error { return errors.Join(lstat("dir000/file001")(), lstat("dir000/file002")()) })
	step("a file is opened, and read for nothing", Counts{Open: 1}, func() error { _, err := os.ReadFile(at + "/dir000/file001"); return err })
	step("a file is created: the look whether it is there, and itself", Counts{Lookup: 1, Create: 1}, func() error {
		f, err := os.OpenFile(at+"/new", os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		return f.Close()
	})
	if slept.Load() != last.Sum() || last.Sum() == 0 {
		t.Errorf("slept %d times for %d operations", slept.Load(), last.Sum())
	}
}

// What the kernel has kept is asked for again when its time is over.
func TestKeep(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	const keep = 20 * time.Millisecond
	f, at := mount(t, dir, Options{Keep: keep})
	for i := range 3 {
		if _, err := os.Lstat(at + "/file"); err != nil {
			t.Fatal(err)
		}
		if got, want := f.Counts().Lookup, int64(i+1); got != want {
			t.Fatalf("%d lookups after %d keeping times, want %d", got, i, want)
		}
		time.Sleep(2 * keep)
	}
}

// Operations that are under way together wait together.
func TestDelaysAtOnce(t *testing.T) {
	dir := t.TempDir()
	names := strings.Split("abcdefghijklmnop", "")
	for _, name := range names {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	all := make(chan struct{})
	var ready atomic.Bool
	var waiting atomic.Int64
	_, at := mount(t, dir, Options{Sleep: func(time.Duration) {
		if !ready.Load() { // mounting itself looks at the root
			return
		}
		if waiting.Add(1) == int64(len(names)) {
			close(all)
		}
		select {
		case <-all:
		case <-time.After(20 * time.Second):
			t.Errorf("only %d operations at once", waiting.Load())
		}
	}})
	ready.Store(true)
	ended := make(chan error)
	for _, name := range names {
		go func() {
			_, err := os.Lstat(at + "/" + name)
			ended <- err
		}()
	}
	for range names {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

func TestUnmountWhileInUse(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Log("only root can take a file system from its users: checking that it is unmounted")
	}
	dir, at := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := Mount(dir, at, Options{})
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(at + "/file")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := f.Unmount(); err == nil {
		t.Error("nothing was said about the open file")
	}
	if mounted(t, at) {
		t.Error("it is still mounted")
	}
	if _, err := file.Read(make([]byte, 1)); os.Geteuid() == 0 && !errors.Is(err, syscall.ENOTCONN) {
		t.Errorf("reading from it gives %v, want %v", err, syscall.ENOTCONN)
	}
}

// With the device in a child's hands the file system would outlive its server, and its users would
// hang for ever.
func TestChildrenDoNotGetTheDevice(t *testing.T) {
	mount(t, t.TempDir(), Options{})
	out, err := exec.Command("ls", "-l", "/proc/self/fd").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "/dev/null") || strings.Contains(string(out), "/dev/fuse") {
		t.Errorf("open files of a child: %v\n%s", err, out)
	}
}

func TestRefused(t *testing.T) {
	for _, place := range [][2]string{{"none", "at"}, {"dir", "none"}} {
		base := t.TempDir()
		for _, name := range []string{"dir", "at"} {
			if err := os.Mkdir(filepath.Join(base, name), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		f, err := Mount(filepath.Join(base, place[0]), filepath.Join(base, place[1]), Options{})
		if err == nil {
			f.Unmount()
		}
		if !errors.Is(err, fs.ErrNotExist) || !strings.HasPrefix(err.Error(), "cannot mount") {
			t.Errorf("%q: %v", place, err)
		}
	}
}

const killedIn = "SLOWFS_TEST_KILLED_IN"

// mountAndWait is what the process of TestKilled does.
func mountAndWait(dir string) {
	if _, err := Mount(filepath.Join(dir, "below"), filepath.Join(dir, "at"), Options{}); err != nil {
		os.Stdout.WriteString(err.Error() + "\n")
		os.Exit(1)
	}
	os.Stdout.WriteString("mounted\n")
	time.Sleep(time.Minute)
	os.Exit(1)
}

// A process that called Isolate leaves no mount, however it ends.
func TestKilled(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Log("only root has a namespace for its mounts: nothing to check")
		return
	}
	dir := t.TempDir()
	for _, name := range []string{"below/file", "at"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(slices.Clone(os.Environ()), killedIn+"="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if mounted(t, filepath.Join(dir, "at")) {
		t.Error("another process sees the mount")
	}
	cmd.Process.Kill()
	cmd.Wait()
	if err != nil || line != "mounted\n" {
		t.Fatalf("the process said %q, %v", line, err)
	}
	if names, err := os.ReadDir(filepath.Join(dir, "at")); err != nil || len(names) > 0 {
		t.Errorf("what is left there: %v, %v", names, err)
	}
}
