// SPDX-License-Identifier: LGPL-2.1-or-later

package rsyncrunner

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// changes runs a job and returns what was reported, code by path.
func changes(t *testing.T, options Options, job Job) (map[string]string, Result) {
	t.Helper()
	found := map[string]string{}
	sender := Sender{Options: options, Output: t.Output()}
	job.Changes = func(c Change) {
		if found[c.Path] != "" {
			t.Errorf("%q is reported twice", c.Path)
		}
		found[c.Path] = c.Code
	}
	result, err := sender.Run(t.Context(), job)
	if err != nil {
		t.Fatal(err)
	}
	if result.Class() != Fine {
		t.Fatalf("%v: %q", result, result.Errors)
	}
	return found, result
}

func sameChanges(t *testing.T, got, want map[string]string) {
	t.Helper()
	for path, code := range want {
		if got[path] != code {
			t.Errorf("%q is %q, want %q", path, got[path], code)
		}
	}
	for path, code := range got {
		if _, ok := want[path]; !ok {
			t.Errorf("%q is %q, and should not be reported", path, code)
		}
	}
}

// deceptive are names that look like something in rsync's output.
var deceptive = []string{
	"Number of files: 9", "Number of deleted files: 9", "Total file size: 9 bytes", "*deleting  |x", "<f+++++++++|x", "|", "a|b",
	`\#012\#`, `\#134#012`, `\#0123`, `\\#012`, `\#99`, `\#999`, `\#400`, "x -> y", "x => y", "\x7f", "\x80\x9f", "tab\t", "\x1b[31m",
}

// deceptiveTree has them, and a path in which every piece of 1024 bytes ends in the middle of what
// looks like an escape.
func deceptiveTree(t *testing.T) string {
	t.Helper()
	source := t.TempDir()
	for _, name := range append(slices.Clone(deceptive), oddNames...) {
		write(t, source, "tree/"+name+"/file", "x")
		write(t, source, "tree/files/"+name, "x")
	}
	write(t, source, "tree"+strings.Repeat("/"+strings.Repeat(`\#012`, 51), 8)+"/file", "x")
	write(t, source, "tree/x"+strings.Repeat("/"+strings.Repeat("\n", 255), 14)+"/file", "x")
	if err := os.Symlink("target |\n", source+"/tree/link"); err != nil {
		t.Fatal(err)
	}
	return source
}

// below lists all paths below dir as rsync writes them, with the code of a file, a link and a
// directory.
func below(t *testing.T, dir, file, link, directory string) map[string]string {
	t.Helper()
	all := map[string]string{}
	for path, about := range tree(t, dir) {
		name := strings.TrimPrefix(path, "./")
		switch {
		case path == ".":
		case strings.HasPrefix(about, "d"):
			all[name+"/"] = directory
		case strings.HasPrefix(about, "->"):
			all[name] = link
		default:
			all[name] = file
		}
	}
	return all
}

func TestChangesWithOddNames(t *testing.T) {
	t.Parallel()
	source := deceptiveTree(t)
	want := below(t, source, "<f+++++++++", "cL+++++++++", "cd+++++++++")
	age(t, source)
	for _, options := range []Options{
		{},
		{Verbose: true},
		{Verbose: true, Extra: []string{"itemize-changes", "itemize-changes", "out-format:%n%L", "progress", "info:name2"}},
		{Extra: []string{"8-bit-output", "no-8-bit-output", "verbose", "verbose", "info:progress2"}},
	} {
		destination := t.TempDir()
		_, url := serve(t, destination)
		for _, dry := range []bool{true, false} {
			if options.DryRun = dry; dry && options.Extra != nil {
				continue // once is enough
			}
			got, result := changes(t, options, Job{Base: source, Names: []string{"tree"}, Kind: Recursive, URL: url})
			if got["./"] != ".d..t......" {
				t.Errorf("the base is %q", got["./"])
			}
			delete(got, "./")
			sameChanges(t, got, want)
			if number := result.Stats["Number_of_files"]; number != int64(len(want))+1 || result.Deleted != 0 {
				t.Errorf("%d files, %d deleted", number, result.Deleted)
			}
			if options.Verbose && !strings.Contains(result.FileList, "\n<f+++++++++ tree/files/inv\\#377\\#376alid\n") {
				t.Errorf("file list %q", result.FileList)
			}
			if len(options.Extra) == 0 && !options.Verbose && result.FileList != "" {
				t.Errorf("file list %q", result.FileList)
			}
		}
		sameTree(t, source, destination)
		// Now nothing is left to do.
		got, _ := changes(t, options, Job{Base: source, Names: []string{"tree"}, Kind: Recursive, URL: url})
		sameChanges(t, got, nil)
	}
}

