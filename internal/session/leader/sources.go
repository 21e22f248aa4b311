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
// netcat test. It begins where it stood.
func (l *Leader) firstPass(from wire.Stage) taskSource {
	switch {
	case l.cfg.Lines > 0:
		return func(_ context.Context, emit func(wire.Task) error) error {
			for i := range l.cfg.Lines {
				if err := emit(wire.DecodeTask([]byte(strconv.Itoa(i)))); err != nil {
					return err
				}
			}
			return nil
		}
	case l.cfg.Changed != "":
		return func(_ context.Context, emit func(wire.Task) error) error {
			list, err := l.changes()
			if err != nil {
				return err
			}
			return list.tasks(from.Found, emit)
		}
	case l.cfg.PathsFrom != "":
		return func(ctx context.Context, emit func(wire.Task) error) error {
			file, err := l.listed()
			if err != nil {
				return err
			}
			return emitAll(file.tasks[min(from.Found, len(file.tasks)):])(ctx, emit)
		}
	}
	return l.walk(round{first: true, after: from.Cursor})
}

// walk is a walk through the tree.
func (l *Leader) walk(r round) taskSource {
	return func(ctx context.Context, emit func(wire.Task) error) error { return l.survey.walk(ctx, r, emit) }
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
