// SPDX-License-Identifier: LGPL-2.1-or-later

package rsyncrunner

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"vsc-zk/internal/getent"
)

// Options are what a session wants of rsync, the same for all its runs.
type Options struct {
	Delete        bool
	Checksum      bool
	HardLinks     bool
	Inplace       bool
	Partial       bool // what a run that was ended had of a file is kept, in PartialDir, for the next one
	ACLs          bool
	XAttrs        bool
	OneFileSystem bool   // whoever lists paths has to stay on it too
	UserMap       string // as rsync's --usermap; "": none
	GroupMap      string
	DryRun        bool
	Verify        bool // compare only, by checksums: nothing is written, each difference is a Change
	Verbose       bool
	DropCache     bool     // a patched rsync only
	Timeout       int      // seconds without data; 0: none
	Extra         []string // "key" or "key:value": --key or --key=value, see table
}

// PartialDir is the directory, beside a file, in which a destination's rsync keeps what it had of it.
const PartialDir = ".zkrsync-partial"

// partialRule keeps such directories from being sent, and from deletion unless the directory that they lie in is deleted.
const partialRule = "--filter=-p " + PartialDir + "/"

// helpTimeout bounds an rsync that is only asked something.
const helpTimeout = 10 * time.Second

// Adopt turns what Extra has of options that are fields too into these. Without it they are not
// passed on.
func (o Options) Adopt() Options {
	given := o.Extra
	o.Extra = nil
	for _, extra := range given {
		key, value, _ := strings.Cut(extra, ":")
		if known := lookup(key); known != nil && known.set != nil {
			known.set(&o, value)
		} else {
			o.Extra = append(o.Extra, extra)
		}
	}
	return o
}

// Ready refuses options that would break what the runner rests on, those that nobody has looked at,
// and those that this rsync lacks or whose values it does not take. It gives the options that runs
// use: with numbers for the names of users and groups.
func (o Options) Ready(ctx context.Context) (Options, error) {
	if o.Timeout < 0 {
		return o, fmt.Errorf("cannot use a timeout of %d seconds: give 0 (none) or more", o.Timeout)
	}
	for _, extra := range o.Extra {
		if err := o.checkExtra(extra); err != nil {
			return o, err
		}
	}
	o = o.Adopt()
	switch {
	case o.Partial && slices.Contains(o.Extra, "whole-file"):
		return o, errors.New("cannot use --partial with whole-file: that sends a file anew, whatever was kept of it; leave one of them out")
	case o.Partial && (o.Inplace || o.Gives("append")):
		return o, errors.New("cannot use --partial with --inplace or append: these write into the file itself, and what they have written is there for the next attempt as it is; leave one of them out")
	}
	var err error
	if o.UserMap, err = numericMap(ctx, "usermap", o.UserMap, getent.UserID); err != nil {
		return o, err
	}
	if o.GroupMap, err = numericMap(ctx, "groupmap", o.GroupMap, getent.GroupID); err != nil {
		return o, err
	}
	if o.DropCache {
		if err := checkDropCache(ctx, ""); err != nil {
			return o, err
		}
	}
	return o, o.tryParsing(ctx)
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
	add(o.Partial, partialRule) // before all rules of the user's
	add(o.Partial && !o.DryRun && !o.Verify, "--partial-dir="+PartialDir)
	add(o.ACLs, "--acls")
	add(o.XAttrs, "--xattrs")
	add(o.OneFileSystem, "--one-file-system")
	add(o.UserMap != "", "--usermap="+o.UserMap)
	add(o.GroupMap != "", "--groupmap="+o.GroupMap)
	add(o.Timeout > 0, "--timeout="+strconv.Itoa(o.Timeout))
	add(o.Verbose, "--verbose")
	add(o.DryRun, "-n")
	for _, extra := range o.Extra {
		key, value, hasValue := strings.Cut(extra, ":")
		switch key {
		case "sockopts":
			value = noDelay + "," + value
		case "log-file", "confine-root": // rsync may be started in another directory than this program
			if absolute, err := filepath.Abs(value); err == nil {
				value = absolute
			}
		}
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

// checkExtra refuses what the table does, and what it does not know.
func (o Options) checkExtra(extra string) error {
	key, value, hasValue := strings.Cut(extra, ":")
	if !longName.MatchString(key) {
		return fmt.Errorf("cannot use the rsync option %q: give the long name of an option without its dashes, and a value after a colon, as in bwlimit:1000", extra)
	}
	refuse := func(why string) error { return fmt.Errorf("cannot use the rsync option %q: %s", extra, why) }
	known := lookup(key)
	switch {
	case strings.ContainsRune(value, 0):
		return refuse("its value has a NUL byte")
	case known == nil:
		return refuse("it is not in the table of those that were looked at, so nobody knows what it does to a tree that is sent in pieces")
	case known.use == refused && known.ours != "":
		return refuse(known.why + ": give zkrsync's own --" + known.ours + " instead")
	case known.use == refused:
		return refuse(known.why)
	case hasValue && known.values()[key] == "":
		return refuse("it takes no value")
	case !hasValue && known.values()[key] != "":
		return refuse("it lacks its value: " + key + ":" + known.values()[key])
	case known.refuse != nil:
		if why := known.refuse(o, key, value); why != "" {
			return refuse(why)
		}
	}
	return nil
}

// tryParsing has rsync itself read the options, after which it only prints its version.
func (o Options) tryParsing(ctx context.Context) error {
	if len(o.Extra) == 0 && !o.ACLs && !o.XAttrs {
		return nil
	}
	name := programName("")
	_, problem, err := ask(ctx, name, append(o.args(), "--version")...)
	if err == nil && problem != "" {
		err = fmt.Errorf("cannot use these options: %s says %q", name, problem)
	}
	return err
}

// checkDropCache asks rsync whether it knows --drop-cache.
func checkDropCache(ctx context.Context, program string) error {
	name := programName(program)
	help, _, err := ask(ctx, name, "--help")
	if err != nil {
		return err
	}
	if !strings.Contains(help, "--drop-cache") {
		return fmt.Errorf("cannot drop the page cache: %s has no --drop-cache (only patched rsyncs have it); leave the option away or install such an rsync", name)
	}
	return nil
}

// ask runs rsync for what it prints. Where it fails the problem is its first error line.
func ask(ctx context.Context, name string, args ...string) (said, problem string, err error) {
	ctx, cancel := context.WithTimeout(ctx, helpTimeout)
	defer cancel()
	var out, errs bytes.Buffer
	cmd := exec.Command(name, args...)
	cmd.Env = ChildEnviron(os.Environ())
	cmd.Stdout, cmd.Stderr = &out, &errs
	p, err := startProcess(cmd, ending{signal: syscall.SIGTERM})
	if err != nil {
		return "", "", startError(name, err)
	}
	if err := p.wait(ctx); err != nil {
		return "", "", fmt.Errorf("cannot ask %s for its options: %w", name, err)
	}
	if code, _ := p.status(); code != 0 {
		problem, _, _ = strings.Cut(strings.TrimSpace(errs.String())+"\n"+exitText(code), "\n")
	}
	return out.String(), problem, nil
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
