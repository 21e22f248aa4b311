// SPDX-License-Identifier: LGPL-2.1-or-later

package rsyncrunner

import (
	"context"
	"errors"
	"os/exec"
	"strings"
	"testing"
	"time"
)

func TestValidateAccepts(t *testing.T) {
	options := Options{Delete: true, Timeout: 60, Extra: []string{
		"bwlimit:1000", "exclude:*.o", "exclude:a:b", "include:", "fuzzy", "8-bit-output", "no-owner", "force", "exclude:!x", "include:clear",
		"delete-after", "partial-dir:.part", "inc-recursive", "no-inc-recursive", "one-file-system", "filter:- *.tmp",
		"filter:protect x", "compress", "sockopts:SO_SNDBUF=65536", "address:127.0.0.1", "ignore-missing-args",
		"implied-dirs", "i-d", "archive", "no-times", "suffix:a b",
	}}
	if err := options.Validate(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestValidateRefuses(t *testing.T) {
	for _, extra := range []string{
		"no-implied-dirs", "no-i-d", "no-implied-dirs:1", "no-i-d:", "files-from:/x", "from0", "no-from0",
		"relative", "no-relative", "no-R", "dirs", "no-dirs", "no-d", "old-dirs", "old-d", "recursive", "no-recursive", "no-r",
		"remove-source-files", "remove-sent-files", "dry-run", "list-only", "read-batch:f", "write-batch:f", "only-write-batch:f",
		"delete", "del", "delete-before", "delete-during", "delete-delay", "delete-after", "delete-excluded", "delete-missing-args",
		"force", "ignore-errors", "max-delete:5", "quiet", "stop-after:1", "time-limit:1", "stop-at:12:00",
		"exclude:!", "include:!", "filter:!", "filter:!,", "filter:clear", "filter:clear,",
		"daemon", "server", "sender", "detach", "no-detach", "config:f", "dparam:x=y", "port:1", "rsh:ssh", "rsync-path:x",
		"blocking-io", "no-blocking-io", "remote-option:-n", "help", "version", "stderr:all", "msgs2stderr", "no-msgs2stderr",
		"exclude-from:f", "include-from:f", "filter:merge f", "filter:. f", "filter:: f", "filter:dir-merge .f", "filter: . f", "filter:._f",
		"", ":", ":value", "e", "n", "a", "-n", "--delete", "no implied dirs", "no-implied-dirs=1", "no-implied-dirs 1", "bw\nlimit", "exclude:\x00",
	} {
		err := Options{Extra: []string{"bwlimit:1", extra}}.Validate(t.Context())
		if err == nil || !strings.HasPrefix(err.Error(), "cannot use the rsync option ") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %v", extra, err)
		}
	}
	for _, extra := range []string{"ignore-errors", "delete-excluded", "delete-missing-args", "max-delete:5"} {
		if err := (Options{Delete: true, Extra: []string{extra}}).Validate(t.Context()); err == nil {
			t.Errorf("%q is accepted with Delete", extra)
		}
	}
	if err := (Options{Timeout: -1}).Validate(t.Context()); err == nil || !strings.Contains(err.Error(), "-1 seconds") {
		t.Error(err)
	}
}

// The names above are those of the real program: an option it does not know any more, or never did,
// guards nothing.
func TestRefusedOptionsExist(t *testing.T) {
	var args []string
	for _, name := range []string{
		"no-implied-dirs", "no-i-d", "from0", "no-from0", "relative", "no-relative", "no-R", "dirs", "no-dirs", "no-d", "old-dirs", "old-d",
		"recursive", "no-recursive", "no-r", "remove-source-files", "remove-sent-files", "dry-run", "list-only", "msgs2stderr", "no-msgs2stderr",
		"del", "delete", "delete-before", "delete-during", "delete-delay", "delete-after", "delete-excluded", "delete-missing-args",
		"force", "ignore-errors", "max-delete=5", "quiet", "stop-after=1", "time-limit=1", "stop-at=2099-01-01", "exclude=!", "filter=!,", "filter=clear,",
	} {
		args = append(args, "--"+name)
	}
	if out, err := exec.Command("rsync", append(args, "--version")...).CombinedOutput(); err != nil {
		t.Errorf("%v %s", err, out)
	}
}

func TestDropCache(t *testing.T) {
	options := Options{DropCache: true}
	if err := options.Validate(t.Context()); err == nil || !strings.HasPrefix(err.Error(), "cannot drop the page cache: rsync has no --drop-cache") {
		t.Error(err)
	}
	patched := script(t, `[ "$*" = --help ] && echo '--drop-cache  do not keep files in the page cache'`)
	if err := checkDropCache(t.Context(), patched); err != nil {
		t.Error(err)
	}
	if err := checkDropCache(t.Context(), "/no/such/rsync"); err == nil || !strings.HasPrefix(err.Error(), "cannot start /no/such/rsync") {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := checkDropCache(ctx, script(t, "exec sleep 60")); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}
