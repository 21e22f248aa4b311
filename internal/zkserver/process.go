// SPDX-License-Identifier: LGPL-2.1-or-later

package zkserver

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

const (
	jar     = "/usr/share/java/zookeeper.jar" // its manifest names the other jars, but for this one of netty's
	codec   = "/usr/share/java/netty-codec.jar"
	install = "apt-get install -y zookeeper default-jre-headless"
)

// Program is a ZooKeeper that can be started.
type Program struct{ java, classPath string }

// Find looks for Java and for ZooKeeper's jars: those of a tarball that was unpacked in home, or Debian's if
// that is empty.
func Find(home string) (p Program, err error) {
	p = Program{java: "java", classPath: jar + ":" + codec}
	if home != "" {
		p.classPath = filepath.Join(home, "lib", "*")
		if found, err := filepath.Glob(filepath.Join(home, "lib", "zookeeper-*.jar")); err != nil || len(found) == 0 {
			return p, fmt.Errorf("cannot start ZooKeeper: there is no lib/zookeeper-*.jar in %s; give the directory that its tarball was unpacked to", home)
		}
	} else if _, err := os.Stat(jar); err != nil {
		return p, fmt.Errorf("cannot start ZooKeeper: %s is missing; type: %s", jar, install)
	}
	if home := os.Getenv("JAVA_HOME"); home != "" {
		p.java = filepath.Join(home, "bin", "java")
	}
	if p.java, err = exec.LookPath(p.java); err != nil {
		return p, fmt.Errorf("cannot start ZooKeeper: there is no java; type: %s", install)
	}
	return p, nil
}

// Process is one life of a server.
type Process struct {
	pid    int
	output string        // file
	done   chan struct{} // closed when it has ended and been waited for
	err    error
}

// Run starts a server with the settings of a zoo.cfg that keeps its files in dir, which must exist.
func (p Program) Run(dir string, settings []string) (*Process, error) {
	config := filepath.Join(dir, "zoo.cfg")
	if err := os.WriteFile(config, []byte(strings.Join(settings, "\n")+"\n"), 0o600); err != nil {
		return nil, fmt.Errorf("cannot start ZooKeeper: %w", err)
	}
	cmd := exec.Command(p.java, "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto", "-Djava.net.preferIPv4Stack=true",
		"-cp", p.classPath, "org.apache.zookeeper.server.quorum.QuorumPeerMain", config)
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	s := &Process{output: filepath.Join(dir, "zookeeper.out"), done: make(chan struct{})}
	output, err := os.OpenFile(s.output, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot start ZooKeeper: %w", err)
	}
	defer output.Close()
	cmd.Stdout, cmd.Stderr = output, output
	if err := s.launch(cmd); err != nil {
		return nil, fmt.Errorf("cannot start ZooKeeper: %w", err)
	}
	return s, nil
}

// launch starts cmd on a thread of its own that lives as long as the process does. The kernel sends
// the parent-death signal when the thread that forked ends.
func (s *Process) launch(cmd *exec.Cmd) error {
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(s.done)
		err := cmd.Start()
		if err == nil {
			s.pid = cmd.Process.Pid
		}
		started <- err
		if err == nil {
			s.err = cmd.Wait()
		}
	}()
	return <-started
}

// Done is closed when the server has ended.
func (s *Process) Done() <-chan struct{} { return s.done }

// Err says how it has ended, with the last that it said. It may be called after Done.
func (s *Process) Err() error {
	return fmt.Errorf("ZooKeeper has ended: %w: %s", cmp.Or(s.err, errors.New("exit status 0")), s.LastLines())
}

// LastLines is the last that the server said.
func (s *Process) LastLines() string {
	text, _ := os.ReadFile(s.output) // which says nothing
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-5):], " | ")
}

// Signal is sent to the process group; false if there is none any more.
func (s *Process) Signal(signal syscall.Signal) bool {
	select {
	case <-s.done:
		return false
	default:
		return syscall.Kill(-s.pid, signal) == nil
	}
}

// Stop ends the process group with a signal, also if it is stopped, and waits for it.
func (s *Process) Stop(signal syscall.Signal) {
	if !s.Signal(signal) {
		return
	}
	s.Signal(syscall.SIGCONT)
	select {
	case <-s.done:
	case <-time.After(5 * time.Second):
		s.Signal(syscall.SIGKILL)
		<-s.done
	}
}