func TestChangesThatDelete(t *testing.T) {
	t.Parallel()
	source, destination := t.TempDir(), deceptiveTree(t)
	write(t, source, "tree/new", "x")
	want := below(t, destination, "*deleting", "*deleting", "*deleting")
	delete(want, "tree/")
	want["tree/new"] = "<f+++++++++"
	_, url := serve(t, destination)
	job := Job{Base: source, Names: []string{"tree"}, Kind: Recursive, URL: url}
	for _, options := range []Options{{Verify: true}, {DryRun: true}, {DryRun: true, Verify: true, Verbose: true}, {}} {
		options.Delete = true
		got, result := changes(t, options, job)
		delete(got, "./")
		delete(got, "tree/")
		sameChanges(t, got, want)
		if result.Deleted != len(want)-1 {
			t.Errorf("%d deleted, want %d", result.Deleted, len(want)-1)
		}
	}
	sameNames(t, source, destination)
}

// Output has nothing of the lines that only Changes is for.
func TestChangesInOutput(t *testing.T) {
	t.Parallel()
	source, destination := t.TempDir(), t.TempDir()
	write(t, source, "dir/f\xffile", "x")
	_, url := serve(t, destination)
	job := Job{Base: source, Names: []string{"dir", "g\xffne"}, Kind: Recursive, URL: url, Changes: func(Change) {}}
	for _, verbose := range []bool{false, true} {
		out := &buffer{}
		sender := Sender{Options: Options{DryRun: true, Verbose: verbose}, Output: out}
		result, err := sender.Run(t.Context(), job)
		if err != nil {
			t.Fatal(err)
		}
		text := out.String()
		if strings.Contains(text, "|") || strings.Contains(text, `<f+++++++++ dir/f\#377ile`+"\n") != verbose {
			t.Errorf("output %q", text)
		}
		// Names in error lines are escaped, here as in every run.
		if errors := strings.Join(result.Errors, "\n"); result.Code != 23 || !strings.Contains(errors, `g\#377ne" failed`) {
			t.Errorf("%v: %q", result, errors)
		}
	}
}

// A message with a file's name in it is no change.
func TestChangesAmongMessages(t *testing.T) {
	t.Parallel()
	source, destination := t.TempDir(), t.TempDir()
	write(t, destination, "<f+++++++++|forged/kept/file", "x")
	age(t, source)
	_, url := serve(t, destination)
	job := wholeJob(source, url)
	job.Filters = []string{"kept"}
	got, result := changes(t, Options{Delete: true}, job)
	sameChanges(t, got, map[string]string{"./": ".d..t......"})
	if want := "cannot delete non-empty directory: <f+++++++++|forged"; result.FileList != want {
		t.Errorf("%q, want %q", result.FileList, want)
	}
}

// A change is reported while the run goes on: here it ends a run that would take 20 s.
func TestChangesComeAtOnce(t *testing.T) {
	t.Parallel()
	source, destination := t.TempDir(), t.TempDir()
	write(t, source, "file", strings.Repeat("x", 400<<10))
	_, url := serve(t, destination)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	sender := Sender{Options: Options{Extra: []string{"bwlimit:20"}}, Output: t.Output()}
	job := wholeJob(source, url)
	job.Changes = func(c Change) {
		if c.Path == "file" {
			cancel()
		}
	}
	if result, err := sender.Run(ctx, job); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, %v: the change came at the end", result, err)
	}
}

func TestMassesOfChanges(t *testing.T) {
	t.Parallel()
	count := 0
	sender := Sender{program: script(t, `
for arg; do case $arg in --out-format=*) mark=${arg#--out-format=}; mark=${mark%%\%*};; esac; done
yes "$mark<f+++++++++|some/file" | head -n 500000
echo "Number of files: 500,000"
`)}
	job := Job{Base: "/", Names: []string{""}, URL: "rsync://localhost:1/m", Changes: func(Change) { count++ }}
	result, err := sender.Run(t.Context(), job)
	if err != nil || count != 500_000 || result.Stats["Number_of_files"] != 500_000 || result.FileList != "" {
		t.Errorf("%d changes, %+v, %v", count, result, err)
	}
}

