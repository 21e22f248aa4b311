// SPDX-License-Identifier: LGPL-2.1-or-later

package rsyncrunner

import (
	"fmt"
	"syscall"
	"time"
)

// Exit statuses that this package tells apart.
const (
	codeNetwork   = 10
	codeFileIO    = 11
	codePartial   = 23
	codeVanished  = 24
	codeMaxDelete = 25
	codeTimeout   = 30
)

// Result is how one run of rsync ended.
type Result struct {
	Code     int            // rsync's exit status; -1 when a signal ended it
	Signal   syscall.Signal // 0: it exited by itself
	Stats    Stats
	Errors   []string      // lines of stderr, the first and the last ones
	Duration time.Duration // of the whole run

	// FileList is what was printed before the statistics: with Verbose the files that were sent. It
	// is bounded and says how many lines it lacks.
	FileList string

	// Deleted is the number of files, directories and all else that were deleted, or in a dry run
	// would be; -1 when rsync has not said it.
	Deleted        int
	DeletesStopped bool // Job.MaxDelete left some undeleted, whatever Code is

	// FarStalled says that rsync was ended because the destination took nothing for too long. Code is 30.
	FarStalled bool

	fault              fault // the worst that the destination has said
	endedByDestination bool  // the rsync at the other end gave up
	listInvalid        bool  // it gave up because a directory vanished while the list was made
}

// String says in words how the run ended: "exit status 23 (some files were not transferred)".
func (r Result) String() string {
	if r.Signal != 0 {
		return fmt.Sprintf("killed by signal %d (%v)", int(r.Signal), r.Signal)
	}
	text := exitText(r.Code)
	if text == "" {
		return fmt.Sprintf("exit status %d", r.Code)
	}
	return fmt.Sprintf("exit status %d (%s)", r.Code, text)
}

// exitText explains rsync's exit statuses; source: rsync(1), EXIT VALUES.
func exitText(code int) string {
	switch code {
	case 0:
		return "everything was transferred"
	case 1:
		return "rsync did not accept its options"
	case 2:
		return "the two rsyncs speak no common protocol"
	case 3:
		return "a file or directory to work on could not be chosen"
	case 4:
		return "the other rsync does not support what was asked for"
	case 5:
		return "the daemon did not serve the request: unknown module, access refused, too many connections, or its path is gone"
	case codeNetwork:
		return "the network failed: no connection, or a port in use"
	case codeFileIO:
		return "reading or writing a file failed, perhaps a full disk"
	case 12:
		return "the connection broke off or carried something unexpected"
	case 13:
		return "rsync could not write its messages"
	case 14:
		return "the processes of rsync could not talk to each other"
	case 15:
		return "a process of rsync crashed"
	case 16:
		return "a process of rsync was killed"
	case 19:
		return "rsync was told by its other half to end"
	case 20:
		return "rsync was interrupted"
	case 21:
		return "rsync could not wait for one of its processes"
	case 22:
		return "rsync ran out of memory"
	case codePartial:
		return "some files were not transferred"
	case codeVanished:
		return "some source files vanished before they were transferred"
	case codeMaxDelete:
		return "the --max-delete limit stopped the deletions"
	case codeTimeout:
		return "no data came or went for too long"
	case 35:
		return "the daemon did not answer in time"
	case 124, 125, 126, 127:
		return "a program rsync calls could not be run"
	}
	return ""
}
