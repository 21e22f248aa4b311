// SPDX-License-Identifier: LGPL-2.1-or-later

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// session runs the programs the way a user does.
type session struct {
	options
	servers string
	work    string
	out     io.Writer

	mu    sync.Mutex
	sent  map[string]map[string]int // source -> destination -> paths
	stats map[string]int64          // the master's last "progress stats"
}

// process is a running zkrsync.
type process struct {
	name string
	cmd  *exec.Cmd
	read sync.WaitGroup
}

func (s *session) run(ctx context.Context) error {
	if err := s.initTree(ctx); err != nil {
		return err
	}
	s.sent = map[string]map[string]int{}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var all []*process
	defer func() {
		cancel() // SIGTERM to those that are left
		for _, p := range all {
			p.wait()
		}
	}()
	start := func(name string, args ...string) error {
		p, err := s.start(ctx, name, args...)
		if err == nil {
			all = append(all, p)
		}
		return err
	}
	// The master is the first source. The others may come in any order, at any time.
	if err := start("master", "-S", "-r", s.src, fmt.Sprintf("--depth=%d", s.depth)); err != nil {
		return err
	}
	if err := s.waitForMaster(ctx); err != nil {
		return err
	}
	for i := range s.dests {
		if err := start(fmt.Sprintf("destination %d", i+1), "-D", "-r", s.dst); err != nil {
			return err
		}
	}
	for i := range s.sources {
		if err := start(fmt.Sprintf("source %d", i+1), "-S", "-r", s.src); err != nil {
			return err
		}
	}
	var failed []string
	for _, p := range slices.Backward(all) { // the master leaves last
		if err := p.wait(); err != nil {
			failed = append(failed, fmt.Sprintf("%s: %v", p.name, err))
			cancel()
		}
	}
	all = nil
	if ctx.Err() != nil && len(failed) == 0 {
		return context.Cause(ctx)
	}
	if len(failed) > 0 {
		return fmt.Errorf("cannot finish the run: %s", strings.Join(failed, "; "))
	}
	return nil
}

// initTree runs zkinitree with the example file, so that the run uses that file's user "rsync", not
// root.
func (s *session) initTree(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, filepath.Join(s.bin, "zkinitree"),
		"--configfiles="+filepath.Join(s.examples, "zkinitree.cfg"), "--servers="+s.servers)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("cannot set up the ZooKeeper tree: %w\n%s", err, out)
	}
	return nil
}

// args are the options that all clients share.
func (s *session) args(more ...string) []string {
	return append(more, "--configfiles="+filepath.Join(s.examples, "zkrs.conf"),
		"--servers="+s.servers, "--session=demo", "--host=localhost", "--hardlinks", "--info", "--logfile=")
}

func (s *session) start(ctx context.Context, name string, args ...string) (*process, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(s.bin, "zkrsync"), s.args(args...)...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 20 * time.Second
	log, err := cmd.StderrPipe()
	if err != nil {
		return nil, fmt.Errorf("cannot start the %s: %w", name, err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("cannot start the %s: %w", name, err)
	}
	p := &process{name: name, cmd: cmd}
	p.read.Go(func() { s.follow(name, log) })
	return p, nil
}

func (p *process) wait() error {
	p.read.Wait()
	return p.cmd.Wait()
}

// waitForMaster returns when the session has started. So the first source, which is called master
// here, is the master.
func (s *session) waitForMaster(ctx context.Context) error {
	for range 150 {
		cmd := exec.CommandContext(ctx, filepath.Join(s.bin, "zkrsync"), s.args("--state", "-r", s.src)...)
		if err := cmd.Run(); err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(100 * time.Millisecond):
		}
	}
	return fmt.Errorf("cannot see the master start")
}

var (
	sending  = regexp.MustCompile(`  (\S+) is sending path .* to (\S+ \d+)$`)
	progress = regexp.MustCompile(`  (Progress: .*|Connected source .*)$`)
	numbers  = regexp.MustCompile(`  progress stats: (\{.*\})$`)
	trouble  = regexp.MustCompile(`^\S+ \S+ (WARNING|ERROR) `)
)

// follow reads a client's log. It shows progress and trouble, and counts the paths that are sent.
func (s *session) follow(name string, log io.Reader) {
	lines := bufio.NewScanner(log)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		s.mu.Lock()
		if m := sending.FindStringSubmatch(line); m != nil {
			if s.sent[m[1]] == nil {
				s.sent[m[1]] = map[string]int{}
			}
			s.sent[m[1]][m[2]]++
		}
		if m := numbers.FindStringSubmatch(line); m != nil && json.Unmarshal([]byte(m[1]), &s.stats) != nil {
			fmt.Fprintf(s.out, "%-10s unreadable: %s\n", name, line)
		}
		if m := progress.FindStringSubmatch(line); m != nil {
			fmt.Fprintf(s.out, "%-10s %s\n", name, m[1])
		} else if trouble.MatchString(line) {
			fmt.Fprintf(s.out, "%-10s %s\n", name, line)
		}
		s.mu.Unlock()
	}
	io.Copy(io.Discard, log) // a line too long to scan must not stop the client
}

// report says who moved what and how fast.
func (s *session) report(took time.Duration) error {
	var files, dirs int
	var bytes int64
	err := filepath.WalkDir(s.src, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		switch {
		case d.IsDir():
			dirs++
		case d.Type().IsRegular():
			info, err := d.Info()
			if err != nil {
				return err
			}
			files++
			bytes += info.Size()
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("cannot count the source: %w", err)
	}
	paths := 0
	for _, source := range sortedKeys(s.sent) {
		for _, dest := range sortedKeys(s.sent[source]) {
			n := s.sent[source][dest]
			paths += n
			fmt.Fprintf(s.out, "Moved      %4d paths by %s to %s\n", n, source, dest)
		}
	}
	seconds := took.Seconds()
	fmt.Fprintf(s.out, "Run        %d files (%s) in %d directories, %d paths, %s sent\n", files, size(bytes), dirs, paths, size(s.stats["Total_bytes_sent"]))
	fmt.Fprintf(s.out, "Speed      %.1f s, %.0f files/s, %s/s, %.1f paths/s\n", seconds, float64(files)/seconds, size(int64(float64(bytes)/seconds)), float64(paths)/seconds)
	return nil
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// size writes a number of bytes for people.
func size(n int64) string {
	const units = "kMGTPE"
	if n < 1000 {
		return fmt.Sprintf("%d B", n)
	}
	value, unit := float64(n)/1000, 0
	for value >= 1000 && unit < len(units)-1 {
		value /= 1000
		unit++
	}
	return fmt.Sprintf("%.1f %cB", value, units[unit])
}