// snapshot is all that a write to the tree would change.
func snapshot(t *testing.T, dir string) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		content := []byte(nil)
		if entry.Type().IsRegular() {
			if content, err = os.ReadFile(path); err != nil {
				return err
			}
		}
		found[path] = fmt.Sprintf("%d %o %d:%d %d %d %v %v %q", st.Ino, st.Mode, st.Uid, st.Gid, st.Nlink, st.Size, st.Mtim, st.Ctim, content)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// differences are two trees that differ in every way there is.
func differences(t *testing.T) (source, destination string) {
	t.Helper()
	source, destination = t.TempDir(), t.TempDir()
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, dir := range []string{source, destination} {
		for _, name := range []string{"same", "content", "size", "mode", "time", "second", "link1", "link2", "both1", "all"} {
			write(t, dir, "t/"+name, "1")
		}
		write(t, dir, "t/moded/file", "1")
		write(t, dir, "t/timed/file", "1")
		do(os.Symlink("1", dir+"/t/symlink"))
		do(os.Symlink("1", dir+"/t/aimed"))
		do(unix.Mkfifo(dir+"/t/fifo", 0o600))
	}
	// Only at one of them.
	write(t, source, "t/newdir/new", "1")
	write(t, source, "t/wasfile/new", "1")
	write(t, destination, "t/old/file", "1")
	write(t, destination, "t/wasfile", "1")
	// Other than at the source.
	do(os.WriteFile(destination+"/t/content", []byte("2"), 0o640))
	do(os.WriteFile(destination+"/t/size", []byte("22"), 0o640))
	do(os.WriteFile(destination+"/t/all", []byte("22"), 0o640))
	do(os.Chmod(destination+"/t/mode", 0o600))
	do(os.Chmod(destination+"/t/all", 0o4755))
	do(os.Chmod(destination+"/t/moded", 0o700))
	do(os.Chmod(destination+"/t/fifo", 0o644))
	do(os.Remove(destination + "/t/aimed"))
	do(os.Symlink("2", destination+"/t/aimed"))
	// Linked at the source, at both, and at the destination.
	do(os.Remove(source + "/t/link2"))
	do(os.Link(source+"/t/link1", source+"/t/link2"))
	do(os.Link(source+"/t/both1", source+"/t/both2"))
	do(os.Link(destination+"/t/both1", destination+"/t/both2"))

	base := unix.Timespec{Sec: 1_000_000_000}
	set := func(path string, when unix.Timespec) {
		t.Helper()
		do(unix.UtimesNanoAt(unix.AT_FDCWD, path, []unix.Timespec{when, when}, unix.AT_SYMLINK_NOFOLLOW))
	}
	for _, dir := range []string{source, destination} {
		do(filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
			if err == nil {
				set(path, base)
			}
			return err
		}))
	}
	later := unix.Timespec{Sec: base.Sec + 1}
	for _, name := range []string{"time", "timed", "all", "symlink"} {
		set(destination+"/t/"+name, later)
	}
	set(destination+"/t/second", unix.Timespec{Sec: base.Sec, Nsec: 999_999_999})
	return source, destination
}

func TestVerify(t *testing.T) {
	t.Parallel()
	source, destination := differences(t)
	want := map[string]string{
		"t/content":     "<fc........",
		"t/size":        "<fcs.......",
		"t/all":         "<fcstp.....",
		"t/mode":        ".f...p.....",
		"t/time":        ".f..t......",
		"t/timed/":      ".d..t......",
		"t/moded/":      ".d...p.....",
		"t/fifo":        ".S...p.....",
		"t/symlink":     ".L..t......",
		"t/aimed":       "cLc........",
		"t/link2":       "hf",
		"t/newdir/":     "cd+++++++++",
		"t/newdir/new":  "<f+++++++++",
		"t/wasfile/":    "cd+++++++++",
		"t/wasfile/new": "<f+++++++++",
	}
	_, url := serve(t, destination)
	before, sourceBefore := snapshot(t, destination), snapshot(t, source)
	job := Job{Base: source, Names: []string{"t"}, Kind: Recursive, URL: url}

	got, result := changes(t, Options{Verify: true, HardLinks: true, Extra: []string{"no-checksum"}}, job)
	sameChanges(t, got, want)
	if result.Class() != Fine || result.Deleted != 0 {
		t.Errorf("%v, %d deleted", result, result.Deleted)
	}

	want["t/old/"], want["t/old/file"] = "*deleting", "*deleting"
	got, _ = changes(t, Options{Verify: true, HardLinks: true, Delete: true, Inplace: true}, job)
	sameChanges(t, got, want)

	want["t/second"] = ".f..t......"
	got, _ = changes(t, Options{Verify: true, HardLinks: true, Delete: true, Extra: []string{"modify-window:-1"}}, job)
	sameChanges(t, got, want)

	if !maps.Equal(before, snapshot(t, destination)) {
		t.Error("the destination was touched")
	}
	if !maps.Equal(sourceBefore, snapshot(t, source)) {
		t.Error("the source was touched")
	}

	// Done for real, nothing is left.
	send(t, Options{HardLinks: true, Delete: true, Checksum: true}, job)
	got, result = changes(t, Options{Verify: true, HardLinks: true, Delete: true}, job)
	sameChanges(t, got, nil)
}

