// SPDX-License-Identifier: LGPL-2.1-or-later

package rsyncrunner

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
)

// pattern excludes one path: a backslash escapes only in a pattern with a wildcard.
func pattern(path string) string {
	if strings.ContainsAny(path, "*?[") {
		path = strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(path)
	}
	return "/" + path
}

// Directories of every name are excluded beside others that stay.
func TestFiltersWithOddNames(t *testing.T) {
	t.Parallel()
	source, destination := t.TempDir(), t.TempDir()
	var filters []string
	for _, name := range append([]string{"! x", "!", "- x", "+ x", "clear", "merge x", "_x"}, oddNames...) {
		write(t, source, "out/"+name+"/file", "new")
		write(t, source, "top/"+name+"/"+name+"/file", "new")
		write(t, source, "keep/"+name+"/file", "new")
		write(t, destination, "out/"+name+"/old", "old")
		filters = append(filters, pattern("out/"+name), pattern("top/"+name+"/"+name))
	}
	write(t, destination, "out/other/old", "old")
	_, url := serve(t, destination)
	names := []string{"out", "top", "keep"}
	for _, job := range []Job{
		{Base: source, Names: names, Filters: filters, URL: url},
		{Base: source, Names: names, Kind: Recursive, Filters: filters, URL: url},
		{Base: source, Names: []string{""}, Kind: Recursive, Filters: filters, URL: url},
		{Base: source, Names: append(slices.Clone(names), ""), Filters: filters, URL: url},
	} {
		send(t, Options{Delete: true}, job)
		got := tree(t, destination)
		if got["./out/other"] != "" {
			t.Error("what is not excluded was not deleted")
		}
		for path := range tree(t, source) {
			parts := strings.SplitN(path, "/", 3)
			if len(parts) < 3 {
				continue
			}
			name, _, _ := strings.Cut(parts[2], "/")
			switch {
			case parts[1] == "out" && got["./out/"+name+"/old"] == "":
				t.Fatalf("%q was deleted", name)
			case parts[1] == "out" && got["./out/"+name+"/file"] != "":
				t.Fatalf("%q was sent", name)
			case parts[1] == "top" && got["./top/"+name] == "":
				t.Fatalf("%q is missing", name)
			case parts[1] == "top" && got["./top/"+name+"/"+name] != "":
				t.Fatalf("%q below itself was made", name)
			case parts[1] == "keep" && job.Kind == Recursive && got["./keep/"+name+"/file"] == "":
				t.Fatalf("%q in another directory was not sent", name)
			}
		}
	}
}

// Patterns as they come from a regex: for directories only, at any depth, and with wildcards.
func TestFilterKinds(t *testing.T) {
	t.Parallel()
	for filter, want := range map[string]string{
		"/a/skip/":   "a/skip: no, a/b/skip: yes, c/skip: yes",
		"/a/skip":    "a/skip: no, a/b/skip: yes, c/skip: yes",
		"skip/":      "a/skip: no, a/b/skip: no, c/skip: yes",
		"/a/**/skip": "a/skip: yes, a/b/skip: no, c/skip: yes",
		"/*/sk[i]p":  "a/skip: no, a/b/skip: yes, c/skip: no",
	} {
		source, destination := t.TempDir(), t.TempDir()
		write(t, source, "a/skip/file", "x")
		write(t, source, "a/b/skip/file", "x")
		write(t, source, "c/skip", "x")
		_, url := serve(t, destination)
		send(t, Options{}, Job{Base: source, Names: []string{""}, Kind: Recursive, Filters: []string{filter}, URL: url})
		var got []string
		for _, path := range []string{"a/skip", "a/b/skip", "c/skip"} {
			there := "no"
			if tree(t, destination)["./"+path] != "" {
				there = "yes"
			}
			got = append(got, path+": "+there)
		}
		if found := strings.Join(got, ", "); found != want {
			t.Errorf("%s: %s, want %s", filter, found, want)
		}
	}
}

// The user's own rules come later and cannot bring back what is excluded.
func TestFiltersComeFirst(t *testing.T) {
	t.Parallel()
	source, destination := t.TempDir(), t.TempDir()
	write(t, source, "a/skip/file", "x")
	write(t, source, "a/file", "x")
	write(t, destination, "a/skip/old", "x")
	_, url := serve(t, destination)
	extra := []string{"include:/a/skip", "filter:risk /a/skip", "filter:show /a/skip/***"}
	options := Options{Delete: true, Extra: extra}
	if _, err := options.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	send(t, options, Job{Base: source, Names: []string{"a"}, Kind: Recursive, Filters: []string{"/a/skip"}, URL: url})
	got := tree(t, destination)
	if got["./a/skip/old"] == "" || got["./a/skip/file"] != "" || got["./a/file"] == "" {
		t.Errorf("%q", got)
	}
}

