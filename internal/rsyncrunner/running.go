// SPDX-License-Identifier: LGPL-2.1-or-later

package rsyncrunner

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// openFile is a regular file that a process has open.
type openFile struct {
	name   string // as the process itself has it, or would without its chroot
	size   int64
	at     int64 // how far it was read or written
	writes bool  // it is open to be written
}

// files are the regular files that the processes of a group have open; none once it has ended.
func (p *process) files() (files []openFile) {
	p.mu.Lock() // so that the group's number is not yet another's
	defer p.mu.Unlock()
	if p.gone {
		return nil
	}
	for _, pid := range members(p.cmd.Process.Pid) {
		descriptors, _ := readNames(fmt.Sprintf("/proc/%d/fd", pid))
		for _, descriptor := range descriptors {
			if file, ok := openAt(pid, descriptor); ok {
				files = append(files, file)
			}
		}
	}
	return files
}

// openAt looks at a descriptor of a process; false if it is no regular file. A file server is not asked: it may be one
// that does not answer.
func openAt(pid int, descriptor string) (file openFile, ok bool) {
	link := fmt.Sprintf("/proc/%d/fd/%s", pid, descriptor)
	var stat unix.Statx_t
	if unix.Statx(unix.AT_FDCWD, link, unix.AT_STATX_DONT_SYNC, unix.STATX_TYPE|unix.STATX_SIZE, &stat) != nil || stat.Mode&unix.S_IFMT != unix.S_IFREG {
		return file, false
	}
	name, err := os.Readlink(link)
	if err != nil {
		return file, false
	}
	about, err := os.ReadFile(fmt.Sprintf("/proc/%d/fdinfo/%s", pid, descriptor))
	if err != nil {
		return file, false
	}
	file = openFile{name: name, size: int64(stat.Size)}
	for line := range strings.Lines(string(about)) {
		switch field, value, _ := strings.Cut(strings.TrimSpace(line), ":"); field {
		case "pos":
			file.at, _ = strconv.ParseInt(strings.TrimSpace(value), 10, 64)
		case "flags":
			flags, _ := strconv.ParseInt(strings.TrimSpace(value), 8, 64)
			file.writes = flags&unix.O_ACCMODE != unix.O_RDONLY
		}
	}
	return file, true
}

// Running is an rsync at work. Its methods may be called at any time.
type Running struct{ process *process }

// Reading is a file that is being read.
type Reading struct{ Size, Read int64 }

// Files are the files that the rsync reads: of one that sends, the one that is on its way.
func (r *Running) Files() (files []Reading) {
	for _, file := range r.process.files() {
		if !file.writes {
			files = append(files, Reading{Size: file.size, Read: file.at})
		}
	}
	return files
}

// lookEach is how often it is looked what is being written.
const lookEach = time.Second

// watchWrites looks in which directories below base files are being written, until the function that it gives is
// called, which tells what the last two looks have found: when a group ends, not all of it does at once.
func (p *process) watchWrites(base string) (end func() []string) {
	var last, before []string
	real := ""
	stop := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		look := time.NewTicker(lookEach)
		defer look.Stop()
		for {
			select {
			case <-stop:
				return
			case <-p.done:
				return
			case <-look.C:
			}
			if real == "" { // as the kernel has names
				if real, _ = filepath.EvalSymlinks(base); real == "" {
					continue
				}
			}
			var found []string
			for _, file := range p.files() {
				if rel, err := filepath.Rel(real, filepath.Dir(file.name)); err == nil && filepath.IsLocal(rel) && file.writes {
					found = append(found, rel)
				}
			}
			last, before = found, last
		}
	})
	return func() []string {
		close(stop)
		watching.Wait()
		return append(before, last...)
	}
}