// A directory in the way of a file goes with Delete; without, it is an error, in a comparison as in
// a real run.
func TestVerifyDirectoryInTheWay(t *testing.T) {
	t.Parallel()
	source, destination := t.TempDir(), t.TempDir()
	write(t, source, "x", "a file")
	write(t, destination, "x/file", "in a directory")
	age(t, source)
	_, url := serve(t, destination)
	before := snapshot(t, destination)
	wants(t, run(t, Options{Verify: true}, wholeJob(source, url)), Partial, 23)
	got, _ := changes(t, Options{Verify: true, Delete: true}, wholeJob(source, url))
	sameChanges(t, got, map[string]string{"./": ".d..t......", "x/file": "*deleting", "x": "<f+++++++++"})
	if !maps.Equal(before, snapshot(t, destination)) {
		t.Error("the destination was touched")
	}
}

// Owners differ only for those who may change them.
func TestVerifyOwners(t *testing.T) {
	t.Parallel()
	source, destination := t.TempDir(), t.TempDir()
	for _, dir := range []string{source, destination} {
		write(t, dir, "file", "x")
		write(t, dir, "dir/file", "x")
		age(t, dir)
	}
	want := map[string]string{}
	if os.Geteuid() == 0 {
		if err := os.Chown(destination+"/file", 65534, 65533); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(destination+"/dir", 0, 65533); err != nil {
			t.Fatal(err)
		}
		want = map[string]string{"file": ".f....og...", "dir/": ".d.....g..."}
	}
	_, url := serve(t, destination)
	got, _ := changes(t, Options{Verify: true}, wholeJob(source, url))
	sameChanges(t, got, want)
}

// A destination that has nothing yet, not even the directories above a name.
func TestVerifyBelowNothing(t *testing.T) {
	t.Parallel()
	source, destination := t.TempDir(), t.TempDir()
	write(t, source, "a/b/c/file", "x")
	write(t, source, "f/g/file", "x")
	write(t, destination, "f", "a file in the way")
	_, url := serve(t, destination)
	before := snapshot(t, destination)
	for _, kind := range []Kind{Recursive, Shallow} {
		got, _ := changes(t, Options{Verify: true, Delete: true}, Job{Base: source, Names: []string{"a/b", "a/b/c", "f/g"}, Kind: kind, URL: url})
		delete(got, "./")
		sameChanges(t, got, map[string]string{
			"a/": "cd+++++++++", "a/b/": "cd+++++++++", "a/b/c/": "cd+++++++++", "a/b/c/file": "<f+++++++++",
			"f/": "cd+++++++++", "f/g/": "cd+++++++++", "f/g/file": "<f+++++++++",
		})
	}
	if !maps.Equal(before, snapshot(t, destination)) {
		t.Error("the destination was touched")
	}
}

// escapeLikeRsync is what rsync's filtered_fwrite writes with --8-bit-output.
func escapeLikeRsync(name string) string {
	var out strings.Builder
	digit := func(at int) bool { return name[at] >= '0' && name[at] <= '9' }
	for i := range len(name) {
		looksEscaped := i+4 < len(name) && strings.HasPrefix(name[i:], `\#`) && digit(i+2) && digit(i+3) && digit(i+4)
		if looksEscaped || name[i] < ' ' && name[i] != '\t' {
			fmt.Fprintf(&out, `\#%03o`, name[i])
		} else {
			out.WriteByte(name[i])
		}
	}
	return out.String()
}

// Every name can be read back.
func FuzzUnescape(f *testing.F) {
	for _, name := range append(slices.Clone(deceptive), oddNames...) {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if got := unescape([]byte(escapeLikeRsync(name))); got != name {
			t.Errorf("%q, want %q", got, name)
		}
		if plain := escape8Bit([]byte(name)); strings.ContainsFunc(string(plain), func(r rune) bool { return r >= 0x7f }) {
			t.Errorf("%q", plain)
		}
	})
}
