// SPDX-License-Identifier: LGPL-2.1-or-later

package rsyncrunner

import (
	"slices"
	"strings"
	"testing"
)

// What the user wants, for every kind of run, becomes one command line.
func TestArgs(t *testing.T) {
	all := Options{
		Delete: true, Checksum: true, DropCache: true, HardLinks: true, Inplace: true, Verbose: true, DryRun: true,
		Timeout: 7, Extra: []string{"fuzzy", "exclude:a:b"},
	}
	limit := 5
	for _, c := range []struct {
		name    string
		options Options
		job     Job
		want    string // between the first options and the operands
	}{
		{"nothing asked for", Options{}, Job{}, ""},
		{"recursive", Options{}, Job{Kind: Recursive}, "-r"},
		{"partial", Options{Partial: true, Extra: []string{"exclude:x"}}, Job{Kind: Recursive}, "-r --filter=-p .zkrsync-partial/ --partial-dir=.zkrsync-partial --exclude=x"},
		{"partial, comparison", Options{Partial: true, Verify: true}, Job{}, "--filter=-p .zkrsync-partial/ -n --checksum"},
		{"range", Options{}, Job{Kind: NameRange}, "--ignore-missing-args"},
		{"links", Options{}, Job{Kind: LinkGroups}, ""},
		{"listed", Options{}, Job{Kind: Listed}, "--ignore-missing-args"},
		{"listed, deleting", Options{Delete: true, Extra: []string{"delete-after"}}, Job{Kind: Listed}, "--delete-missing-args --force"},
		{"leftovers", Options{}, Job{Kind: Leftovers}, "--existing --ignore-existing"},

		{"deleting", Options{Delete: true}, Job{}, "--delete"},
		{"deleting, recursive", Options{Delete: true}, Job{Kind: Recursive}, "-r --delete"},
		{"deleting, range", Options{Delete: true}, Job{Kind: NameRange}, "--ignore-missing-args --force"},
		{"deleting, links", Options{Delete: true}, Job{Kind: LinkGroups}, ""},
		{"deleting, leftovers", Options{Delete: true}, Job{Kind: Leftovers}, "--delete --existing --ignore-existing"},
		{"limit", Options{Delete: true}, Job{MaxDelete: &limit}, "--delete --max-delete=5"},
		{"limit, range", Options{Delete: true}, Job{Kind: NameRange, MaxDelete: &limit}, "--ignore-missing-args --force --max-delete=5"},
		{"limit, comparison", Options{Delete: true, Verify: true}, Job{MaxDelete: &limit}, "--delete -n --checksum"},

		{"rules", Options{Extra: []string{"exclude:x"}}, Job{}, "--exclude=x"},
		{"rules, range", Options{Extra: []string{"exclude:x"}}, Job{Kind: NameRange}, "--exclude=x --ignore-missing-args"},
		{"rules, links", Options{Extra: []string{"filter:- x"}}, Job{Kind: LinkGroups}, "--filter=- x --existing"},
		{"no rules, links", Options{Extra: []string{"bwlimit:1"}}, Job{Kind: LinkGroups}, "--bwlimit=1"},
		{"filters and rules", Options{Extra: []string{"exclude:x"}}, Job{Filters: []string{"/a", "! b"}, Rules: []string{"P c/"}},
			"--filter=- /a --filter=- ! b --filter=P c/ --exclude=x"},

		{"all", all, Job{}, "--delete --checksum --drop-cache --hard-links --inplace --timeout=7 --verbose -n --fuzzy --exclude=a:b --no-inc-recursive"},
		{"all, links", all, Job{Kind: LinkGroups},
			"--checksum --drop-cache --hard-links --inplace --timeout=7 --verbose -n --fuzzy --exclude=a:b --existing --no-inc-recursive"},
	} {
		c.job.Base, c.job.URL = "/base/", "rsync://h:1/m"
		before := slices.Clone(c.options.Extra)
		got := strings.Join((&Sender{Options: c.options}).args(c.job, nil, nil), " ")
		want := strings.Join([]string{"--stats --numeric-ids -lptgoD --sockopts=TCP_NODELAY --from0 --files-from=-", c.want, "-- /base/ rsync://h:1/m"}, " ")
		if want = strings.ReplaceAll(want, "  ", " "); got != want {
			t.Errorf("%s:\ngot  %s\nwant %s", c.name, got, want)
		}
		if !slices.Equal(c.options.Extra, before) {
			t.Errorf("%s: the session's options have become %q", c.name, c.options.Extra)
		}
	}
}

