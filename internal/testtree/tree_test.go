// SPDX-License-Identifier: LGPL-2.1-or-later

package testtree

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// everything is a tree with all that MakeTree has.
var everything = TreeOptions{
	Fanout: []int{3, 2}, Files: 2, Size: 1000, Names: OddNames, HardLinks: true, FarHardLinks: true,
}

func makeTree(t *testing.T, o TreeOptions) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "tree")
	if err := MakeTree(dir, o); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestMakeTreeCounts(t *testing.T) {
	dir := makeTree(t, TreeOptions{Fanout: []int{10, 10, 5}, Files: 8, Size: 1024})
	var dirs, files int
	contents := map[string]bool{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			dirs++
			return nil
		}
		files++
		data, err := os.ReadFile(path)
		if len(data) != 1024 {
			t.Errorf("%s has %d bytes, want 1024", path, len(data))
		}
		contents[string(data)] = true
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if dirs != 611 || files != 4888 || len(contents) != files {
		t.Errorf("%d directories, %d files, %d contents; want 611, 4888, 4888", dirs, files, len(contents))
	}
}

func TestMakeTreeSameEachTime(t *testing.T) {
	want(t, makeTree(t, everything), makeTree(t, everything))
}

func TestMakeTreeTimesAreOld(t *testing.T) {
	dir := makeTree(t, everything)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.Type() == fs.ModeSymlink {
			return err
		}
		info, err := d.Info()
		if err == nil && info.ModTime().After(time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)) {
			t.Errorf("%q was modified %v", path, info.ModTime())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestMakeTreeRefusesAFullDirectory(t *testing.T) {
	dir := makeTree(t, TreeOptions{Files: 1})
	if err := MakeTree(dir, TreeOptions{}); err == nil || !strings.Contains(err.Error(), "not empty") {
		t.Errorf("made a tree in a directory with files: %v", err)
	}
}

func TestLineNamesFitOnLines(t *testing.T) {
	dir := makeTree(t, TreeOptions{Names: LineNames})
	top, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range top {
		if strings.HasPrefix(entry.Name(), "#") || strings.HasPrefix(entry.Name(), ";") {
			t.Errorf("%q would be a comment", entry.Name())
		}
	}
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if strings.ContainsAny(path, "\n\r") {
			t.Errorf("%q does not fit on a line", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// rsync judges both: a copy that it makes has no differences, and it finds none where Compare finds
// none.
func TestCompareAgreesWithRsync(t *testing.T) {
	src := makeTree(t, everything)
	dst := filepath.Join(t.TempDir(), "copy")
	rsync := func(flags string) string {
		t.Helper()
		out, err := exec.Command("rsync", flags, "--numeric-ids", "--delete", src+"/", dst+"/").CombinedOutput()
		if err != nil {
			t.Fatalf("rsync %s: %v\n%s", flags, err, out)
		}
		return string(out)
	}
	rsync("-aH")
	want(t, src, dst)
	if out := rsync("-aHnic"); out != "" {
		t.Errorf("rsync still sees\n%s", out)
	}
}

func want(t *testing.T, a, b string, lines ...string) {
	t.Helper()
	got, err := Compare(a, b)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(lines, got); diff != "" {
		t.Errorf("differences of %s and %s (-want +got):\n%s", a, b, diff)
	}
}

// Every change to one of two equal trees has to be seen, and nothing else.
func TestCompareSeesEveryChange(t *testing.T) {
	a, b := makeTree(t, everything), makeTree(t, everything)
	var expected []string
	// change runs act in a directory of b, which keeps its time, so that only what act does shows:
	// as these lines.
	change := func(dir string, act func(in string) error, lines ...string) {
		t.Helper()
		in := filepath.Join(b, dir)
		info, err := os.Stat(in)
		if err == nil {
			err = errors.Join(act(in), os.Chtimes(in, time.Time{}, info.ModTime()))
		}
		if err != nil {
			t.Fatal(err)
		}
		expected = append(expected, lines...)
	}
	// rewrite puts other data into a file and keeps its time.
	rewrite := func(name string, data []byte) func(string) error {
		return func(in string) error {
			info, err := os.Stat(in + "/" + name)
			if err != nil {
				return err
			}
			return errors.Join(os.WriteFile(in+"/"+name, data, 0), os.Chtimes(in+"/"+name, time.Time{}, info.ModTime()))
		}
	}

	change("", rewrite("file000", make([]byte, 1000)), `"file000": different content`)
	last := content("kinds/big", 300_000)
	last[len(last)-1]++
	change("kinds", rewrite("big", last), `"kinds/big": different content`)
	change("", rewrite("file001", make([]byte, 5)), `"file001": 1000 bytes and 5 bytes`)
	change("", func(in string) error { return os.RemoveAll(in + "/caf\xe9") },
		`"caf\xe9": only in "`+a+`"`)
	change("empty", func(in string) error { return os.WriteFile(in+"/new\nline", nil, 0o600) },
		`"empty/new\nline": only in "`+b+`"`)
	change("nearly/empty", func(in string) error {
		return errors.Join(os.Remove(in+"/inside"), os.WriteFile(in+"/inside", nil, 0o755))
	}, `"nearly/empty/inside": directory and file`)
	change("dir000", func(in string) error { return os.Chmod(in+"/file000", 0o600) },
		`"dir000/file000": mode 0644 and 0600`)
	change("modes", func(in string) error { return syscall.Chmod(in+"/file 4755", 0o755) },
		`"modes/file 4755": mode 4755 and 0755`)
	change("", func(in string) error { return os.Chmod(in, 0o700) }, `".": mode 0755 and 0700`)
	for _, rel := range []string{"dir001/file000", "dir001/dir001"} {
		change("dir001", func(string) error {
			return os.Chtimes(filepath.Join(b, rel), time.Time{}, timeOf(rel).Add(time.Nanosecond))
		}, `"`+rel+`": modified `+stamp(rel, 0)+` and `+stamp(rel, 1))
	}
	change("kinds/links", func(in string) error {
		return errors.Join(os.Remove(in+"/dangling"), os.Symlink("no", in+"/dangling"))
	}, `"kinds/links/dangling": link to "no/such/file" and to "no"`)
	change("near links", func(in string) error {
		return errors.Join(os.Remove(in+"/three"), os.WriteFile(in+"/three", content("near links/one", 2000), 0o644),
			os.Chtimes(in+"/three", time.Time{}, timeOf("near links/one")))
	}, `"near links/three": the same file as "near links/one" and as "near links/three"`)
	change("far b/below", func(in string) error { // it becomes a link of another, equal file
		twin := filepath.Join(a, "odd/files/twin")
		for _, name := range []string{twin, filepath.Join(b, "odd/files/twin")} {
			if err := errors.Join(os.WriteFile(name, nil, 0o644), os.Chtimes(name, time.Time{}, timeOf("twin"))); err != nil {
				return err
			}
		}
		for _, dir := range []string{a, b} {
			if err := os.Chtimes(dir+"/odd/files", time.Time{}, timeOf("odd/files")); err != nil {
				return err
			}
		}
		other := filepath.Join(a, "far b/below/twin")
		return errors.Join(os.WriteFile(other, nil, 0o644), os.Chtimes(other, time.Time{}, timeOf("twin")),
			os.Chtimes(a+"/far b/below", time.Time{}, timeOf("far b/below")),
			os.Link(b+"/odd/files/twin", in+"/twin"))
	}, `"odd/files/twin": the same file as "odd/files/twin" and as "far b/below/twin"`)
	if os.Geteuid() == 0 {
		for _, rel := range []string{"dir000/file001", "dir000/dir000", "kinds/links/absolute"} {
			change(filepath.Dir(rel), func(string) error { return os.Lchown(filepath.Join(b, rel), 1, 2) },
				`"`+rel+`": owner 0:0 and 1:2`)
		}
	}

	got, err := Compare(a, b)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(expected)
	if diff := cmp.Diff(expected, slices.Sorted(slices.Values(got))); diff != "" {
		t.Errorf("differences (-want +got):\n%s", diff)
	}
	for _, line := range got {
		if path, what, err := Split(line); err != nil || fmt.Sprintf("%q: %s", path, what) != line {
			t.Errorf("%s is split into %q and %q, %v", line, path, what, err)
		}
	}
}

func TestTemporary(t *testing.T) {
	for path, want := range map[string]bool{".a.aB3xYz": true, "dir/..a.tar.000000": true, "a.aB3xYz": false, ".a.aB3xY": false, ".a.aB3x-z": false, ".a.aB3xYz/a": false} {
		if Temporary(path) != want {
			t.Errorf("%s: %v", path, !want)
		}
	}
}

func stamp(rel string, add time.Duration) string {
	return timeOf(rel).Add(add).Format("2006-01-02T15:04:05.999999999Z")
}

func TestCompareWithoutHardLinks(t *testing.T) {
	a, b := makeTree(t, everything), makeTree(t, everything)
	if err := os.RemoveAll(b); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("rsync", "-a", "--numeric-ids", a+"/", b+"/").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	got, err := Compare(a, b, HardLinks)
	if err != nil || len(got) > 0 {
		t.Errorf("differences besides links: %q, %v", got, err)
	}
	if got, _ = Compare(a, b); len(got) == 0 {
		t.Error("copies passed for hard links")
	}
}

func TestCompareLongPaths(t *testing.T) {
	a := t.TempDir()
	at, err := os.OpenRoot(a)
	if err != nil {
		t.Fatal(err)
	}
	defer at.Close()
	path := strings.Repeat(strings.Repeat("x", 200)+"/", 25) // longer than PATH_MAX
	if err := at.MkdirAll(path, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := at.WriteFile(path+"file", []byte("same"), 0o644); err != nil {
		t.Fatal(err)
	}
	want(t, a, a)
}

func TestCompareNoTree(t *testing.T) {
	if _, err := Compare(t.TempDir(), "/no/such/tree"); err == nil || !strings.HasPrefix(err.Error(), "cannot compare") {
		t.Errorf("compared with nothing: %v", err)
	}
}
