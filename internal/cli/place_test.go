// SPDX-License-Identifier: LGPL-2.1-or-later

package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func mode(t *testing.T, path string) fs.FileMode {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Mode().Perm()
}

func TestOnlyMadeDirectoriesArePrivate(t *testing.T) {
	base := t.TempDir()
	open := filepath.Join(base, "open")
	if err := os.Mkdir(open, 0o755); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(open, "a", "b", "x.log")
	use, note, err := PrivateFile(path, "/tmp/zkrsync")
	if err != nil || use != path || note != "" {
		t.Fatalf("%q %q %v", use, note, err)
	}
	for dir, want := range map[string]fs.FileMode{"": 0o755, "a": 0o700, "a/b": 0o700} {
		if got := mode(t, filepath.Join(open, dir)); got != want {
			t.Errorf("%q has mode %o, want %o", dir, got, want)
		}
	}
}

func TestNameWithoutSlash(t *testing.T) {
	t.Chdir(t.TempDir())
	before := mode(t, ".")
	for _, path := range []string{"x.log", "./y.log"} {
		if use, note, err := PrivateFile(path, "/tmp/zkrsync"); err != nil || use != path || note != "" {
			t.Errorf("%q %q %v", use, note, err)
		}
	}
	if mode(t, ".") != before {
		t.Error("the working directory's mode was changed")
	}
}

func TestSharedDirectory(t *testing.T) {
	base := t.TempDir()
	own := func(shared string) string { return fmt.Sprintf("%s-%d", shared, os.Geteuid()) }
	check := func(shared, wantDir, wantNote string) {
		t.Helper()
		use, note, err := PrivateFile(filepath.Join(shared, "x.log"), shared)
		if err != nil || use != filepath.Join(wantDir, "x.log") || !strings.Contains(note, wantNote) || (wantNote == "") != (note == "") {
			t.Errorf("%s: %q, note %q, error %v", shared, use, note, err)
		}
		if mode(t, wantDir) != 0o700 {
			t.Errorf("%s has mode %o", wantDir, mode(t, wantDir))
		}
	}

	fresh := filepath.Join(base, "fresh")
	check(fresh, fresh, "") // made
	check(fresh, fresh, "") // there, and ours

	link := filepath.Join(base, "link")
	if err := os.Symlink(fresh, link); err != nil {
		t.Fatal(err)
	}
	check(link, own(link), "is a symbolic link, using "+own(link))

	file := filepath.Join(base, "file")
	writeFile(t, file, "")
	check(file, own(file), "is not a directory")

	writable := filepath.Join(base, "writable") // by all, as one that another program has made for everybody
	for _, mode := range []fs.FileMode{0o777, 0o777 | fs.ModeSticky, 0o702} {
		if err := errors.Join(os.RemoveAll(writable), os.Mkdir(writable, 0o700), os.Chmod(writable, mode)); err != nil {
			t.Fatal(err)
		}
		check(writable, own(writable), "can be written by others, using "+own(writable))
	}

	deep := filepath.Join(link, "a", "x.log")
	if use, _, err := PrivateFile(deep, link); err != nil || use != filepath.Join(own(link), "a", "x.log") {
		t.Errorf("%s: %s, %v", deep, use, err)
	}

	// If the private name is taken, too, there is nothing left to try.
	taken := filepath.Join(base, "taken")
	for _, path := range []string{taken, own(taken)} {
		if err := os.Symlink(fresh, path); err != nil {
			t.Fatal(err)
		}
	}
	if use, _, err := PrivateFile(filepath.Join(taken, "x.log"), taken); err == nil {
		t.Errorf("used %s", use)
	}
}

// Another user's directory: root can make one, others find one in /.
func TestSharedDirectoryOfAnother(t *testing.T) {
	dir := "/usr"
	if os.Geteuid() == 0 {
		dir = filepath.Join(t.TempDir(), "theirs")
		if err := os.Mkdir(dir, 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(dir, 12345, 12345); err != nil {
			t.Fatal(err)
		}
	}
	if err := ownDir(dir); err == nil || !strings.Contains(err.Error(), "belongs to another user") {
		t.Errorf("%s: %v", dir, err)
	}
}

func TestExpand(t *testing.T) {
	keys := map[string]string{"session": "s%%1", "rstype": "source", "pid": "7"}
	for _, c := range []struct{ template, want string }{
		{"", ""},
		{"x.log", "x.log"},
		{"/l/%(session)s-%(rstype)s-%(pid)s.log", "/l/s%%1-source-7.log"},
		{"100%%", "100%"},
		{"%%(pid)s", "%(pid)s"},
		{"%%%(pid)s", "%7"},
	} {
		if got, err := Expand(c.template, keys); err != nil || got != c.want {
			t.Errorf("%s: %q, %v", c.template, got, err)
		}
	}
	for _, c := range []struct{ template, want string }{
		{"/l/%(foo)s", "cannot use file name '/l/%(foo)s': %(foo)s is unknown; there are %(pid)s, %(rstype)s, %(session)s"},
		{"/l/%", "cannot use file name '/l/%': a literal % is written %%, and a reference %(key)s"},
		{"/l/%d", "cannot use file name '/l/%d': a literal % is written %%, and a reference %(key)s"},
		{"/l/%(pid)d", "cannot use file name '/l/%(pid)d': a literal % is written %%, and a reference %(key)s"},
		{"/l/%(pid", "cannot use file name '/l/%(pid': a literal % is written %%, and a reference %(key)s"},
	} {
		if _, err := Expand(c.template, keys); err == nil || err.Error() != c.want {
			t.Errorf("%s: %v", c.template, err)
		}
	}
}
