// SPDX-License-Identifier: LGPL-2.1-or-later

package leader

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"vsc-zk/internal/session/member"
	"vsc-zk/internal/session/wire"
	"vsc-zk/internal/status"
)

// A run that stands still says so once, and again every now and then; and once that it goes on.
func TestObserver(t *testing.T) {
	var log bytes.Buffer
	o := &observer{log: slog.New(slog.NewTextHandler(&log, nil))}
	timing := member.Timing{Missing: 15 * time.Second, Still: time.Minute, Again: 10 * time.Minute}
	begin := time.Date(2026, 1, 2, 3, 0, 0, 0, time.Local)
	now := begin
	s := &status.Snapshot{Clients: []status.Client{{Who: "a:1", Source: &status.Source{}}, {Who: "b:1", Dest: &status.Destination{State: wire.Active}}}}
	done := look{}
	pass := func(minutes float64, moves bool) {
		for end := now.Add(time.Duration(minutes * float64(time.Minute))); now.Before(end); {
			now = now.Add(5 * time.Second)
			if done.at = now; moves {
				done.ended, done.files, done.sent = done.ended+10, done.files+50, done.sent+1000
			}
			o.take(t.Context(), s, done, timing)
			o.say(wire.LeaderStatus{})
		}
	}
	said := func(want ...string) {
		t.Helper()
		var got []string
		for _, m := range regexp.MustCompile(`event=(\S+)`).FindAllStringSubmatch(log.String(), -1) {
			got = append(got, m[1])
		}
		if strings.Join(got, " ") != strings.Join(want, " ") {
			t.Errorf("said %q, want %q", got, want)
		}
		log.Reset()
	}
	pass(20, true)
	said()
	var own wire.Status
	if o.tell(&own); own.Leader.Rates != (wire.Rates{Over: 300, Paths: 2, Files: 10, Bytes: 200}) || len(own.Leader.Waits) > 0 {
		t.Errorf("says %+v", own.Leader)
	}
	pass(0.9, false)
	said()
	pass(9, false)
	said("standing-still-bytes")
	if o.tell(&own); len(own.Leader.Waits) != 1 || own.Leader.Waits[0] != (wire.Wait{For: wire.WaitBytes, Since: begin.Add(20*time.Minute + 0*time.Second).Unix()}) {
		t.Errorf("says %+v", own.Leader)
	}
	pass(11, false)
	said("standing-still-bytes")
	pass(1, true)
	said("goes-on")
	pass(4.9, true)
	s.Clients[1].Dest.State, s.Clients[1].Dest.Why = wire.Paused, "it is full"
	pass(0.2, true)
	said()
	pass(0.5, true)
	if !strings.Contains(log.String(), "b:1 waits: it is full") {
		t.Error(log.String())
	}
	said("standing-still-destinations")
	s.Clients[1].Dest.State = wire.Active
	pass(1, true)
	said("goes-on")
	// While a run is paused it does not stand still, nor does it go on; what did not move meanwhile says nothing.
	pass(2, false)
	said("standing-still-bytes")
	s.Control.Paused = true
	pass(5, false)
	said()
	if o.tell(&own); len(own.Leader.Waits) > 0 {
		t.Errorf("says %+v", own.Leader)
	}
	s.Control.Paused = false
	pass(0.9, false)
	said()
	pass(0.2, false)
	said("standing-still-bytes")
	pass(1, true)
	said("goes-on")
	// Nor does what did not move while there was no destination.
	s.Clients[1].Dest.State = wire.Paused
	pass(2, false)
	said("standing-still-destinations")
	s.Clients[1].Dest.State = wire.Active
	pass(0.9, false)
	said("goes-on")
	pass(0.2, false)
	said("standing-still-bytes")
	pass(1, true)
	said("goes-on")
	// How much a Python source has sent nobody can see.
	s.Clients[0].Program, s.Runs = status.Python, []status.Run{{Source: "a:1", Destination: "b:1"}}
	pass(30, false)
	said()
}

// The report of an earlier run tells how long a path takes; what is not in it takes as long as the others.
func TestHistory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "report")
	if err := os.WriteFile(file, []byte(`{"type":"header"}
{"type":"path","path":"1_/a","seconds":10,"batch":2}
{"type":"path","path":"1_/b","seconds":10,"batch":2}
{"type":"path","path":"1_/b","seconds":1}
{"type":"path","path":{"base64":"MV8v/w=="},"seconds":20}
{"type":"path","path":"1_/python","seconds":null}
{"type":"path","path":"1_/c","sec`), 0o600); err != nil {
		t.Fatal(err)
	}
	h, err := readHistory(file)
	if err != nil {
		t.Fatal(err)
	}
	if h.sum() != 30 || h.of("1_/b") != 5 || h.of("1_/\xff", "1_/a") != 25 || h.of("1_/new") != 10 {
		t.Errorf("%v in all, %v, %v, %v", h.sum(), h.of("1_/b"), h.of("1_/\xff", "1_/a"), h.of("1_/new"))
	}
	h.cut(wire.DecodeTask([]byte("1_/\xff")), []wire.Task{wire.DecodeTask([]byte("0_/\xff")), wire.DecodeTask([]byte("1_/\xff/x"))})
	if h.known("1_/\xff") != 20 || h.known("1_/new") != 0 || (*history)(nil).known("1_/b") != 0 {
		t.Errorf("%v and %v are known", h.known("1_/\xff"), h.known("1_/new"))
	}
	if h.of("1_/\xff/x") != 10 {
		t.Errorf("a piece takes %v", h.of("1_/\xff/x"))
	}
	if err := os.WriteFile(file, []byte("{}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := readHistory(file); err == nil {
		t.Error("anything is a report")
	}
	if (*history)(nil).of("1_/a") != 0 {
		t.Error("nothing known is something")
	}
}
