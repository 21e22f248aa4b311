// SPDX-License-Identifier: LGPL-2.1-or-later

package main

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"vsc-zk/internal/session/leader"
)

// The command of --on-end gets no more than its time, and nothing of it is left.
func TestOnEndIsBounded(t *testing.T) {
	for name, command := range map[string]string{
		"one that ends":   `trap 'exit 0' TERM; sleep 1000 & echo $! >pid; wait`,
		"one that stays":  `trap '' TERM; sleep 1000 & echo $! >pid; wait; wait`,
		"one left behind": `sleep 1000 & echo $! >pid`,
	} {
		t.Run(name, func(t *testing.T) {
			pid := filepath.Join(t.TempDir(), "pid")
			var log bytes.Buffer
			onEnd(t.Context(), strings.ReplaceAll(command, "pid", pid), os.Environ(), leader.Summary{}, 0, time.Second, slog.New(slog.NewTextHandler(&log, nil)))
			text, err := os.ReadFile(pid)
			if err != nil {
				t.Fatal(err)
			}
			child, err := strconv.Atoi(strings.TrimSpace(string(text)))
			if err != nil {
				t.Fatal(err)
			}
			if !eventually(func() bool { return !runs(child) }) {
				_ = syscall.Kill(child, syscall.SIGKILL)
				t.Errorf("a process of it is left; log: %s", &log)
			}
			if inTime := strings.Contains(log.String(), "ended well"); inTime != (name == "one left behind") {
				t.Errorf("log: %s", &log)
			}
		})
	}
}
