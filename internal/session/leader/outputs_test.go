// SPDX-License-Identifier: LGPL-2.1-or-later

package leader

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"vsc-zk/internal/session/wire"
)

// What --failed cannot take is in the log, a line each, as the file would have had it.
func TestFailedPathsAreNotLost(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(slog.NewTextHandler(&out, nil))
	missing := filepath.Join(t.TempDir(), "missing/failed")
	r := &report{failed: missing, log: log}
	r.unfinished("1_/src/left")
	err := r.close(2, []wire.Text{"1_/src/a", "0_/src/b\n"}, wire.Counts{})
	if err == nil || !strings.Contains(err.Error(), missing) {
		t.Errorf("error %v, want one that names the file", err)
	}
	for _, path := range []string{`1_/src/left"`, `1_/src/a"`, `\"0_/src/b\\n\""`} {
		if !strings.Contains(out.String(), "To be sent again: "+path) {
			t.Errorf("the log does not have %s:\n%s", path, &out)
		}
	}
}

// A try leaves things as they are, names the option, and finds what will not be possible hours later.
func TestCheckFiles(t *testing.T) {
	dir := t.TempDir()
	old := filepath.Join(dir, "old")
	if err := os.WriteFile(old, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		cfg  Config
		why  error // nil: nothing
	}{
		{"none", Config{}, nil},
		{"done-file", Config{DoneFile: filepath.Join(dir, "new/er/f")}, nil},
		{"done-file", Config{DoneFile: old}, nil},
		{"done-file", Config{DoneFile: filepath.Join(old, "f")}, syscall.ENOTDIR},
		{"done-file", Config{DoneFile: "/dev/null"}, errSpecial},
		{"failed", Config{Failed: old}, nil},
		{"failed", Config{Failed: filepath.Join(dir, "new/f")}, syscall.ENOENT},
		{"failed", Config{Failed: dir}, errDirectory},
		{"failed", Config{Failed: filepath.Join(dir, strings.Repeat("x", 250))}, syscall.ENAMETOOLONG}, // of the file beside it
		{"report", Config{Report: old}, nil},
		{"report", Config{Report: filepath.Join(dir, strings.Repeat("x", 250))}, nil},
		{"report", Config{Report: filepath.Join(dir, strings.Repeat("x", 256))}, syscall.ENAMETOOLONG},
		{"report", Config{Report: "/dev/null"}, nil},
		{"report", Config{Report: "/proc/x"}, syscall.ENOENT},
		{"report", Config{Report: dir}, errDirectory},
		{"paths-from", Config{PathsFrom: "/dev/stdin"}, nil},
		{"paths-from", Config{PathsFrom: dir}, errDirectory},
	} {
		err := c.cfg.Check()
		var of *OptionError
		if !errors.Is(err, c.why) || c.why != nil && (!errors.As(err, &of) || of.Option != c.name || !strings.HasPrefix(err.Error(), "cannot use --"+c.name+"=")) {
			t.Errorf("--%s, %+v: error %v, want %v", c.name, c.cfg, err, c.why)
		}
	}
	if names, err := os.ReadDir(dir); err != nil || len(names) != 1 {
		t.Errorf("the tries have left %v (%v)", names, err)
	}
	if data, err := os.ReadFile(old); err != nil || string(data) != "old" {
		t.Errorf("%q (%v)", data, err)
	}
}

// In a directory such as /tmp a rename over somebody else's file fails, which a file beside it does not show.
func TestMayReplace(t *testing.T) {
	const user = 4711
	for _, c := range []struct {
		mode           os.FileMode
		dirOwner, file int
		want           bool
	}{
		{0o777 | os.ModeSticky, 0, 0, false},
		{0o777 | os.ModeSticky, 0, user, true},
		{0o777 | os.ModeSticky, user, 0, true},
		{0o777, 0, 0, true},
	} {
		dir := t.TempDir()
		file := filepath.Join(dir, "f")
		if err := errors.Join(os.WriteFile(file, nil, 0o644), os.Chmod(dir, c.mode), os.Chown(dir, c.dirOwner, -1), os.Chown(file, c.file, -1)); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		if got := mayReplace(dir, info, user); got != c.want || !mayReplace(dir, info, 0) {
			t.Errorf("%+v: %v", c, got)
		}
	}
}
