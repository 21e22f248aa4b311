// SPDX-License-Identifier: LGPL-2.1-or-later

package testtree

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
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

// rsync is the judge of both: a copy by it has no differences, and it finds none where Compare finds none.
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

// Each change to one of two equal trees has to be seen, and nothing else.
func TestCompareSeesEveryChange(t *testing.T) {
	a := makeTree(t, everything)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	// Directories keep their times, so that only the change itself shows.
	keepTime := func(dir string, act func()) {
		info, err := os.Stat(dir)
		must(err)
		act()
		must(os.Chtimes(dir, time.Time{}, info.ModTime()))
	}
	tests := map[string]struct {
		change func(b string)
		want   []string
	}{
		"content": {func(b string) {
			must(os.WriteFile(b+"/kinds/big", make([]byte, 300_000), 0))
			must(os.Chtimes(b+"/kinds/big", time.Time{}, timeOf("kinds/big")))
		}, []string{`"kinds/big": different content`}},
		"last byte": {func(b string) {
			data := content("kinds/big", 300_000)
			data[len(data)-1]++
			must(os.WriteFile(b+"/kinds/big", data, 0))
			must(os.Chtimes(b+"/kinds/big", time.Time{}, timeOf("kinds/big")))
		}, []string{`"kinds/big": different content`}},
		"size": {func(b string) {
			must(os.Truncate(b+"/kinds/big", 5))
			must(os.Chtimes(b+"/kinds/big", time.Time{}, timeOf("kinds/big")))
		}, []string{`"kinds/big": 300000 bytes and 5 bytes`}},
		"missing": {func(b string) {
			keepTime(b, func() { must(os.RemoveAll(b + "/caf\xe9")) })
		}, []string{`"caf\xe9": only in "` + a + `"`}},
		"additional": {func(b string) {
			keepTime(b+"/empty", func() { must(os.WriteFile(b+"/empty/new\nline", nil, 0o600)) })
		}, []string{`"empty/new\nline": only in "B"`}},
		"type": {func(b string) {
			keepTime(b, func() { must(os.Remove(b + "/empty")); must(os.WriteFile(b+"/empty", nil, 0o755)) })
		}, []string{`"empty": directory and file`}},
		"file mode": {func(b string) { must(os.Chmod(b+"/file000", 0o600)) }, []string{`"file000": mode 0644 and 0600`}},
		"set-uid": {func(b string) { must(syscall.Chmod(b+"/modes/file 4755", 0o755)) },
			[]string{`"modes/file 4755": mode 4755 and 0755`}},
		"mode of the root": {func(b string) { must(os.Chmod(b, 0o700)) }, []string{`".": mode 0755 and 0700`}},
		"file time": {func(b string) {
			must(os.Chtimes(b+"/file000", time.Time{}, timeOf("file000").Add(time.Nanosecond)))
		}, []string{`"file000": modified ` + stamp("file000", 0) + ` and ` + stamp("file000", 1)}},
		"directory time": {func(b string) {
			must(os.Chtimes(b+"/dir000/dir001", time.Time{}, timeOf("dir000/dir001").Add(time.Nanosecond)))
		}, []string{`"dir000/dir001": modified ` + stamp("dir000/dir001", 0) + ` and ` + stamp("dir000/dir001", 1)}},
		"link target": {func(b string) {
			dir := b + "/kinds/links"
			keepTime(dir, func() { must(os.Remove(dir + "/dangling")); must(os.Symlink("no", dir+"/dangling")) })
		}, []string{`"kinds/links/dangling": link to "no/such/file" and to "no"`}},
		"a link became a copy": {func(b string) {
			dir := b + "/near links"
			keepTime(dir, func() {
				must(os.Remove(dir + "/three"))
				must(os.WriteFile(dir+"/three", content("near links/one", 2000), 0o644))
				must(os.Chtimes(dir+"/three", time.Time{}, timeOf("near links/one")))
			})
		}, []string{
			// The walk meets "one" first, then "three".
			`"near links/three": the same file as "near links/one" and as "near links/three"`,
		}},
		"a copy became a link": {func(b string) {
			must(os.WriteFile(a+"/empty/1", nil, 0o644))
			must(os.WriteFile(a+"/empty/2", nil, 0o644))
			for _, name := range []string{a + "/empty/1", a + "/empty/2", a + "/empty"} {
				must(os.Chtimes(name, time.Time{}, timeOf("empty")))
			}
			must(os.WriteFile(b+"/empty/1", nil, 0o644))
			must(os.Link(b+"/empty/1", b+"/empty/2"))
			for _, name := range []string{b + "/empty/1", b + "/empty"} {
				must(os.Chtimes(name, time.Time{}, timeOf("empty")))
			}
		}, []string{`"empty/2": the same file as "empty/2" and as "empty/1"`}},
	}
	if os.Geteuid() == 0 {
		owner := func(rel, line string) {
			tests["owner of "+rel] = struct {
				change func(b string)
				want   []string
			}{func(b string) { must(os.Lchown(b+"/"+rel, 1, 2)) }, []string{line}}
		}
		owner("file000", `"file000": owner 0:0 and 1:2`)
		owner("dir000", `"dir000": owner 0:0 and 1:2`)
		owner("kinds/links/absolute", `"kinds/links/absolute": owner 0:0 and 1:2`)
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			b := makeTree(t, everything)
			tt.change(b)
			for i, line := range tt.want {
				tt.want[i] = strings.ReplaceAll(line, `"B"`, `"`+b+`"`)
			}
			want(t, a, b, tt.want...)
			must(os.RemoveAll(a + "/empty/1"))
			must(os.RemoveAll(a + "/empty/2"))
			must(os.Chtimes(a+"/empty", time.Time{}, timeOf("empty")))
		})
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
