// SPDX-License-Identifier: LGPL-2.1-or-later

package session

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"vsc-zk/internal/zkclient"
)

// cleanup logs what became of every path, removes the run's nodes, releases the
// lock and writes the done-file. Session, parties, watch, lock and port nodes
// stay, as in the original.
func (ms *master) cleanup(ctx context.Context, m *member, lock *zkclient.Lock) error {
	if ms.counts == nil {
		counts, err := countPaths(ctx, m)
		if err != nil {
			return err
		}
		ms.counts = &counts
	}
	for _, step := range []struct {
		queue string
		log   func(value string)
	}{
		{m.tree.pathQueue(), func(v string) { ms.log.Warn("Unfinished Path " + v) }},
		{m.tree.extQueue(), func(v string) { ms.log.Warn("Unfinished Path " + v) }},
		{m.tree.failedQueue(), func(v string) { ms.log.Error("Failed Path " + v) }},
		{m.tree.completedQueue(), func(v string) { ms.log.Info("Completed Path " + v) }},
	} {
		if err := m.drain(ctx, step.queue, step.log); err != nil {
			return err
		}
	}
	if err := m.logStats(ctx); err != nil {
		return err
	}
	ms.log.Info("Output:")
	if err := m.drain(ctx, m.tree.outputQueue(), func(v string) { ms.log.Info(v) }); err != nil {
		return err
	}
	for _, path := range []string{
		m.tree.destQueue(), m.tree.pathQueue(), m.tree.extQueue(), m.tree.stats(), m.tree.completedQueue(),
		m.tree.failedQueue(), m.tree.outputQueue(), m.tree.meta(), m.tree.ready(), // ready last: until then the run is not clean
	} {
		if err := m.DeleteTree(ctx, path); err != nil {
			return fmt.Errorf("cannot clean up the session: %w", err)
		}
	}
	if err := lock.Release(ctx); err != nil {
		return fmt.Errorf("cannot release the master's lock: %w", err)
	}
	ms.log.Info("Cleanup done: Lock, Queues and watch removed")
	return ms.conclude()
}

// conclude writes the done-file and turns the counts into the run's result.
func (ms *master) conclude() error {
	if ms.cfg.DoneFile != "" {
		problem, err := writeDoneFile(ms.cfg.DoneFile, *ms.counts, time.Now())
		if problem != nil {
			ms.log.Error(problem.Error())
		}
		if err != nil {
			return err
		}
	}
	if ms.counts.incomplete() {
		return fmt.Errorf("%w: %d failed, %d unfinished, %d completed", ErrIncomplete, ms.counts.Failed, ms.counts.Unfinished, ms.counts.Completed)
	}
	return nil
}

func countPaths(ctx context.Context, m *member) (Counts, error) {
	unfinished, err := remaining(ctx, m)
	if err != nil {
		return Counts{}, err
	}
	failed, err := m.Queue(m.tree.failedQueue()).Len(ctx)
	if err != nil {
		return Counts{}, fmt.Errorf("cannot count the failed paths: %w", err)
	}
	completed, err := m.Queue(m.tree.completedQueue()).Len(ctx)
	if err != nil {
		return Counts{}, fmt.Errorf("cannot count the completed paths: %w", err)
	}
	return Counts{Unfinished: unfinished, Failed: failed, Completed: completed}, nil
}

func (m *member) drain(ctx context.Context, queue string, log func(string)) error {
	_, err := m.Queue(queue).Drain(ctx, func(value []byte) error {
		log(printable(string(value)))
		return nil
	})
	if err != nil {
		return fmt.Errorf("cannot empty %s: %w", queue, err)
	}
	return nil
}

// printable is s, quoted if a log line could not show it as it is.
func printable(s string) string {
	if !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl) {
		return strconv.Quote(s)
	}
	return s
}
