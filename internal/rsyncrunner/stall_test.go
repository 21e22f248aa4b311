// SPDX-License-Identifier: LGPL-2.1-or-later

package rsyncrunner

import (
	"errors"
	"syscall"
	"testing"
	"time"
)

// An rsync that is stopped is ended; one that works, or waits and wakes up, is not.
func TestStall(t *testing.T) {
	for name, c := range map[string]struct {
		script string
		ends   bool // by itself
	}{
		"stopped":              {"echo pid $$; kill -STOP $$", false},
		"a child stopped":      {"sh -c 'kill -STOP $$' & echo pid $$; kill -STOP $$", false},
		"waits without waking": {"echo pid $$; sleep 600", false},
		"wakes up":             {"echo pid $$; for i in 1 2 3 4 5 6 7 8; do sleep 0.2; done", true},
		"computes":             {"echo pid $$; i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out := &buffer{}
			sender := Sender{Stall: time.Second, StopGrace: 100 * time.Millisecond, Output: out, program: script(t, c.script)}
			_, err := sender.Run(t.Context(), Job{Base: "/", Names: []string{""}, URL: "rsync://localhost:1/m"})
			if c.ends != (err == nil) || !c.ends && !errors.Is(err, ErrStalled) {
				t.Errorf("%v", err)
			}
			for _, pid := range pids(t, out, 1) {
				if syscall.Kill(-pid, 0) == nil && len(members(pid)) > 0 {
					t.Errorf("its group %d is alive", pid)
				}
			}
		})
	}
}

// A try changes nothing, and tells whether the options are fine.
func TestTry(t *testing.T) {
	t.Parallel()
	source, destination := t.TempDir(), t.TempDir()
	write(t, source, "file", "x")
	_, url := serve(t, destination)
	before := tree(t, destination)
	sender := Sender{Options: Options{Delete: true}, Output: t.Output()}
	if result, err := sender.Try(t.Context(), url, nil); err != nil || result.Class() != Fine {
		t.Errorf("%v, %v", result, err)
	}
	if after := tree(t, destination); len(after) != len(before) {
		t.Errorf("the try has changed the destination: %v", after)
	}
	sender.Options.Extra = []string{"no-such-option"}
	if result, err := sender.Try(t.Context(), url, nil); err != nil || result.Class() != Fatal {
		t.Errorf("%v, %v", result, err)
	}
}
