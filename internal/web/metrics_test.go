// SPDX-License-Identifier: LGPL-2.1-or-later

package web

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"vsc-zk/internal/session/wire"
	"vsc-zk/internal/status"
)

const examples = "../../examples/"

// promtool runs it.
func promtool(t *testing.T, input string, args ...string) {
	t.Helper()
	cmd := exec.Command("promtool", args...)
	cmd.Stdin = strings.NewReader(input)
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 && args[1] == "metrics" {
		t.Errorf("promtool %s: %v (make test-deps installs it)\n%s", strings.Join(args, " "), err, out)
	}
}

// metricsOf is what is offered of these sessions.
func metricsOf(t *testing.T, all ...*status.Snapshot) string {
	t.Helper()
	s, end := standIn(t, Config{Metrics: "127.0.0.1:0"}, always(all...))
	defer end()
	got, body, _ := ask(t, "GET", s.URLs()[1])
	if got != 200 {
		t.Fatalf("%d: %s", got, body)
	}
	return body
}

// The metrics follow Prometheus's rules, and hold no path, whatever the names.
func TestMetrics(t *testing.T) {
	now := time.Now()
	odd := changed(now, func(s *status.Snapshot) {
		s.Session, s.State, s.Waits = "odd \u202e\n\"\\", status.Still, []status.Wait{{For: wire.WaitDestinations}}
		s.Clients[0].Who, s.Clients[1].Role, s.Clients[6].Dest.State = "\xff{}\n:1", "", "\xff"
	})
	// Of the runs under way the total has the old one, not the young one; the counter has neither, as they may be given back.
	sends := &status.Snapshot{Session: "sends", State: status.Running, Runs: []status.Run{{Sent: 70}, {Sent: 5_000}}}
	sends.Totals.Take(map[string]int64{"Total_bytes_sent": 1234})
	sends.Totals.Sent += sends.Runs[0].Sent
	// Of two file systems on one host both figures are of the fuller one.
	sends.Clients = []status.Client{
		{Who: "store:1", Dest: &status.Destination{Size: 1000, Free: 40, Inodes: 50, FreeInodes: 9}},
		{Who: "store:2", Dest: &status.Destination{Size: 300, Free: 30, Inodes: 70, FreeInodes: 10}},
		{Who: "store:3", Dest: &status.Destination{}}, // not known
	}
	body := metricsOf(t, busyRun(now), odd, sends)
	promtool(t, body, "check", "metrics")
	for _, line := range []string{
		`zkrsync_zookeeper_up 1`,
		`zkrsync_build_info{version="1.0"} 1`,
		`zkrsync_run_state{session="home-2026",state="running"} 1`,
		`zkrsync_run_state{session="home-2026",state="still"} 0`,
		`zkrsync_run_phase{phase="walking",session="home-2026"} 1`,
		`zkrsync_paths{session="home-2026",state="waiting"} 9903`,
		`zkrsync_paths{session="home-2026",state="failed"} 3`,
		`zkrsync_clients{program="python",role="source",session="home-2026"} 1`,
		`zkrsync_source_jobs_busy{host="node02.example.org",session="home-2026"} 7`,
		`zkrsync_destination_free_bytes{host="store03.example.org",session="home-2026"} 4.4e+13`,
		`zkrsync_destinations{session="home-2026",state="paused"} 1`,
		`zkrsync_estimated_done_ratio{bound="low",session="home-2026"} 0.61`,
		`zkrsync_rsyncs{session="home-2026"} 24`,
		`zkrsync_deleted_total{session="home-2026"} 1201`,
		`zkrsync_sent_bytes_total{session="sends"} 1234`,
		`zkrsync_destination_free_bytes{host="store",session="sends"} 40`,
		`zkrsync_destination_size_bytes{host="store",session="sends"} 1000`,
		`zkrsync_destination_free_inodes{host="store",session="sends"} 10`,
		`zkrsync_destination_inodes{host="store",session="sends"} 70`,
		`zkrsync_run_waits{for="destinations",session="\"odd \\u202e\\n\\\"\\\\\""} 1`,
		`zkrsync_run_waits{for="bytes",session="\"odd \\u202e\\n\\\"\\\\\""} 0`,
	} {
		if !strings.Contains(body, "\n"+line+"\n") {
			t.Errorf("there is no line %s", line)
		}
	}
	if regexp.MustCompile(`project|vsc4|results|script`).MatchString(body) {
		t.Error("there is a path")
	}
	sum := 0.0
	for _, match := range regexp.MustCompile(`(?m)^zkrsync_paths\{session="home-2026",state="\w+"\} (.*)$`).FindAllStringSubmatch(body, -1) {
		var n float64
		_, _ = fmt.Sscan(match[1], &n)
		sum += n
	}
	if sum != 184_312 {
		t.Errorf("%v paths in all", sum)
	}
	body = metricsOf(t, &status.Snapshot{Session: "none", State: status.None})
	if !strings.Contains(body, `zkrsync_run_state{session="none",state="none"} 1`) || strings.Contains(body, "zkrsync_paths") {
		t.Error(body)
	}
}

// The alerts are well formed, and fire when they should.
func TestAlerts(t *testing.T) {
	promtool(t, "", "check", "rules", examples+"prometheus-alerts.yml")
	dir := t.TempDir()
	for _, file := range []string{examples + "prometheus-alerts.yml", "testdata/alerts.yml"} {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(file)), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	promtool(t, "", "test", "rules", filepath.Join(dir, "alerts.yml"))
}

// Alerts and dashboard only ask for metrics that there are, and Prometheus understands what they ask.
func TestExamples(t *testing.T) {
	body := metricsOf(t, busyRun(time.Now()))
	names := regexp.MustCompile(`(?m)^(zkrsync_\w+)`).FindAllString(body, -1)
	data, err := os.ReadFile(examples + "grafana-dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	var dashboard any
	if err := json.Unmarshal(data, &dashboard); err != nil {
		t.Fatal(err)
	}
	var asked []string
	var collect func(any)
	collect = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			if expr, ok := v["expr"].(string); ok {
				asked = append(asked, expr)
			}
			for _, inner := range v {
				collect(inner)
			}
		case []any:
			for _, inner := range v {
				collect(inner)
			}
		}
	}
	collect(dashboard)
	if len(asked) < 10 {
		t.Fatalf("the dashboard asks for %q", asked)
	}
	// What stands for a choice of the user is filled in as Grafana does.
	fill := strings.NewReplacer("$session", "home-2026", "$__rate_interval", "5m")
	rules := "groups:\n- name: dashboard\n  rules:\n"
	for i, expr := range asked {
		rules += fmt.Sprintf("  - record: dashboard:%d\n    expr: %q\n", i, fill.Replace(expr))
	}
	file := filepath.Join(t.TempDir(), "rules.yml")
	if err := os.WriteFile(file, []byte(rules), 0o600); err != nil {
		t.Fatal(err)
	}
	promtool(t, "", "check", "rules", file)
	alerts, err := os.ReadFile(examples + "prometheus-alerts.yml")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range regexp.MustCompile(`zkrsync_\w+`).FindAllString(strings.Join(asked, " ")+string(alerts), -1) {
		if !slices.Contains(names, name) {
			t.Errorf("there is no metric %s", name)
		}
	}
}
