// SPDX-License-Identifier: LGPL-2.1-or-later

package rsyncrunner

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// stale makes five files and directories at the destination that the source has not.
func stale(t *testing.T) (source, destination string) {
	t.Helper()
	source, destination = t.TempDir(), t.TempDir()
	write(t, source, "dir/keep", "x")
	write(t, destination, "dir/keep", "x")
	for _, name := range []string{"dir/old1", "dir/old2", "dir/sub/old3", "old4"} {
		write(t, destination, name, "x")
	}
	return source, destination
}

func TestMaxDelete(t *testing.T) {
	t.Parallel()
	for limit, want := range map[int]struct {
		deleted int
		class   Class
	}{
		-3: {0, DeletesStopped},
		0:  {0, DeletesStopped},
		1:  {1, DeletesStopped},
		4:  {4, DeletesStopped},
		5:  {5, Fine},
		9:  {5, Fine},
	} {
		source, destination := stale(t)
		_, url := serve(t, destination)
		job := wholeJob(source, url)
		job.MaxDelete = &limit
		before := len(tree(t, destination))
		result := run(t, Options{Delete: true}, job)
		left := before - len(tree(t, destination))
		if result.Deleted != want.deleted || left != want.deleted || result.Class() != want.class || result.DeletesStopped != (want.class == DeletesStopped) {
			t.Errorf("limit %d: %v, %v, %d deleted, %d gone", limit, result, result.Class(), result.Deleted, left)
		}
	}
}

// Whenever rsync deletes, it says that it was stopped, and how many it deleted.
func TestMaxDeleteAtAnyTime(t *testing.T) {
	t.Parallel()
	for _, when := range []string{"delete-before", "delete-during", "delete-delay", "delete-after"} {
		source, destination := stale(t)
		_, url := serve(t, destination)
		job := wholeJob(source, url)
		limit := 2
		job.MaxDelete = &limit
		result := run(t, Options{Delete: true, Extra: []string{when}}, job)
		if result.Class() != DeletesStopped || result.Deleted != 2 {
			t.Errorf("%s: %v, %d deleted", when, result, result.Deleted)
		}
		job.MaxDelete = nil
		if result = send(t, Options{Delete: true, Extra: []string{when}}, job); result.Deleted != 3 || result.DeletesStopped {
			t.Errorf("%s: %v, %d deleted", when, result, result.Deleted)
		}
		sameNames(t, source, destination)
	}
}

func sameNames(t *testing.T, source, destination string) {
	t.Helper()
	want, got := tree(t, source), tree(t, destination)
	for path := range want {
		if got[path] == "" {
			t.Errorf("%q is missing", path)
		}
	}
	for path := range got {
		if want[path] == "" {
			t.Errorf("%q is there", path)
		}
	}
}

// A file cannot replace a directory whose content must stay: some files were not transferred, and
// that weighs more than the deletions.
func TestMaxDeleteAndSomethingInTheWay(t *testing.T) {
	t.Parallel()
	source, destination := t.TempDir(), t.TempDir()
	write(t, source, "a/x", "file")
	write(t, destination, "a/x/old1", "x")
	write(t, destination, "a/x/old2", "x")
	_, url := serve(t, destination)
	job := wholeJob(source, url)
	limit := 1
	job.MaxDelete = &limit
	result := run(t, Options{Delete: true}, job)
	wants(t, result, Partial, 23)
	if !result.DeletesStopped || result.Deleted != 1 {
		t.Errorf("%v, stopped: %v, %d deleted", result, result.DeletesStopped, result.Deleted)
	}
	// The directory itself makes way uncounted.
	if result = run(t, Options{Delete: true}, job); result.Class() != Fine || result.Deleted != 1 {
		t.Errorf("%v, %d deleted", result, result.Deleted)
	}
	sameNames(t, source, destination)
}

// A dry run counts too, a comparison has no limit.
func TestMaxDeleteWithoutDeleting(t *testing.T) {
	t.Parallel()
	source, destination := stale(t)
	_, url := serve(t, destination)
	job := wholeJob(source, url)
	limit := 2
	job.MaxDelete = &limit
	before := len(tree(t, destination))
	if result := run(t, Options{Delete: true, DryRun: true}, job); result.Deleted != 2 || result.Class() != DeletesStopped {
		t.Errorf("dry run: %v, %d deleted", result, result.Deleted)
	}
	if result := run(t, Options{Delete: true, Verify: true}, job); result.Deleted != 5 || result.Class() != Fine {
		t.Errorf("comparison: %v, %d deleted", result, result.Deleted)
	}
	if len(tree(t, destination)) != before {
		t.Error("something was deleted")
	}
}

