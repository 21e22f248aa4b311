// SPDX-License-Identifier: LGPL-2.1-or-later

package session

import (
	"context"
	"errors"
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
	if err := ms.account.drain(ctx, m); err != nil {
		return err
	}
	if ms.counts == nil {
		counts := ms.ledger.now().Ended
		queues, err := remaining(ctx, m)
		if err != nil {
			return err
		}
		left := queues.total()
		// What was queued and is neither ended nor in a queue was removed by
		// somebody else: nobody can say that it was done.
		counts.Unfinished = max(left, ms.ledger.now().paths()-counts.ended())
		if counts.Unfinished > left {
			ms.log.Error(fmt.Sprintf("%d paths have left the queue without a result", counts.Unfinished-left))
		}
		ms.counts = &counts
	}
	unfinished := func(value []byte) error {
		if path := text(value); ms.account.failed[path] { // before it was queued again
			delete(ms.account.failed, path)
			ms.counts.Failed--
			ms.again++
		}
		ms.log.Warn("Unfinished Path " + printable(string(value)))
		ms.report.unfinished(value)
		return nil
	}
	for _, queue := range []string{m.tree.pathQueue(), m.tree.extQueue()} {
		if err := m.drain(ctx, queue, unfinished); err != nil {
			return err
		}
	}
	if err := ms.splitter.drain(ctx, m, unfinished); err != nil {
		return err
	}
	if err := m.logStats(ctx); err != nil {
		return err
	}
	ms.log.Info("Output:")
	if err := m.drain(ctx, m.tree.outputQueue(), func(v []byte) error { ms.log.Info(printable(string(v))); return nil }); err != nil {
		return err
	}
	for _, path := range append(m.tree.ofRun(), m.tree.ready()) { // ready last: until then the run is not clean
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
	ms.log.Info("Paths: " + ms.counts.String())
	if err := ms.report.close(ms.ledger.now().paths()-ms.again, ms.account.failed, *ms.counts); err != nil {
		return err
	}
	err := errors.Join(ms.broken, ms.counts.problem())
	if ms.linksLost > 0 {
		err = errors.Join(err, fmt.Errorf("%w: %d groups of hard links were not kept", ErrIncomplete, ms.linksLost))
	}
	return err
}

// drain empties a queue, handing out each value.
func (m *member) drain(ctx context.Context, queue string, each func([]byte) error) error {
	if _, err := m.Queue(queue).Drain(ctx, each); err != nil {
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
