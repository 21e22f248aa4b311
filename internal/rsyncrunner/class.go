// SPDX-License-Identifier: LGPL-2.1-or-later

package rsyncrunner

import (
	"regexp"
	"slices"
	"strconv"
	"syscall"
)

// Class says what the end of a run means for the next step.
type Class int

const (
	Fine           Class = iota // everything was done
	Vanished                    // done, but for files that vanished from the source meanwhile
	Partial                     // some files were not transferred; Result.Errors says which and why
	DeletesStopped              // everything was transferred; MaxDelete stopped the deletions
	Destination                 // the destination is at fault: another one may do
	Fatal                       // options or versions do not fit: it goes no better elsewhere
	Failed                      // anything else
)

// Class returns the class of the exit status; doc.go has the table and the exceptions.
func (r Result) Class() Class {
	if r.Signal != 0 {
		return Failed
	}
	switch r.Code {
	case 0, codeVanished, codeMaxDelete:
		if r.DeletesStopped || r.Code == codeMaxDelete {
			return DeletesStopped
		}
		if r.Code == codeVanished {
			return Vanished
		}
		return Fine
	case codePartial:
		if r.destinationBroken {
			return Destination
		}
		return Partial
	case 5, 10, 12, 30, 35:
		return Destination
	case 2, 4:
		if r.listInvalid {
			return Partial
		}
		return Fatal
	case 1:
		return Fatal
	}
	if r.endedByDestination {
		return Destination
	}
	return Failed
}

// endedByDestination matches the last words of an rsync at the destination. It sends them, and its
// exit status becomes that of the rsync here.
var endedByDestination = regexp.MustCompile(`^rsync error: .*\[(?:server|Receiver|receiver|generator)=[^]]*\]$`)

// destinationError matches an error of the destination that has the number of an error of the
// system.
var destinationError = regexp.MustCompile(`^rsync: \[(?:Receiver|receiver|generator)\] .*\((\d+)\)$`)

// brokenErrors are those of a file system to which no path can be written. The numbers are Linux's,
// on either side.
var brokenErrors = []syscall.Errno{
	syscall.EIO, syscall.ENOSPC, syscall.EROFS, syscall.EDQUOT, syscall.ESTALE, syscall.ENOTCONN,
}

func isDestinationBroken(line []byte) bool {
	found := destinationError.FindSubmatch(line)
	if found == nil {
		return false
	}
	number, err := strconv.Atoi(string(found[1]))
	return err == nil && slices.Contains(brokenErrors, syscall.Errno(number))
}
