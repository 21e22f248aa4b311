// SPDX-License-Identifier: LGPL-2.1-or-later

package rsyncrunner

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// linkedTree has files with several names in different directories, and plain ones.
func linkedTree(t *testing.T) (dir string, members []string) {
	t.Helper()
	dir = t.TempDir()
	groups := [][]string{
		{"a/one", "b/one", "b/deep/er/one"},
		{"a/new\nline", "c/#x", "c/ y ", "c/*\xff"},
	}
	for _, group := range groups {
		write(t, dir, group[0], "content of "+group[0])
		for _, name := range group[1:] {
			write(t, dir, name, "")
			if err := os.Remove(dir + "/" + name); err != nil {
				t.Fatal(err)
			}
			if err := os.Link(dir+"/"+group[0], dir+"/"+name); err != nil {
				t.Fatal(err)
			}
		}
		members = append(members, group...)
	}
	write(t, dir, "a/plain", "x")
	if err := os.Chmod(dir+"/b", 0o2750); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir+"/b/deep", 0o500); err != nil {
		t.Fatal(err)
	}
	age(t, dir)
	return dir, members
}

func linked(t *testing.T, dir, first, second string) bool {
	t.Helper()
	a, err := os.Lstat(dir + "/" + first)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.Lstat(dir + "/" + second)
	if err != nil {
		t.Fatal(err)
	}
	return os.SameFile(a, b)
}

// The runs of single directories make copies. One run over all names of a group makes them links,
// sends no content, and leaves all around them as it is.
func TestHardLinkPass(t *testing.T) {
	t.Parallel()
	source, members := linkedTree(t)
	destination := t.TempDir()
	_, url := serve(t, destination)
	options := Options{HardLinks: true, Delete: true}
	for _, name := range []string{"a", "b/deep", "c", "b/deep/er"} {
		send(t, options, Job{Base: source, Names: []string{name}, Kind: Recursive, URL: url})
	}
	for _, name := range []string{"", "b"} {
		send(t, options, Job{Base: source, Names: []string{name}, URL: url})
	}
	sameTree(t, source, destination)
	if linked(t, destination, members[0], members[1]) {
		t.Fatal("they are links already: this tests nothing")
	}
	result := send(t, options, Job{Base: source, Names: members, Kind: LinkGroups, URL: url})
	for _, pair := range [][2]int{{0, 1}, {0, 2}, {3, 4}, {3, 5}, {3, 6}} {
		if !linked(t, destination, members[pair[0]], members[pair[1]]) {
			t.Errorf("%q and %q are not linked", members[pair[0]], members[pair[1]])
		}
	}
	if linked(t, destination, members[0], members[3]) {
		t.Error("two groups became one")
	}
	if sent := result.Stats["Literal_data"] + result.Stats["Number_of_regular_files_transferred"]; sent != 0 {
		t.Errorf("content was sent: %v", result.Stats)
	}
	// With the modes and times of the directories they are in.
	sameTree(t, source, destination)
}

// Though the session deletes, such a run does not.
func TestHardLinkPassDeletesNothing(t *testing.T) {
	t.Parallel()
	source, members := linkedTree(t)
	destination := t.TempDir()
	_, url := serve(t, destination)
	extra := []string{"./extra", "./a/extra", "./b/deep/extra", "./c/extra/file"}
	for _, name := range extra {
		write(t, destination, name, "x")
	}
	result := send(t, Options{HardLinks: true, Delete: true}, Job{Base: source, Names: members, Kind: LinkGroups, URL: url})
	got := tree(t, destination)
	for _, name := range extra {
		if got[name] == "" {
			t.Errorf("%q is gone", name)
		}
	}
	if got["./a/plain"] != "" || result.Deleted != 0 || result.Stats["Number_of_regular_files_transferred"] != 2 {
		t.Errorf("%v, %d deleted: %q", result.Stats, result.Deleted, got)
	}
}

// A name that has become a directory: neither what is in it nor anything else is sent or deleted.
func TestFilesThatAreDirectories(t *testing.T) {
	t.Parallel()
	source, destination := t.TempDir(), t.TempDir()
	write(t, source, "dir/x/file", "x")
	write(t, destination, "dir/x/old", "x")
	write(t, destination, "dir/old", "x")
	_, url := serve(t, destination)
	for _, extra := range [][]string{nil, {"delete-before"}, {"delete-after"}} {
		result := send(t, Options{Delete: true, HardLinks: true, Extra: extra}, Job{Base: source, Names: []string{"dir/x"}, Kind: LinkGroups, URL: url})
		got := tree(t, destination)
		if got["./dir/x/old"] == "" || got["./dir/old"] == "" || got["./dir/x/file"] != "" || result.Deleted != 0 {
			t.Errorf("%d deleted: %q", result.Deleted, got)
		}
	}
}

func TestFileEntries(t *testing.T) {
	entries, err := Job{Base: "/b", Names: []string{"a", "b//c/", "#\n"}, Kind: LinkGroups}.entries()
	if err != nil || !slices.Equal(entries, []string{"./a", "./b/c", "./#\n"}) {
		t.Errorf("%q, %v", entries, err)
	}
	for _, name := range []string{"", "."} {
		job := Job{Base: "/b", Names: []string{name}, Kind: LinkGroups}
		if _, err := job.entries(); err == nil || !strings.HasPrefix(err.Error(), "cannot send") {
			t.Errorf("%+v: %v", job, err)
		}
	}
}

// The first name of a file cannot be made. rsync 3.5.0 with incremental recursion waits for it for
// ever, and so do the other names.
func TestHardLinkWhoseFirstNameIsTaken(t *testing.T) {
	t.Parallel()
	source, members := linkedTree(t)
	destination := t.TempDir()
	_, url := serve(t, destination)
	write(t, destination, members[0]+"/in the way/x", "x")
	sender := &Sender{Options: Options{HardLinks: true}}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	result, err := sender.Run(ctx, Job{Base: source, Names: []string{""}, Kind: Recursive, URL: url})
	if err != nil {
		t.Fatal(err)
	}
	if result.Class() != Partial || !strings.Contains(strings.Join(result.Errors, "\n"), "could not make way") {
		t.Errorf("%v %q, want it to say that some files were not sent, and why", result, result.Errors)
	}
	if !linked(t, destination, members[1], members[2]) {
		t.Error("the other names are not linked")
	}
}
