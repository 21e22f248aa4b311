// SPDX-License-Identifier: LGPL-2.1-or-later

package session

import (
	"context"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
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