// Runs of one session share its options at the same time.
func TestArgsLeaveTheOptionsAlone(t *testing.T) {
	options := Options{Extra: append(make([]string, 0, 10), "exclude:x")}
	links := options.of(LinkGroups)
	if _ = options.of(Leftovers); links.Extra[1] != "existing" || len(options.Extra) != 1 {
		t.Errorf("%q, %q", links.Extra, options.Extra)
	}
}

func TestHasRules(t *testing.T) {
	for extra, want := range map[string]bool{
		"exclude:*.o": true, "filter:- x": true, "exclude": true,
		"include:x": false, "fuzzy": false, "bwlimit:exclude": false,
	} {
		if got := (Options{Extra: []string{"bwlimit:1", extra}}).HasRules(); got != want {
			t.Errorf("%q: %v", extra, got)
		}
	}
}

// The files of a range come, whatever stands in their place; nothing else is touched, and a name
// that has gone is no failure.
func TestNameRange(t *testing.T) {
	t.Parallel()
	source, destination := t.TempDir(), t.TempDir()
	write(t, source, "dir/b", "new")
	write(t, source, "dir/c", "new")
	write(t, source, "dir/sub/file", "new")
	write(t, destination, "dir/c/in the way/old", "x")
	write(t, destination, "dir/old", "x")
	write(t, destination, "dir/vanished", "x")
	_, url := serve(t, destination)
	job := Job{Base: source, Names: []string{"dir/b", "dir/c", "dir/vanished"}, Kind: NameRange, URL: url}
	wants(t, run(t, Options{}, job), Partial, 23) // without Delete nothing makes way
	result := send(t, Options{Delete: true}, job)
	got := tree(t, destination)
	if !strings.HasSuffix(got["./dir/c"], " new") || !strings.HasSuffix(got["./dir/b"], " new") {
		t.Errorf("a file is missing: %q", got)
	}
	if got["./dir/old"] == "" || got["./dir/vanished"] == "" || got["./dir/sub"] != "" {
		t.Errorf("more than the range was touched: %q", got)
	}
	if result.Deleted != 2 {
		t.Errorf("%d deleted, want the 2 in the way", result.Deleted)
	}
}

// Leftovers go, and nothing is sent, neither new nor changed.
func TestLeftovers(t *testing.T) {
	t.Parallel()
	source, destination := t.TempDir(), t.TempDir()
	write(t, source, "dir/new", "x")
	write(t, source, "dir/other", "newer")
	write(t, destination, "dir/other", "old")
	write(t, destination, "dir/left", "x")
	write(t, destination, "dir/gone/left", "x")
	_, url := serve(t, destination)
	result := send(t, Options{Delete: true}, Job{Base: source, Names: []string{"dir"}, Kind: Leftovers, URL: url})
	got := tree(t, destination)
	if got["./dir/left"] != "" || got["./dir/gone"] != "" || got["./dir/new"] != "" || !strings.HasSuffix(got["./dir/other"], " old") {
		t.Errorf("%q", got)
	}
	if result.Deleted != 3 {
		t.Errorf("%d deleted", result.Deleted)
	}
}

// Nothing is deleted beside single files, whatever the options say about when.
func TestFilesWithoutDeletion(t *testing.T) {
	options := Options{Delete: true, Extra: []string{"delete-after", "fuzzy", "del"}}
	if got := options.of(NameRange); !slices.Equal(got.Extra, []string{"fuzzy", "ignore-missing-args", "force"}) {
		t.Errorf("%q", got.Extra)
	}
	if got := options.of(Leftovers); !slices.Equal(got.Extra, []string{"delete-after", "fuzzy", "del", "existing", "ignore-existing"}) {
		t.Errorf("%q", got.Extra)
	}
}
