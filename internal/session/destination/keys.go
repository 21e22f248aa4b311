// SPDX-License-Identifier: LGPL-2.1-or-later

package destination

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"vsc-zk/internal/session/member"
	"vsc-zk/internal/session/wire"
	"vsc-zk/internal/zkclient"
)

// keys knows by which certificates the clients that are in the session now are known.
type keys struct {
	m *member.Member

	mu    sync.Mutex
	known map[string]string // the fingerprint, by whoami

	reading sync.Mutex // one at a time, so that what was read first does not count last

	looking sync.Mutex // one look for strangers at a time
	began   time.Time  // the last one
}

func newKeys(m *member.Member) *keys { return &keys{m: m, known: map[string]string{}} }

// has tells whether somebody with that certificate is known.
func (k *keys) has(fingerprint string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, known := range k.known {
		if known == fingerprint {
			return true
		}
	}
	return false
}

// lookEvery is the least time between two looks for strangers, which may be many.
const lookEvery = 300 * time.Millisecond

// learn looks for who is there now. Many that ask at once share a look.
func (k *keys) learn(ctx context.Context) {
	asked := time.Now()
	k.looking.Lock()
	defer k.looking.Unlock()
	if k.began.After(asked) {
		return
	}
	if zkclient.Sleep(ctx, lookEvery-time.Since(k.began)) != nil {
		return
	}
	k.began = time.Now()
	k.reading.Lock()
	defer k.reading.Unlock()
	names, err := k.m.Children(ctx, k.m.Tree.Keys())
	if err == nil {
		err = k.read(ctx, names, true)
	}
	if err != nil && ctx.Err() == nil {
		k.m.Log.Warn(fmt.Sprintf("cannot find out who is in the session: %v", err), "error", err)
	}
}

// follow keeps what is known true until ctx ends, and calls changed when it may be another.
func (k *keys) follow(ctx context.Context, changed func()) error {
	var failed error
	var last []string
	watching, end := context.WithCancel(ctx)
	defer end()
	err := k.m.ZK.WatchChildren(watching, k.m.Tree.Keys(), func(names []string) {
		k.reading.Lock()
		defer k.reading.Unlock()
		if failed = k.read(watching, names, slices.Equal(names, last)); failed != nil {
			end()
			return
		}
		last = names
		changed()
	})
	if failed != nil {
		return failed
	}
	return err
}

// read reads the keys with these names. Who has left is known no more. With again those are read, too, that are
// known already: a name may have got another owner.
func (k *keys) read(ctx context.Context, names []string, again bool) error {
	k.mu.Lock()
	old := k.known
	k.mu.Unlock()
	found := make([]string, len(names))
	group, limited := errgroup.WithContext(ctx)
	group.SetLimit(32)
	for i, name := range names {
		if found[i] = old[name]; found[i] != "" && !again {
			continue
		}
		group.Go(func() error {
			data, stat, ok, err := k.m.Read(limited, k.m.Tree.Key(name))
			if err != nil {
				return fmt.Errorf("cannot read the key of %s: %w", wire.Text(name), err)
			}
			found[i] = ""
			if key, err := wire.DecodeKey(data, stat.EphemeralOwner != 0); ok && err == nil {
				found[i] = key.Fingerprint
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	known := map[string]string{}
	for i, name := range names {
		if found[i] != "" {
			known[name] = found[i]
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.known = known
	return nil
}
