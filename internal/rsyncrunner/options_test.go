// SPDX-License-Identifier: LGPL-2.1-or-later

package rsyncrunner

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestReadyAccepts(t *testing.T) {
	options := Options{Delete: true, Timeout: 60, Extra: []string{
		"bwlimit:1000", "exclude:*.o", "exclude:a:b", "include:", "fuzzy", "8-bit-output", "no-owner", "force", "exclude:!x", "include:clear",
		"delete-after", "no-partial", "inc-recursive", "no-inc-recursive", "filter:- *.tmp", "exclude:", "exclude:a[]b]",
		"filter:protect x", "compress", "address:127.0.0.1", "info:name0,del2", "debug:filter",
		"implied-dirs", "i-d", "archive", "no-times", "suffix:a b",
	}}
	got, err := options.Ready(t.Context())
	if err != nil || !slices.Equal(got.Extra, options.Extra) {
		t.Error(err, got.Extra)
	}
}

// Options that are ours by another name, and names that the destination would not know.
func TestReadyAdapts(t *testing.T) {
	for extra, want := range map[string]Options{
		"acls": {ACLs: true}, "xattrs": {XAttrs: true}, "one-file-system": {OneFileSystem: true}, "hard-links": {HardLinks: true},
		"checksum": {Checksum: true}, "inplace": {Inplace: true}, "partial": {Partial: true}, "verbose": {Verbose: true}, "human-readable": {}, "no-human-readable": {},
		"usermap:1000:2000": {UserMap: "1000:2000"}, "usermap:nobody:daemon,1-3:4,*:root": {UserMap: "65534:1,1-3:4,*:0"},
		"groupmap:nogroup:daemon": {GroupMap: "65534:1"}, "chown:daemon:nogroup": {UserMap: "*:1", GroupMap: "*:65534"}, "chown:7": {UserMap: "*:7"}, "chown::7": {GroupMap: "*:7"},
	} {
		got, err := Options{Extra: []string{"bwlimit:1", extra}}.Ready(t.Context())
		want.Extra = []string{"bwlimit:1"}
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v, %+v", extra, err, got)
		}
	}
	args := strings.Join(Options{Extra: []string{"sockopts:SO_SNDBUF=1"}}.args(), " ")
	if args != "--sockopts=TCP_NODELAY,SO_SNDBUF=1" {
		t.Error(args)
	}
}

func TestReadyRefuses(t *testing.T) {
	for _, extra := range []string{
		"no-implied-dirs", "no-i-d", "no-implied-dirs:1", "no-i-d:", "files-from:/x", "from0", "no-from0", "implied-dirs:1", "bwlimit",
		"relative", "no-relative", "no-R", "dirs", "no-dirs", "no-d", "old-dirs", "old-d", "recursive", "no-recursive", "no-r",
		"remove-source-files", "remove-sent-files", "dry-run", "list-only", "read-batch:f", "write-batch:f", "only-write-batch:f",
		"delete", "del", "delete-before", "delete-during", "delete-delay", "delete-after", "delete-excluded", "delete-missing-args",
		"force", "ignore-errors", "ignore-missing-args", "max-delete:5", "quiet", "stop-after:1", "time-limit:1", "stop-at:12:00",
		"prune-empty-dirs", "copy-links", "copy-unsafe-links", "copy-dirlinks", "keep-dirlinks", "delay-updates", "temp-dir:t", "partial-dir:.part",
		"no-one-file-system", "no-hard-links", "no-numeric-ids", "no-super", "drop-D", "insecure-links", "iconv:utf8,latin1", "protocol:29", "write-devices",
		"copy-as:nobody", "password-file:f", "early-input:f", "checksum-choice:none", "cc:md5,none",
		"info:help", "info:name,HELP", "info:none", "info:stats0", "info:STATS3", "info:all", "debug:help", "debug:del,help",
		"exclude:!", "include:!", "filter:!", "filter:!,", "filter:clear", "filter:clear,", "cvs-exclude", "exclude:a[b", "filter:-! x", "filter:-/ x", "filter:nonsense",
		"daemon", "server", "sender", "detach", "no-detach", "config:f", "dparam:x=y", "port:1", "rsh:ssh", "rsync-path:x",
		"blocking-io", "no-blocking-io", "remote-option:-n", "help", "version", "stderr:all", "msgs2stderr", "no-msgs2stderr",
		"exclude-from:f", "include-from:f", "filter:merge f", "filter:. f", "filter:: f", "filter:dir-merge .f", "filter: . f", "filter:._f",
		"", ":", ":value", "e", "n", "a", "-n", "--delete", "no implied dirs", "no-implied-dirs=1", "no-implied-dirs 1", "bw\nlimit", "exclude:\x00", "exclude:" + strings.Repeat("x", 5000),
		"no-such-option", "drop-cache",
	} {
		_, err := Options{Extra: []string{"bwlimit:1", extra}}.Ready(t.Context())
		if err == nil || !strings.HasPrefix(err.Error(), "cannot use the rsync option ") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%.80q: %v", extra, err)
		}
	}
	for _, extra := range []string{"ignore-errors", "delete-excluded", "delete-missing-args", "max-delete:5", "backup-dir:x", "compare-dest:x", "copy-dest:x", "link-dest:x"} {
		if _, err := (Options{Delete: true, Extra: []string{extra}}).Ready(t.Context()); err == nil {
			t.Errorf("%q is accepted with Delete", extra)
		}
	}
	for _, o := range []Options{{Inplace: true}, {Extra: []string{"inplace"}}, {Extra: []string{"append"}}} {
		for extra, want := range map[string]string{"no-perms": "would keep the mode", "no-p": "would keep the mode", "ignore-existing": "passed over", "update": "passed over", "size-only": "passed over"} {
			with := o
			with.Extra = append(slices.Clone(o.Extra), extra)
			if _, err := with.Ready(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s, with files that stay when a run is stopped: %v", extra, err)
			}
		}
	}
	for _, o := range []Options{{Inplace: true}, {Extra: []string{"inplace"}}, {Extra: []string{"append-verify"}}, {Extra: []string{"no-partial"}}, {Extra: []string{"whole-file"}}} {
		o.Partial = true
		if _, err := o.Ready(t.Context()); err == nil || !strings.Contains(err.Error(), "--partial") {
			t.Errorf("%+v: %v", o, err)
		}
	}
	if _, err := (Options{Inplace: true, Extra: []string{"perms"}}).Ready(t.Context()); err != nil {
		t.Error(err)
	}
	for extra, want := range map[string]string{
		"usermap::1": "without a name", "usermap:w*:1": "names of a form", "groupmap:1": "FROM:TO", "usermap:1:": "FROM:TO",
		"usermap:nobody-has-this-name:1": "unknown name", "chown:nobody-has-this-name": "unknown name",
		"crtimes": "crtimes", "bwlimit:many": "many", // as rsync itself says
	} {
		if _, err := (Options{Extra: []string{extra}}).Ready(t.Context()); err == nil || !strings.HasPrefix(err.Error(), "cannot use ") || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", extra, err)
		}
	}
	if _, err := (Options{Timeout: -1}).Ready(t.Context()); err == nil || !strings.Contains(err.Error(), "-1 seconds") {
		t.Error(err)
	}
}

func TestDropCache(t *testing.T) {
	options := Options{DropCache: true}
	if _, err := options.Ready(t.Context()); err == nil || !strings.HasPrefix(err.Error(), "cannot drop the page cache: rsync has no --drop-cache") {
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
