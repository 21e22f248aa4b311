// SPDX-License-Identifier: LGPL-2.1-or-later

package worker

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"vsc-zk/internal/pathbuilder"
	"vsc-zk/internal/rsyncrunner"
	"vsc-zk/internal/slowfs"
)

// A lookup that a file system does not answer holds up nobody for long.
func TestPrefetchThatHangs(t *testing.T) {
	disk, dir := t.TempDir(), t.TempDir()
	if err := os.Mkdir(filepath.Join(disk, "dir"), 0o755); err != nil {
		t.Fatal(err)
	}
	armed, answer, asked := make(chan struct{}), make(chan struct{}), make(chan struct{}, 1)
	mounted, err := slowfs.Mount(disk, dir, slowfs.Options{Delay: time.Millisecond, Sleep: func(time.Duration) {
		select {
		case <-armed:
			select {
			case asked <- struct{}{}:
			default:
			}
			<-answer
		default:
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := mounted.Unmount(); err != nil {
			t.Error(err)
		}
	})
	tree, err := pathbuilder.OpenTree(dir)
	if err != nil {
		t.Fatal(err)
	}
	transport := &Rsync{cfg: RsyncConfig{Lookup: 50 * time.Millisecond}, ahead: pathbuilder.NewPrefetcher(tree, 4)}

	close(armed)
	defer close(answer)
	ctx, cancel := context.WithCancel(t.Context())
	wait := transport.prefetch(ctx, rsyncrunner.Job{Names: []string{"dir"}, Kind: rsyncrunner.Recursive}, nil)
	<-asked
	cancel()
	wait() // though nothing has had an answer
}
