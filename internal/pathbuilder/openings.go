// SPDX-License-Identifier: LGPL-2.1-or-later

package pathbuilder

import (
	"encoding/binary"
	"fmt"
	"os"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// openings tells when directories are opened on this machine, by whatever process (inotify(7)). That works on every file
// system, as the kernel sees to it before it asks any.
type openings struct {
	file   *os.File
	opened func(mark int) // called in one goroutine
	done   chan struct{}

	mu    sync.Mutex
	marks map[int32]int // by watch descriptor
}

func watchOpenings(opened func(mark int)) (*openings, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("cannot watch directories: %w", err)
	}
	o := &openings{file: os.NewFile(uintptr(fd), "inotify"), opened: opened, done: make(chan struct{}), marks: map[int32]int{}}
	go o.read()
	return o, nil
}

// add watches a directory, by its name in an open one ("." for that one), until it is opened, once.
func (o *openings) add(dir openDir, name string, mark int) (watch int32, err error) {
	o.mu.Lock() // the opening may be told before this knows its number
	defer o.mu.Unlock()
	number := -1
	err = o.control(func(fd int) error {
		return ignoreInterrupts(func() (err error) {
			number, err = unix.InotifyAddWatch(fd, fmt.Sprintf("/proc/self/fd/%d/%s", dir.fd, name),
				unix.IN_OPEN|unix.IN_ONLYDIR|unix.IN_DONT_FOLLOW)
			return err
		})
	})
	if err != nil {
		return 0, fmt.Errorf("cannot watch directory %s: %w", Printable(join(dir.path, name)), err)
	}
	o.marks[int32(number)] = mark
	return int32(number), nil
}

// drop ends a watch. An opening that is not told yet is not told any more.
func (o *openings) drop(watch int32) {
	o.mu.Lock()
	_, known := o.marks[watch]
	delete(o.marks, watch)
	o.mu.Unlock()
	if known {
		_ = o.control(func(fd int) error {
			_, err := unix.InotifyRmWatch(fd, uint32(watch))
			return err
		})
	}
}

// control hands out the descriptor, which os.File would otherwise make blocking.
func (o *openings) control(use func(fd int) error) error {
	raw, err := o.file.SyscallConn()
	if err != nil {
		return err
	}
	if closed := raw.Control(func(fd uintptr) { err = use(int(fd)) }); closed != nil {
		return closed
	}
	return err
}

// read ends when the file is closed.
func (o *openings) read() {
	defer close(o.done)
	const head = int(unsafe.Sizeof(unix.InotifyEvent{}))
	buf := make([]byte, 16*(head+unix.NAME_MAX+1))
	for {
		n, err := o.file.Read(buf)
		if err != nil {
			return
		}
		for rest := buf[:n]; len(rest) >= head; {
			number := int32(binary.NativeEndian.Uint32(rest[unsafe.Offsetof(unix.InotifyEvent{}.Wd):]))
			mask := binary.NativeEndian.Uint32(rest[unsafe.Offsetof(unix.InotifyEvent{}.Mask):])
			length := binary.NativeEndian.Uint32(rest[unsafe.Offsetof(unix.InotifyEvent{}.Len):])
			rest = rest[min(head+int(length), len(rest)):]
			if mask&unix.IN_OPEN == 0 || length > 0 { // with a name it is something in the directory, perhaps opened here
				continue
			}
			o.mu.Lock()
			mark, known := o.marks[number]
			o.mu.Unlock()
			if known {
				o.drop(number)
				o.opened(mark)
			}
		}
	}
}

func (o *openings) close() {
	_ = o.file.Close()
	<-o.done
}
