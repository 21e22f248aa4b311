// SPDX-License-Identifier: LGPL-2.1-or-later

package zkclient

import (
	"errors"
	"fmt"

	"github.com/go-zookeeper/zk"
)

// What a call can fail with, to be matched with errors.Is.
var (
	ErrNoNode         = errors.New("no such znode")
	ErrNodeExists     = errors.New("znode exists already")
	ErrBadVersion     = errors.New("znode was changed by another client")
	ErrNotEmpty       = errors.New("znode has children")
	ErrNoAuth         = errors.New("not authorised (a wrong user or password looks like this too)")
	ErrSessionLost    = errors.New("ZooKeeper session lost")
	ErrConnectionLoss = errors.New("connection to ZooKeeper lost, the change may or may not have been made")
	ErrNotHeld        = errors.New("queue entry is not held any more")
	ErrNotCounter     = errors.New("a counter is not a whole number of 64 bits")
)

// OpError tells which operation of a Multi was refused.
type OpError struct {
	Index int    // position in the call's operations, from 0
	Path  string // its znode
	Err   error  // why
}

func (e *OpError) Error() string { return fmt.Sprintf("%s: %v", e.Path, e.Err) }

// Unwrap makes errors.Is see the reason.
func (e *OpError) Unwrap() error { return e.Err }

// translate turns the library's errors into this package's.
func translate(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, zk.ErrNoNode):
		return ErrNoNode
	case errors.Is(err, zk.ErrNodeExists):
		return ErrNodeExists
	case errors.Is(err, zk.ErrBadVersion):
		return ErrBadVersion
	case errors.Is(err, zk.ErrNotEmpty):
		return ErrNotEmpty
	case errors.Is(err, zk.ErrNoAuth):
		return ErrNoAuth
	case errors.Is(err, zk.ErrInvalidPath):
		return errors.New("not a path ZooKeeper can hold")
	case errors.Is(err, zk.ErrInvalidACL):
		return errors.New("not an ACL ZooKeeper can hold")
	}
	return err
}

// lost says whether the connection broke before the reply came, so that nobody knows whether the
// request was carried out.
func lost(err error) bool {
	return errors.Is(err, ErrConnectionLoss) || errors.Is(err, zk.ErrConnectionClosed) || errors.Is(err, zk.ErrNoServer) ||
		errors.Is(err, zk.ErrClosing) || errors.Is(err, zk.ErrSessionExpired) ||
		errors.Is(err, zk.ErrSessionMoved)
}

// open says that err is all that is known about a change whose reply was lost.
func open(err error) error { return fmt.Errorf("%w; %w", err, ErrConnectionLoss) }

// fail adds to err what could not be done, and on which znode.
func (c *Client) fail(what, path string, err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, ErrNoAuth) {
		return fmt.Errorf("cannot %s %s as user %q: %w", what, c.full(path), c.user, err)
	}
	return fmt.Errorf("cannot %s %s: %w", what, c.full(path), err)
}
