// SPDX-License-Identifier: LGPL-2.1-or-later

package rsyncrunner

import (
	"bytes"
	"fmt"
	"log/slog"
	"syscall"
)

// deletedLabel begins the statistics line with the number of deleted files.
const deletedLabel = "Number of deleted files:"

// maxDeleteMessage begins the line on stderr that says that --max-delete stopped rsync.
const maxDeleteMessage = "Deletions stopped due to --max-delete limit"

// listInvalidMessage begins the line with which the rsync at the destination refuses a list that
// has a path without the directory above it.
const listInvalidMessage = "ABORTING due to invalid path from sender: "

// reading is what was read of a run's output. The two streams come from two goroutines, so each has
// fields of its own.
type reading struct {
	logger *slog.Logger

	// of stdout
	stats   Stats
	files   fileList
	deleted int // -1: not said, or not readable

	// of stderr
	errors             excerpt
	deletesStopped     bool
	fault              fault
	endedByDestination bool
	listInvalid        bool
}

func (r *reading) stdout(line []byte) {
	r.files.add(line)
	if !r.stats.read(string(line)) {
		r.logger.Debug(fmt.Sprintf("cannot read the statistics line %q", line))
	}
	if value, found := bytes.CutPrefix(line, []byte(deletedLabel)); found {
		r.deleted = -1
		if number, ok := readNumber(string(value)); ok {
			r.deleted = int(number)
		}
	}
}

func (r *reading) stderr(line []byte) {
	r.errors.add(line)
	r.deletesStopped = r.deletesStopped || bytes.HasPrefix(line, []byte(maxDeleteMessage))
	r.fault = max(r.fault, faultIn(line))
	r.listInvalid = r.listInvalid || bytes.HasPrefix(line, []byte(listInvalidMessage))
	r.endedByDestination = r.endedByDestination || endedByDestination.Match(line)
}

// result joins what was read with how the run ended.
func (r *reading) result(code int, signal syscall.Signal) Result {
	result := Result{
		Code: code, Signal: signal, Stats: r.stats, Deleted: r.deleted, DeletesStopped: r.deletesStopped,
		Errors: r.errors.lines(), FileList: r.files.String(),
		fault: r.fault, endedByDestination: r.endedByDestination, listInvalid: r.listInvalid,
	}
	switch code {
	case 0:
		if r.deletesStopped {
			result.Code = codeMaxDelete
		}
	case codePartial, codeVanished, codeMaxDelete:
	default:
		// rsync has not come to its statistics: what looks like the number of deleted files is the
		// name of a listed file.
		result.Deleted = -1
	}
	return result
}
