// SPDX-License-Identifier: LGPL-2.1-or-later

package interop

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"testing"

	"vsc-zk/internal/zkclient"
)

// holdVariable makes a second run of the test binary a Go client that can be killed. The client
// takes what the variable names, and keeps it until it is killed or its stdin ends.
const holdVariable = "INTEROP_HOLD"

// holding is what such a client takes, in this order. An empty path means nothing of that kind.
type holding struct {
	Server string
	Party  string
	Queue  string // one entry
	Lock   string // waits for it
}

// startHolder starts a Go client in a process of its own. It returns when the client has everything
// or, if the lock is taken, when it is about to wait for that.
func startHolder(t *testing.T, h holding) *os.Process {
	t.Helper()
	h.Server = server.Addr()
	what, err := json.Marshal(h)
	ok(t, err)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), holdVariable+"="+string(what))
	cmd.Stderr = t.Output()
	stdin, err := cmd.StdinPipe()
	ok(t, err)
	stdout, err := cmd.StdoutPipe()
	ok(t, err)
	ok(t, cmd.Start())
	t.Cleanup(func() {
		stdin.Close()
		_ = cmd.Wait() // killed, mostly
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil || line != "holding\n" {
		t.Fatalf("the holder said %q: %v", line, err)
	}
	return cmd.Process
}

// hold is the main function of a holder.
func hold(what string) int {
	if err := keep(what); err != nil {
		fmt.Fprintln(os.Stderr, "holder:", err)
		return 1
	}
	return 0
}

func keep(what string) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var h holding
	if err := json.Unmarshal([]byte(what), &h); err != nil {
		return err
	}
	c, err := zkclient.Connect(ctx, zkclient.Config{
		Servers: []string{h.Server}, User: user, Password: password, SessionTimeout: mortal,
		Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)),
	})
	if err != nil {
		return err
	}
	defer c.Close()
	if h.Party != "" {
		if err := c.Party(h.Party, "holder").Join(ctx); err != nil {
			return err
		}
	}
	if h.Queue != "" {
		if _, err := c.Queue(h.Queue).Take(ctx); err != nil {
			return err
		}
	}
	locked := make(chan error, 1)
	if h.Lock != "" {
		lock := c.Lock(h.Lock, "holder")
		got, err := lock.TryAcquire(ctx)
		if err != nil {
			return err
		}
		if !got {
			go func() { locked <- lock.Acquire(ctx) }()
		}
	}
	fmt.Println("holding")
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		return err
	}
	return nil
}
