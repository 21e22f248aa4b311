// SPDX-License-Identifier: LGPL-2.1-or-later

package main

import (
	"fmt"
	"strings"
	"time"
)

// report is what is printed at the end.
type report struct {
	*bench
	machine, loads   string
	disk, slow, wide *tree
	jobs             []int
	more             []*tree
	queue            []queueRate
	took             time.Duration
}

func (r report) String() string {
	var out strings.Builder
	for _, part := range []string{r.setting(), r.main(), r.others(), r.speedUp(), r.walk(), r.queueRates()} {
		fmt.Fprintln(&out, part)
	}
	return strings.TrimSuffix(out.String(), "\n")
}

// table is a Markdown table; its first column holds text, the others numbers.
func table(head []string, rows [][]string) string {
	var out strings.Builder
	line := func(cells []string) { fmt.Fprintf(&out, "| %s |\n", strings.Join(cells, " | ")) }
	line(head)
	fmt.Fprintf(&out, "|---|%s\n", strings.Repeat("---:|", len(head)-1))
	for _, row := range rows {
		line(row)
	}
	return out.String()
}

func (r report) setting() string {
	var s strings.Builder
	fmt.Fprintf(&s, "Machine: %s. Load before and after: %s.\n\n", r.machine, r.loads)
	fmt.Fprintf(&s, "T1: %s files of 1 kB in %s directories on a local disk. T2: the same behind a FUSE file system that adds %d ms\n"+
		"to each lookup, getattr, opendir, open and create (names and attributes kept for 1 s, no readdirplus).\n",
		grouped(float64(r.disk.files)), grouped(float64(r.disk.dirs)), delay.Milliseconds())
	if r.rounds == 1 {
		s.WriteString("One run of each")
	} else {
		fmt.Fprintf(&s, "Seconds, median (least–most) of %d runs, all in turn", r.rounds)
	}
	s.WriteString("; the destination, on the local disk, was identical after every one (rclone's in names and contents). ")
	if mayDrop() {
		s.WriteString("Caches were dropped before every run.\n")
	} else {
		s.WriteString("Caches were NOT dropped: only root may.\n")
	}
	fmt.Fprintf(&s, "zkrsync: one source process (--jobs, --depth=%s) and one destination process (--slots), from their start to their end,\n"+
		"ZooKeeper on the same machine. All of it took %v.\n", r.depth, r.took.Round(time.Second))
	if r.quick {
		s.WriteString("\nQUICK: half the tree and one round. These figures show that everything works, and nothing else.\n")
	}
	return s.String()
}

// main is the table of the tools.
func (r report) main() string {
	head := []string{"jobs on T1 / T2", "T1", "÷ rsync", "CPU s", "T2", "÷ rsync", "CPU s", "T2, nothing changed", "÷ rsync", "CPU s"}
	var rows [][]string
	for _, row := range []struct {
		label, tool string
		disk, slow  int
	}{
		{"one `rsync -a`, local", "rsync", 1, 1},
		{fmt.Sprintf("fpsync, 100 files each, %d / %d", diskJobs, slowJobs), "fpsync", diskJobs, slowJobs},
		{fmt.Sprintf("rclone, %d / %d", diskJobs, slowJobs), "rclone", diskJobs, slowJobs},
		{fmt.Sprintf("**zkrsync, %d / %d**", diskJobs, slowJobs), "zkrsync", diskJobs, slowJobs},
	} {
		cells := []string{row.label}
		for _, k := range []key{{r.disk.name, row.tool, row.disk, false, false}, {r.slow.name, row.tool, row.slow, false, false}, {r.slow.name, row.tool, row.slow, true, false}} {
			cells = append(cells, r.cells(k)...)
		}
		rows = append(rows, cells)
	}
	return table(head, rows) +
		"\nMeasured earlier on this kind of machine, with the full trees (not in Debian, so not run here): msrsync with 2 / 8 processes and 100\n" +
		"files each T1 2.7, T2 9.7, nothing changed 9.0; the Python zkrsync with 2+2 / 8+8 clients T1 151, T2 95.\n"
}

