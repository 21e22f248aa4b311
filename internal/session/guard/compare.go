// SPDX-License-Identifier: LGPL-2.1-or-later

package guard

import (
	"errors"
	"fmt"
	"io/fs"

	"vsc-zk/internal/pathbuilder"
	"vsc-zk/internal/session/wire"
)

// maxMounts bounds the mounts below a base of which other nodes are told.
const maxMounts = 200

// Describe says what the base is, for other nodes to compare theirs with.
func (b *Base) Describe() (wire.Place, error) {
	mounts, err := b.notedMounts()
	if err != nil {
		return wire.Place{}, err
	}
	sign, err := b.tree.Sign("")
	if err != nil {
		return wire.Place{}, err
	}
	p := wire.Place{Sign: toWire(sign)}
	for _, point := range mounts.Points() {
		if sign, err := b.tree.Sign(point); err == nil && len(p.Mounts) < maxMounts { // else nobody can work there
			p.Mounts = append(p.Mounts, wire.Mounted{Path: wire.Text(point), Sign: toWire(sign)})
		}
	}
	return p, nil
}

func toWire(s pathbuilder.Sign) wire.Sign {
	names := make([]wire.Text, len(s.Names))
	for i, name := range s.Names {
		names[i] = wire.Text(name)
	}
	return wire.Sign{FSID: s.FSID, Inode: s.Inode, Names: names}
}

func fromWire(s wire.Sign) pathbuilder.Sign {
	names := make([]string, len(s.Names))
	for i, name := range s.Names {
		names[i] = string(name)
	}
	return pathbuilder.Sign{FSID: s.FSID, Inode: s.Inode, Names: names}
}

// Expect has the base compared with the leader's until they are the same: a file system that is not
// mounted at the start cannot be known by this client alone.
func (b *Base) Expect(leaders wire.Place) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.expected = &leaders
}

// compare is an error as long as the base is not what the leader's is.
func (b *Base) compare() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.expected == nil {
		return nil
	}
	if err := b.differs(*b.expected); err != nil {
		b.place, b.mounts = nil, nil // what it was when it was first looked at was but a mount point
		return err
	}
	b.expected = nil
	return nil
}

// differs says what is not as at the leader's. The caller holds b.mu.
func (b *Base) differs(leaders wire.Place) (err error) {
	if b.tree == nil {
		if b.tree, err = pathbuilder.OpenTree(b.Dir); err != nil {
			return err
		}
	}
	seems, err := b.tree.Seems("", fromWire(leaders.Sign))
	if err != nil {
		return err
	}
	if !seems {
		return fmt.Errorf("cannot use %s: the master sees another directory there, is a file system not mounted on this node, or on the master's?", pathbuilder.Printable(b.Dir))
	}
	for _, m := range leaders.Mounts {
		here, err := b.tree.Sign(string(m.Path))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil && len(here.Names) == 0 && len(m.Names) > 0 {
			seems, err = b.tree.Seems(string(m.Path), fromWire(m.Sign))
		}
		if err != nil {
			return err
		}
		if !seems {
			return fmt.Errorf("cannot use %s: %s below it is empty, and a file system is mounted there on the master's node", pathbuilder.Printable(b.Dir), m.Path)
		}
	}
	return nil
}
