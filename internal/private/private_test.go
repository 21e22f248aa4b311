// SPDX-License-Identifier: LGPL-2.1-or-later

package private

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// other is the user who is not us. Making files of his needs root, as the tests of this project do.
const other = 65534

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// dir makes a directory of this owner and mode.
func dir(t *testing.T, uid int, mode fs.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "d")
	must(t, os.Mkdir(path, 0o700), os.Chown(path, uid, 0), os.Chmod(path, mode))
	return path
}

func wantError(t *testing.T, err error, want string) {
	t.Helper()
	if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
		t.Errorf("error %v, want %q", err, want)
	}
}

// What another user has laid in the way of a file is not written, and neither is what it leads to.
func TestOpenFile(t *testing.T) {
	for name, c := range map[string]struct {
		mode fs.FileMode // of the directory
		uid  int         // its owner
		lay  func(path, victim string) error
		want string // "": it is written
	}{
		"nothing":               {fs.ModeSticky | 0o777, 0, func(string, string) error { return nil }, ""},
		"own file":              {fs.ModeSticky | 0o777, 0, func(path, _ string) error { return os.WriteFile(path, []byte("old"), 0o600) }, ""},
		"link":                  {fs.ModeSticky | 0o777, 0, func(path, victim string) error { return os.Symlink(victim, path) }, "symbolic link"},
		"link, not sticky":      {0o777, 0, func(path, victim string) error { return os.Symlink(victim, path) }, "symbolic link"},
		"link in his directory": {0o755, other, func(path, victim string) error { return os.Symlink(victim, path) }, "belongs to another user"},
		"link in our directory": {0o755, 0, func(path, victim string) error { return os.Symlink(victim, path) }, ""},
		"hard link":             {fs.ModeSticky | 0o777, 0, func(path, victim string) error { return os.Link(victim, path) }, "other names"},
		"pipe":                  {fs.ModeSticky | 0o777, 0, func(path, _ string) error { return syscall.Mkfifo(path, 0o666) }, ""},
		"his file": {fs.ModeSticky | 0o777, 0, func(path, _ string) error {
			return errors.Join(os.WriteFile(path, nil, 0o666), os.Chown(path, other, other))
		}, "belongs to another user"},
		"his file, ours the dir": {0o755, 0, func(path, _ string) error {
			return errors.Join(os.WriteFile(path, nil, 0o666), os.Chown(path, other, other))
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(dir(t, c.uid, c.mode), "log")
			victim := filepath.Join(t.TempDir(), "victim")
			must(t, os.WriteFile(victim, []byte("precious"), 0o600), c.lay(path, victim))
			file, err := OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o640)
			refused := c.want != "" || name == "pipe"
			if name == "pipe" && err == nil {
				t.Error("a pipe that another user may have laid is written")
			}
			if name != "pipe" {
				wantError(t, err, c.want)
			}
			if file != nil {
				must(t, file.Close())
			}
			kept, err := os.ReadFile(victim)
			must(t, err)
			if refused && string(kept) != "precious" {
				t.Errorf("the file behind it was changed: %q", kept)
			}
			if said := Check(path); refused != (said != nil) {
				t.Errorf("Check says %v", said)
			}
		})
	}
}

func TestTempDir(t *testing.T) {
	for name, c := range map[string]struct {
		mode fs.FileMode
		uid  int
		want string
	}{
		"ours":         {0o700, 0, ""},
		"sticky":       {fs.ModeSticky | 0o777, 0, ""},
		"not sticky":   {0o777, 0, "chmod +t"},
		"his":          {0o755, other, "belongs to another user"},
		"his, sticky":  {fs.ModeSticky | 0o777, other, "belongs to another user"},
		"ours, 02 bit": {0o702, 0, "TMPDIR"},
	} {
		base := dir(t, c.uid, c.mode)
		below := filepath.Join(base, "below")
		must(t, os.Mkdir(below, 0o700))
		for _, at := range []string{base, below} {
			made, err := TempDir(at, "x-")
			wantError(t, err, c.want)
			if err != nil {
				continue
			}
			info, err := os.Stat(made)
			must(t, err)
			if info.Mode() != fs.ModeDir|0o700 || filepath.Dir(made) != at {
				t.Errorf("%s: %s has mode %v", name, made, info.Mode())
			}
		}
	}
}

func TestReadSecret(t *testing.T) {
	for mode, want := range map[fs.FileMode]string{0o600: "", 0o400: "", 0o640: "", 0o644: "chmod 600", 0o602: "chmod 600", 0o604: "chmod 600"} {
		path := filepath.Join(t.TempDir(), fmt.Sprint(uint32(mode)))
		must(t, os.WriteFile(path, []byte("secret"), 0o600), os.Chmod(path, mode))
		got, err := ReadSecret(path)
		wantError(t, err, want)
		if err == nil && string(got) != "secret" {
			t.Errorf("read %q", got)
		}
		must(t, os.Chown(path, other, other))
		_, err = ReadSecret(path)
		wantError(t, err, "belongs to another user")
	}
	read, write, err := os.Pipe()
	must(t, err)
	_, err = write.WriteString("secret")
	must(t, err, write.Close())
	defer read.Close()
	got, err := ReadSecret(fmt.Sprintf("/dev/fd/%d", read.Fd()))
	if err != nil || string(got) != "secret" {
		t.Errorf("from a pipe: %q, %v", got, err)
	}
}

// insideVariable marks a test run in a user namespace.
const insideVariable = "PRIVATE_TEST_INSIDE"

// In a container of a user the host's root has no number, and / and /tmp are his.
func TestTempDirInUserNamespace(t *testing.T) {
	if os.Getenv(insideVariable) != "" {
		dir, err := TempDir("", "x-")
		must(t, err, os.Remove(dir))
		return
	}
	program := filepath.Join(dir(t, 0, 0o755), "test")
	binary, err := os.ReadFile(os.Args[0])
	must(t, err, os.WriteFile(program, binary, 0o755))
	for above := filepath.Dir(filepath.Dir(program)); above != os.TempDir(); above = filepath.Dir(above) {
		must(t, os.Chmod(above, 0o755))
	}
	const user = 54321
	cmd := exec.Command(program, "-test.run=^TestTempDirInUserNamespace$", "-test.v")
	cmd.Dir = "/"
	cmd.Env = []string{insideVariable + "=1", "TMPDIR=/tmp"}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: user, Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: user, Size: 1}},
		Credential:  &syscall.Credential{},
	}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS") {
		t.Errorf("%v\n%s", err, out)
	}
}
