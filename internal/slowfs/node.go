// SPDX-License-Identifier: LGPL-2.1-or-later

package slowfs

import (
	"context"
	"sync/atomic"
	"syscall"

	fuse "github.com/hanwen/go-fuse/v2/fs"
	raw "github.com/hanwen/go-fuse/v2/fuse"
)

// node is one file or directory: go-fuse's own pass-through, with delays.
type node struct {
	*fuse.LoopbackNode
	fs *FS
}

var (
	_ fuse.NodeWrapChilder    = (*node)(nil)
	_ fuse.NodeLookuper       = (*node)(nil)
	_ fuse.NodeGetattrer      = (*node)(nil)
	_ fuse.NodeStatxer        = (*node)(nil)
	_ fuse.NodeOpendirHandler = (*node)(nil)
	_ fuse.NodeOpener         = (*node)(nil)
	_ fuse.NodeCreater        = (*node)(nil)
)

// WrapChild makes every node below the root one of these.
func (n *node) WrapChild(_ context.Context, child fuse.InodeEmbedder) fuse.InodeEmbedder {
	return &node{LoopbackNode: child.(*fuse.LoopbackNode), fs: n.fs}
}

func (n *node) delay(count *atomic.Int64) {
	count.Add(1)
	n.fs.options.Sleep(n.fs.options.Delay)
}

func (n *node) Lookup(ctx context.Context, name string, out *raw.EntryOut) (*fuse.Inode, syscall.Errno) {
	n.delay(&n.fs.lookup)
	return n.LoopbackNode.Lookup(ctx, name, out)
}

func (n *node) Getattr(ctx context.Context, f fuse.FileHandle, out *raw.AttrOut) syscall.Errno {
	n.delay(&n.fs.getattr)
	return n.LoopbackNode.Getattr(ctx, f, out)
}

// Statx is refused, once: from then on the kernel asks by getattr, which lacks nothing but the
// birth time. go-fuse's own Statx follows symbolic links and fails for open files.
func (n *node) Statx(context.Context, fuse.FileHandle, uint32, uint32, *raw.StatxOut) syscall.Errno {
	return syscall.ENOSYS
}

func (n *node) OpendirHandle(ctx context.Context, flags uint32) (fuse.FileHandle, uint32, syscall.Errno) {
	n.delay(&n.fs.opendir)
	if broken := n.fs.options.Broken; broken != "" && n.Path(nil) == broken {
		return nil, 0, syscall.EIO
	}
	return n.LoopbackNode.OpendirHandle(ctx, flags)
}

func (n *node) Open(ctx context.Context, flags uint32) (fuse.FileHandle, uint32, syscall.Errno) {
	n.delay(&n.fs.open)
	file, fuseFlags, errno := n.LoopbackNode.Open(ctx, flags)
	if flags&syscall.O_ACCMODE == syscall.O_RDONLY {
		fuseFlags |= openNoFlush
	}
	return file, fuseFlags, errno
}

// openNoFlush is FOPEN_NOFLUSH of linux/fuse.h: closing the file asks nothing.
const openNoFlush = 1 << 5

func (n *node) Create(ctx context.Context, name string, flags, mode uint32, out *raw.EntryOut) (*fuse.Inode, fuse.FileHandle, uint32, syscall.Errno) {
	n.delay(&n.fs.create)
	return n.LoopbackNode.Create(ctx, name, flags, mode, out)
}
