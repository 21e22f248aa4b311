// SPDX-License-Identifier: LGPL-2.1-or-later

package web

import (
	"context"
	"fmt"
	"time"

	"vsc-zk/internal/status"
	"vsc-zk/internal/zkclient"
)

// patience is how long a look may take.
const patience = 5 * time.Second

// looker reads ZooKeeper, over lost sessions.
type looker struct {
	cfg     zkclient.Config
	session string // "": all of which there is a run
	zk      *zkclient.Client
	readers *status.Readers
}

// connect makes a new session. The first may take as long as that of any client.
func (l *looker) connect(ctx context.Context) (err error) {
	l.zk, err = zkclient.Connect(ctx, l.cfg)
	l.readers = status.NewReaders(l.zk)
	l.cfg.ConnectTimeout = patience
	return err
}

func (l *looker) close() {
	if l.zk != nil {
		l.zk.Close()
	}
}

func (l *looker) look(ctx context.Context) ([]*status.Snapshot, error) {
	if l.zk == nil || l.zk.Context().Err() != nil {
		l.close()
		if err := l.connect(ctx); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("ZooKeeper has not answered for %v", patience))
	defer cancel()
	return l.readers.Read(ctx, l.session)
}