// Deleting a directory with all in it stops at what is excluded.
func TestFilterBelowDeletedDirectory(t *testing.T) {
	t.Parallel()
	source, destination := t.TempDir(), t.TempDir()
	write(t, destination, "gone/skip/old", "x")
	write(t, destination, "gone/other", "x")
	_, url := serve(t, destination)
	result := send(t, Options{Delete: true}, Job{Base: source, Names: []string{""}, Kind: Recursive, Filters: []string{"/gone/skip/"}, URL: url})
	got := tree(t, destination)
	if got["./gone/skip/old"] == "" || got["./gone/other"] != "" || result.Deleted != 1 {
		t.Errorf("%d deleted, left: %q", result.Deleted, got)
	}
}

func TestManyFilters(t *testing.T) {
	t.Parallel()
	source, destination := t.TempDir(), t.TempDir()
	write(t, source, "skip 4999/file", "x")
	write(t, source, "keep/file", "x")
	filters := make([]string, 5000)
	for number := range filters {
		filters[number] = fmt.Sprintf("/skip %d", number)
	}
	_, url := serve(t, destination)
	log := &buffer{}
	sender := Sender{Options: Options{Delete: true}, Output: t.Output(), Logger: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))}
	job := Job{Base: source, Names: []string{""}, Kind: Recursive, Filters: filters, URL: url}
	result, err := sender.Run(t.Context(), job)
	if err != nil || result.Class() != Fine {
		t.Fatal(result, err)
	}
	got := tree(t, destination)
	if got["./skip 4999"] != "" || got["./keep/file"] == "" {
		t.Errorf("%q", got)
	}
	if text := log.String(); strings.Contains(text, "skip") || !strings.Contains(text, "5000 exclude patterns") {
		t.Errorf("%.300q", text)
	}
}

// The longest pattern works; a longer one rsync would leave out.
func TestLongFilters(t *testing.T) {
	t.Parallel()
	source, destination := t.TempDir(), t.TempDir()
	write(t, source, "dir/file", "x")
	_, url := serve(t, destination)
	long := "/dir/f[" + strings.Repeat("i", maxPattern-10) + "]le"
	if len(long) != maxPattern {
		t.Fatal(len(long))
	}
	job := Job{Base: source, Names: []string{"dir"}, Kind: Recursive, Filters: []string{long}, URL: url}
	send(t, Options{}, job)
	if tree(t, destination)["./dir/file"] != "" {
		t.Error("the longest pattern does not exclude")
	}
	for _, filter := range []string{"/x" + long, "", "a\x00b"} {
		job.Filters = []string{"/fine", filter}
		if _, err := (&Sender{program: "/no/such/rsync"}).Run(t.Context(), job); err == nil || !strings.HasPrefix(err.Error(), "cannot exclude ") || len(err.Error()) > 300 {
			t.Errorf("%.10q: %v", filter, err)
		}
	}
}

// More patterns than a command line holds go through a pipe, and mean the same.
func TestFiltersInAPipe(t *testing.T) {
	t.Parallel()
	source, destination := t.TempDir(), t.TempDir()
	var filters []string
	for i := range 20_000 {
		filters = append(filters, pattern(fmt.Sprintf("dir/%s%05d", strings.Repeat("x", 200), i)))
	}
	for _, name := range append([]string{"# x", "; y", "- x", "+ x", "!"}, oddNames...) {
		write(t, source, "dir/"+name+"/out", "x")
		write(t, destination, "dir/"+name+"/old", "old")
		filters = append(filters, pattern("dir/"+name))
	}
	write(t, source, "dir/in", "x")
	write(t, destination, "dir/gone", "x")
	_, url := serve(t, destination)
	send(t, Options{Delete: true}, Job{Base: source, Names: []string{"dir"}, Kind: Recursive, Filters: filters, URL: url})
	got := tree(t, destination)
	if got["./dir/in"] == "" || got["./dir/gone"] != "" {
		t.Errorf("what is not excluded is not as it should be: %v", got)
	}
	for path := range got {
		if strings.HasSuffix(path, "/out") {
			t.Errorf("%q was sent", path)
		}
	}
	if n := strings.Count(fmt.Sprint(got), "/old"); n != len(oddNames)+5 {
		t.Errorf("%d of the directories that are left out are as they were, want %d", n, len(oddNames)+5)
	}
}
