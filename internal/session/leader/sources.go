// SPDX-License-Identifier: LGPL-2.1-or-later

package leader

import (
	"context"
	"strconv"

	"vsc-zk/internal/session/wire"
)

// taskSource emits tasks until ctx ends.
type taskSource func(ctx context.Context, emit func(wire.Task) error) error

// firstPass is what a session is about: the tree, the paths of a file, or the made-up ones of the
// netcat test.
func (l *Leader) firstPass(ctx context.Context, emit func(wire.Task) error) error {
	switch {
	case l.cfg.Lines > 0:
		for i := range l.cfg.Lines {
			if err := emit(wire.DecodeTask([]byte(strconv.Itoa(i)))); err != nil {
				return err
			}
		}
		return nil
	case l.cfg.PathsFrom != "":
		file, err := l.listed()
		if err != nil {
			return err
		}
		return emitAll(file.tasks)(ctx, emit)
	}
	return l.survey.walk(ctx, true, emit)
}

// laterWalk is what has changed in the tree.
func (l *Leader) laterWalk(ctx context.Context, emit func(wire.Task) error) error {
	return l.survey.walk(ctx, false, emit)
}

// emitAll is a source of the tasks given.
func emitAll(tasks []wire.Task) taskSource {
	return func(_ context.Context, emit func(wire.Task) error) error {
		for _, task := range tasks {
			if err := emit(task); err != nil {
				return err
			}
		}
		return nil
	}
}
