// SPDX-License-Identifier: LGPL-2.1-or-later

package session

import (
	"context"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"vsc-zk/internal/testtree"
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
			master := r.queued(func(c *Config) { c.Leader.Report = report })
			r.finish(r.source(2), r.destination(3), master)
			if n := r.sent("dir"); n != c.want {
				t.Errorf("sent %d times, want %d", n, c.want)
			}
			r.reported(report)
		})
	}
}

// restlessNode is a file system that gives every directory another inode whenever somebody looks.
type restlessNode struct {
	*fusefs.LoopbackNode
	next *atomic.Uint64
}

func (n *restlessNode) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*fusefs.Inode, syscall.Errno) {
	inode, errno := n.LoopbackNode.Lookup(ctx, name, out)
	if errno != 0 || out.Mode&syscall.S_IFMT != syscall.S_IFDIR {
		return inode, errno
	}
	child := &restlessNode{&fusefs.LoopbackNode{RootData: n.RootData}, n.next}
	return n.NewInode(ctx, child, fusefs.StableAttr{Mode: syscall.S_IFDIR, Ino: 1<<40 + n.next.Add(1)}), 0
}

func (n *restlessNode) Statx(context.Context, fusefs.FileHandle, uint32, uint32, *fuse.StatxOut) syscall.Errno {
	return syscall.ENOSYS
}

// A tree at rest is sent once, also from a file system whose inodes change, which is said once. What changes there is still seen.
func TestChangingInodes(t *testing.T) {
	r := newRig(t)
	dir := filepath.Join(t.TempDir(), "tree")
	r.must(os.Mkdir(r.src, 0o755), testtree.MakeTree(dir, smallTree))
	root := &restlessNode{&fusefs.LoopbackNode{RootData: &fusefs.LoopbackRoot{Path: dir}}, new(atomic.Uint64)}
	root.RootData.RootNode = root
	server, err := fusefs.Mount(r.src, root, &fusefs.Options{MountOptions: fuse.MountOptions{AllowOther: true, DirectMountStrict: true}})
	r.must(err)
	t.Cleanup(func() {
		if err := server.Unmount(); err != nil {
			t.Error(err)
		}
	})
	master := r.queued()
	r.finish(r.source(2), r.destination(3), master)
	if n := r.sent(""); n != 10 || r.said("inodes-change") != 1 || r.said("base-away") != 0 {
		t.Errorf("%d paths sent, want each of 10 once; log:\n%s", n, r.log)
	}
	r.log.reset()
	master = r.queued()
	r.must(os.Mkdir(filepath.Join(dir, "dir001/new"), 0o755))
	r.finish(r.source(2), r.destination(3), master)
	if n := r.sent(""); n != 12 || r.sent("dir001") != 2 || r.sent("dir001/new") != 1 {
		t.Errorf("%d paths sent, want 10, the one that changed again, and the new one; log:\n%s", n, r.log)
	}
}
