// SPDX-License-Identifier: LGPL-2.1-or-later

package rsyncrunner

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Options are what a session wants of rsync, the same for all its runs.
type Options struct {
	Delete    bool
	Checksum  bool
	HardLinks bool
	Inplace   bool
	DryRun    bool
	Verify    bool // only compare, by checksums: each difference is a Change
	Verbose   bool
	DropCache bool     // a patched rsync only
	Timeout   int      // seconds without data; 0: none
	Extra     []string // "key" or "key:value": --key or --key=value
}

// helpTimeout bounds `rsync --help`.
const helpTimeout = 10 * time.Second

// Validate refuses options that would break what the runner rests on, and those that this rsync
// lacks. With DropCache it asks rsync.
func (o Options) Validate(ctx context.Context) error {
	if o.Timeout < 0 {
		return fmt.Errorf("cannot use a timeout of %d seconds: give 0 (none) or more", o.Timeout)
	}
	for _, extra := range o.Extra {
		if err := o.checkExtra(extra); err != nil {
			return err
		}
	}
	if o.DropCache {
		return checkDropCache(ctx, "")
	}
	return nil
}

// args returns the options between the fixed ones and the operands.
func (o Options) args() []string {
	var args []string
	add := func(wanted bool, arg string) {
		if wanted {
			args = append(args, arg)
		}
	}
	add(o.Delete, "--delete")
	add(o.Checksum, "--checksum")
	add(o.DropCache, "--drop-cache")
	add(o.HardLinks, "--hard-links")
	add(o.Inplace, "--inplace")
	add(o.Timeout > 0, "--timeout="+strconv.Itoa(o.Timeout))
	add(o.Verbose, "--verbose")
	add(o.DryRun, "-n")
	for _, extra := range o.Extra {
		key, value, hasValue := strings.Cut(extra, ":")
		if hasValue {
			key += "=" + value
		}
		args = append(args, "--"+key)
	}
	// With incremental recursion rsync 3.5.0 waits for ever when it cannot make the first name of a
	// group, whatever --timeout says.
	add(o.HardLinks, "--no-inc-recursive")
	if o.Verify {
		// These come last, as one of the user's may be no-checksum.
		args = append(args, "-n", "--checksum")
	}
	return args
}

// longName matches the name of a long option.
var longName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9-]+$`)

func (o Options) checkExtra(extra string) error {
	key, value, _ := strings.Cut(extra, ":")
	if !longName.MatchString(key) {
		return fmt.Errorf("cannot use the rsync option %q: give the long name of an option without its dashes, and a value after a colon, as in bwlimit:1000", extra)
	}
	if strings.ContainsRune(value, 0) {
		return fmt.Errorf("cannot use the rsync option %q: its value has a NUL byte", extra)
	}
	if reason := o.refusal(key, value); reason != "" {
		return fmt.Errorf("cannot use the rsync option %q: %s", extra, reason)
	}
	return nil
}

// checkDropCache asks rsync whether it knows --drop-cache.
func checkDropCache(ctx context.Context, program string) error {
	ctx, cancel := context.WithTimeout(ctx, helpTimeout)
	defer cancel()
	name := programName(program)
	var help bytes.Buffer
	cmd := exec.Command(name, "--help")
	cmd.Env = childEnviron(os.Environ())
	cmd.Stdout = &help
	p, err := startProcess(cmd, false, defaultStopGrace)
	if err != nil {
		return startError(name, err)
	}
	if err := p.wait(ctx); err != nil {
		return fmt.Errorf("cannot ask %s for its options: %w", name, err)
	}
	if !bytes.Contains(help.Bytes(), []byte("--drop-cache")) {
		return fmt.Errorf("cannot drop the page cache: %s has no --drop-cache (only patched rsyncs have it); leave the option away or install such an rsync", name)
	}
	return nil
}

func programName(program string) string {
	if program == "" {
		return "rsync"
	}
	return program
}

func startError(program string, err error) error {
	return fmt.Errorf("cannot start %s (is it installed and in PATH?): %w", program, err)
}
