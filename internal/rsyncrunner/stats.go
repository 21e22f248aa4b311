// SPDX-License-Identifier: LGPL-2.1-or-later

package rsyncrunner

import (
	"strconv"
	"strings"
)

// StatNames are the nine counters of a session, as rsync --stats names them
// with spaces replaced by underscores. They are znode names.
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

// Stats are counters by name: numbers of files, and bytes.
type Stats map[string]int64

// read takes one line. It reports false for a line that names a counter but
// has no number that can be read.
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

// readNumber reads the first word of value, digits with commas in them.
func readNumber(value string) (int64, bool) {
	fields := strings.Fields(value)
	if len(fields) == 0 {
		return 0, false
	}
	number, err := strconv.ParseUint(strings.ReplaceAll(fields[0], ",", ""), 10, 63)
	return int64(number), err == nil
}
