// SPDX-License-Identifier: LGPL-2.1-or-later

package rsyncrunner

import (
	"strconv"
	"strings"
)

// StatNames are the nine counters of a session. They have the names of rsync --stats, with
// underscores for spaces, and are names of znodes.
var StatNames = [...]string{
	"Number_of_files",
	"Number_of_regular_files_transferred",
	"Total_file_size",
	"Total_transferred_file_size",
	"Literal_data",
	"Matched_data",
	"File_list_size",
	"Total_bytes_sent",
	"Total_bytes_received",
}

// Stats are counters by name. They count files, or bytes.
type Stats map[string]int64

// read takes one line of rsync --stats. Of a counter that is there twice the last one counts, as a
// listed file may have a name that looks like a counter. It returns false for a line that names a
// counter but has no number that can be read.
func (s Stats) read(line string) bool {
	name, value, found := strings.Cut(line, ":")
	if !found {
		return true
	}
	name = strings.ReplaceAll(name, " ", "_")
	if !isStatName(name) {
		return true
	}
	number, ok := readNumber(value)
	if ok {
		s[name] = number
	}
	return ok
}

func isStatName(name string) bool {
	for _, known := range StatNames {
		if name == known {
			return true
		}
	}
	return false
}

// readNumber reads the first word of value, which is digits with commas in them.
func readNumber(value string) (int64, bool) {
	fields := strings.Fields(value)
	if len(fields) == 0 {
		return 0, false
	}
	number, err := strconv.ParseUint(strings.ReplaceAll(fields[0], ",", ""), 10, 63)
	return int64(number), err == nil
}
