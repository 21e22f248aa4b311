// SPDX-License-Identifier: LGPL-2.1-or-later

package session

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"vsc-zk/internal/zkclient"
)

// metaFormat is the version of S/meta's content.
const metaFormat = 1

// meta is the content of S/meta. The master writes it in the transactions that
// queue paths.
type meta struct {
	Format int   `json:"format"`
	Epoch  int64 `json:"epoch"`  // czxid of S/watch/ready
	Queued int   `json:"queued"` // entries queued so far
	Walked bool  `json:"walked"` // the walk is over: nothing more will be queued
}

func (mt meta) encode() []byte {
	data, err := json.Marshal(mt)
	if err != nil {
		panic(err) // a struct of numbers
	}
	return data
}

// readMeta returns the meta of this epoch with its version; ok is false if
// there is none, or it is another run's.
func (m *member) readMeta(ctx context.Context, epoch int64) (mt meta, version int32, ok bool, err error) {
	data, stat, err := m.Get(ctx, m.tree.meta())
	if errors.Is(err, zkclient.ErrNoNode) {
		return meta{}, 0, false, nil
	}
	if err != nil {
		return meta{}, 0, false, fmt.Errorf("cannot read the session's state: %w", err)
	}
	mt, ok = decodeMeta(data, epoch)
	return mt, stat.Version, ok, nil
}

// decodeMeta reads the content of S/meta; ok is false if it is not of this
// epoch.
func decodeMeta(data []byte, epoch int64) (mt meta, ok bool) {
	if json.Unmarshal(data, &mt) != nil || mt.Format != metaFormat || mt.Epoch != epoch {
		return meta{}, false
	}
	return mt, true
}
