// SPDX-License-Identifier: LGPL-2.1-or-later

package session

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"vsc-zk/internal/session/destination"
	"vsc-zk/internal/session/guard"
	"vsc-zk/internal/session/leader"
	"vsc-zk/internal/session/member"
	"vsc-zk/internal/session/wire"
	"vsc-zk/internal/status"
	"vsc-zk/internal/zkclient"
	"vsc-zk/internal/zktest"
)

// scaleMaster, in the environment, makes the test binary a master of so many
// paths: its memory is measured without that of the others.
const scaleMaster = "SCALE_TEST_MASTER"

// scale is what such a master is told, in JSON.
type scale struct {
	Addr, Session string
	Paths         int
	Window        int  // 0: the usual
	Unseen        bool // nobody says anything of itself
}

// config is that of a client in a session in which nothing is done with the paths.
func (s scale) config(n int) Config {
	var timing member.Timing
	if s.Unseen {
		timing.Status = 24 * time.Hour
	}
	return Config{
		Member: member.Config{
			Zookeeper: zkclient.Config{Servers: []string{s.Addr}, User: "root", Password: "admin"},
			Session:   s.Session, Host: fmt.Sprintf("127.0.1.%d", n), Timing: timing,
		},
		Base: guard.Config{Path: "/"}, MaxDelete: -1,
		Leader:      leader.Config{Window: s.Window},
		Destination: destination.Config{StartPort: 20000, Slots: 50},
		Lines:       s.Paths, LineSender: sendLines(noLines),
	}
}

// runScaleMaster is the master's process. It prints the most memory it has had, in
// bytes.
func runScaleMaster(parameters string) error {
	var s scale
	if err := json.Unmarshal([]byte(parameters), &s); err != nil {
		return err
	}
	if err := Source(context.Background(), s.config(1)); err != nil {
		return err
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return err
	}
	_, peak, ok := strings.Cut(string(status), "VmHWM:")
	if !ok {
		return errors.New("no VmHWM in /proc/self/status")
	}
	kilobytes, err := strconv.Atoi(strings.Fields(peak)[0])
	if err != nil {
		return err
	}
	fmt.Println(kilobytes << 10)
	return nil
}

