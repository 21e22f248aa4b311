// SPDX-License-Identifier: LGPL-2.1-or-later

package rsyncrunner

import (
	"fmt"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// fixed runs a job from an open directory in which names keep their places, and tells whether they were arguments.
func fixed(t *testing.T, options Options, job Job) (result Result, arguments bool) {
	t.Helper()
	dir, err := os.Open(job.Base)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	var log buffer
	sender := Sender{Options: options, Output: t.Output(), Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))}
	job.Dir, job.Fixed = dir, true
	if result, err = sender.Run(t.Context(), job); err != nil {
		t.Fatal(err)
	}
	return result, strings.Contains(log.String(), "--relative") && !strings.Contains(log.String(), "--files-from")
}

// Names as arguments mean what they mean in a list.
func TestArgumentsAreAsTheList(t *testing.T) {
	limit := 3
	base := []string{""}
	odd := append([]string{"files"}, oddNames...)
	var files []string
	for _, name := range oddNames {
		files = append(files, "files/"+name)
	}
	for what, c := range map[string]struct {
		options Options
		job     Job
	}{
		"recursive":         {Options{}, Job{Kind: Recursive, Names: odd}},
		"shallow":           {Options{}, Job{Kind: Shallow, Names: odd}},
		"base":              {Options{Delete: true}, Job{Kind: Recursive, Names: base}},
		"base alone":        {Options{Delete: true}, Job{Kind: Shallow, Names: base}},
		"base and more":     {Options{Delete: true}, Job{Kind: Shallow, Names: []string{"", "files", "plain/plain"}}},
		"delete":            {Options{Delete: true}, Job{Kind: Recursive, Names: odd}},
		"delete at a level": {Options{Delete: true}, Job{Kind: Shallow, Names: odd}},
		"delete some":       {Options{Delete: true}, Job{Kind: Recursive, Names: odd[:5], MaxDelete: &limit}},
		"deeper":            {Options{Delete: true}, Job{Kind: Recursive, Names: []string{"plain/plain", "a:b/a:b", "-r/-r"}}},
		"gone":              {Options{Delete: true}, Job{Kind: Recursive, Names: []string{"plain", "gone", "a:b", "gone/too"}}},
		"files":             {Options{Delete: true}, Job{Kind: NameRange, Names: append(files, "files/gone")}},
		"listed":            {Options{Delete: true}, Job{Kind: Listed, Names: append(files, "files/old", "old", "a:b/a:b", "plain", "gone")}},
		"links":             {Options{HardLinks: true}, Job{Kind: LinkGroups, Names: files[:8]}},
		"leftovers":         {Options{Delete: true}, Job{Kind: Leftovers, Names: []string{"files", "plain"}}},
		"excluded":          {Options{Delete: true}, Job{Kind: Recursive, Names: odd, Filters: []string{pattern("plain/plain"), pattern("files/a:b")}}},
		"by rules":          {Options{Delete: true, Extra: []string{"exclude:deep"}}, Job{Kind: Recursive, Names: odd}},
		"dry":               {Options{Delete: true, DryRun: true}, Job{Kind: Recursive, Names: odd}},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			source := oddTree(t)
			var results [2]Result
			var trees [2]map[string]string
			for i := range results {
				destination := t.TempDir()
				for _, name := range []string{"plain/old/1", "plain/old/2", "files/old", "old/file", "a:b/a:b/old", "plain/plain/old"} {
					write(t, destination, name, "old")
				}
				age(t, destination)
				_, url := serve(t, destination)
				job := c.job
				job.Base, job.URL = source, url
				if i == 0 {
					results[i] = run(t, c.options, job)
				} else {
					var arguments bool
					if results[i], arguments = fixed(t, c.options, job); !arguments {
						t.Error("they were no arguments")
					}
				}
				trees[i] = tree(t, destination)
			}
			if list, arguments := results[0], results[1]; list.Class() != arguments.Class() || list.Code != arguments.Code || list.Deleted != arguments.Deleted ||
				list.Stats["Number_of_files"] != arguments.Stats["Number_of_files"] || len(list.Errors) != len(arguments.Errors) {
				t.Errorf("as arguments %v %v %q, as a list %v %v %q", arguments, arguments.Stats, arguments.Errors, list, list.Stats, list.Errors)
			}
			if c.job.MaxDelete != nil { // in it rsync has stopped, so it is as old as that
				for _, found := range trees {
					found["./plain/old"] = found["./plain/old"][:len("drwxr-xr-x")]
				}
			}
			if !maps.Equal(trees[0], trees[1]) {
				t.Errorf("as arguments %v, as a list %v", trees[1], trees[0])
			}
		})
	}
}

// Where a command line does not hold the names, or their paths would be too long, they are a list.
func TestTooMuchForArguments(t *testing.T) {
	source, destination := t.TempDir(), t.TempDir()
	name := strings.Repeat("n", 250)
	write(t, source, name+"/file", "x")
	long := strings.Repeat(name[:200]+"/", 20) + "end" // with the base more than a path may have
	makeLong(t, source, long)
	_, url := serve(t, destination)
	for what, c := range map[string]struct {
		names []string
		want  bool
	}{
		"few":      {[]string{name}, true},
		"the most": {slices.Repeat([]string{name}, 7_000), true},
		"too many": {slices.Repeat([]string{name}, 30_000), false},
		"long":     {[]string{long}, false},
	} {
		result, arguments := fixed(t, Options{}, Job{Base: source, Kind: Recursive, Names: c.names, URL: url})
		if arguments != c.want || result.Class() != Fine {
			t.Errorf("%s: arguments: %v; %v %.300q", what, arguments, result, result.Errors)
		}
	}
}

// makeLong makes a directory whose path is longer than a system call takes.
func makeLong(t *testing.T, base, name string) {
	t.Helper()
	at, err := unix.Open(base, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	for component := range strings.SplitSeq(name, "/") {
		if err == nil {
			err = unix.Mkdirat(at, component, 0o755)
		}
		var next int
		if err == nil {
			next, err = unix.Openat(at, component, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		}
		unix.Close(at)
		at = next
	}
	unix.Close(at)
	if err != nil {
		t.Fatal(err)
	}
}

func TestFit(t *testing.T) {
	if !fit([]string{strings.Repeat("x", longestArgument-1)}, nil) || fit([]string{strings.Repeat("x", longestArgument)}, nil) {
		t.Error("one argument has another bound")
	}
	environ := slices.Repeat([]string{strings.Repeat("x", 1000)}, 7_000)
	if fit(environ, nil) || fit(nil, environ) || fit(environ[:3500], environ[:3500]) {
		t.Error("7 MB fit")
	}
	// What fits can be run.
	for n := range 40 {
		args := slices.Repeat([]string{fmt.Sprintf("%0*d", 100+n*137, n)}, 1_000)
		if fit(append([]string{"true"}, args...), os.Environ()) {
			if err := exec.Command("true", args...).Run(); err != nil {
				t.Fatalf("%d arguments of %d bytes: %v", len(args), len(args[0]), err)
			}
		}
	}
}