// others is the table of the other trees.
func (r report) others() string {
	rows := [][]string{}
	for _, t := range r.more {
		for _, tool := range r.otherTools() {
			cells := []string{fmt.Sprintf("%s: %s files, %s directories; %s, %d", t.name, grouped(float64(t.files)), grouped(float64(t.dirs)), tool.name, tool.jobs)}
			for _, k := range []key{{t.name, tool.name, tool.jobs, false, false}, {t.name, tool.name, tool.jobs, true, false}, {t.name, tool.name, tool.jobs, true, true}} {
				cells = append(cells, r.cells(k)...)
			}
			rows = append(rows, cells)
		}
	}
	head := []string{"tree; tool, jobs"}
	for _, pass := range []string{"cold", "nothing changed, cold", "nothing changed, warm"} {
		head = append(head, pass, "÷ rsync", "CPU s")
	}
	return table(head, rows)
}

// cells are the seconds of a kind of run, their share of a single rsync's, and its CPU seconds.
func (r report) cells(k key) []string {
	return []string{spread(r.samples.seconds(k)), short(r.toRsync(k)), short(r.samples.cpu(k))}
}

// toRsync is the median time as a share of that of a single rsync.
func (r report) toRsync(k key) float64 {
	return median(r.samples.seconds(k)) / median(r.samples.seconds(key{k.tree, "rsync", 1, k.again, k.warm}))
}

func (r report) speedUp() string {
	one := median(r.samples.seconds(key{r.slow.name, "zkrsync", r.jobs[0], false, false}))
	rows := [][]string{}
	row := func(label string, k key, speed string) {
		rows = append(rows, []string{label, spread(r.samples.seconds(k)), speed, short(1 / r.toRsync(k)), short(r.samples.cpu(k)), grouped(r.samples.operations(k))})
	}
	for _, n := range r.jobs {
		k := key{r.slow.name, "zkrsync", n, false, false}
		row(fmt.Sprintf("zkrsync, %d", n), k, short(one/median(r.samples.seconds(k))))
	}
	row("one rsync", key{r.slow.name, "rsync", 1, false, false}, "")
	for _, other := range []string{"fpsync", "rclone"} {
		row(fmt.Sprintf("%s, %d", other, slowJobs), key{r.slow.name, other, slowJobs, false, false}, "")
	}
	return table([]string{"T2, jobs", "seconds", "speed-up over 1 job", "over rsync", "CPU seconds", "metadata operations"}, rows)
}

func (r report) walk() string {
	names := map[string]string{"find": "`find -type d`", "WalkDir": "filepath.WalkDir", "Walk": "**zkrsync's walk**"}
	head := []string{"directories/s, all read"}
	for _, t := range []*tree{r.wide, r.slow} {
		where := "disk"
		if t.at != "" {
			where = t.name
		}
		head = append(head, fmt.Sprintf("%s (%s)", where, grouped(float64(t.dirs))), "÷ find")
	}
	head = append(head, "metadata operations")
	var rows [][]string
	for _, walker := range walkers {
		cells := []string{names[walker]}
		for _, t := range []*tree{r.wide, r.slow} {
			k := key{tree: t.name, tool: walker}
			rate := float64(t.dirs) / median(r.samples.seconds(k))
			find := float64(t.dirs) / median(r.samples.seconds(key{tree: t.name, tool: "find"}))
			cells = append(cells, grouped(rate), short(rate/find))
		}
		rows = append(rows, append(cells, grouped(r.samples.operations(key{tree: r.slow.name, tool: walker}))))
	}
	return table(head, rows)
}

func (r report) queueRates() string {
	head := []string{"Queue: jobs at once, most paths a batch"}
	for i := 1; i < len(r.queue[0].figures); i += 2 {
		head = append(head, r.queue[0].figures[i])
	}
	var rows [][]string
	for _, rate := range r.queue {
		cells := []string{rate.name}
		for i := 0; i < len(rate.figures); i += 2 {
			cells = append(cells, rate.figures[i])
		}
		rows = append(rows, cells)
	}
	return table(head, rows)
}