func TestDeletedIsNotGuessed(t *testing.T) {
	t.Parallel()
	for output, want := range map[string]int{
		"echo 'Number of deleted files: 1,234 (reg: 1,233, dir: 1)'":                    1234,
		"echo 'Number of deleted files: 7'; echo 'Number of deleted files: 0'; exit 23": 0,
		"echo 'Number of deleted files: 7'; exit 24":                                    7,
		"echo 'Number of deleted files: 7'; exit 12":                                    -1, // of a file
		"echo 'Number of deleted files: 7'; kill -9 $$":                                 -1,
		"echo 'Number of deleted files: 7'; echo 'Number of deleted files: 1.23K'":      -1,
		"echo 'Number of files: 7'":                                                     -1,
	} {
		result, err := fake(t, output)
		if err != nil || result.Deleted != want {
			t.Errorf("%s: %d deleted, want %d, %v", output, result.Deleted, want, err)
		}
	}
}

// nobodysTree has a directory that a sender without rights cannot read. All of its names are at the
// destination too, each with a file more.
func nobodysTree(t *testing.T) (source, destination string) {
	t.Helper()
	source, destination = t.TempDir(), t.TempDir()
	open(t, source)
	for _, name := range []string{"a/file", "m/locked/file", "m/locked/sub/file", "z/file"} {
		write(t, source, name, "x")
		write(t, destination, name, "x")
		write(t, destination, filepath.Dir(name)+"/old", "x")
	}
	err := filepath.WalkDir(source, func(path string, entry os.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			err = os.Chmod(path, 0o644)
		}
		return err
	})
	if err == nil {
		err = os.Chmod(source+"/m/locked", 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Chmod(source+"/m/locked", 0o755) })
	return source, destination
}

// What could not be read is not deleted at the destination, in whatever run.
func TestNothingIsDeletedWhereNothingWasRead(t *testing.T) {
	t.Parallel()
	source, destination := nobodysTree(t)
	_, url := serve(t, destination)
	for _, kind := range []Kind{Recursive, Shallow} {
		for _, when := range []string{"delete-before", "delete-during", "delete-delay", "delete-after"} {
			sender := Sender{program: asNobody(t), Options: Options{Delete: true, Extra: []string{when, "no-perms"}}, Output: t.Output()}
			job := Job{Base: source, Names: []string{"a", "m", "m/locked", "z"}, Kind: kind, URL: url}
			result, err := sender.Run(t.Context(), job)
			if err != nil {
				t.Fatal(err)
			}
			wants(t, result, Partial, 23)
			got := tree(t, destination)
			for _, path := range []string{"./m/locked/file", "./m/locked/old", "./m/locked/sub/file", "./m/locked/sub/old"} {
				if got[path] == "" {
					t.Errorf("%s, kind %v: %s was deleted", when, kind, path)
				}
			}
		}
	}
}

// These options are refused because they do delete what they should not.
func TestRefusedOptionsDelete(t *testing.T) {
	t.Parallel()
	for extra, path := range map[string]string{
		"ignore-errors":       "./m/locked/old",
		"delete-missing-args": "./gone/old",
		"delete-excluded":     "./z/skip/old",
	} {
		source, destination := nobodysTree(t)
		write(t, destination, "gone/old", "x")
		write(t, destination, "z/skip/old", "x")
		_, url := serve(t, destination)
		for _, with := range []bool{false, true} {
			options := Options{Delete: true, Extra: []string{"no-perms"}}
			if with {
				options.Extra = append(options.Extra, extra)
			}
			names := []string{"a", "m", "gone", "z"}
			if extra == "delete-excluded" {
				names = []string{"z"} // no error, so that deletions happen
			}
			sender := Sender{program: asNobody(t), Options: options, Output: t.Output()}
			job := Job{Base: source, Names: names, Kind: Recursive, Filters: []string{"/z/skip"}, URL: url}
			if _, err := sender.Run(t.Context(), job); err != nil {
				t.Fatal(err)
			}
			if deleted := tree(t, destination)[path] == ""; deleted != with {
				t.Errorf("%s: %v, deleted: %v", extra, with, deleted)
			}
			if _, err := options.Ready(t.Context()); (err != nil) != with {
				t.Errorf("%s: %v", extra, err)
			}
		}
	}
}

// The limit is the Job's alone: of two rsync would take the last.
func TestMaxDeleteArg(t *testing.T) {
	for limit, want := range map[int]string{-1: "-1", 0: "-1", 1: "1", 1000: "1000"} {
		args := (&Sender{}).args(Job{Base: "/b", MaxDelete: &limit}, nil, nil)
		if got := fmt.Sprint(args); !strings.Contains(got, " --max-delete="+want+" -- ") {
			t.Error(got)
		}
	}
}
