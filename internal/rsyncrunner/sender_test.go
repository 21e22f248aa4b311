// SPDX-License-Identifier: LGPL-2.1-or-later

package rsyncrunner

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// oddNames are names in which some byte means something to rsync, a shell or a list.
var oddNames = []string{
	"plain", "new\nline", "car\r", "car", "tab\there", "-r", "--delete", "# comment", "#c", "; semi", ";s",
	" lead", "trail ", " ", "single'quote", `double"quote`, "100%", "%HOME%", `back\slash`, `\#012`, `end\`,
	"inv\xff\xfealid", "a:b", "host::module", "*", "[x]", "?", "$(touch x)", "`id`", "~", "ümläut", "...", "@", "=",
	"\n", "\r", strings.Repeat("n", 255),
}

func oddTree(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for number, name := range oddNames {
		content := strconv.Itoa(number)
		write(t, dir, name+"/file", content)
		write(t, dir, name+"/"+name+"/deep", content)
		write(t, dir, "files/"+name, content)
	}
	age(t, dir)
	return dir
}

func TestSendOddNamesRecursive(t *testing.T) {
	source, destination := oddTree(t), t.TempDir()
	_, url := serve(t, destination)
	names := append([]string{"files"}, oddNames...)
	result := send(t, Options{}, Job{Base: source, Names: names, Kind: Recursive, URL: url})
	// The base itself is not in the list; its time is set all the same.
	sameTree(t, source, destination)
	if want := int64(3 * len(oddNames)); result.Stats["Number_of_regular_files_transferred"] != want {
		t.Errorf("%v, want %d files", result.Stats, want)
	}
}

// rsync works in the directory that it was given, whatever is at its path by then; one that deletes does not begin.
func TestSendFromADirectoryThatHasMoved(t *testing.T) {
	source, destination := oddTree(t), t.TempDir()
	_, url := serve(t, destination)
	send(t, Options{}, Job{Base: source, Names: []string{""}, Kind: Recursive, URL: url})
	fd, err := unix.Open(source, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	dir := os.NewFile(uintptr(fd), source)
	defer dir.Close()
	if err := errors.Join(os.Rename(source, source+".moved"), os.Mkdir(source, 0o755)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(source + ".moved") })
	for _, kind := range []Kind{Shallow, Recursive} {
		send(t, Options{}, Job{Base: source, Dir: dir, Names: []string{""}, Kind: kind, URL: url})
		sameTree(t, source+".moved", destination)
		sender := Sender{Options: Options{Delete: true}, Output: t.Output()}
		if _, err := sender.Run(t.Context(), Job{Base: source, Dir: dir, Names: []string{""}, Kind: kind, URL: url}); os.Geteuid() == 0 && err == nil {
			t.Error("a run that deletes has begun in a directory that is not at its path any more")
		}
		sameTree(t, source+".moved", destination)
	}
}

func TestSendOddNamesOneByOne(t *testing.T) {
	source, destination := oddTree(t), t.TempDir()
	_, url := serve(t, destination)
	for _, name := range oddNames {
		result := send(t, Options{}, Job{Base: source, Names: []string{name}, Kind: Recursive, URL: url})
		if result.Stats["Number_of_regular_files_transferred"] != 2 {
			t.Errorf("%q: %v, want 2 files", name, result.Stats)
		}
	}
}

func TestSendOddNamesNotRecursive(t *testing.T) {
	source, destination := oddTree(t), t.TempDir()
	_, url := serve(t, destination)
	send(t, Options{}, Job{Base: source, Names: append([]string{"files"}, oddNames...), URL: url})
	got := tree(t, destination)
	for _, name := range oddNames {
		if _, ok := got["./"+name+"/"+name]; !ok {
			t.Errorf("%q lacks its directory", name)
		}
		if _, ok := got["./"+name+"/"+name+"/deep"]; ok {
			t.Errorf("%q was sent with all below it", name)
		}
	}
	names := []string{""}
	for _, name := range oddNames {
		names = append(names, name, name+"/"+name)
	}
	send(t, Options{}, Job{Base: source, Names: names, URL: url})
	sameTree(t, source, destination)
}

func TestSendBase(t *testing.T) {
	source, destination := oddTree(t), t.TempDir()
	_, url := serve(t, destination)
	send(t, Options{}, Job{Base: source, Names: []string{""}, Kind: Recursive, URL: url})
	sameTree(t, source, destination)
}

func TestSendFromOddBase(t *testing.T) {
	for _, base := range []string{"-r", "host:dir", "host::dir", "two words", "end\n", "trail ", "per%cent", "in\xffvalid", "*", "--"} {
		t.Run(fmt.Sprintf("%q", base), func(t *testing.T) {
			source, destination := t.TempDir()+"/"+base, t.TempDir()
			write(t, source, "dir/file", "x")
			age(t, source)
			_, url := serve(t, destination)
			send(t, Options{}, Job{Base: source, Names: []string{"dir", ""}, Kind: Recursive, URL: url})
			sameTree(t, source, destination)
		})
	}
}

func TestSendFromRoot(t *testing.T) {
	source, destination := t.TempDir(), t.TempDir()
	write(t, source, "dir/file", "x")
	age(t, source)
	_, url := serve(t, destination)
	send(t, Options{}, Job{Base: "/", Names: []string{source[1:]}, Kind: Recursive, URL: url})
	sameTree(t, source, destination+source)
}

func TestSendDelete(t *testing.T) {
	source, destination := t.TempDir(), t.TempDir()
	write(t, source, "shallow/keep", "x")
	write(t, source, "shallow/sub/file", "x")
	write(t, source, "deep/sub/keep", "x")
	write(t, destination, "shallow/old/tree", "x")
	write(t, destination, "shallow/sub/stays", "x")
	write(t, destination, "deep/sub/old", "x")
	write(t, destination, "other/stays", "x")
	_, url := serve(t, destination)
	send(t, Options{Delete: true}, Job{Base: source, Names: []string{"shallow"}, URL: url})
	send(t, Options{Delete: true}, Job{Base: source, Names: []string{"deep"}, Kind: Recursive, URL: url})
	got := tree(t, destination)
	for _, path := range []string{"./shallow/keep", "./shallow/sub/stays", "./deep/sub/keep", "./other/stays"} {
		if _, ok := got[path]; !ok {
			t.Errorf("%s is missing", path)
		}
	}
	for _, path := range []string{"./shallow/old", "./shallow/sub/file", "./deep/sub/old"} {
		if _, ok := got[path]; ok {
			t.Errorf("%s is there", path)
		}
	}
}

// A queued directory may be a link when its turn comes.
func TestSendDoesNotFollowSwappedLink(t *testing.T) {
	source, outside, destination := t.TempDir(), t.TempDir(), t.TempDir()
	write(t, source, "dir/file", "x")
	write(t, outside, "secret", "x")
	if err := os.Symlink(outside, source+"/swapped"); err != nil {
		t.Fatal(err)
	}
	_, url := serve(t, destination)
	send(t, Options{Extra: []string{"no-times"}}, Job{Base: source, Names: []string{"swapped", "dir"}, Kind: Recursive, URL: url})
	got := tree(t, destination)
	if !strings.HasPrefix(got["./swapped"], "-> ") || got["./swapped/secret"] != "" {
		t.Errorf("the link was followed: %q", got)
	}
	if got["./dir/file"] == "" {
		t.Error("the other entry was not sent")
	}
}

func TestSendLongList(t *testing.T) {
	source, destination := t.TempDir(), t.TempDir()
	name := strings.Repeat("n", 200)
	write(t, source, name+"/file", "x")
	_, url := serve(t, destination)
	send(t, Options{}, Job{Base: source, Names: slices.Repeat([]string{name}, 1_000), URL: url})
	if tree(t, destination)["./"+name+"/file"] == "" {
		t.Error("the file is missing")
	}
}

func TestSendVanishedPath(t *testing.T) {
	source, destination := t.TempDir(), t.TempDir()
	write(t, source, "dir/file", "x")
	_, url := serve(t, destination)
	result := run(t, Options{}, Job{Base: source, Names: []string{"gone", "dir"}, Kind: Recursive, URL: url})
	if result.Code != codePartial || !strings.Contains(strings.Join(result.Errors, "\n"), "gone") {
		t.Errorf("%v %q", result, result.Errors)
	}
	if tree(t, destination)["./dir/file"] == "" {
		t.Error("the other entry was not sent")
	}
}

// rsync itself ends with 0 here.
func TestSendStoppedByMaxDelete(t *testing.T) {
	source, destination := t.TempDir(), t.TempDir()
	for number := range 5 {
		write(t, destination, fmt.Sprintf("old%d", number), "x")
	}
	_, url := serve(t, destination)
	limit := 2
	result := run(t, Options{Delete: true}, Job{Base: source, Names: []string{""}, Kind: Recursive, MaxDelete: &limit, URL: url})
	if result.Code != codeMaxDelete || result.Class() != DeletesStopped || result.Deleted != 2 {
		t.Errorf("%v %q, want 25", result, result.Errors)
	}
}

func TestSendOptions(t *testing.T) {
	source, destination := t.TempDir(), t.TempDir()
	write(t, source, "dir/file", "x")
	if err := os.Link(source+"/dir/file", source+"/dir/link"); err != nil {
		t.Fatal(err)
	}
	_, url := serve(t, destination)
	job := Job{Base: source, Names: []string{"dir"}, Kind: Recursive, URL: url}
	all := Options{Delete: true, Checksum: true, HardLinks: true, Inplace: true, DryRun: true, Verbose: true, Timeout: 30, Extra: []string{"bwlimit:10000"}}
	result := send(t, all, job)
	if len(tree(t, destination)) != 1 {
		t.Error("a dry run copied something")
	}
	all.DryRun = false
	result = send(t, all, job)
	first, _ := os.Stat(destination + "/dir/file")
	second, _ := os.Stat(destination + "/dir/link")
	if !os.SameFile(first, second) {
		t.Error("the hard link is gone")
	}
	if !strings.Contains(result.FileList, "dir/file") || strings.Contains(result.FileList, "Number of files") {
		t.Errorf("file list %q", result.FileList)
	}
	if result.Duration <= 0 || result.Stats["Total_file_size"] != 2 {
		t.Errorf("%+v", result)
	}
}

// An option without its value must not take the base path for it: rsync would list the destination
// and report success.
func TestSendOptionWithoutValue(t *testing.T) {
	source, destination := t.TempDir(), t.TempDir()
	write(t, source, "dir/file", "x")
	_, url := serve(t, destination)
	send(t, Options{Extra: []string{"exclude"}}, Job{Base: source, Names: []string{"dir"}, Kind: Recursive, URL: url})
	if tree(t, destination)["./dir/file"] == "" {
		t.Error("success was reported and nothing copied")
	}
}

// --archive leaves recursion to the entries.
func TestSendArchiveIsNotRecursive(t *testing.T) {
	source, destination := t.TempDir(), t.TempDir()
	write(t, source, "dir/sub/file", "x")
	_, url := serve(t, destination)
	send(t, Options{Extra: []string{"archive"}}, Job{Base: source, Names: []string{"dir"}, URL: url})
	if tree(t, destination)["./dir/sub/file"] != "" {
		t.Error("all below the entry was sent")
	}
}

func TestEntries(t *testing.T) {
	for name, want := range map[string][2]string{ // with all below it, or alone
		"":       {"./", "./"},
		"a":      {"./a", "./a/"},
		"a/b":    {"./a/b", "./a/b/"},
		"a//b/":  {"./a/b", "./a/b/"},
		"a/./b":  {"./a/b", "./a/b/"},
		"#a\n-b": {"./#a\n-b", "./#a\n-b/"},
		"..a":    {"./..a", "./..a/"},
	} {
		for kind, want := range map[Kind]string{Recursive: want[0], Shallow: want[1], Leftovers: want[1]} {
			entries, err := Job{Base: "/b", Names: []string{name}, Kind: kind}.entries()
			if err != nil || !slices.Equal(entries, []string{want}) {
				t.Errorf("%q, kind %v: %q, %v", name, kind, entries, err)
			}
		}
	}
	for _, job := range []Job{
		{Base: "rel", Names: []string{"a"}}, {Base: "", Names: []string{"a"}}, {Base: "/b\x00", Names: []string{"a"}},
		{Base: "/b"}, {Base: "/b", Names: []string{"/a"}}, {Base: "/b", Names: []string{"a/../b"}},
		{Base: "/b", Names: []string{".."}}, {Base: "/b", Names: []string{"a\x00b"}},
	} {
		if _, err := job.entries(); err == nil || !strings.HasPrefix(err.Error(), "cannot send") {
			t.Errorf("%+v: %v", job, err)
		}
	}
}

// fake runs a script instead of rsync.
func fake(t *testing.T, text string) (Result, error) {
	t.Helper()
	sender := Sender{program: script(t, text), Output: t.Output(), StopGrace: time.Second}
	return sender.Run(t.Context(), Job{Base: "/", Names: []string{""}, URL: "rsync://localhost:1/m"})
}

func TestChildKilledBySignal(t *testing.T) {
	result, err := fake(t, "kill -9 $$")
	if err != nil || result.Class() != Failed || result.Code != -1 || result.Signal != syscall.SIGKILL {
		t.Errorf("%v, %v", result, err)
	}
	if want := "killed by signal 9 (killed)"; result.String() != want {
		t.Errorf("%q, want %q", result, want)
	}
}

func TestChildInheritsLittle(t *testing.T) {
	t.Setenv("RSYNC_ICONV", "utf8,latin1")
	t.Setenv("RSYNC_PROXY", "proxy:1")
	t.Setenv("RSYNC_CONNECT_PROG", "touch /tmp/run")
	t.Setenv("ZKRSYNC_PASSWD", "s3cret")
	t.Setenv("ZKINITREE_SERVERS", "s3cret")
	t.Setenv("LC_NUMERIC", "de_DE.UTF-8")
	open, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	out := &buffer{}
	t.Setenv(helperVariable, "tell")
	sender := Sender{program: os.Args[0], Output: out}
	result, err := sender.Run(t.Context(), Job{Base: "/", Names: []string{""}, URL: "rsync://localhost:1/m", Environ: []string{"RSYNC_PROXY=ours"}})
	if err != nil || result.Class() != Fine {
		t.Fatal(result, err)
	}
	text := out.String()
	for line := range strings.Lines(text) {
		number, found := strings.CutPrefix(strings.TrimSpace(line), "descriptor ")
		if fd, err := strconv.Atoi(number); found && (err != nil || !inherited(fd)) {
			t.Errorf("%s leaked", line)
		}
	}
	if regexp.MustCompile(`RSYNC_ICONV|ZKRSYNC_|ZKINITREE|s3cret|LC_NUMERIC|proxy:1`).MatchString(text) || !strings.Contains(text, "LC_ALL=C\n") || !strings.Contains(text, "RSYNC_PROXY=ours\n") {
		t.Errorf("environment %q", text)
	}
	if !strings.Contains(text, "\nleads a session: true\n") {
		t.Errorf("it leads no session of its own: %q", text)
	}
}

// inherited reports whether this process got fd from whoever started it: it does not make any that
// children keep.
func inherited(fd int) bool {
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	return err == nil && flags&unix.FD_CLOEXEC == 0
}

func TestChildEnviron(t *testing.T) {
	got := ChildEnviron([]string{"PATH=/bin", "RSYNC_PASSWORD=x", "RSYNC_CONNECT_PROG=nc", "RSYNC_PROXY=x", "ZKRSYNC_PASSWD=x", "ZKINITREE_PASSWD=x", "NOTIFY_SOCKET=/run/x", "WATCHDOG_USEC=1", "WATCHDOG_PID=1", "LC_ALL=de_DE", "LANGUAGE=de", "RSYNCX=1"})
	want := []string{"PATH=/bin", "RSYNCX=1", "LC_ALL=C"}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestMissingProgram(t *testing.T) {
	sender := Sender{program: "/no/such/rsync"}
	_, err := sender.Run(t.Context(), Job{Base: "/", Names: []string{""}, URL: "rsync://localhost:1/m"})
	if !errors.Is(err, os.ErrNotExist) || !strings.HasPrefix(err.Error(), "cannot start /no/such/rsync") {
		t.Error(err)
	}
	sender.program = "no-such-rsync"
	_, err = sender.Run(t.Context(), Job{Base: "/", Names: []string{""}, URL: "rsync://localhost:1/m"})
	if !errors.Is(err, exec.ErrNotFound) {
		t.Error(err)
	}
}

// pids reads "pid N" lines once there are as many as wanted.
func pids(t *testing.T, out *buffer, count int) []int {
	t.Helper()
	var found []int
	eventually(t, "the child says its pids", func() bool {
		found = nil
		for _, field := range strings.Split(out.String(), "\n") {
			if pid, err := strconv.Atoi(strings.TrimPrefix(field, "pid ")); err == nil && strings.HasPrefix(field, "pid ") {
				found = append(found, pid)
			}
		}
		return len(found) == count
	})
	return found
}

// A group that ignores SIGTERM is killed, all of it, and Run waits for that.
func TestEndOfContextKillsGroup(t *testing.T) {
	out := &buffer{}
	sender := Sender{StopGrace: 200 * time.Millisecond, Output: out, program: script(t, `
trap '' TERM HUP INT
sh -c 'echo pid $$; while :; do sleep 60; done' &
echo pid $$
while :; do sleep 60; done
`)}
	lost := errors.New("lost")
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	ended := make(chan error, 1)
	go func() {
		_, err := sender.Run(ctx, Job{Base: "/", Names: []string{""}, URL: "rsync://localhost:1/m"})
		ended <- err
	}()
	found := pids(t, out, 2)
	cancel(lost)
	err := <-ended
	if !errors.Is(err, lost) || !strings.HasPrefix(err.Error(), "cannot finish sending to rsync://localhost:1/m") {
		t.Error(err)
	}
	for _, pid := range found {
		if alive(pid) {
			t.Errorf("%d is alive", pid)
		}
	}
}

// Before that it is asked to end, and has its time for it.
func TestEndOfContextAsksFirst(t *testing.T) {
	out := &buffer{}
	sender := Sender{StopGrace: time.Hour, Output: out, program: script(t, `
trap 'echo told; exit' TERM
echo pid $$
while :; do sleep 60; done
`)}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		_, err := sender.Run(ctx, Job{Base: "/", Names: []string{""}, URL: "rsync://localhost:1/m"})
		ended <- err
	}()
	pids(t, out, 1)
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) || !strings.Contains(out.String(), "told\n") {
		t.Errorf("%v, it said %q", err, out)
	}
}

// SIGTERM is enough for the real one.
func TestEndOfContextStopsRealTransfer(t *testing.T) {
	source, destination := t.TempDir(), t.TempDir()
	write(t, source, "dir/file", strings.Repeat("x", 1<<20))
	_, url := serve(t, destination)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	sender := Sender{Options: Options{Extra: []string{"bwlimit:50"}}, StopGrace: time.Hour}
	ended := make(chan error, 1)
	go func() {
		_, err := sender.Run(ctx, Job{Base: source, Names: []string{"dir"}, Kind: Recursive, URL: url})
		ended <- err
	}()
	eventually(t, "the transfer has begun", func() bool {
		found, _ := filepath.Glob(destination + "/dir/.file.*")
		return len(found) == 1
	})
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	eventually(t, "the daemon's temporary file is gone", func() bool {
		found, _ := filepath.Glob(destination + "/dir/.file.*")
		return len(found) == 0
	})
}

func TestEndedContextRunsNothing(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	sender := Sender{program: "/no/such/rsync"}
	if _, err := sender.Run(ctx, Job{Base: "/", Names: []string{""}, URL: "rsync://localhost:1/m"}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v: it was tried", err)
	}
}

// What a child leaves behind in its group holds nobody up and does not live on.
func TestLeftOversAreKilled(t *testing.T) {
	out := &buffer{}
	stubborn := t.TempDir() + "/stubborn"
	sender := Sender{Output: out, StopGrace: time.Hour, program: script(t, `
sh -c 'trap "" TERM; echo pid $$; touch `+stubborn+`; exec sleep 60' &
while ! [ -e `+stubborn+` ]; do sleep 0.01; done
exit 7
`)}
	result, err := sender.Run(t.Context(), Job{Base: "/", Names: []string{""}, URL: "rsync://localhost:1/m"})
	if err != nil || result.Code != 7 {
		t.Error(result, err)
	}
	for _, pid := range pids(t, out, 1) {
		if alive(pid) {
			t.Errorf("%d is alive", pid)
		}
	}
}

// A kill of the program that nobody can catch takes the child along.
func TestChildDiesWithProgram(t *testing.T) {
	holder := exec.Command(os.Args[0], script(t, "echo pid $$; exec sleep 60"))
	holder.Env = append(os.Environ(), helperVariable+"=hold sender")
	out := &buffer{}
	holder.Stdout = out
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	found := pids(t, out, 1)
	_ = holder.Process.Kill()
	_ = holder.Wait()
	eventually(t, "the child is gone", func() bool { return !alive(found[0]) })
}

func TestUnreachable(t *testing.T) {
	result := run(t, Options{}, Job{Base: t.TempDir(), Names: []string{""}, URL: URL("127.0.0.1", freePort(t), "m")})
	if result.Code != 10 || result.String() != "exit status 10 (the network failed: no connection, or a port in use)" || len(result.Errors) == 0 {
		t.Errorf("%v %q", result, result.Errors)
	}
}

// A daemon that wants a password gets none, and nobody waits for one.
func TestPasswordIsNotAskedFor(t *testing.T) {
	port := freePort(t)
	dir := t.TempDir()
	write(t, dir, "secrets", "user:secret\n")
	write(t, dir, "conf", "[m]\npath = "+dir+"\nread only = no\nauth users = user\nsecrets file = "+dir+"/secrets\nstrict modes = no\nuse chroot = no\n")
	defer startPlainDaemon(t, "rsync", dir+"/conf", port)()
	result := run(t, Options{}, Job{Base: t.TempDir(), Names: []string{""}, URL: URL("127.0.0.1", port, "m")})
	if result.Code != 5 {
		t.Errorf("%v %q", result, result.Errors)
	}
}

func TestOutputIsBounded(t *testing.T) {
	out := &buffer{}
	sender := Sender{Output: out, program: script(t, `
yes 'some/file with a name' | head -n 100000
yes 'rsync: an error' | head -n 10000 >&2
head -c 1000000 /dev/zero >&2
echo >&2; echo 'rsync error: the last one' >&2
printf '\nNumber of files: 5 (reg: 4, dir: 1)\n\nno end'
`)}
	result, err := sender.Run(t.Context(), Job{Base: "/", Names: []string{""}, URL: "rsync://localhost:1/m"})
	if err != nil || result.Class() != Fine {
		t.Fatal(result, err)
	}
	if len(result.FileList) > maxFileList+100 || !strings.HasSuffix(result.FileList, "lines left out)") {
		t.Errorf("%d bytes, end %q", len(result.FileList), result.FileList[len(result.FileList)-60:])
	}
	if len(result.Errors) > excerptHead+excerptTail+1 || result.Errors[len(result.Errors)-1] != "rsync error: the last one" {
		t.Errorf("%d errors, last %q", len(result.Errors), result.Errors[len(result.Errors)-1])
	}
	for _, line := range result.Errors {
		if len(line) > excerptLine {
			t.Errorf("an error of %d bytes", len(line))
		}
	}
	if result.Stats["Number_of_files"] != 5 {
		t.Errorf("%v", result.Stats)
	}
	if text := out.String(); strings.Count(text, "some/file with a name\n") != 100_000 || !strings.HasSuffix(text, "\nno end") {
		t.Error("the output was not copied in full")
	}
}

// Two streams do not mix within a line.
func TestOutputInWholeLines(t *testing.T) {
	out := &buffer{}
	sender := Sender{Output: out, program: script(t, `
for i in 1 2 3 4 5; do printf aaa; printf bbb >&2; sleep 0.02; printf 'aaa\n'; printf 'bbb\n' >&2; done
`)}
	if _, err := sender.Run(t.Context(), Job{Base: "/", Names: []string{""}, URL: "rsync://localhost:1/m"}); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(out.String()) {
		if line != "aaaaaa\n" && line != "bbbbbb\n" {
			t.Errorf("%q", line)
		}
	}
}

type failingWriter struct{}

func (failingWriter) Write([]byte) (int, error) { return 0, errors.New("disk full") }

// A log that cannot be written to must not end a transfer.
func TestOutputMayFail(t *testing.T) {
	sender := Sender{Output: failingWriter{}, program: script(t, `yes | head -n 100000; echo 'Number of files: 3'`)}
	result, err := sender.Run(t.Context(), Job{Base: "/", Names: []string{""}, URL: "rsync://localhost:1/m"})
	if err != nil || result.Class() != Fine || result.Stats["Number_of_files"] != 3 {
		t.Error(result, err)
	}
}

func TestUnreadStatisticsAreDebug(t *testing.T) {
	log := &buffer{}
	sender := Sender{
		program: script(t, `echo 'Total file size: 39.49K bytes'; echo 'Literal data: 1,234 bytes'`),
		Logger:  slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	result, err := sender.Run(t.Context(), Job{Base: "/", Names: []string{""}, URL: "rsync://localhost:1/m"})
	if err != nil || len(result.Stats) != 1 || result.Stats["Literal_data"] != 1234 {
		t.Error(result.Stats, err)
	}
	if text := log.String(); !strings.Contains(text, "39.49K") || strings.Contains(text, "1,234") || !strings.Contains(text, "level=DEBUG") {
		t.Errorf("%q", text)
	}
}

func TestConcurrentRuns(t *testing.T) {
	source, destination := t.TempDir(), t.TempDir()
	for number := range 8 {
		write(t, source, fmt.Sprintf("dir%d/file", number), "x")
	}
	age(t, source)
	_, url := serve(t, destination)
	sender := Sender{Output: &buffer{}}
	ended := make(chan error)
	for number := range 8 {
		go func() {
			result, err := sender.Run(t.Context(), Job{Base: source, Names: []string{fmt.Sprintf("dir%d", number)}, Kind: Recursive, URL: url})
			if err == nil && result.Class() != Fine {
				err = errors.New(result.String())
			}
			ended <- err
		}()
	}
	for range 8 {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	sameTree(t, source, destination)
}
