// SPDX-License-Identifier: LGPL-2.1-or-later

package rsyncrunner

import (
	"regexp"
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
	NoRoom                      // this destination takes these paths no more, but perhaps others; another one may do
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
		return r.atDestination(Partial)
	case codeFileIO:
		if r.endedByDestination {
			return r.atDestination(Failed)
		}
		return Failed
	case 12:
		return r.atDestination(Failed)
	case 5, 10, 30, 35:
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

// fault is whose fault an error of the destination is.
type fault int

const (
	noFault    fault = iota // the destination has said none
	pathFault               // the path's: a name too long, a file too large, no permission
	placeFault              // no room, or no writing, where the path lies; elsewhere there may be
	wholeFault              // no path can be written to: the file system is broken, or away
)

// faults of what is not the path's. The numbers are Linux's, on either side.
var faults = map[syscall.Errno]fault{
	syscall.ENOSPC: placeFault, syscall.EDQUOT: placeFault, syscall.EROFS: placeFault,
	syscall.EIO: wholeFault, syscall.ESTALE: wholeFault, syscall.ENOTCONN: wholeFault, syscall.ENODEV: wholeFault,
	syscall.ENXIO: wholeFault, syscall.ESHUTDOWN: wholeFault, syscall.EREMOTEIO: wholeFault, syscall.EHOSTDOWN: wholeFault,
}

func faultIn(line []byte) fault {
	found := destinationError.FindSubmatch(line)
	if found == nil {
		return noFault
	}
	number, err := strconv.Atoi(string(found[1]))
	if err != nil {
		return noFault
	}
	return max(pathFault, faults[syscall.Errno(number)])
}

// atDestination is the class of a run in which the destination could not do something; own is the one
// if that was the path's fault. Of several the worst counts.
func (r Result) atDestination(own Class) Class {
	switch {
	case r.fault == wholeFault, r.fault == noFault && r.Code != codePartial:
		return Destination
	case r.fault == placeFault:
		return NoRoom
	}
	return own
}
