// SPDX-License-Identifier: LGPL-2.1-or-later

package zkclient

import (
	"context"
	"errors"
	"fmt"

	"github.com/go-zookeeper/zk"
)

// The bounds of one Multi where this package cuts a long list.
const (
	maxOps   = 1000
	maxBytes = 512 << 10
)

type opKind int

const (
	opCreate opKind = iota
	opSet
	opDelete
	opCheck
)

// Op is one operation of a Multi.
type Op struct {
	kind    opKind
	path    string
	data    []byte
	mode    Mode
	version int32
}

// OpCreate makes a znode with the ACL of the client's user; its parent must exist.
func OpCreate(path string, data []byte, mode Mode) Op {
	return Op{kind: opCreate, path: path, data: data, mode: mode}
}

// OpSet writes data if the version of the znode is the given one; -1: whatever it is.
func OpSet(path string, data []byte, version int32) Op {
	return Op{kind: opSet, path: path, data: data, version: version}
}

// OpDelete deletes a znode.
func OpDelete(path string) Op { return Op{kind: opDelete, path: path, version: -1} }

// OpCheck refuses the whole Multi unless the znode exists and its version is the given one; -1:
// whatever it is.
func OpCheck(path string, version int32) Op {
	return Op{kind: opCheck, path: path, version: version}
}

// Multi carries out all operations or none, in order, behind the fence (see SetFence). When it is
// refused the error wraps an [OpError] that tells which operation was the reason.
//
// Lost reply: open.
func (c *Client) Multi(ctx context.Context, ops ...Op) error {
	if len(ops) == 0 {
		return c.check(ctx)
	}
	_, err := await(ctx, c, func() ([]string, error) { return c.multi(ctx, ops) }, nil)
	return c.failMulti(ops, err)
}

// Settle is Multi for callers who must know. After a lost reply done looks for what ops leave
// behind, and says whether they have been carried out; if not, they are tried again. A nil done
// means that they may be carried out more than once, as an OpSet of any version may. done runs in
// this goroutine, and what it reads is not older than ops.
//
// Lost reply: settled; without done, repeated. It is open when done fails.
func (c *Client) Settle(ctx context.Context, done func(ctx context.Context) (bool, error), ops ...Op) error {
	if len(ops) == 0 {
		return c.check(ctx)
	}
	attempt := func() error {
		_, err := await(ctx, c, func() ([]string, error) { return c.multi(ctx, ops) }, nil)
		return err
	}
	look := done
	if done != nil {
		look = func(ctx context.Context) (bool, error) {
			if err := c.do(ctx, func() error { return c.sync(ctx, ops[0].path) }); err != nil {
				return false, err
			}
			return done(ctx)
		}
	}
	return c.failMulti(ops, c.settle(ctx, ctx, attempt, look))
}

func (c *Client) failMulti(ops []Op, err error) error {
	if err == nil {
		return nil
	}
	what := fmt.Sprintf("change %d znodes at once, beginning with", len(ops))
	if len(ops) == 1 {
		what = "change"
	}
	return c.fail(what, ops[0].path, err)
}

// multi runs ops once behind the fence, in this goroutine. It returns the paths of the nodes that
// were made, "" for the other operations.
func (c *Client) multi(ctx context.Context, ops []Op) (paths []string, err error) {
	return c.multiBehind(ctx, c.fencePath(), ops)
}

func (c *Client) multiBehind(ctx context.Context, fence string, ops []Op) (paths []string, err error) {
	requests := make([]any, 0, len(ops)+1)
	size := 4 + 9
	if fence != "" {
		requests = append(requests, &zk.CheckVersionRequest{Path: c.full(fence), Version: -1})
		size += 9 + 8 + len(c.full(fence))
	}
	fenced := len(requests)
	for _, op := range ops {
		requests = append(requests, c.request(op))
		size += c.size(op)
	}
	if size+8 > maxRequest {
		return nil, fmt.Errorf("the transaction would have %d bytes, ZooKeeper takes %d", size+8, maxRequest)
	}
	var results []zk.MultiResponse
	for {
		err = c.once(ctx, func() (err error) {
			results, err = c.conn.Multi(requests...)
			return err
		})
		if !errors.Is(err, zk.ErrSessionMoved) {
			break
		}
		// Refused as a whole: the session has just moved to another server.
		if err := c.breathe(ctx); err != nil {
			return nil, err
		}
	}
	if lost(err) {
		return nil, ErrConnectionLoss
	}
	if err != nil {
		for i, r := range results {
			if r.Error == nil {
				continue
			}
			if i < fenced {
				return nil, c.fenceError(fence, err)
			}
			if i-fenced < len(ops) {
				return nil, &OpError{Index: i - fenced, Path: c.full(ops[i-fenced].path), Err: err}
			}
		}
		return nil, err
	}
	paths = make([]string, len(ops))
	for i := range ops {
		paths[i] = c.own(results[i+fenced].String)
	}
	return paths, nil
}

// fenceError says what it means that the fence could not be checked or read.
func (c *Client) fenceError(fence string, err error) error {
	if errors.Is(err, ErrNoNode) {
		return fmt.Errorf("%w: its node %s is gone", ErrSessionLost, c.full(fence))
	}
	return err
}

func (c *Client) request(op Op) any {
	path := c.full(op.path)
	switch op.kind {
	case opCreate:
		return &zk.CreateRequest{Path: path, Data: bytesOf(op.data), Acl: c.acl, Flags: int32(op.mode)}
	case opSet:
		return &zk.SetDataRequest{Path: path, Data: bytesOf(op.data), Version: op.version}
	case opDelete:
		return &zk.DeleteRequest{Path: path, Version: op.version}
	default:
		return &zk.CheckVersionRequest{Path: path, Version: op.version}
	}
}

// size is how many bytes op adds to a Multi: a header of 9, then lengths of 4 and numbers of 4.
func (c *Client) size(op Op) int {
	switch op.kind {
	case opCreate:
		return 9 + c.createSize(op.path, op.data, c.acl)
	case opSet:
		return 9 + 4 + len(c.full(op.path)) + 4 + len(op.data) + 4
	default:
		return 9 + 4 + len(c.full(op.path)) + 4
	}
}

func (c *Client) createSize(path string, data []byte, acl []zk.ACL) int {
	size := 4 + len(c.full(path)) + 4 + len(data) + 4 + 4
	for _, a := range acl {
		size += 4 + 4 + len(a.Scheme) + 4 + len(a.ID)
	}
	return size
}

// batches cuts ops into lists, each for one Multi.
func (c *Client) batches(ops []Op) [][]Op {
	var out [][]Op
	from, size := 0, 0
	for i, op := range ops {
		n := c.size(op)
		if i > from && (i-from == maxOps || size+n > maxBytes) {
			out = append(out, ops[from:i])
			from, size = i, 0
		}
		size += n
	}
	if from < len(ops) {
		out = append(out, ops[from:])
	}
	return out
}
