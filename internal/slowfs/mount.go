// SPDX-License-Identifier: LGPL-2.1-or-later

package slowfs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	fuse "github.com/hanwen/go-fuse/v2/fs"
	raw "github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// Options say how slow the file system is.
type Options struct {
	Delay time.Duration // of each delayed operation; 0: none
	Keep  time.Duration // how long the kernel keeps names and attributes; 0: 1 s

	Broken string // a directory below the top that cannot be read: EIO; "": none

	// Sleep is called with Delay for each delayed operation, in several goroutines. nil: time.Sleep
	Sleep func(time.Duration)
}

// FS is a mounted file system.
type FS struct {
	options Options
	at      string
	server  *raw.Server

	lookup, getattr, opendir, open, create atomic.Int64
}

// Counts are the numbers of delayed operations since the mount.
type Counts struct{ Lookup, Getattr, Opendir, Open, Create int64 }

// Sum is the number of all delayed operations.
func (c Counts) Sum() int64 { return c.Lookup + c.Getattr + c.Opendir + c.Open + c.Create }

// Mount mounts the directory dir at the directory at, which must exist and not lie below dir. It
// returns when the file system is ready.
func Mount(dir, at string, o Options) (*FS, error) {
	if o.Sleep == nil {
		o.Sleep = time.Sleep
	}
	if o.Keep == 0 {
		o.Keep = time.Second
	}
	below, err := filepath.EvalSymlinks(dir)
	if err == nil {
		below, err = filepath.Abs(below)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot mount %q: %w", dir, err)
	}
	loop, err := fuse.NewLoopbackRoot(below)
	if err != nil {
		return nil, fmt.Errorf("cannot mount %q: %w", dir, err)
	}
	f := &FS{options: o, at: at}
	root := &node{LoopbackNode: loop.(*fuse.LoopbackNode), fs: f}
	root.RootData.RootNode = root
	asRoot := os.Geteuid() == 0
	f.server, err = mountPrivately(asRoot, at, root, &fuse.Options{
		EntryTimeout:    &o.Keep,
		AttrTimeout:     &o.Keep,
		NullPermissions: true, // mode 0000 stays 0000
		MountOptions: raw.MountOptions{
			Name:                 "slowfs",
			FsName:               below,
			Options:              []string{"default_permissions"}, // checked by the kernel: here all is one user
			AllowOther:           asRoot,
			DirectMountStrict:    asRoot,
			DisableReadDirPlus:   true,
			DisableSplice:        true,                // for small files it costs more than copying
			DisabledCapabilities: raw.CAP_PASSTHROUGH, // with it reads bypass the file system
		},
	})
	if err != nil {
		return nil, fmt.Errorf("cannot mount at %q: %w%s", at, err, advice(asRoot))
	}
	return f, nil
}

// mountPrivately mounts so that no child process inherits the device. While a child has it nobody
// notices that the server is dead, and whoever waits for an answer cannot even be killed. Where
// fusermount3 mounts, go-fuse sees to it.
func mountPrivately(asRoot bool, at string, root fuse.InodeEmbedder, o *fuse.Options) (*raw.Server, error) {
	if !asRoot {
		return fuse.Mount(at, root, o)
	}
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	server, err := fuse.Mount(at, root, o)
	if err != nil {
		return nil, err
	}
	if err := closeDevicesOnExec(); err != nil {
		return nil, errors.Join(fmt.Errorf("cannot keep /dev/fuse from children: %w", err), server.Unmount())
	}
	return server, nil
}

func closeDevicesOnExec() error {
	const dir = "/proc/self/fd/"
	open, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, entry := range open {
		if target, err := os.Readlink(dir + entry.Name()); err == nil && target == "/dev/fuse" {
			fd, err := strconv.Atoi(entry.Name())
			if err != nil {
				return err
			}
			syscall.CloseOnExec(fd)
		}
	}
	return nil
}

// advice says what is missing on this machine, or nothing.
func advice(asRoot bool) string {
	if _, err := os.Stat("/dev/fuse"); errors.Is(err, fs.ErrNotExist) {
		return "; there is no /dev/fuse: type modprobe fuse, in a container give it that device"
	}
	if _, err := exec.LookPath("fusermount3"); err != nil && !asRoot {
		return "; whoever is not root needs fusermount3: type apt-get install fuse3"
	}
	return ""
}

// Counts says how many operations were delayed so far.
func (f *FS) Counts() Counts {
	return Counts{f.lookup.Load(), f.getattr.Load(), f.opendir.Load(), f.open.Load(), f.create.Load()}
}

// Unmount ends the file system and returns when nothing serves it any more. If it was still in use
// after a third of a second it is unmounted all the same, and the error says so. A file system that
// root has not mounted then stays for those who use it.
func (f *FS) Unmount() error {
	err := f.server.Unmount()
	if err == nil {
		return nil
	}
	err = fmt.Errorf("cannot unmount %q in good order, was it still in use? %w", f.at, err)
	if os.Geteuid() == 0 {
		if force := unix.Unmount(f.at, unix.MNT_FORCE|unix.MNT_DETACH); force != nil {
			return errors.Join(err, fmt.Errorf("cannot unmount %q by force: %w", f.at, force))
		}
		f.server.Wait()
		return err
	}
	if out, lazy := exec.Command("fusermount3", "-u", "-z", f.at).CombinedOutput(); lazy != nil {
		return errors.Join(err, fmt.Errorf("cannot unmount %q later: %w: %s", f.at, lazy, out))
	}
	return err
}
