// SPDX-License-Identifier: LGPL-2.1-or-later

package rsyncrunner

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

func netcat(t *testing.T, ctx context.Context) (*Netcat, *buffer, int) {
	t.Helper()
	port, out := freePort(t), &buffer{}
	listener, err := StartNetcat(ctx, "", port, out, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(listener.Stop)
	return listener, out, port
}

func TestNetcatCopiesLines(t *testing.T) {
	listener, out, port := netcat(t, t.Context())
	ended := make(chan error)
	var want []string
	for number := range 15 {
		host := []string{"127.0.0.1", "::1"}[number%2]
		line := fmt.Sprintf("%s is sending %d", host, number)
		want = append(want, line)
		go func() { ended <- SendLine(t.Context(), net.JoinHostPort(host, strconv.Itoa(port)), line) }()
	}
	for range want {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	all := sortedLines(strings.Join(want, "\n") + "\n")
	eventually(t, "all lines have arrived", func() bool { return sortedLines(out.String()) == all })
	if listener.Err() != nil {
		t.Errorf("it does not run: %v", listener.Err())
	}
}

// Connections stay open for as long as they like, also between the pieces of a line, and a last
// line needs no end.
func TestNetcatAndSlowConnections(t *testing.T) {
	_, out, port := netcat(t, t.Context())
	addr := net.JoinHostPort("localhost", strconv.Itoa(port))
	first, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	_, _ = io.WriteString(first, "one\nhalf a ")
	eventually(t, "the whole line is there", func() bool { return out.String() == "one\n" })
	if err := SendLine(t.Context(), addr, "two"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the second is there", func() bool { return out.String() == "one\ntwo\n" })
	_, _ = io.WriteString(first, "line")
	_ = first.Close()
	eventually(t, "the rest is there", func() bool { return out.String() == "one\ntwo\nhalf a line" })
}

func TestNetcatEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	listener, _, port := netcat(t, ctx)
	conn, err := net.Dial("tcp", net.JoinHostPort("localhost", strconv.Itoa(port)))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	cancel()
	select {
	case <-listener.Done():
	case <-time.After(time.Minute):
		t.Fatal("it goes on after its context")
	}
	if err := listener.Err(); err != nil {
		t.Error(err)
	}
	listener.Stop()

	listener, _, port = netcat(t, t.Context())
	listener.Stop()
	listener.Stop()
	<-listener.Done()
	if err := listener.Err(); err != nil {
		t.Error(err)
	}
	if again, err := StartNetcat(t.Context(), "", port, nil, nil); err != nil {
		t.Error(err)
	} else {
		again.Stop()
	}
}

// runner is what a session needs of either sender.
type runner interface {
	Run(context.Context, Job) (Result, error)
}

var (
	_ runner = (*Sender)(nil)
	_ runner = (*LineSender)(nil)
)

func TestLineSender(t *testing.T) {
	listener, out, port := netcat(t, t.Context())
	sender := &LineSender{Who: "host:1"}
	job := Job{Names: []string{"0", "1_/a b", "../\xff", ""}, URL: URL("localhost", port, "m")}
	result, err := sender.Run(t.Context(), job)
	if err != nil || result.Class() != Fine || result.Duration <= 0 || result.Deleted != 0 {
		t.Errorf("%v, %+v", err, result)
	}
	want := "host:1 is sending 0\nhost:1 is sending 1_/a b\nhost:1 is sending ../\xff\nhost:1 is sending \n"
	eventually(t, "the lines have arrived", func() bool { return sortedLines(out.String()) == sortedLines(want) })

	job.Names = []string{"a\nb", "after"}
	result, err = sender.Run(t.Context(), job)
	if err != nil {
		t.Fatal(err)
	}
	wants(t, result, Partial, codePartial)
	if len(result.Errors) != 1 || !strings.Contains(result.Errors[0], "line end") {
		t.Errorf("%q", result.Errors)
	}
	want += "host:1 is sending after\n"
	eventually(t, "the other line has arrived", func() bool { return sortedLines(out.String()) == sortedLines(want) })

	listener.Stop()
	job.Names = []string{"a\nb", "never"}
	if result, err = sender.Run(t.Context(), job); err != nil {
		t.Fatal(err)
	}
	wants(t, result, Destination, codeNetwork)

	over, cancel := context.WithCancelCause(t.Context())
	lost := errors.New("lost")
	cancel(lost)
	if _, err := sender.Run(over, job); !errors.Is(err, lost) {
		t.Error(err)
	}
}

// sortedLines is a text whose lines may have come in any order.
func sortedLines(text string) string {
	lines := strings.Split(text, "\n")
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func TestNetcatPortTaken(t *testing.T) {
	port := freePort(t)
	occupy(t, "tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), func(net.Conn) {})
	if _, err := StartNetcat(t.Context(), "", port, nil, nil); err == nil || !strings.HasPrefix(err.Error(), "cannot listen on port") {
		t.Error(err)
	}
}

func TestSendLineFails(t *testing.T) {
	addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(freePort(t)))
	if err := SendLine(t.Context(), addr, "x"); err == nil || !strings.Contains(err.Error(), addr) {
		t.Error(err)
	}
	if err := SendLine(t.Context(), addr, "a\nb"); err == nil || !strings.Contains(err.Error(), "line end") {
		t.Error(err)
	}
}
