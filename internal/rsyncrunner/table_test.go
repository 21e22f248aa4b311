// SPDX-License-Identifier: LGPL-2.1-or-later

package rsyncrunner

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vsc-zk/internal/testtree"
)

// hidden are the names that rsync knows and does not print with --help: those for the opposite, old
// ones, and some that only its documentation has. Not all versions know all of them.
const hidden = `no-verbose no-v msgs2stderr no-msgs2stderr motd no-human-readable no-h no-recursive no-r i-r
	no-dirs no-d no-perms no-p no-acls no-A no-xattrs no-X no-times no-t no-atimes no-U no-open-noatime no-crtimes no-N
	no-omit-dir-times no-O no-omit-link-times no-J no-super no-owner no-o no-group no-g no-D no-devices no-write-devices
	no-specials no-drop-D no-links no-l no-insecure-links no-munge-links no-hard-links no-H no-relative no-R implied-dirs
	i-d no-i-d no-one-file-system no-x no-sparse no-S no-inplace no-append remove-sent-files no-force no-ignore-errors
	no-checksum no-c cc no-fuzzy no-y old-compress new-compress no-compress no-z zc zl zt no-progress no-partial
	no-delay-updates no-prune-empty-dirs no-m log-format no-itemize-changes no-i no-bwlimit no-backup no-from0 no-old-args
	no-secluded-args protect-args no-protect-args no-s no-numeric-ids no-timeout no-contimeout time-limit no-iconv
	no-8-bit-output no-8 no-mkpath qsort no-blocking-io server sender daemon dparam detach`

// Every option of the rsync here is in the table, with a value if it takes one.
func TestTableIsComplete(t *testing.T) {
	line := regexp.MustCompile(`(?m)^--([a-zA-Z0-9-]+)(=[^,\s]+)?(?:, -(\w))?(?:, --([a-zA-Z0-9-]+))?`)
	checked := 0
	for _, args := range [][]string{{"--help"}, {"--daemon", "--help"}} {
		help, err := exec.Command("rsync", args...).Output()
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range line.FindAllStringSubmatch(string(help), -1) {
			for _, name := range []string{found[1], found[4]} {
				if name == "" || name == "no-OPTION" {
					continue
				}
				checked++
				known := lookup(name)
				if known == nil {
					t.Errorf("--%s is not in the table", name)
					continue
				}
				if (known.values()[name] != "") != (found[2] != "") && !slices.Contains([]string{"block-size", "remote-option"}, name) {
					t.Errorf("--%s: the table says value %q, rsync %q", name, known.values()[name], found[2])
				}
				if letter := found[3]; letter != "" && len(args) == 1 && known.short != letter {
					t.Errorf("--%s is -%s, the table says %q", name, letter, known.short)
				}
			}
		}
	}
	if checked < 150 {
		t.Errorf("only %d options were read", checked)
	}
	for _, name := range strings.Fields(hidden) {
		if lookup(name) == nil {
			t.Errorf("--%s is not in the table", name)
		}
	}
}

// The table has each name once, with a reason, and no name that rsync does not know.
func TestTableIsTrue(t *testing.T) {
	seen := map[string]bool{}
	count := map[use]int{}
	for _, o := range table {
		count[o.use] += len(o.values())
		for name, value := range o.values() {
			if seen[name] {
				t.Errorf("%s is there twice", name)
			}
			seen[name] = true
			arg := "--" + name
			if value != "" {
				arg += "=1"
			}
			// Of a daemon's options rsync says that they are for daemons only.
			rsync := exec.Command("rsync", arg, "--version")
			rsync.Dir = t.TempDir() // it begins with its --log-file all the same
			said, _ := rsync.CombinedOutput()
			if strings.Contains(string(said), "unknown option") && !slices.Contains([]string{"daemon", "server"}, lookup(name).first()) {
				t.Errorf("rsync does not know %s: %s", arg, said)
			}
		}
		switch {
		case o.why == "":
			t.Errorf("%s has no reason", o.names)
		case o.use != adapted && (o.set != nil || o.refuse != nil):
			t.Errorf("%s is adapted", o.names)
		case strings.ContainsAny(o.why[:1], "ABCDEFGHIJKLMNOPQRSTUVWXYZ") && !strings.HasPrefix(o.why, "ACL"), strings.HasSuffix(o.why, "."):
			t.Errorf("%s: the reason follows a colon: %q", o.names, o.why)
		}
	}
	t.Logf("names: %d fine, %d always on, %d adapted, %d refused", count[fine], count[always], count[adapted], count[refused])
}

