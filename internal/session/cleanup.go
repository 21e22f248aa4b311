// SPDX-License-Identifier: LGPL-2.1-or-later

package session

import (
	"context"
	"crypto/sha256"
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
	if ms.account == nil {
		ms.account = newAccount()
	}
	ours, err := m.extIsOurs(ctx)
	if err != nil {
		return err
	}
	counts := &ms.account.Counts
	for _, step := range []struct {
		queue string
		count *int
		log   func(value string)
	}{
		{m.tree.pathQueue(), &counts.Unfinished, func(v string) { ms.log.Warn("Unfinished Path " + v) }},
		{m.tree.extQueue(), &counts.Unfinished, func(v string) { ms.log.Warn("Unfinished Path " + v) }},
		{m.tree.failedQueue(), &counts.Failed, func(v string) { ms.log.Error("Failed Path " + v) }},
		{m.tree.completedQueue(), &counts.Completed, func(v string) { ms.log.Info("Completed Path " + v) }},
	} {
		if step.queue == m.tree.extQueue() && !ours {
			continue
		}
		if err := m.drain(ctx, step.queue, func(v string) {
			if ms.account.first(v) {
				*step.count++
				step.log(printable(v))
			}
		}); err != nil {
			return err
		}
	}
	if err := m.logStats(ctx); err != nil {
		return err
	}
	ms.log.Info("Output:")
	if err := m.drain(ctx, m.tree.outputQueue(), func(v string) { ms.log.Info(printable(v)) }); err != nil {
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
		problem, err := writeDoneFile(ms.cfg.DoneFile, ms.account.Counts, time.Now())
		if problem != nil {
			ms.log.Error(problem.Error())
		}
		if err != nil {
			return err
		}
	}
	if counts := ms.account.Counts; counts.incomplete() {
		return fmt.Errorf("%w: %d failed, %d unfinished, %d completed", ErrIncomplete, counts.Failed, counts.Unfinished, counts.Completed)
	}
	return nil
}

// account counts the paths of a run by how they ended. It outlives the master's
// ZooKeeper sessions.
//
// A path can stand in two queues, or twice in one: a Python client that dies
// after it has put a path where it belongs and before it has taken it from
// where it was leaves it to be done again. It counts once, as the worst it came to:
// unfinished, failed, completed.
type account struct {
	Counts
	seen map[[16]byte]struct{} // hashes: the paths of a large tree would fill the memory
}

func newAccount() *account { return &account{seen: map[[16]byte]struct{}{}} }

// first tells whether this path is met for the first time.
func (a *account) first(path string) bool {
	sum := sha256.Sum256([]byte(path))
	key := [16]byte(sum[:])
	_, met := a.seen[key]
	a.seen[key] = struct{}{}
	return !met
}

func (m *member) drain(ctx context.Context, queue string, fn func(string)) error {
	_, err := m.Queue(queue).Drain(ctx, func(value []byte) error {
		fn(string(value))
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
