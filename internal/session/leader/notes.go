// SPDX-License-Identifier: LGPL-2.1-or-later

package leader

import (
	"context"
	"fmt"
	"path"

	"vsc-zk/internal/session/member"
	"vsc-zk/internal/zkclient"
)

// What a leader learns during a session, and another one would need, is noted in a node for each thing,
// in the transaction that acts on it.

// notes are the nodes of one parent.
type notes struct {
	parent string
	known  map[string]bool // by name
}

func newNotes(parent string) notes { return notes{parent, map[string]bool{}} }

// any tells whether there are some.
func (n *notes) any() bool { return len(n.known) > 0 }

// load finds out which there are.
func (n *notes) load(ctx context.Context, m *member.Member) error {
	names, err := m.Children(ctx, n.parent)
	if err != nil {
		return fmt.Errorf("cannot read the notes of the session: %w", err)
	}
	clear(n.known)
	for _, name := range names {
		n.known[name] = true
	}
	return nil
}

// contents reads all notes. What this user may not read is left out.
func (n *notes) contents(ctx context.Context, m *member.Member) ([][]byte, error) {
	return m.Contents(ctx, n.parent)
}

// news is a note that comes or goes.
type news struct {
	notes *notes
	node  string
	data  []byte // nil: it goes
}

// ops makes it so, unless it is.
func (n news) ops() []zkclient.Op {
	switch known := n.notes.known[path.Base(n.node)]; {
	case n.data == nil && known:
		return []zkclient.Op{zkclient.OpDelete(n.node)}
	case n.data == nil:
		return nil
	case known:
		return []zkclient.Op{zkclient.OpSet(n.node, n.data, -1)}
	}
	return []zkclient.Op{zkclient.OpCreate(n.node, n.data, zkclient.Persistent)}
}

// made notes that it is so.
func (n news) made() {
	if n.data == nil {
		delete(n.notes.known, path.Base(n.node))
	} else {
		n.notes.known[path.Base(n.node)] = true
	}
}
