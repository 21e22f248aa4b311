// SPDX-License-Identifier: LGPL-2.1-or-later

package zkclient

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"sync"
)

const partyName = "__party__"

// Party is kazoo's Party: the list of those who are there.
type Party struct {
	c    *Client
	path string
	data string
	node string

	mu    sync.Mutex
	known map[string]string // node name -> data, which never changes
}

// Party returns the party at path. data is how this client appears in it.
func (c *Client) Party(path, data string) *Party {
	return &Party{c: c, path: path, data: data, node: join(path, randomHex()+partyName)}
}

// Node is the path of the client's own node, which is there after Join.
func (p *Party) Node() string { return p.node }

// Join enters the party. The membership ends with the session.
//
// Lost reply: settled.
func (p *Party) Join(ctx context.Context) error {
	c := p.c
	_, err := await(ctx, c, func() (string, error) {
		made, err := c.makePath(ctx, p.node, []byte(p.data), Ephemeral, c.acl)
		if errors.Is(err, ErrNodeExists) { // joined twice
			return p.node, nil
		}
		return made, err
	}, c.discard)
	return c.fail("join the party", p.path, err)
}

// Members returns the data of all members, sorted. It reads only what it has not seen before.
func (p *Party) Members(ctx context.Context) ([]string, error) {
	members, err := await(ctx, p.c, func() ([]string, error) { return p.members(ctx) }, nil)
	return members, p.c.fail("read the party", p.path, err)
}

// Has says whether a member with this data is there.
func (p *Party) Has(ctx context.Context, data string) (bool, error) {
	members, err := p.Members(ctx)
	return slices.Contains(members, data), err
}

// Count is the number of members.
func (p *Party) Count(ctx context.Context) (int, error) {
	names, err := await(ctx, p.c, func() ([]string, error) { return p.names(ctx) }, nil)
	return len(names), p.c.fail("read the party", p.path, err)
}

func (p *Party) names(ctx context.Context) ([]string, error) {
	names, err := p.c.children(ctx, p.path)
	if errors.Is(err, ErrNoNode) {
		return nil, nil
	}
	return slices.DeleteFunc(names, func(name string) bool { return !strings.Contains(name, partyName) }), err
}

func (p *Party) members(ctx context.Context) ([]string, error) {
	names, err := p.names(ctx)
	if err != nil {
		return nil, err
	}
	known := make(map[string]string, len(names))
	var fresh []string
	p.mu.Lock()
	for _, name := range names {
		if data, ok := p.known[name]; ok {
			known[name] = data
		} else {
			fresh = append(fresh, name)
		}
	}
	p.mu.Unlock()
	var mu sync.Mutex
	err = p.c.each(ctx, len(fresh), func(ctx context.Context, i int) error {
		data, _, err := p.c.get(ctx, join(p.path, fresh[i]))
		if errors.Is(err, ErrNoNode) {
			return nil // has left since
		}
		mu.Lock()
		defer mu.Unlock()
		known[fresh[i]] = string(data)
		return err
	})
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	p.known = known
	p.mu.Unlock()
	members := make([]string, 0, len(known))
	for _, data := range known {
		members = append(members, data)
	}
	slices.Sort(members)
	return members, nil
}

// randomHex is a name that nobody else has: 32 hex digits, as of a UUID.
func randomHex() string {
	var b [16]byte
	rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}
