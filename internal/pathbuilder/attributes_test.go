// SPDX-License-Identifier: LGPL-2.1-or-later

package pathbuilder

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// anACL is an access control list that gives user 1 the right to read.
var anACL = []byte{2, 0, 0, 0,
	1, 0, 6, 0, 255, 255, 255, 255, 2, 0, 4, 0, 1, 0, 0, 0, 4, 0, 4, 0, 255, 255, 255, 255, 16, 0, 4, 0, 255, 255, 255, 255, 32, 0, 4, 0, 255, 255, 255, 255}

func setAttribute(t *testing.T, path, name string, value []byte) {
	t.Helper()
	if err := unix.Lsetxattr(path, name, value, 0); err != nil {
		t.Fatalf("%s of %s: %v", name, path, err)
	}
}

func TestScanAttributes(t *testing.T) {
	base := tree(t, "a/file", "a/b/deep", "a/skip/x", "c/acl", "c/default/", "c/rsync", "plain", "link -> plain")
	for path, name := range map[string]string{"a/b/deep": "user.x", "a/skip/x": "user.x", "c/rsync": "user.rsync.%stat", "a": "user.y"} {
		setAttribute(t, base+"/"+path, name, []byte("1"))
	}
	setAttribute(t, base+"/c/acl", "system.posix_acl_access", anACL)
	setAttribute(t, base+"/c/default", "system.posix_acl_default", anACL)
	if os.Getuid() == 0 {
		setAttribute(t, base+"/plain", "security.capability", []byte{1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
		setAttribute(t, base+"/a/file", "trusted.lov", []byte("x"))
	}
	rooted, err := OpenTree(base)
	if err != nil {
		t.Fatal(err)
	}
	skip := func(path string) bool { return path == "a/skip" }
	for _, c := range []struct {
		dirs      []string
		recursive bool
		want      []string
	}{
		{[]string{""}, true, []string{" {false false}", "a {false true}", "a/b {false false}", "a/b/deep {false true}", "a/file {false false}", "c {false false}",
			"c/acl {true false}", "c/default {true false}", "c/rsync {false false}", "plain {false true}"}},
		{[]string{"a", "c"}, false, []string{"a {false true}", "a/file {false false}", "c {false false}", "c/acl {true false}", "c/rsync {false false}"}},
		{[]string{"gone", "a/b"}, true, []string{"a/b {false false}", "a/b/deep {false true}"}},
	} {
		var got []string
		err := ScanAttributes(t.Context(), rooted, c.dirs, c.recursive, skip, func(path string, a Attributes) error {
			got = append(got, fmt.Sprint(path, " ", a))
			return nil
		})
		slices.Sort(got)
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%q: %v\ngot  %q\nwant %q", c.dirs, err, got, c.want)
		}
	}
	stop, seen := errors.New("enough"), 0
	err = ScanAttributes(t.Context(), rooted, []string{""}, true, nil, func(string, Attributes) error { seen++; return stop })
	if err != stop || seen != 1 {
		t.Errorf("%v after %d", err, seen)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := ScanAttributes(ctx, rooted, []string{""}, true, nil, func(string, Attributes) error { seen++; return nil }); err != nil || seen != 1 {
		t.Errorf("%v after %d", err, seen)
	}
}

// A tree of one file system ends where another is mounted, in the walk and in all scans.
func TestOneFileSystem(t *testing.T) {
	withMounts(t, func(t *testing.T) {
		base := t.TempDir()
		mustMkdir(t, base+"/a/mounted", base+"/a/bound", base+"/b/c", base+"/mounted")
		for _, dir := range []string{base + "/a/mounted", base + "/mounted"} {
			mustMount(t, "tmpfs", dir, "tmpfs", 0)
			mustMkdir(t, dir+"/below/deep")
			if err := os.WriteFile(dir+"/below/one", nil, 0o600); err != nil {
				t.Fatal(err)
			}
			mustLink(t, dir+"/below/one", dir+"/below/two")
		}
		mustMount(t, base+"/b", base+"/a/bound", "", unix.MS_BIND) // the same file system, as for rsync

		for _, c := range []struct {
			depth int
			one   bool
			want  string
		}{
			{1, true, "[0_ 1_/a 1_/b]"},
			{2, true, "[0_ 0_/a 1_/a/bound 0_/b 1_/b/c]"},
			{2, false, "[0_ 0_/a 1_/a/bound 1_/a/mounted 0_/b 1_/b/c 0_/mounted 1_/mounted/below]"},
		} {
			var got []string
			err := Walk(t.Context(), Options{Base: base, Depth: c.depth, OneFileSystem: c.one}, func(e Entry) error {
				rel, _ := below(base, e.Path)
				if rel != "" {
					rel = "/" + rel
				}
				got = append(got, string(Entry{Path: rel, Recursive: e.Recursive}.Encode()))
				return nil
			})
			if err != nil || fmt.Sprint(got) != c.want {
				t.Errorf("depth %d, %v: %v %s, want %s", c.depth, c.one, err, got, c.want)
			}
		}
		rooted, err := OpenTree(base)
		if err != nil {
			t.Fatal(err)
		}
		for _, one := range []bool{false, true} {
			if one {
				rooted = rooted.OneFileSystem()
			}
			links := 0
			if err := ScanLinks(t.Context(), rooted, "", true, nil, func(Link) error { links++; return nil }); err != nil || (links > 0) == one {
				t.Errorf("one: %v: %v, %d links", one, err, links)
			}
			if elsewhere := rooted.Elsewhere("mounted/below"); elsewhere != one {
				t.Errorf("one: %v: %v", one, elsewhere)
			}
			if rooted.Elsewhere("a/bound/c") || rooted.Elsewhere("") || rooted.Elsewhere("gone") {
				t.Error("what is on the base's file system is elsewhere")
			}
		}
	})
}

// What the user's rules leave out is no entry, nor is what lies below it.
func TestLeaveOut(t *testing.T) {
	base := tree(t, "a/b/c/", "a/d/", "e/b/")
	var got []string
	err := Walk(t.Context(), Options{Base: base, Depth: 2, LeaveOut: func(rel string) bool { return rel == "a/b" || rel == "e" }}, func(e Entry) error {
		rel, _ := below(base, e.Path)
		got = append(got, rel)
		return nil
	})
	if err != nil || !slices.Equal(got, []string{"", "a", "a/d"}) {
		t.Errorf("%v: %q", err, got)
	}
	got = nil
	err = Split(t.Context(), Options{Base: base, LeaveOut: func(rel string) bool { return rel == "a/b" }}, base+"/a", func(f Found) error {
		rel, _ := below(base, f.Path)
		got = append(got, rel)
		return nil
	})
	if err != nil || !slices.Equal(got, []string{"a", "a/d"}) {
		t.Errorf("%v: %q", err, got)
	}
}
