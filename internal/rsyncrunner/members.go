// SPDX-License-Identifier: LGPL-2.1-or-later

package rsyncrunner

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// member is a process. Its start tells it from a later one with the same number.
type member struct {
	pid   int
	start string // in clock ticks since the machine started
}

// members returns the processes of a group that run. Zombies do not count: whoever inherited them
// may reap them late, or never.
func members(group int) []member {
	names, _ := readNames("/proc")
	var found []member
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		if of, err := unix.Getpgid(pid); err != nil || of != group {
			continue
		}
		if m, ok := running(pid, group); ok {
			found = append(found, m)
		}
	}
	return found
}

// running returns a process of a group; false if it has ended.
func running(pid, group int) (member, bool) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return member{}, false
	}
	// pid (command) state ppid pgrp ... start, the 22nd, ...; the command may have any byte in it.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 20 || fields[2] != strconv.Itoa(group) || fields[0] == "Z" || fields[0] == "X" {
		return member{}, false
	}
	return member{pid: pid, start: fields[19]}, true
}

// readNames returns the names in a directory, unsorted, without looking at what they name.
func readNames(dir string) ([]string, error) {
	file, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return file.Readdirnames(-1)
}
