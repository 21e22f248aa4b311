// SPDX-License-Identifier: LGPL-2.1-or-later

package rsyncrunner

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
)

// What a transfer has received of a file when it ends, whoever ends it, is kept for the next one. No other run sends,
// deletes or compares it, and when the file is complete nothing is left.
func TestPartial(t *testing.T) {
	const size = 2_000_000
	content := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(content)
	options := Options{Partial: true, Delete: true}
	for name, end := range map[string]func(stop context.CancelFunc, rsync *Running, daemon *served){
		"sender is stopped": func(stop context.CancelFunc, _ *Running, _ *served) { stop() },
		"sender is killed": func(_ context.CancelFunc, rsync *Running, _ *served) {
			_ = syscall.Kill(-rsync.process.cmd.Process.Pid, syscall.SIGKILL)
		},
		"destination ends": func(_ context.CancelFunc, _ *Running, daemon *served) { daemon.listener.Stop() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			source, destination := t.TempDir(), t.TempDir()
			write(t, source, "dir/large", string(content))
			write(t, source, "dir/small", "small")
			write(t, source, "other/"+PartialDir+"/file", "of an earlier session")
			write(t, destination, "dir/stale", "stale")
			age(t, source)
			daemon, url := serve(t, destination)

			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			var rsync atomic.Pointer[Running]
			slow := options
			slow.Extra = []string{"bwlimit:1000"}
			ended := make(chan error, 1)
			go func() {
				sender := Sender{Options: slow, Output: t.Output()}
				result, err := sender.Run(ctx, Job{Base: source, Names: []string{"dir"}, Kind: Recursive, URL: url, Started: rsync.Store})
				if err == nil && result.Class() == Fine {
					err = errors.New("it was sent to the end")
				} else {
					err = nil
				}
				ended <- err
			}()
			eventually(t, "half of the file is there", func() bool {
				found, _ := filepath.Glob(destination + "/dir/.large.*")
				if len(found) == 0 {
					return false
				}
				info, err := os.Stat(found[0])
				return err == nil && info.Size() > size/2
			})
			if files := rsync.Load().Files(); !slices.ContainsFunc(files, func(file Reading) bool { return file.Size == size && file.Read > size/2 }) {
				t.Errorf("the rsync reads %v", files)
			}
			end(stop, rsync.Load(), daemon)
			if err := <-ended; err != nil {
				t.Fatal(err)
			}
			partial := destination + "/dir/" + PartialDir + "/large"
			eventually(t, "what was received is kept", func() bool { _, err := os.Stat(partial); return err == nil })

			_, url = serve(t, destination)
			verify := options
			verify.Verify = true
			for _, job := range []Job{
				{Names: []string{"dir"}, Kind: Leftovers}, {Names: []string{"", "other"}}, {Names: []string{"dir/small"}, Kind: NameRange},
				{Names: []string{"dir/small", "dir/gone"}, Kind: Listed},
			} {
				job.Base, job.URL = source, url
				send(t, options, job)
				send(t, verify, job)
			}
			if _, err := os.Stat(partial); err != nil {
				t.Fatalf("another run has removed it: %v", err)
			}
			result := send(t, options, Job{Base: source, Names: []string{"dir"}, Kind: Recursive, URL: url})
			if sent := result.Stats["Literal_data"]; sent > size/2 {
				t.Errorf("%d bytes were sent, want the rest of %d", sent, size)
			}
			if err := os.RemoveAll(source + "/other/" + PartialDir); err != nil {
				t.Fatal(err)
			}
			write(t, source, "other/x", "")
			age(t, source)
			send(t, options, Job{Base: source, Names: []string{""}, Kind: Recursive, URL: url})
			sameTree(t, source, destination)
		})
	}
}

// A destination is told in which directories something was being written when a transfer has not ended well.
func TestBegun(t *testing.T) {
	const size = 4_000_000
	source, destination := t.TempDir(), t.TempDir()
	content := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(content)
	write(t, source, "a/new\nline/large", string(content))
	begun := make(chan []string, 10)
	_, url := serveAs(t, DaemonConfig{Path: destination, Begun: func(dirs []string) { begun <- dirs }})
	send(t, Options{}, Job{Base: source, Names: []string{"a"}, Kind: Recursive, URL: url})
	if err := os.RemoveAll(destination + "/a"); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	sender := Sender{Options: Options{Partial: true, Extra: []string{"bwlimit:1000"}}, Output: t.Output()}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = sender.Run(ctx, Job{Base: source, Names: []string{"a"}, Kind: Recursive, URL: url})
	}()
	eventually(t, "more than a look has passed", func() bool {
		found, _ := filepath.Glob(destination + "/a/new\nline/.large.*")
		if len(found) == 0 {
			return false
		}
		info, err := os.Stat(found[0])
		return err == nil && info.Size() > size/2
	})
	stop()
	<-ended
	dirs := <-begun
	if !slices.Contains(dirs, "a/new\nline") || len(begun) > 0 {
		t.Errorf("begun in %q, and %d more", dirs, len(begun))
	}
}
