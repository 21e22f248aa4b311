// SPDX-License-Identifier: LGPL-2.1-or-later

package pathbuilder

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

const mountsChild = "PATHBUILDER_TEST_MOUNTS"

// withMounts runs a test in a process with a mount namespace of its own, which takes every mount
// with it when it ends.
func withMounts(t *testing.T, test func(t *testing.T)) {
	if os.Getenv(mountsChild) != "" {
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			t.Fatal(err)
		}
		test(t)
		return
	}
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.v", "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), mountsChild+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	if os.Geteuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
	}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Errorf("in a mount namespace of its own: %v\n%s", err, out)
	}
}

func mustMount(t *testing.T, source, target, fstype string, flags uintptr) {
	t.Helper()
	if err := unix.Mount(source, target, fstype, flags, ""); err != nil {
		t.Fatalf("mount %s at %s: %v", source, target, err)
	}
	// The namespace would do it, but the directory is removed before it ends.
	t.Cleanup(func() { unix.Unmount(target, unix.MNT_DETACH) })
}

func mustUnmount(t *testing.T, target string) {
	t.Helper()
	if err := unix.Unmount(target, 0); err != nil {
		t.Fatalf("unmount %s: %v", target, err)
	}
}

func mustMkdir(t *testing.T, paths ...string) {
	t.Helper()
	for _, path := range paths {
		if err := os.MkdirAll(path, 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

// snapshot returns the mounts below base, the way old and new kernels allow.
func snapshot(t *testing.T, base string, reusedIDs bool) *Mounts {
	t.Helper()
	tree, err := OpenTree(base)
	if err != nil {
		t.Fatal(err)
	}
	place := &Place{tree: tree, reusedIDs: reusedIDs}
	m := &Mounts{tree: tree, base: place, reusedIDs: reusedIDs}
	if err := errors.Join(place.note(), m.note()); err != nil {
		t.Fatal(err)
	}
	return m
}

// oldAndNew runs a test as on kernels with and without unique mount ids.
func oldAndNew(t *testing.T, test func(t *testing.T, reusedIDs bool)) {
	for _, reused := range []bool{false, true} {
		t.Run(fmt.Sprintf("reused=%v", reused), func(t *testing.T) { test(t, reused) })
	}
}

func wantSame(t *testing.T, m *Mounts, rels ...string) {
	t.Helper()
	for _, rel := range rels {
		if _, err := m.Look(rel, false, true); err != nil {
			t.Errorf("%q: %v", rel, err)
		}
	}
}

// isOther reports whether an error says that something else is mounted.
func isOther(err error) bool {
	return err != nil && strings.Contains(err.Error(), " when this client started, now ")
}

// wantOther checks that the error names what was and what is.
func wantOther(t *testing.T, m *Mounts, rel string, was, is string) {
	t.Helper()
	_, err := m.Look(rel, false, true)
	if !isOther(err) {
		t.Errorf("%q: %v, want another mount", rel, err)
		return
	}
	begin := ": it was on " + was + " (tmpfs) mounted at "
	_, now, _ := strings.Cut(err.Error(), "when this client started")
	if !strings.Contains(err.Error(), begin) || !strings.Contains(now, is) && (was != is || !strings.Contains(now, "another file system")) || strings.Contains(err.Error(), "\n") {
		t.Errorf("%q: %v; want was %s, is %s", rel, err, was, is)
	}
}

func TestMountsUnmounted(t *testing.T) {
	withMounts(t, func(t *testing.T) {
		oldAndNew(t, func(t *testing.T, reusedIDs bool) {
			base := tree(t)
			mustMount(t, "all", base, "tmpfs", 0)
			mustMkdir(t, base+"/a/b", base+"/a/sub/x", base+"/a/submarine")
			mustMount(t, "part", base+"/a/sub", "tmpfs", 0)
			mustMkdir(t, base+"/a/sub/x/y", base+"/a/sub/z")
			m := snapshot(t, base, reusedIDs)
			wantSame(t, m, "", "a", "a/b", "a/sub", "a/sub/x/y", "a/submarine")

			mustUnmount(t, base+"/a/sub")
			wantSame(t, m, "", "a", "a/b", "a/submarine")
			wantOther(t, m, "a/sub", "part", "all")
			wantOther(t, m, "a/sub/x", "part", "all")
			if _, err := m.Look("a/sub/z", false, true); !errors.Is(err, os.ErrNotExist) { // hidden under the mount
				t.Errorf("Same of what is not there: %v", err)
			}

			mustUnmount(t, base)
			wantOther(t, m, "", "all", "mounted at /")
			mustMkdir(t, base+"/a/b")
			wantOther(t, m, "a/b", "all", "mounted at /")
		})
	})
}

func TestMountsMountedOver(t *testing.T) {
	withMounts(t, func(t *testing.T) {
		oldAndNew(t, func(t *testing.T, reusedIDs bool) {
			base := tree(t)
			mustMount(t, "all", base, "tmpfs", 0)
			mustMkdir(t, base+"/a/b", base+"/c")
			m := snapshot(t, base, reusedIDs)
			mustMount(t, "over", base+"/a", "tmpfs", 0)
			mustMkdir(t, base+"/a/b")
			wantSame(t, m, "", "c")
			wantOther(t, m, "a", "all", "over")
			wantOther(t, m, "a/b", "all", "over")
			mustMount(t, "all", base, "tmpfs", 0)
			wantOther(t, m, "", "all", "all")
			mustUnmount(t, base)
			mustUnmount(t, base+"/a")
			wantSame(t, m, "", "c", "a", "a/b")

			// The same file system, from another place: bound over.
			mustMount(t, base+"/c", base+"/a", "", unix.MS_BIND)
			wantOther(t, m, "a", "all", "all")
		})
	})
}

func TestMountsRemounted(t *testing.T) {
	withMounts(t, func(t *testing.T) {
		oldAndNew(t, func(t *testing.T, reusedIDs bool) {
			base := tree(t)
			mustMount(t, "one", base, "tmpfs", 0)
			mustMkdir(t, base+"/a")
			m := snapshot(t, base, reusedIDs)
			mustMount(t, "", base, "", unix.MS_REMOUNT|unix.MS_NOATIME)
			wantSame(t, m, "", "a") // other options, same file system
			mustUnmount(t, base)
			mustMount(t, "two", base, "tmpfs", 0)
			mustMkdir(t, base+"/a")
			wantOther(t, m, "", "one", "two")
			wantOther(t, m, "a", "one", "two")
			mustUnmount(t, base)

			mustMount(t, "one", base, "tmpfs", 0)
			if kernelIs(t, 6, 8) { // nothing but the id of the file system tells them apart
				wantOther(t, m, "", "one", "one")
			}
		})
	})
}

func TestMountsBelow(t *testing.T) {
	withMounts(t, func(t *testing.T) {
		oldAndNew(t, func(t *testing.T, reusedIDs bool) {
			base := tree(t)
			mustMount(t, "all", base, "tmpfs", 0)
			mustMkdir(t, base+"/a/sub/x", base+"/ab/sub", base+"/empty", base+"/file")
			mustMount(t, "part", base+"/a/sub", "tmpfs", 0)
			m := snapshot(t, base, reusedIDs)
			below := func(rel string, same bool) {
				t.Helper()
				apart, err := m.Look(rel, true, true)
				for _, a := range apart {
					err = errors.Join(err, a.Why)
				}
				if other := isOther(err); (err == nil) != same || other == same {
					t.Errorf("below %q: %v, %v", rel, apart, err)
				}
			}
			all := func(root, a, ab bool) {
				t.Helper()
				below("", root)
				below("a", a)
				below("ab", ab)
				below("empty", true)
			}
			all(true, true, true)
			mustMount(t, "new", base+"/ab/sub", "tmpfs", 0)
			all(false, true, false)
			mustUnmount(t, base+"/ab/sub")
			all(true, true, true)
			mustUnmount(t, base+"/a/sub")
			all(false, false, true)
			below("a/sub", false)

			// What is hidden below another mount is nobody's concern.
			m = snapshot(t, base, reusedIDs)
			mustMkdir(t, base+"/empty/x")
			all(true, true, true)
			mustMount(t, "hidden", base+"/empty/x", "tmpfs", 0)
			mustMount(t, "over", base+"/empty", "tmpfs", 0)
			m = snapshot(t, base, reusedIDs)
			all(true, true, true)
			// A file can be mounted over too; the walk has nothing to do with files.
			if err := os.WriteFile(base+"/file/f", nil, 0o644); err != nil {
				t.Fatal(err)
			}
			mustMount(t, "/etc/passwd", base+"/file/f", "", unix.MS_BIND)
			below("file", true)
			if m = snapshot(t, base, reusedIDs); len(m.points) != 1 {
				t.Errorf("snapshot has %v", m.points)
			}

			// A mount that was there, and whose directory is gone.
			mustMkdir(t, base+"/ab/gone")
			mustMount(t, "gone", base+"/ab/gone", "tmpfs", 0)
			m = snapshot(t, base, reusedIDs)
			mustUnmount(t, base+"/ab/gone")
			if err := os.Remove(base + "/ab/gone"); err != nil {
				t.Fatal(err)
			}
			apart, err := m.Look("ab", true, false)
			if err != nil || len(apart) != 1 || apart[0].Rel != "ab/gone" || apart[0].New || !errors.Is(apart[0].Why, os.ErrNotExist) {
				t.Errorf("a mount point that is gone: %v, %v", apart, err)
			}
		})
	})
}

func TestMountsOddNames(t *testing.T) {
	withMounts(t, func(t *testing.T) {
		oldAndNew(t, func(t *testing.T, reusedIDs bool) {
			dir := tree(t, "li nk -> ba\nse#\\040", "ba\nse#\\040/")
			base := dir + "/ba\nse#\\040"
			mustMount(t, "so urce\n", base, "tmpfs", 0)
			sub := "a\t b\\\xff"
			mustMkdir(t, base+"/"+sub)
			mustMount(t, "", base+"/"+sub, "tmpfs", 0)
			mustMkdir(t, base+"/"+sub+"/x")
			m := snapshot(t, dir+"/li nk", reusedIDs)
			wantSame(t, m, "", sub, sub+"/x")
			if here, _ := m.covering(sub); here.isMount(m.base.lies()) {
				t.Errorf("the mount at an odd name was not noted: %v", m.points)
			}
			mustUnmount(t, base+"/"+sub)
			wantOther(t, m, sub, "(no name)", `"so urce\n"`)
		})
	})
}

// An unmount must not be held up by a snapshot that somebody keeps.
func TestMountsHoldNothing(t *testing.T) {
	withMounts(t, func(t *testing.T) {
		base := tree(t)
		mustMount(t, "all", base, "tmpfs", 0)
		mustMkdir(t, base+"/a")
		mustMount(t, "part", base+"/a", "tmpfs", 0)
		m := snapshot(t, base, false)
		wantSame(t, m, "", "a")
		if apart, err := m.Look("", true, true); err != nil || len(apart) > 0 {
			t.Error(apart, err)
		}
		mustUnmount(t, base+"/a")
		mustUnmount(t, base)
	})
}

func TestMountsOfThisMachine(t *testing.T) {
	tree, err := OpenTree("/")
	if err != nil {
		t.Fatal(err)
	}
	place, err := tree.Place()
	if err != nil {
		t.Fatal(err)
	}
	m, err := place.Mounts()
	if err != nil {
		t.Fatal(err)
	}
	wantSame(t, m, "", "proc", "usr", "proc/1")
	if here, _ := m.covering("proc/1"); here.fstype != "proc" {
		t.Errorf("/proc/1 lies on %v", here)
	}
	if has := m.base.lies().unique != 0; has != kernelIs(t, 6, 8) {
		t.Errorf("unique mount ids: %v, but the kernel has them since 6.8", has)
	}
}

func TestParseMountTable(t *testing.T) {
	table, err := parseMountTable("36 35 98:0 /mnt1 /mnt\\0402 rw,noatime master:1 propagate_from:2 - ext3 /dev/root rw,errors=continue\n" +
		"37 35 0:9 / /a\\134b\\011\\012\\043\\9 rw - tmpfs  rw\n")
	if err != nil {
		t.Fatal(err)
	}
	want := mount{id: 36, parent: 35, dev: "98:0", root: "/mnt1", point: "/mnt 2", fstype: "ext3", source: "/dev/root"}
	if table[36] != want {
		t.Errorf("got %+v, want %+v", table[36], want)
	}
	want = mount{id: 37, parent: 35, dev: "0:9", root: "/", point: "/a\\b\t\n#\\9", fstype: "tmpfs"}
	if table[37] != want {
		t.Errorf("got %+v, want %+v", table[37], want)
	}
	for _, line := range []string{"x", "36 35 98:0 / /\n", "x 35 98:0 / / rw - tmpfs t rw\n", "1 - tmpfs\n", "36 x 98:0 / / rw - tmpfs t rw\n"} {
		if _, err := parseMountTable(line); err == nil {
			t.Errorf("line %q was read", line)
		}
	}
}
