// SPDX-License-Identifier: LGPL-2.1-or-later

package main

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// machine says in one line on what everything was measured.
func (b *bench) machine(ctx context.Context) (string, error) {
	var uname unix.Utsname
	if err := unix.Uname(&uname); err != nil {
		return "", fmt.Errorf("cannot ask for the kernel: %w", err)
	}
	versions := map[string]string{}
	for program, args := range map[string][]string{
		"rsync": {"--version"}, "fpart": {"-V"}, "rclone": {"version"}, "df": {"--output=fstype", b.work},
	} {
		text, err := b.command(ctx, program, args...)
		if err != nil {
			return "", err
		}
		versions[program] = text
	}
	number := regexp.MustCompile(`\d+(\.\d+)+`)
	fields := strings.Fields(versions["df"])
	kilobytes, _ := strconv.ParseFloat(first(`MemTotal:\s+(\d+)`, "/proc/meminfo"), 64)
	return fmt.Sprintf("%d cores (%s), %.0f GiB of memory, Linux %s, %s, %s, rsync %s, fpsync %s, rclone %s",
		runtime.NumCPU(), first(`model name\s*:\s*(.*)`, "/proc/cpuinfo"), kilobytes/(1<<20),
		unix.ByteSliceToString(uname.Release[:]), fields[len(fields)-1],
		strings.Replace(runtime.Version(), "go", "Go ", 1), number.FindString(versions["rsync"]), number.FindString(versions["fpart"]), number.FindString(versions["rclone"])), nil
}

// load is how many processes wanted a core, on average over the last minute.
func load() string { return first(`^(\S+)`, "/proc/loadavg") }

// first is the first group of the first match in a file, "unknown" if there is none.
func first(pattern, file string) string {
	text, _ := os.ReadFile(file)
	m := regexp.MustCompile(pattern).FindSubmatch(text)
	if m == nil {
		return "unknown"
	}
	return string(m[1])
}
