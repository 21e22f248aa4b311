// SPDX-License-Identifier: LGPL-2.1-or-later

package pathbuilder

import (
	"bytes"
	"os"
	"strings"
	"testing"
)

func TestEntryCoding(t *testing.T) {
	for encoded, want := range map[string]Entry{
		"0_/data/c1":      {"/data/c1", false},
		"1_/data/a_b/.s":  {"/data/a_b/.s", true},
		"0_/":             {"/", false},
		"1_/new\nline":    {"/new\nline", true},
		"1_/not\xffutf8":  {"/not\xffutf8", true},
		"1_/1_/x":         {"/1_/x", true},
		"0_/data/../x//y": {"/data/../x//y", false}, // as a Python master may spell its base
	} {
		got, err := Decode([]byte(encoded))
		if err != nil || got != want {
			t.Errorf("Decode(%q) = %v, %v; want %v", encoded, got, err, want)
		}
		if again := string(got.Encode()); again != encoded {
			t.Errorf("%q encodes as %q", encoded, again)
		}
	}
	for _, bad := range []string{"", "/", "_/x", "1", "1_", "1_x", "2_/x", "01_/x", " 1_/x", "true_/x", "1_/a\x00b", "7"} {
		if got, err := Decode([]byte(bad)); err == nil {
			t.Errorf("Decode(%q) = %v, want an error", bad, got)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, s := range []string{"0_/a", "1_/", "1_/\xff\n_", "2_/a", "1_a", "_"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := Decode(b)
		if err != nil {
			if strings.ContainsAny(err.Error(), "\n\r\x00") {
				t.Fatalf("error for %q is not one line: %q", b, err)
			}
			return
		}
		if again := e.Encode(); !bytes.Equal(again, b) {
			t.Fatalf("%q decodes to %v, which encodes to %q", b, e, again)
		}
		rel, err := e.Rel("/")
		if err == nil && join("/", rel) != e.Path {
			t.Fatalf("%q is %q below /", e.Path, rel)
		}
	})
}

func TestRel(t *testing.T) {
	for _, c := range []struct{ base, path, want string }{
		{"/", "/", ""}, {"/", "/etc", "etc"}, {"/", "/etc/a", "etc/a"},
		{"/data", "/data", ""}, {"/data", "/data/x/y", "x/y"}, {"/data", "/data/a\n\xff", "a\n\xff"},
		{"/d/../e", "/d/../e/x", "x"}, {"/data", "/data/", ""}, {"/data", "/data/..x/y..", "..x/y.."},
	} {
		if got, err := (Entry{Path: c.path}).Rel(c.base); err != nil || got != c.want {
			t.Errorf("%q below %q = %q, %v; want %q", c.path, c.base, got, err, c.want)
		}
	}
	for _, c := range [][2]string{
		{"/data", "/data2"}, {"/data", "/dat"}, {"/data", "/"}, {"/data", "/other/data/x"},
		{"/data", "/data/../etc"}, {"/data", "/data/x/.."}, {"/data", "/data//x"},
		{"/data", "/data/./x"}, {"/", "/../etc"}, {"/", "//etc"},
	} {
		if got, err := (Entry{Path: c[1]}).Rel(c[0]); err == nil {
			t.Errorf("%q below %q = %q, want an error", c[1], c[0], got)
		}
	}
}

func TestCleanBase(t *testing.T) {
	t.Chdir(t.TempDir())
	wd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"/": "/", "///": "/", "/data": "/data", "/data///": "/data", "/a//b/../c/": "/a//b/../c",
		"x": wd + "/x", "x/y/": wd + "/x/y", "a\nb\xff/": wd + "/a\nb\xff", ".": wd, "./": wd, "./x": wd + "/x", "..": wd + "/..",
	} {
		if got, err := CleanBase(path); err != nil || got != want {
			t.Errorf("CleanBase(%q) = %q, %v; want %q", path, got, err, want)
		}
	}
	for _, bad := range []string{"", "/a\x00b"} {
		if got, err := CleanBase(bad); err == nil {
			t.Errorf("CleanBase(%q) = %q, want an error", bad, got)
		}
	}
}

func BenchmarkEntry(b *testing.B) {
	entry := Entry{Path: "/data/projects/some-group/some-project/run-0001", Recursive: true}
	encoded := entry.Encode()
	b.Run("encode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			entry.Encode()
		}
	})
	b.Run("decode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if got, err := Decode(encoded); err != nil || got != entry {
				b.Fatal(got, err)
			}
		}
	})
}
