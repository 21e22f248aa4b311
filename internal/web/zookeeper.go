// SPDX-License-Identifier: LGPL-2.1-or-later

package web

import (
	"context"
	"errors"
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
	readers map[string]*status.Reader
}

// connect makes a new session. The first may take as long as that of any client.
func (l *looker) connect(ctx context.Context) (err error) {
	l.readers = map[string]*status.Reader{}
	l.zk, err = zkclient.Connect(ctx, l.cfg)
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
	names := []string{l.session}
	if l.session == "" {
		var err error
		if names, err = status.Sessions(ctx, l.zk); err != nil {
			return nil, fmt.Errorf("cannot look for sessions: %w", err)
		}
	}
	all := make([]*status.Snapshot, 0, len(names))
	for _, name := range names {
		snapshot, err := l.read(ctx, name)
		if l.session == "" && errors.Is(err, zkclient.ErrNoAuth) { // it is another user's
			continue
		}
		if err != nil {
			return nil, err
		}
		all = append(all, snapshot)
	}
	return all, nil
}

func (l *looker) read(ctx context.Context, name string) (*status.Snapshot, error) {
	reader, ok := l.readers[name]
	if !ok {
		var err error
		if reader, err = status.NewReader(l.zk, name); err != nil {
			return nil, err
		}
		l.readers[name] = reader
	}
	return reader.Read(ctx)
}