// run plays a session with so many slaves and returns how long its paths took, the
// master's memory, and the most znodes and bytes of data the server had.
func (s scale) run(tb testing.TB, server *zktest.Server, slaves int) (took time.Duration, memory, nodes, bytes int) {
	tb.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	errs := make(chan error, slaves+1)
	var clients sync.WaitGroup
	defer clients.Wait()
	start := func(role func(context.Context, Config) error, n int) {
		clients.Go(func() { errs <- role(ctx, s.config(n)) })
	}
	start(Destination, 2)

	parameters, err := json.Marshal(s)
	if err != nil {
		tb.Fatal(err)
	}
	master := exec.CommandContext(ctx, os.Args[0])
	master.Env = append(os.Environ(), scaleMaster+"="+string(parameters))
	var out, problem strings.Builder
	master.Stdout, master.Stderr = &out, &problem
	begin := time.Now()
	if err := master.Start(); err != nil {
		tb.Fatal(err)
	}
	waited := make(chan error, 1)
	clients.Go(func() { waited <- master.Wait() })

	probe, err := zkclient.Connect(ctx, zkclient.Config{Servers: []string{s.Addr}, User: "root", Password: "admin"})
	if err != nil {
		tb.Fatal(err)
	}
	defer probe.Close()
	t, err := wire.NewTree(s.Session)
	if err != nil {
		tb.Fatal(err)
	}
	for { // a slave that is first would be the master
		if _, ok, err := probe.Exists(ctx, t.Ready()); err != nil {
			tb.Fatal(err)
		} else if ok {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	for n := range slaves {
		start(Source, 3+n)
	}
	for {
		select {
		case err := <-waited:
			took = time.Since(begin)
			if err != nil {
				tb.Fatalf("the master: %v; %s", err, problem.String())
			}
			for range slaves + 1 {
				if err := <-errs; err != nil {
					tb.Errorf("a client: %v", err)
				}
			}
			memory, err = strconv.Atoi(strings.TrimSpace(out.String()))
			if err != nil {
				tb.Fatal(err)
			}
			return took, memory, nodes, bytes
		case <-time.After(100 * time.Millisecond):
		}
		if n, b, err := server.Size(); err == nil { // it may be too busy to answer
			nodes, bytes = max(nodes, n), max(bytes, b)
		}
	}
}

// Fifty slaves work at once on one server, and what they leave in it is bounded by
// the window.
func TestManySlaves(t *testing.T) {
	t.Parallel()
	own := zktest.Start(t) // where nobody else makes znodes
	_, memory, nodes, _ := scale{Addr: own.Addr(), Session: "many-slaves", Paths: 10_000, Window: 1_000}.run(t, own, 50)
	if limit := 100 << 20; memory > limit {
		t.Errorf("the master has used %d bytes of memory, more than %d", memory, limit)
	}
	if nodes == 0 || nodes > 7_500 { // what waits and what is taken, results, and clients
		t.Errorf("%d znodes at a time, which is more than a window of 1,000 needs", nodes)
	}
}

// BenchmarkScale is a session of so many paths with which nothing is done.
func BenchmarkScale(b *testing.B) {
	for _, paths := range []int{10_000, 100_000, 1_000_000} {
		b.Run(fmt.Sprintf("paths=%d", paths), func(b *testing.B) {
			for i := 0; b.Loop(); i++ {
				took, memory, nodes, bytes := scale{Addr: server.Addr(), Session: fmt.Sprintf("scale-%d-%d-%d", paths, b.N, i), Paths: paths}.run(b, server, 50)
				b.ReportMetric(float64(took.Microseconds())/float64(paths), "µs/path")
				b.ReportMetric(float64(memory)/(1<<20), "master-MiB")
				b.ReportMetric(float64(nodes), "znodes")
				b.ReportMetric(float64(bytes)/(1<<20), "data-MiB")
			}
		})
	}
}

// BenchmarkSeen is what it costs that a session can be seen: a session in which nobody says anything of itself, and
// one like any other that somebody watches, by turns. The processor's time is that of all clients, without the server's.
func BenchmarkSeen(b *testing.B) {
	const paths = 1_000_000
	for i := 0; b.Loop(); i++ {
		for _, unseen := range []bool{true, false} {
			name, seen := fmt.Sprintf("seen-%d-%d-%v", b.N, i, unseen), "seen"
			var looking sync.WaitGroup
			ctx, cancel := context.WithCancel(b.Context())
			if unseen {
				seen = "unseen"
			} else {
				looking.Go(func() { watched(ctx, b, name) })
			}
			before := cpu(b)
			took, _, _, _ := scale{Addr: server.Addr(), Session: name, Paths: paths, Unseen: unseen}.run(b, server, 50)
			b.ReportMetric(float64(took.Microseconds())/paths, seen+"-µs/path")
			b.ReportMetric((cpu(b) - before).Seconds(), seen+"-cpu-s")
			cancel()
			looking.Wait()
		}
	}
}

// watched looks at a session as --watch does.
func watched(ctx context.Context, b *testing.B, session string) {
	zk, err := zkclient.Connect(ctx, zkclient.Config{Servers: []string{server.Addr()}, User: "root", Password: "admin"})
	if err != nil {
		b.Error(err)
		return
	}
	defer zk.Close()
	for reader := status.NewReaders(zk); zkclient.Sleep(ctx, 2*time.Second) == nil; {
		if _, err := reader.Read(ctx, session); err != nil && ctx.Err() == nil {
			b.Error(err)
		}
	}
}

// cpu is the time of processors that this process and its children that have ended have had.
func cpu(b *testing.B) (all time.Duration) {
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var usage syscall.Rusage
		if err := syscall.Getrusage(who, &usage); err != nil {
			b.Fatal(err)
		}
		all += time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
	}
	return all
}
