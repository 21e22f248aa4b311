// SPDX-License-Identifier: LGPL-2.1-or-later

package guard

import (
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A try leaves nothing behind, not even another time of the directory, whether its file has a name or not.
func TestTryWrite(t *testing.T) {
	for what, try := range map[string]func(dir string) error{
		"without a name": func(dir string) error { return TryWrite(dir, false) },
		"with a name":    writeNamed,
	} {
		dir, old := t.TempDir(), time.Unix(1500000000, 123)
		if err := os.Chtimes(dir, old, old); err != nil {
			t.Fatal(err)
		}
		if err := try(dir); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		files, err := os.ReadDir(dir)
		info, err2 := os.Stat(dir)
		if err != nil || err2 != nil || len(files) > 0 || !info.ModTime().Equal(old) {
			t.Errorf("%s: %v left, the time is %v, %v, %v", what, files, info.ModTime(), err, err2)
		}
	}
}

func TestTryWriteWhereNobodyMay(t *testing.T) {
	for options, want := range map[string]string{"size=64k,ro": "read-only", "size=4k": "no space", "size=64k,nr_inodes=1": "no space"} {
		dir := t.TempDir()
		if err := syscall.Mount("none", dir, "tmpfs", 0, strings.TrimSuffix(options, ",ro")); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
		if options == "size=4k" {
			if err := os.WriteFile(dir+"/fill", make([]byte, 4096), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if strings.HasSuffix(options, ",ro") {
			if err := syscall.Mount("", dir, "", syscall.MS_BIND|syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
				t.Fatal(err)
			}
		}
		err := TryWrite(dir, true)
		if err == nil || !strings.HasPrefix(err.Error(), "cannot write below "+dir) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want one that says %q", options, err, want)
		}
		if writeNamed(dir) == nil {
			t.Errorf("%s takes a file with a name", options)
		}
		if Room(dir) == nil {
			t.Errorf("%s has room", options)
		}
	}
	if err := Room(t.TempDir()); err != nil {
		t.Error(err)
	}
}
