// SPDX-License-Identifier: LGPL-2.1-or-later

package zkclient

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
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
	known map[string]guest // by the name of the node; they never change
}

// guest is a node of a party.
type guest struct {
	data    string
	session int64 // 0: it is no client's, but a node that would never leave
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

// Members returns the data of all members, sorted. It reads only what it has not seen before. A node
// that is not ephemeral, or that this user may not read, is no client's and does not count.
func (p *Party) Members(ctx context.Context) ([]string, error) {
	guests, err := p.guests(ctx)
	var members []string
	for _, g := range guests {
		members = append(members, g.data)
	}
	slices.Sort(members)
	return members, err
}

// Sessions are the ZooKeeper sessions of all members, with their data.
func (p *Party) Sessions(ctx context.Context) (map[int64]string, error) {
	guests, err := p.guests(ctx)
	sessions := make(map[int64]string, len(guests))
	for _, g := range guests {
		sessions[g.session] = g.data
	}
	return sessions, err
}

// Has says whether a member with this data is there.
func (p *Party) Has(ctx context.Context, data string) (bool, error) {
	members, err := p.Members(ctx)
	return slices.Contains(members, data), err
}

// Count is the number of members.
func (p *Party) Count(ctx context.Context) (int, error) {
	guests, err := p.guests(ctx)
	return len(guests), err
}

func (p *Party) guests(ctx context.Context) ([]guest, error) {
	guests, err := await(ctx, p.c, func() ([]guest, error) { return p.read(ctx) }, nil)
	return guests, p.c.fail("read the party", p.path, err)
}

func (p *Party) names(ctx context.Context) ([]string, error) {
	names, err := p.c.children(ctx, p.path)
	if errors.Is(err, ErrNoNode) {
		return nil, nil
	}
	return slices.DeleteFunc(names, func(name string) bool { return !strings.Contains(name, partyName) }), err
}

func (p *Party) read(ctx context.Context) ([]guest, error) {
	names, err := p.names(ctx)
	if err != nil {
		return nil, err
	}
	known := make(map[string]guest, len(names))
	var fresh []string
	p.mu.Lock()
	for _, name := range names {
		if g, ok := p.known[name]; ok {
			known[name] = g
		} else {
			fresh = append(fresh, name)
		}
	}
	p.mu.Unlock()
	var mu sync.Mutex
	err = p.c.each(ctx, len(fresh), func(ctx context.Context, i int) error {
		data, st, err := p.c.get(ctx, join(p.path, fresh[i]))
		g := guest{}
		switch {
		case errors.Is(err, ErrNoNode):
			return nil // has left since
		case err == nil:
			g = guest{string(data), st.EphemeralOwner}
		case !errors.Is(err, ErrNoAuth):
			return err
		}
		if g.session == 0 {
			p.c.log.Warn(fmt.Sprintf("Set aside %s, which is no client's: it is not ephemeral, or may not be read", p.c.full(join(p.path, fresh[i]))),
				"event", "foreign", "znode", join(p.path, fresh[i]))
		}
		mu.Lock()
		defer mu.Unlock()
		known[fresh[i]] = g
		return nil
	})
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	p.known = known
	p.mu.Unlock()
	guests := make([]guest, 0, len(known))
	for _, g := range known {
		if g.session != 0 {
			guests = append(guests, g)
		}
	}
	return guests, nil
}

// randomHex is a name that nobody else has: 32 hex digits, as of a UUID.
func randomHex() string {
	var b [16]byte
	rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}
