// SPDX-License-Identifier: LGPL-2.1-or-later

package leader

import (
	"bufio"
	"encoding/json"
	"errors"
	"hash/maphash"
	"os"
	"sync"

	"vsc-zk/internal/session/wire"
)

// history is how long each path took in an earlier run, from the report of that. nil knows nothing.
type history struct {
	seed maphash.Seed

	mu      sync.Mutex
	seconds map[uint64]float32 // by a hash of the path: there may be very many
	total   float64
}

// readHistory reads a report.
func readHistory(path string) (*history, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	h := &history{seed: maphash.MakeSeed(), seconds: map[uint64]float32{}}
	lines := json.NewDecoder(bufio.NewReaderSize(file, 1<<20))
	for number := 1; lines.More(); number++ {
		var line struct {
			Type    string    `json:"type"`
			Path    wire.Text `json:"path"`
			Seconds *float64  `json:"seconds"`
			Batch   int       `json:"batch"`
		}
		if err := lines.Decode(&line); err != nil || number == 1 && line.Type != "header" {
			if number > 1 { // whoever wrote it was interrupted
				break
			}
			return nil, errors.New("it is no report: its first line is no header")
		}
		if line.Type != "path" || line.Seconds == nil || *line.Seconds < 0 {
			continue
		}
		h.learn(line.Path, *line.Seconds/float64(max(line.Batch, 1)))
	}
	return h, nil
}

// remember reads the report of an earlier run, if there is one.
func (l *Leader) remember() (err error) {
	if l.cfg.History == "" {
		return nil
	}
	if l.ledger.history, err = readHistory(l.cfg.History); err != nil {
		return BadValue("history", l.cfg.History, err)
	}
	return nil
}

func (h *history) key(path wire.Text) uint64 { return maphash.String(h.seed, string(path)) }

// learn notes a path; of one that is there twice what took longer.
func (h *history) learn(path wire.Text, seconds float64) {
	key := h.key(path)
	before, known := h.seconds[key]
	if now := float32(seconds); now > before || !known {
		h.seconds[key] = now
		h.total += float64(now - before)
	}
}

// sum is how long all paths took.
func (h *history) sum() float64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.total
}

// mean is how long one path took.
func (h *history) mean() float64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.total / float64(max(len(h.seconds), 1))
}

// of is how long paths should take together; one that is not known as long as the others in the mean.
func (h *history) of(paths ...wire.Text) (seconds float64) {
	if h == nil {
		return 0
	}
	mean := h.mean()
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, path := range paths {
		if known, ok := h.seconds[h.key(path)]; ok {
			seconds += float64(known)
		} else {
			seconds += mean
		}
	}
	return seconds
}

// known is how long a path took, 0 if that is not known.
func (h *history) known(path wire.Text) (seconds float64) {
	if h == nil {
		return 0
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return float64(h.seconds[h.key(path)])
}

// cut has the pieces of a path take as long as that, unless they are known.
func (h *history) cut(task wire.Task, pieces []wire.Task) {
	if h == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if whole, ok := h.seconds[h.key(task.Value)]; ok {
		for _, piece := range pieces {
			if key := h.key(piece.Value); h.seconds[key] == 0 {
				h.seconds[key] = whole / float32(len(pieces))
			}
		}
	}
}