// What is said to somebody who knows rsync's options.
func TestHint(t *testing.T) {
	for name, want := range map[string]string{
		"dry-run": "zkrsync calls it --dryrun", "n": "zkrsync calls it --dryrun", "hard-links": "zkrsync calls it --hardlinks",
		"archive": "it is always on", "a": "it is always on", "numeric-ids": "it is always on",
		"exclude": "give it to rsync with --arbitopts=exclude:PATTERN", "z": "give it to rsync with --arbitopts=compress",
		"P": "zkrsync calls it --partial", "partial-dir": "zkrsync calls it --partial", "zl": "give it to rsync with --arbitopts=zl:NUMBER", "x": "zkrsync calls it --one-file-system",
		"copy-links": "zkrsync does not have it: a link to a directory would",
	} {
		if got, _, ok := Hint(name); !ok || !strings.HasPrefix(got, want) {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	for _, name := range []string{"sources", "bogus", "", "Q", "exclud", "server"} {
		if got, _, ok := Hint(name); ok {
			t.Errorf("%q: %q", name, got)
		}
	}
}

// Whatever is passed on, the runs of a session make of the destination what one rsync would make of it.
func TestManyRunsAreOneRsync(t *testing.T) {
	if os.Getuid() != 0 {
		t.Fatal("owners and devices need root")
	}
	source := t.TempDir()
	makeSource(t, source)
	for number, given := range []string{
		"", "delete", "checksum|update", "existing", "existing|delete", "ignore-existing", "ignore-times|max-size:90", "size-only|min-size:2", "modify-window:1000000000",
		"fuzzy|delete", "compare-dest:cmp", "copy-dest:cmp", "link-dest:/cmp", "archive|no-inc-recursive|mkpath|delete",
		"no-links|no-owner", "safe-links|no-group", "munge-links", "no-perms", "no-perms|executability", "chmod:D2711,F640|no-D",
		"acls", "xattrs|delete", "acls|xattrs|delete", "no-devices|no-times", "copy-devices|max-size:1000000|omit-dir-times|omit-link-times", "super|no-specials",
		"usermap:1000:2000,*:7|groupmap:0-10:20", "chown:nobody:daemon", "usermap:daemon:nobody|groupmap:daemon:7,*:nogroup",
		"inplace|delete", "append", "append-verify|delete", "backup", "backup|delete", "backup|suffix:.old|delete", "backup|backup-dir:bak",
		"sparse|preallocate|whole-file|fsync|compress|sockopts:SO_SNDBUF=65536|secluded-args", "partial|ignore-existing|update|no-perms", "partial|exclude:e|delete",
		"delete-before|delete", "delete-after|delete|force", "delete-delay|delete", "del|delete",
		"stats|human-readable|progress|itemize-changes|info:name2,del,progress2|debug:filter2",
		"exclude:e", "exclude:e|delete", "exclude:/d|delete", "exclude:d/e/f|exclude:f?le", "exclude:*.o|exclude:em[[:alpha:]]ty|delete", "exclude:**/f|delete",
		"exclude:d/*/|delete", "exclude:[!d]*/|delete", "exclude:d/***|delete", "include:/d/e/|exclude:/d/*|delete", "include:/d/|exclude:/*/|delete",
		"exclude:- e", "exclude:+ e", "filter:- e/", "filter:-s e|delete", "filter:hide e|delete", "filter:P e|delete", "filter:P extra*|delete",
		"filter:-r e|delete", "filter:R e|exclude:e|delete", "filter:+ e|exclude:e|delete", "filter:show e|exclude:e",
	} {
		t.Run(given, func(t *testing.T) {
			t.Parallel()
			options := Options{}
			for _, extra := range strings.FieldsFunc(given, func(r rune) bool { return r == '|' }) {
				if extra == "delete" {
					options.Delete = true
				} else {
					options.Extra = append(options.Extra, extra)
				}
			}
			plain := slices.Clone(options.Extra)
			options, err := options.Ready(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			one := t.TempDir()
			makeDestination(t, one)
			args := []string{"-rlptgoD"}
			if options.Delete {
				args = append(args, "--delete")
			}
			for _, extra := range plain {
				key, value, found := strings.Cut(extra, ":")
				if found {
					key += "=" + value
				}
				args = append(args, "--"+key)
			}
			// Owners have names here, as for a user who copies to another directory of the same host.
			said, err := exec.Command("rsync", append(args, source+"/", one)...).CombinedOutput()
			if err != nil {
				t.Logf("one rsync: %v: %s", err, said)
			}
			many := t.TempDir()
			makeDestination(t, many)
			_, url := serve(t, many)
			sendInPieces(t, options, source, url, number%2 == 0)
			forgetNow(t, one)
			forgetNow(t, many)
			differences, err := testtree.Compare(one, many)
			if err != nil || len(differences) > 0 {
				t.Errorf("one rsync and many: %v %s", err, strings.Join(differences, "\n"))
			}
			got := attributes(t, many)
			for path, want := range attributes(t, one) {
				if got[path] != want {
					t.Errorf("attributes of %s are %q, of one rsync %q", path, got[path], want)
				}
			}
		})
	}
}

// sendInPieces is what a session does at depth 2, with one directory in ranges of its names: up, with a
// run for each path, or down, with all paths of one kind in one run.
func sendInPieces(t *testing.T, options Options, source, url string, up bool) {
	t.Helper()
	leftOut := options.LeavesOut()
	var jobs []Job
	add := func(kind Kind, names ...string) {
		if at := slices.IndexFunc(jobs, func(j Job) bool { return j.Kind == kind }); at >= 0 && !up && !kind.Files() {
			jobs[at].Names = append(jobs[at].Names, names...)
			return
		}
		jobs = append(jobs, Job{Kind: kind, Names: names, Base: source, URL: url})
	}
	err := filepath.WalkDir(source, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.IsDir() {
			return err
		}
		rel := strings.TrimPrefix(strings.TrimPrefix(path, source), "/")
		switch {
		case leftOut != nil && leftOut(rel):
			return fs.SkipDir
		case rel == "flat" && !options.HasRules():
			add(NameRange, "flat/a", "flat/b", "flat/type")
			add(NameRange, "flat/c", "flat/long")
			if options.Delete {
				add(Leftovers, "flat")
			}
		case strings.Count(rel, "/") == 1:
			add(Recursive, rel)
			return fs.SkipDir
		default:
			add(Shallow, rel)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if up {
		last := slices.IndexFunc(jobs, func(j Job) bool { return j.Kind == Leftovers })
		slices.Reverse(jobs)
		if last >= 0 { // they come last of all
			last = len(jobs) - 1 - last
			jobs = append(append(jobs[:last:last], jobs[last+1:]...), jobs[last])
		}
	}
	for _, job := range jobs {
		result := run(t, options, job)
		if class := result.Class(); class != Fine && class != Partial {
			t.Fatalf("%q: %v: %q", job.Names, result, result.Errors)
		}
		if result.Class() == Fine && len(result.Stats) != len(StatNames) {
			t.Errorf("the statistics of %q are %v", job.Names, result.Stats)
		}
	}
}

func makeSource(t *testing.T, dir string) {
	t.Helper()
	for name, content := range map[string]string{
		"top": "top", ".hidden": "h", "d/file": "d", "d/x.o": "o", "d/e/file": "new content", "d/e/long": strings.Repeat("x", 100), "d/e/f/file": "content",
		"d/e/f/g/h": "deep", "d/z/file": "z", "z/e/file": "ze", "z/file": "a", "newdir/sub/file": "n", "flat/a": "1", "flat/b": "2", "flat/c": "3",
		"flat/long": strings.Repeat("y", 100), "flat/type": "file", "flat/e/below": "b", "tool": "#!", "d/e/sparse": strings.Repeat("\x00", 1<<16), "d/similar.1": strings.Repeat("s", 3000),
	} {
		write(t, dir, name, content)
	}
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, target := range map[string]string{"link": "top", "d/todir": "e", "d/abs": "/etc/passwd", "d/e/up": "../../top", "d/e/out": "../../../out", "d/e/f/dangling": "nothing"} {
		check(os.Symlink(target, dir+"/"+name))
	}
	check(os.MkdirAll(dir+"/empty", 0o700))
	check(os.MkdirAll(dir+"/d/empty", 0o1777))
	check(os.Chmod(dir+"/tool", 0o4755))
	check(os.Chmod(dir+"/d", 0o2750))
	check(unix.Mknod(dir+"/d/e/null", unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))))
	check(unix.Mkfifo(dir+"/d/pipe", 0o600))
	age(t, dir)
	for name, id := range map[string]int{"top": 1000, "d": 1, "d/e/file": 1000, "flat/a": 1, "d/e/f": 1001, "d/e/up": 1} {
		check(os.Lchown(dir+"/"+name, id, id))
	}
	check(os.Chmod(dir+"/d", 0o2750)) // a change of owner takes the bits away
	for _, name := range []string{"d", "d/e", "top", "d/e/f/file", "flat/a", "flat", "newdir"} {
		check(unix.Setxattr(dir+"/"+name, "user.test", []byte(name), 0))
		check(unix.Setxattr(dir+"/"+name, "system.posix_acl_access", acl(0o75, 1000), 0))
	}
	check(unix.Setxattr(dir+"/d/e", "system.posix_acl_default", acl(0o70, 1), 0))
	check(unix.Setxattr(dir+"/newdir", "system.posix_acl_default", acl(0o50, 1), 0))
	// No change of a mode or owner is left to differ in the times.
	check(os.Chtimes(dir, time.Unix(1_000_000_500, 0), time.Unix(1_000_000_500, 0)))
}

// acl is an access control list with rights for one user more; see acl(5) and the kernel's posix_acl_xattr.h.
func acl(mode uint16, uid uint32) []byte {
	list := []byte{2, 0, 0, 0}
	add := func(tag, perm uint16, id uint32) {
		list = append(list, byte(tag), byte(tag>>8), byte(perm), byte(perm>>8), byte(id), byte(id>>8), byte(id>>16), byte(id>>24))
	}
	const none = ^uint32(0)
	add(0x01, 7, none)             // the owner
	add(0x02, 4, uid)              // this user
	add(0x04, mode>>3&7, none)     // the group
	add(0x10, 7&(mode>>3)|4, none) // the mask
	add(0x20, mode&7, none)        // others
	return list
}

func makeDestination(t *testing.T, dir string) {
	t.Helper()
	for name, content := range map[string]string{
		"top": "older", "d/e/file": "old content", "d/e/long": strings.Repeat("x", 50), "d/e/f/file": "Content", "d/z/file": "newer", "extra": "x", "extradir/file": "x",
		"d/extra": "x", "d/e/extra/deep": "x", "d/e/f/extra~": "x", "flat/a": "0", "flat/extra": "x", "flat/long": strings.Repeat("y", 50), "z/e/extra": "x",
		"d/e/.part/file": "x", "cmp/top": "top", "cmp/d/e/file": "new content", "cmp/flat/b": "2", "cmp/d/e/f/g/h": "deep", "d/similar.2": strings.Repeat("s", 2990), "e/kept": "x", "x.o": "x",
		"flat/type/in the way": "x",
	} {
		write(t, dir, name, content)
	}
	age(t, dir)
	for _, name := range []string{"top", "d/e/file", "cmp/d/e/f/g/h"} { // as at the source in the one, later in the other
		when := time.Unix(900_000_000, 0)
		if name == "d/e/file" {
			when = time.Unix(1_900_000_000, 0)
		}
		if err := os.Chtimes(dir+"/"+name, when, when); err != nil {
			t.Fatal(err)
		}
	}
}

// forgetNow sets the times that are those of the test itself, where nobody has set any, to one.
func forgetNow(t *testing.T, dir string) {
	t.Helper()
	then := time.Unix(800_000_000, 0)
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.Type() == fs.ModeSymlink {
			return err
		}
		info, err := entry.Info()
		if err == nil && time.Since(info.ModTime()).Abs() < time.Hour {
			err = os.Chtimes(path, then, then)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// attributes are the extended ones, lists of access rights among them.
func attributes(t *testing.T, dir string) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.Type()&(fs.ModeSymlink|fs.ModeDevice|fs.ModeNamedPipe) != 0 {
			return err
		}
		for _, name := range []string{"user.test", "user.rsync.%stat", "system.posix_acl_access", "system.posix_acl_default"} {
			value := make([]byte, 1000)
			n, err := unix.Getxattr(path, name, value)
			if err == nil {
				found[strings.TrimPrefix(path, dir)] += fmt.Sprintf("%s=%x ", name, value[:n])
			} else if err != syscall.ENODATA && err != syscall.ENOTSUP {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// A source behind a slower line may have options of its own, but none that changes what arrives.
func TestLocal(t *testing.T) {
	for extra, want := range map[string]bool{
		"bwlimit:1000": true, "compress": true, "zl:3": true, "no-motd": true, "info:name0": true,
		"exclude:x": false, "no-times": false, "usermap:1:2": false, "checksum-choice:md5": false, "no-such-option": false, "update": false,
	} {
		if got := Local(extra); got != want {
			t.Errorf("%s: %v", extra, got)
		}
	}
}

// What runs a program, opens a file of the sender's that the user did not mean, or speaks to another daemon is
// refused, however it is written.
func TestOptionsThatRunPrograms(t *testing.T) {
	for _, extra := range []string{
		"rsh:touch /tmp/x", "e:touch /tmp/x", "rsync-path:touch /tmp/x", "remote-option:--log-file=/etc/x", "M:--x", "early-input:/etc/shadow",
		"password-file:/etc/shadow", "write-batch:/etc/x", "only-write-batch:/etc/x", "read-batch:/etc/x", "files-from:/etc/shadow", "exclude-from:/etc/shadow",
		"include-from:/etc/shadow", "filter:merge /etc/shadow", "filter:. /etc/shadow", "filter:dir-merge x", "filter:: x", "exclude:!", "config:/etc/x", "dparam:x=y", "daemon", "server",
		"sender", "copy-as:root", "port:1", "rsync_path:x", "-rsh:x", "--rsh:x", "rsh", "blocking-io", "insecure-links", "temp-dir:/etc", "iconv:x", "protocol:20",
		"no-such-option", "", "delete\x00", "bwlimit:1\x00",
	} {
		if err := (Options{Delete: true}).checkExtra(extra); err == nil {
			t.Errorf("%q is passed on", extra)
		}
	}
}
