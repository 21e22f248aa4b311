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

// members returns the processes of a group that run. Zombies do not count: whoever inherited them
// may reap them late, or never.
func members(group int) []int {
	names, _ := readNames("/proc")
	var found []int
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		if of, err := unix.Getpgid(pid); err != nil || of != group {
			continue
		}
		if running(pid) {
			found = append(found, pid)
		}
	}
	return found
}

// running tells whether a process has not ended.
func running(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	// pid (command) state ...; the command may have any byte in it.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	return len(fields) > 0 && fields[0] != "Z" && fields[0] != "X"
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
