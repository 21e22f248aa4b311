// SPDX-License-Identifier: LGPL-2.1-or-later

package link

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// What a link costs beside an rsync that is connected to its daemon directly, with all processes of both ends:
//
//	TMPDIR=/dev/shm go test ./internal/link -run '^$' -bench Link -benchtime 1x
func BenchmarkLink(b *testing.B) {
	const size = 2 << 30
	cpu := func() (sum time.Duration) {
		for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
			var usage syscall.Rusage
			if err := syscall.Getrusage(who, &usage); err != nil {
				b.Fatal(err)
			}
			sum += time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
		}
		return sum
	}
	for _, name := range []string{"direct", "plain", "tls"} {
		b.Run(name, func(b *testing.B) {
			p := newPair(b, func(c *ListenerConfig) {
				c.Open = name == "direct"
				if name == "plain" {
					c.Mode = Plain
				}
			})
			p.write("file", size)
			for b.Loop() {
				if err := os.RemoveAll(filepath.Join(p.dst, "file")); err != nil {
					b.Fatal(err)
				}
				before := cpu()
				var err error
				if name == "direct" {
					err = exec.CommandContext(b.Context(), "rsync", "-a", p.src+"/", "rsync://"+p.target.Addr+"/m").Run()
				} else {
					_, err = p.send(p.proxy, p.target)
				}
				if err != nil {
					b.Fatal(err)
				}
				eventually(b, "nothing is served", func() bool { return p.serving.Load() == 0 })
				b.ReportMetric((cpu()-before).Seconds()/(size/1e9), "cpu-s/GB")
			}
		})
	}
}
