// SPDX-License-Identifier: LGPL-2.1-or-later

package rsyncrunner

import (
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
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
			url, begun, goOn := relay(t, url)
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

// relay stands between an rsync and the daemon of a URL. It carries nothing from when it was found, which closes
// begun, until goOn is closed.
func relay(t *testing.T, url string) (through string, begun, goOn chan struct{}) {
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
		close(begun)
		<-goOn
		server, err := net.Dial("tcp", daemon)
		if err != nil {
			t.Error(err)
			return
		}
		defer server.Close()
		both.Go(func() { _, _ = io.Copy(server, client) })
		_, _ = io.Copy(client, server)
	})
	return "rsync://" + listener.Addr().String() + "/" + module, begun, goOn
}
