// SPDX-License-Identifier: LGPL-2.1-or-later

package rsyncrunner

import (
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// An rsync that deletes goes on seeing the file system that it began with: what is unmounted below it would
// look like an empty source, and what is mounted like another one.
func TestMountsDuringADeletion(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("only root can have mounts of its own, and make some")
	}
	for name, change := range map[string]func(base string) error{
		"unmounted": func(base string) error { return syscall.Unmount(base, syscall.MNT_DETACH) },
		"mounted over": func(base string) error {
			return syscall.Mount("none", base, "tmpfs", 0, "size=64k")
		},
	} {
		t.Run(name, func(t *testing.T) {
			source, base, destination := t.TempDir(), t.TempDir(), t.TempDir()
			for _, dir := range []string{source, destination} {
				write(t, dir, "a/file", "x")
				write(t, dir, "keep", "x")
				age(t, dir)
			}
			if err := syscall.Mount(source, base, "", syscall.MS_BIND, ""); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				for syscall.Unmount(base, syscall.MNT_DETACH) == nil {
				}
			})
			dir, err := os.Open(base)
			if err != nil {
				t.Fatal(err)
			}
			defer dir.Close()
			_, url := serve(t, destination)
			// rsync goes to its directory, by the path, when it has spoken with the daemon.
			url, begun, goOn := relay(t, url, 0)
			sender := Sender{Options: Options{Delete: true}, Output: t.Output()}
			done := make(chan Result, 1)
			go func() {
				result, err := sender.Run(t.Context(), Job{Kind: Shallow, Base: base, Dir: dir, Names: []string{"a", ""}, URL: url})
				if err != nil {
					t.Error(err)
				}
				done <- result
			}()
			<-begun
			if err := change(base); err != nil {
				t.Fatal(err)
			}
			close(goOn)
			result := <-done
			if _, err := os.Stat(destination + "/keep"); err != nil {
				t.Errorf("what lay at the destination is gone: %v (%v)", err, result.Class())
			}
			if result.Class() != Fine {
				t.Errorf("%v, want it to go on as if nothing had happened", result)
			}
		})
	}
}

// A user who owns a directory of the destination and swaps it for a link, while an rsync of root's writes there, does
// not lead it to another place. What is a link stays one, and base may be reached by one.
func TestSwappedDirectoryAtTheDestination(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("only root can have mounts of its own")
	}
	source, place := t.TempDir(), t.TempDir()
	destination := place + "/base"
	for _, name := range []string{"a/1", "a/2", "a/3", "b/file"} {
		write(t, source, name, strings.Repeat(name, 1<<18))
	}
	for _, err := range []error{
		os.Symlink("/etc", source+"/b/absolute"),
		os.Symlink("../a", source+"/b/relative"),
		os.MkdirAll(place+"/real/others", 0o755),
		os.MkdirAll(place+"/real/mounted", 0o755),
		os.Symlink("real", destination),
		syscall.Mount("none", place+"/real/mounted", "tmpfs", 0, "size=4m"),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { _ = syscall.Unmount(place+"/real/mounted", syscall.MNT_DETACH) })
	_, url := serve(t, destination)
	held, begun, goOn := relay(t, url, 4<<18) // after the first file
	done := make(chan Result, 1)
	go func() {
		result, err := (&Sender{Output: t.Output()}).Run(t.Context(), Job{Kind: Recursive, Base: source, Names: []string{"a"}, URL: held})
		if err != nil {
			t.Error(err)
		}
		done <- result
	}()
	<-begun
	eventually(t, "the first file is there", func() bool { _, err := os.Stat(destination + "/a/1"); return err == nil })
	for _, err := range []error{os.Rename(destination+"/a", destination+"/was"), os.Symlink("others", destination+"/a")} {
		if err != nil {
			t.Fatal(err)
		}
	}
	close(goOn)
	if result := <-done; result.Class() == Fine {
		t.Errorf("%v, though files could not be written", result)
	}
	if led, err := os.ReadDir(destination + "/others"); err != nil || len(led) > 0 {
		t.Errorf("%v was written where the link leads, %v", led, err)
	}

	for _, name := range []string{"/a", "/was", "/others"} {
		if err := os.RemoveAll(destination + name); err != nil {
			t.Fatal(err)
		}
	}
	write(t, source, "mounted/file", "x") // another file system below base is seen, too
	send(t, Options{}, wholeJob(source, url))
	sameTree(t, source, place+"/real")
	if _, err := os.Stat(place + "/real/mounted/file"); err != nil {
		t.Error(err)
	}
}

// Where a container does not allow what mounts of one's own take, rsync runs without.
func TestWithoutMounts(t *testing.T) {
	for name, call := range map[string]int{"unshare": unix.SYS_UNSHARE, "mount": unix.SYS_MOUNT} {
		t.Run(name, func(t *testing.T) {
			source, destination := t.TempDir(), t.TempDir()
			write(t, source, "a/file", "x")
			write(t, destination, "a/old", "x")
			age(t, source)
			_, url := serve(t, destination)
			cmd := exec.Command(os.Args[0], strconv.Itoa(call), source, url)
			cmd.Env = append(os.Environ(), helperVariable+"=refused")
			out, err := cmd.CombinedOutput()
			if text := string(out); err != nil || !strings.HasSuffix(text, "sent: true <nil>\n") || strings.Contains(text, "to serve:") {
				t.Errorf("%v, %s", err, text)
			}
			sameTree(t, source, destination)
		})
	}
}

// relay stands between an rsync and the daemon of a URL. When it has carried so many bytes to the daemon it closes
// begun, and carries nothing more until goOn is closed; for 0 nothing at all.
func relay(t *testing.T, url string, first int64) (through string, begun, goOn chan struct{}) {
	t.Helper()
	daemon, module, _ := strings.Cut(strings.TrimPrefix(url, "rsync://"), "/")
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	begun, goOn = make(chan struct{}), make(chan struct{})
	var both sync.WaitGroup
	t.Cleanup(func() {
		listener.Close()
		both.Wait()
	})
	both.Go(func() {
		client, err := listener.Accept()
		if err != nil {
			return
		}
		defer client.Close()
		hold := func() {
			close(begun)
			select {
			case <-goOn:
			case <-t.Context().Done():
			}
		}
		if first == 0 {
			hold()
		}
		server, err := net.Dial("tcp", daemon)
		if err != nil {
			t.Error(err)
			return
		}
		defer server.Close()
		both.Go(func() {
			if first > 0 {
				_, _ = io.CopyN(server, client, first)
				hold()
			}
			_, _ = io.Copy(server, client)
		})
		_, _ = io.Copy(client, server)
	})
	return "rsync://" + listener.Addr().String() + "/" + module, begun, goOn
}
