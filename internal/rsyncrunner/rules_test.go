// SPDX-License-Identifier: LGPL-2.1-or-later

package rsyncrunner

import (
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Directories are left out just where rsync itself leaves them out, whatever the patterns.
func TestLeavesOutAsRsyncDoes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{"a/b/c", "a/ab/a", "b/a/b", "ab/b", "c.o/a", "a*/b", "a\\b", "[a]/x", "é/b", "\xff/a", "a/b/ab/c", "A/a-b", "-/]"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	directory := regexp.MustCompile(`(?s)^d\S+ +\S+ \S+ \S+ (.*)\n$`)
	pieces := []string{"a", "b", "c", "/", "*", "**", "?", "[ab]", "[!a]", "[^b-]", "[[:alpha:]]", "[a-c]", "[]-]", "\\", "\\*", ".o", "***", "/***", "é", "\xff", "-"}
	draw := rand.New(rand.NewPCG(1, 2))
	pattern := func() string {
		var b strings.Builder
		for range 1 + draw.IntN(4) {
			b.WriteString(pieces[draw.IntN(len(pieces))])
		}
		return b.String()
	}
	for range 100 {
		var options Options
		args := []string{"-r", "--list-only", "--8-bit-output"}
		for range 1 + draw.IntN(3) {
			key := []string{"exclude", "exclude", "include", "filter"}[draw.IntN(4)]
			value := pattern()
			if key == "filter" {
				value = []string{"- ", "+ ", "-s ", "H ", "S_", "P ", "exclude ", "show ", "-p "}[draw.IntN(9)] + value
			}
			if _, why := parseRule(key, value); why != "" {
				continue
			}
			options.Extra = append(options.Extra, key+":"+value)
			args = append(args, "--"+key+"="+value)
		}
		listed, err := exec.Command("rsync", append(args, dir+"/")...).Output()
		if err != nil {
			t.Fatalf("%q: %v", args, err)
		}
		var want []string
		for line := range strings.Lines(string(listed)) {
			if found := directory.FindStringSubmatch(line); found != nil {
				want = append(want, found[1])
			}
		}
		leftOut := options.LeavesOut()
		var got []string
		err = filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
			rel := strings.TrimPrefix(strings.TrimPrefix(path, dir), "/")
			switch {
			case err != nil:
				return err
			case rel == "":
				got = append(got, ".")
			case leftOut == nil || !leftOut(rel):
				got = append(got, rel)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		slices.Sort(want)
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%q:\nrsync sends %q\nnot      %q", args[3:], want, got)
		}
	}
}

// With Partial what earlier sessions have kept is left out first.
func TestLeavesOutPartialDirs(t *testing.T) {
	for _, o := range []Options{{Partial: true}, {Partial: true, Extra: []string{"include:*", "exclude:x"}}} {
		leftOut := o.LeavesOut()
		for rel, want := range map[string]bool{"": false, "a/b": false, PartialDir: true, "a/" + PartialDir: true, "a/" + PartialDir + "/b": true, "a" + PartialDir: false, PartialDir + "b": false} {
			if leftOut(rel) != want {
				t.Errorf("%v: %q: %v", o, rel, !want)
			}
		}
	}
	if (Options{}).LeavesOut() != nil {
		t.Error("something is left out although nothing is to be")
	}
}
