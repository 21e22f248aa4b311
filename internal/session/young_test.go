// SPDX-License-Identifier: LGPL-2.1-or-later

package session

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"vsc-zk/internal/pathbuilder"
)

// clockNode is a file system of which the walk does not know whose clock it uses; its ctimes may be whole seconds.
type clockNode struct {
	*fusefs.LoopbackNode
	whole bool
}

func (n *clockNode) WrapChild(_ context.Context, child fusefs.InodeEmbedder) fusefs.InodeEmbedder {
	return &clockNode{child.(*fusefs.LoopbackNode), n.whole}
}

func (n *clockNode) round(attr *fuse.Attr) {
	if n.whole {
		attr.Ctimensec = 0
	}
}

func (n *clockNode) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*fusefs.Inode, syscall.Errno) {
	inode, errno := n.LoopbackNode.Lookup(ctx, name, out)
	n.round(&out.Attr)
	return inode, errno
}

func (n *clockNode) Getattr(ctx context.Context, f fusefs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	errno := n.LoopbackNode.Getattr(ctx, f, out)
	n.round(&out.Attr)
	return errno
}

func (n *clockNode) Statx(context.Context, fusefs.FileHandle, uint32, uint32, *fuse.StatxOut) syscall.Errno {
	return syscall.ENOSYS
}

// A directory that has just changed is sent once. Where the file server has a clock of its own and keeps whole seconds it may
// change again without showing it: it is sent again, as often as may be.
func TestYoungDirectories(t *testing.T) {
	for name, c := range map[string]struct {
		whole bool
		want  int
	}{"fractions of a second": {false, 1}, "whole seconds": {true, 1 + morePasses}} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			dir := t.TempDir()
			r.must(os.Mkdir(r.src, 0o755), os.MkdirAll(filepath.Join(dir, "dir/below"), 0o755))
			root := &clockNode{&fusefs.LoopbackNode{RootData: &fusefs.LoopbackRoot{Path: dir}}, c.whole}
			root.RootData.RootNode = root
			server, err := fusefs.Mount(r.src, root, &fusefs.Options{MountOptions: fuse.MountOptions{AllowOther: true, DirectMountStrict: true}})
			r.must(err)
			t.Cleanup(func() {
				if err := server.Unmount(); err != nil {
					t.Error(err)
				}
			})
			report := filepath.Join(t.TempDir(), "report")
			master := r.queued(func(c *Config) { c.Report = report })
			r.finish(r.source(2), r.destination(3), master)
			if n := r.sent("dir"); n != c.want {
				t.Errorf("sent %d times, want %d", n, c.want)
			}
			r.reported(report)
		})
	}
}

// Nobody can work on a path before the clock of its stamp has gone on.
func TestPathsSettle(t *testing.T) {
	r := newRig(t)
	r.makeTree(smallTree)
	c := &client{cfg: r.config(1, r.src).withDefaults(), base: r.src, log: slog.New(slog.DiscardHandler)}

	var stamped time.Time
	f := newFeed(t.Context(), c, &ledger{}, 0, func(_ context.Context, emit func([]byte) error) error {
		stamped = time.Now()
		return emit([]byte("1_" + r.path("dir000")))
	})
	f.start()
	defer f.close()
	if more, err := f.next(t.Context()); !more || err != nil {
		t.Fatal(more, err)
	}
	if got := f.settled.Sub(stamped); got < pathbuilder.Settle {
		t.Errorf("a path may be queued %v after its stamp, want %v", got, pathbuilder.Settle)
	}
	f.settled = time.Now().Add(time.Hour)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := f.put(ctx, nil); !errors.Is(err, context.DeadlineExceeded) { // with no ZooKeeper it could not
		t.Errorf("a path was queued, %v", err)
	}

	s := newSplitter(&master{client: c, stamps: stamps{}, deeper: map[string]bool{}})
	began := time.Now()
	cut, err := s.prepare(t.Context(), "", []byte("1_"+r.src))
	if err != nil || len(cut.pieces) != 4 {
		t.Fatalf("%+v, %v", cut, err)
	}
	if took := time.Since(began); took < pathbuilder.Settle {
		t.Errorf("pieces are ready %v after their stamps, want %v", took, pathbuilder.Settle)
	}
}
