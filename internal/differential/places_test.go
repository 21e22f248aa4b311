// SPDX-License-Identifier: LGPL-2.1-or-later

package differential

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// roomy is the size of the destinations' own file system, if they have one.
const roomy = 64 << 20

// mountSmall gives the destinations a file system of their own.
func (a *area) mountSmall() {
	a.t.Helper()
	a.must(os.Mkdir(a.at("dst"), 0o755))
	a.must(unix.Mount("small", a.at("dst"), "tmpfs", 0, "mode=755,size="+strconv.Itoa(roomy)))
	a.t.Cleanup(func() { _ = unix.Unmount(a.at("dst"), unix.MNT_DETACH) })
}

// mountBases makes the base of the sources a mount of its own, with what is mounted there all the time.
func (r *run) mountBases() {
	r.t.Helper()
	r.mounted = true
	r.bind("src", "from")
	for _, rel := range r.standing {
		r.must(unix.Mount(r.at("outside/directory"), r.from()+"/"+rel, "", unix.MS_BIND, ""))
	}
}

// stand chooses a directory of the source where something is mounted all the time.
func (r *run) stand(random *rand.Rand, dirs []string) {
	dirs = slices.DeleteFunc(slices.Clone(dirs), func(rel string) bool {
		return rel == "." || len(rel) > 2500 || strings.Contains(rel, "skip") || slices.ContainsFunc(r.options.Subpaths, func(subpath string) bool {
			_, dir, _ := strings.Cut(subpath, "_")
			return inside(dir, rel)
		})
	})
	if len(dirs) > 0 {
		r.standing = []string{pick(random, dirs)}
	}
}

// bind makes one tree of the area another's mount.
func (r *run) bind(tree, at string) {
	r.t.Helper()
	r.must(os.Mkdir(r.at(at), 0o755))
	r.must(unix.Mount(r.at(tree), r.at(at), "", unix.MS_BIND, ""))
	r.t.Cleanup(func() { _ = unix.Unmount(r.at(at), unix.MNT_DETACH) })
}

// from is the base of the sources.
func (r *run) from() string {
	if r.mounted {
		return r.at("from")
	}
	return r.at("src")
}

// base is that of a new client.
func (r *run) base(role role, number int) string {
	r.t.Helper()
	switch {
	case role != dest:
		return r.from()
	case !r.mounted:
		return r.at("dst")
	}
	to := fmt.Sprintf("to%d", number)
	r.bind("dst", to)
	return r.at(to)
}

// mounts runs a program that mounts or unmounts something where a client lives, and tells whether it could.
func (r *run) mounts(c *client, args ...string) bool {
	if c.pid != 0 {
		args = append([]string{"nsenter", "--mount", "--target=" + strconv.Itoa(c.pid), "--"}, args...)
	}
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	if err == nil {
		return true
	}
	if c.pid != 0 {
		if _, ended := os.Readlink(fmt.Sprintf("/proc/%d/ns/mnt", c.pid)); ended != nil {
			return false
		}
	}
	if c.running() && !strings.Contains(string(out), "busy") {
		r.t.Errorf("%q: %v: %s", args, err, out)
	}
	return false
}

// away unmounts the base of a client under the hands of those who use it, and mounts it again after a while.
func (r *run) away(c *client, while func()) {
	if !r.mounts(c, "umount", "--lazy", c.Base) {
		return
	}
	while()
	tree := r.at("src")
	if c.Role == dest {
		tree = r.at("dst")
	}
	r.mounts(c, "mount", "--bind", tree, c.Base)
	for _, rel := range r.standing {
		if c.Role != dest {
			r.mounts(c, "mount", "--bind", r.at("outside/directory"), c.Base+"/"+rel)
		}
	}
}

// readOnly has nobody write through the base of a client for a while.
func (r *run) readOnly(c *client, while func()) {
	r.until(func() bool { return r.mounts(c, "mount", "-o", "remount,bind,ro", c.Base) })
	while()
	r.mounts(c, "mount", "-o", "remount,bind,rw", c.Base)
}

// noRoom leaves no room on the destinations' file system for a while.
func (r *run) noRoom(while func()) {
	resize := func(size uint64) error {
		return unix.Mount("", r.at("dst"), "", unix.MS_REMOUNT, "size="+strconv.FormatUint(size, 10))
	}
	r.until(func() bool {
		var fs unix.Statfs_t
		r.must(unix.Statfs(r.at("dst"), &fs))
		return resize(max(fs.Blocks-fs.Bfree, 1)*uint64(fs.Bsize)) == nil // not if there is more by now; 0 is no bound
	})
	while()
	r.must(resize(roomy))
}

// cover mounts something else over a directory of the source, where a client lives, for a while.
func (r *run) cover(c *client, rel string, while func()) {
	r.covered = append(r.covered, rel)
	path := c.Base + "/" + rel
	if !r.mounts(c, "mount", "--bind", r.at("outside/directory"), path) {
		return
	}
	while()
	r.mounts(c, "umount", "--lazy", path)
}

// rsyncs are the processes of rsync that work on this round, for sources or for destinations.
func (r *run) rsyncs(of role) (pids []int) {
	entries, err := os.ReadDir("/proc")
	r.must(err)
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		command, err := os.ReadFile("/proc/" + entry.Name() + "/cmdline")
		if err != nil || !strings.HasPrefix(string(command), "rsync\x00") {
			continue // it has ended, or is another program
		}
		_, address, sends := strings.Cut(string(command), "\x00rsync://127.0.0.")
		ours := strings.Contains(string(command), r.dir+"/") // the daemon's config file
		if sends {
			var host, port int
			_, err := fmt.Sscanf(address, "%d:%d/", &host, &port)
			ours = err == nil && port >= r.port && port < r.port+ports
		}
		if ours && sends == (of != dest) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// killRsync kills one of them, as soon as there is one.
func (r *run) killRsync(of role, choose func(n int) int) {
	r.until(func() bool {
		pids := r.rsyncs(of)
		return len(pids) > 0 && syscall.Kill(pids[choose(len(pids))], syscall.SIGKILL) == nil
	})
}
