// SPDX-License-Identifier: LGPL-2.1-or-later

package main

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"vsc-zk/internal/session"
)

// parse reads a command line and returns the options that are then in force, and the warnings.
func parse(t *testing.T, args, environ []string) (options, string) {
	t.Helper()
	var o options
	var errs, warnings bytes.Buffer
	parsed, err := newProgram(&o).Parse(args, environ, &bytes.Buffer{}, &errs)
	if err != nil {
		t.Fatalf("%v: %s", err, errs.String())
	}
	parsed.Warn(slog.New(slog.NewTextHandler(&warnings, nil)))
	return o, warnings.String()
}

// byValue compares regular expressions by their text.
var byValue = cmp.Options{cmp.AllowUnexported(options{}), cmp.Comparer(func(a, b *regexp.Regexp) bool {
	return a == b || a != nil && b != nil && a.String() == b.String()
})}

func TestDefaults(t *testing.T) {
	want := options{
		user: "root", passwd: "admin", session: "default", depth: 3, maxDelete: -1, startPort: 4444, excludeUser: "root",
		excludeRe: regexp.MustCompile(`/\.snapshots(/.*|$)`), verifyPath: true, maxBytes: 104857600, backupCount: 5, logFormat: "text",
		walkers: 8, slots: 1, batch: 500, batchSeconds: 5, syncInterval: 300, prefetch: session.AutoPrefetch, stall: 600, lateRetries: 1, sessionTimeout: 10, link: "tls", bwLimit: "0",
		logFile: "/tmp/zkrsync/%(session)s-%(rstype)s-%(pid)s.log", pidFile: "/tmp/zkrsync/%(session)s-%(rstype)s-%(pid)s.pid",
	}
	got, warnings := parse(t, nil, nil)
	if diff := cmp.Diff(want, got, byValue); diff != "" || warnings != "" {
		t.Error(diff, warnings)
	}
}

// Each option changes what it should, in every way to give it.
func TestEveryOption(t *testing.T) {
	for _, c := range []struct {
		name, value string // as a file has them
		short       string
		change      func(*options)
	}{
		{"servers", "a:1,b", "", func(o *options) { o.servers = []string{"a:1", "b"} }},
		{"user", "x", "u", func(o *options) { o.user = "x" }},
		{"passwd", "x", "p", func(o *options) { o.passwd = "x" }},
		{"zk-tls", "yes", "", func(o *options) { o.tls.On = true }},
		{"zk-ca", "/x", "", func(o *options) { o.tls.Files.CA = "/x" }},
		{"zk-cert", "/x", "", func(o *options) { o.tls.Files.Cert = "/x" }},
		{"zk-key", "/x", "", func(o *options) { o.tls.Files.Key = "/x" }},
		{"source", "yes", "S", func(o *options) { o.source = true }},
		{"destination", "yes", "D", func(o *options) { o.destination = true }},
		{"state", "yes", "", func(o *options) { o.state = true }},
		{"state", "json", "", func(o *options) { o.state, o.stateForm = true, "json" }},
		{"watch", "yes", "", func(o *options) { o.watch = true }},
		{"pathsonly", "yes", "", func(o *options) { o.pathsOnly = true }},
		{"web", "127.0.0.1:8080", "", func(o *options) { o.web = "127.0.0.1:8080" }},
		{"web-token-file", "/x", "", func(o *options) { o.webTokenFile = "/x" }},
		{"metrics", ":9100", "", func(o *options) { o.metrics = ":9100" }},
		{"session", "x", "N", func(o *options) { o.session = "x" }},
		{"rsyncpath", "/x", "r", func(o *options) { o.rsyncPath = "/x" }},
		{"delete", "yes", "", func(o *options) { o.delete = true }},
		{"checksum", "yes", "", func(o *options) { o.checksum = true }},
		{"hardlinks", "yes", "", func(o *options) { o.hardLinks = true }},
		{"inplace", "yes", "", func(o *options) { o.inplace = true }},
		{"partial", "yes", "", func(o *options) { o.partial = true }},
		{"acls", "yes", "", func(o *options) { o.acls = true }},
		{"xattrs", "yes", "", func(o *options) { o.xattrs = true }},
		{"one-file-system", "yes", "", func(o *options) { o.oneFileSystem = true }},
		{"usermap", "1000:2000,1001:2001", "", func(o *options) { o.userMap = "1000:2000,1001:2001" }},
		{"groupmap", "*:1", "", func(o *options) { o.groupMap = "*:1" }},
		{"dryrun", "yes", "n", func(o *options) { o.dryRun = true }},
		{"allow-empty", "yes", "", func(o *options) { o.allowEmpty = true }},
		{"max-delete", "7", "", func(o *options) { o.maxDelete = 7 }},
		{"sentinel", "x", "", func(o *options) { o.sentinel = "x" }},
		{"verify", "yes", "", func(o *options) { o.verify = true }},
		{"exclude-below", "yes", "", func(o *options) { o.excludeBelow = true }},
		{"paths-from", "x", "", func(o *options) { o.pathsFrom = "x" }},
		{"report", "x", "", func(o *options) { o.report = "x" }},
		{"history", "x", "", func(o *options) { o.history = "x" }},
		{"failed", "x", "", func(o *options) { o.failed = "x" }},
		{"inherit", "yes", "", func(o *options) { o.inherit = true }},
		{"netcat", "yes", "", func(o *options) { o.netcat = true }},
		{"depth", "5", "", func(o *options) { o.depth = 5 }},
		{"depth", "auto", "", func(o *options) { o.depth = session.AutoDepth }},
		{"walkers", "7", "", func(o *options) { o.walkers = 7 }},
		{"jobs", "7", "j", func(o *options) { o.jobs = 7 }},
		{"slots", "7", "", func(o *options) { o.slots = 7 }},
		{"batch", "7", "", func(o *options) { o.batch = 7 }},
		{"batch-seconds", "7", "", func(o *options) { o.batchSeconds = 7 }},
		{"no-sync", "yes", "", func(o *options) { o.noSync = true }},
		{"sync-interval", "7", "", func(o *options) { o.syncInterval = 7 }},
		{"prefetch", "7", "", func(o *options) { o.prefetch = 7 }},
		{"rsubpaths", "2_/a,3_/b", "", func(o *options) { o.subpaths = []string{"2_/a", "3_/b"} }},
		{"excludere", "a|b", "", func(o *options) { o.excludeRe = regexp.MustCompile("a|b") }},
		{"excludere", "", "", func(o *options) { o.excludeRe = nil }},
		{"excl_usr", "x", "", func(o *options) { o.excludeUser = "x" }},
		{"excl-usr", "x", "", func(o *options) { o.excludeUser = "x" }},
		{"stall", "7", "", func(o *options) { o.stall = 7 }},
		{"late-retries", "7", "", func(o *options) { o.lateRetries = 7 }},
		{"session-timeout", "7", "", func(o *options) { o.sessionTimeout = 7 }},
		{"resume", "yes", "", func(o *options) { o.resume = true }},
		{"master", "yes", "", func(o *options) { o.master = true }},
		{"no-master", "yes", "", func(o *options) { o.noMaster = true }},
		{"max-failures", "7", "", func(o *options) { o.maxFailures = 7 }},
		{"timeout", "7", "", func(o *options) { o.timeout = 7 }},
		{"verbose", "yes", "", func(o *options) { o.verbose = true }},
		{"dropcache", "yes", "", func(o *options) { o.dropCache = true }},
		{"arbitopts", `a:b\,c\, d , e\f`, "", func(o *options) { o.arbitOpts = []string{"a:b,c, d", `e\f`} }},
		{"arbitopts", "a,b:c", "", func(o *options) { o.arbitOpts = []string{"a", "b:c"} }},
		{"link", "plain", "", func(o *options) { o.link = "plain" }},
		{"link-only", "yes", "", func(o *options) { o.linkOnly = true }},
		{"open-daemon", "yes", "", func(o *options) { o.openDaemon = true }},
		{"bind", "10.0.0.1", "", func(o *options) { o.bind = "10.0.0.1" }},
		{"bwlimit", "200M", "", func(o *options) { o.bwLimit = "200M" }},
		{"rsyncport", "7", "", func(o *options) { o.rsyncPort = 7 }},
		{"startport", "7", "", func(o *options) { o.startPort = 7 }},
		{"host", "x", "", func(o *options) { o.host = "x" }},
		{"domain", "x", "", func(o *options) { o.domain = "x" }},
		{"verifypath", "yes", "", func(o *options) { o.verifyPath = false }},
		{"done-file", "x", "", func(o *options) { o.doneFile = "x" }},
		{"done_file", "x", "", func(o *options) { o.doneFile = "x" }},
		{"daemon", "yes", "", func(o *options) { o.daemon = true }},
		{"pidfile", "x", "", func(o *options) { o.pidFile = "x" }},
		{"logfile", "x", "", func(o *options) { o.logFile = "x" }},
		{"max_bytes", "7", "", func(o *options) { o.maxBytes = 7 }},
		{"max-bytes", "7", "", func(o *options) { o.maxBytes = 7 }},
		{"backup_count", "7", "", func(o *options) { o.backupCount = 7 }},
		{"backup-count", "7", "", func(o *options) { o.backupCount = 7 }},
		{"logformat", "json", "", func(o *options) { o.logFormat = "json" }},
	} {
		t.Run(c.name, func(t *testing.T) {
			want, _ := parse(t, nil, nil)
			c.change(&want)
			file := filepath.Join(t.TempDir(), "c")
			if err := os.WriteFile(file, []byte("[MAIN]\n"+c.name+" = "+c.value+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			long := "--" + c.name
			if c.value != "yes" {
				long += "=" + c.value
			}
			ways := map[string]struct{ args, environ []string }{
				"long":        {args: []string{long}},
				"file":        {args: []string{"--configfiles=" + file}},
				"environment": {environ: []string{"ZKRSYNC_" + strings.ToUpper(strings.ReplaceAll(c.name, "-", "_")) + "=" + c.value}},
			}
			if c.short != "" {
				args := []string{"-" + c.short}
				if c.value != "yes" {
					args = append(args, c.value)
				}
				ways["short"] = struct{ args, environ []string }{args: args}
			}
			for name, way := range ways {
				got, _ := parse(t, way.args, way.environ)
				if diff := cmp.Diff(want, got, byValue); diff != "" {
					t.Errorf("%s: %s", name, diff)
				}
			}
		})
	}
}

// Abbreviations that the Python program knows mean the same here: new options do not make them
// ambiguous.
func TestOldAbbreviations(t *testing.T) {
	for arg, change := range map[string]func(*options){
		"--log=x":        func(o *options) { o.logFile = "x" },
		"--do=x":         nil, // domain, done-file
		"--done=x":       func(o *options) { o.doneFile = "x" },
		"--a=x":          func(o *options) { o.arbitOpts = []string{"x"} },
		"--al":           func(o *options) { o.allowEmpty = true },
		"--ha":           func(o *options) { o.hardLinks = true },
		"--ho=x":         func(o *options) { o.host = "x" },
		"--back=1":       func(o *options) { o.backupCount = 1 },
		"--excl=x":       nil,
		"--excl_=x":      func(o *options) { o.excludeUser = "x" },
		"--ver":          nil, // verbose, verifypath
		"--p":            nil,
		"--disable-sour": func(*options) {},
	} {
		var got options
		var errs bytes.Buffer
		_, err := newProgram(&got).Parse([]string{arg}, nil, &bytes.Buffer{}, &errs)
		if change == nil {
			if err == nil || !strings.Contains(errs.String(), "error: ambiguous option: ") {
				t.Errorf("%s: %v %s", arg, err, errs.String())
			}
			continue
		}
		want, _ := parse(t, nil, nil)
		change(&want)
		if diff := cmp.Diff(want, got, byValue); err != nil || diff != "" {
			t.Errorf("%s: %v %s", arg, err, diff)
		}
	}
}

func TestProblem(t *testing.T) {
	const good = "--servers=a --rsyncpath=/x -S"
	for _, c := range []struct{ args, want string }{
		{good, ""},
		{"--servers=a -r/x -D", ""},
		{"--servers=a -r/x --state", ""},
		{"--servers=a -r/x --pathsonly", ""},
		{"--servers=a -r/ -S", ""},
		// in this order
		{"-r= --depth=0 -SD -N ''", "No servers given!"},
		{"--servers= -S -r/x", "No servers given!"},
		{"--servers=, -S -r/x", "No servers given!"},
		{"--servers=a --depth=0 -SD", "Path is mandatory!"},
		{"--servers=a --rsyncpath= -S", "Path is mandatory!"},
		{"--servers=a -r/x --depth=0 -SD", "Invalid depth!"},
		{"--servers=a -r/x --depth=-1 --state", "Invalid depth!"},
		{"--servers=a -r/x -SD --state", "Client can not be the source AND the destination"},
		{"--servers=a -r/x", "cannot start without a role: give --source, --destination or --local; or --state, --watch, --web, --metrics, --check or --pathsonly"},
		{good + " --user=a:b", `cannot use the ZooKeeper user "a:***": a name has no colon; a password belongs into --passwd-file, ZKRSYNC_PASSWD or a config file`},
		{good + " --user=", "cannot use an empty name of the ZooKeeper user"},
		{good + " --zk-ca=/x", "cannot use --zk-ca without --zk-tls: nothing would be encrypted"},
		{good + " --zk-tls --zk-key=/x", "cannot use --zk-key without the certificate that it belongs to: give --zk-cert"},
		{good + " --session=", `cannot use the session name "": it is empty`},
		{good + " --session=a/b", `cannot use the session name "a/b": it contains one of / [ ]`},
		{good + " --session=a]", `cannot use the session name "a]": it contains one of / [ ]`},
		{good + " --session=..", `cannot use the session name "..": it is not a znode's name`},
		{good + " --session=a~", `cannot use the session name "a ": it begins or ends with a blank`},
		{good + " --session=a\x01", `cannot use the session name "a\x01": it contains a control character`},
		{good + " --session=a~b", ""},
		{"--servers=a -S --inherit", ""},
		{"--servers=a -D --inherit", "Path is mandatory!"},
		{good + " --sentinel=.mounted", ""},
		{good + " --sentinel=/x/.mounted", "cannot use --sentinel=/x/.mounted: give the name of a file that lies in the base directory"},
		{good + " --sentinel=..", "cannot use --sentinel=..: give the name of a file that lies in the base directory"},
		{good + " --daemon --pidfile=", "No PID file given!"},
		{good + " --daemon --pidfile= --pathsonly", ""},
		{good + " --host=::1", `cannot use --host="::1": it must be a host name; an IPv6 address needs a name`},
		{good + " --domain=a/b", `cannot use --domain="a/b": it must be a host name; an IPv6 address needs a name`},
		{good + " --depth=auto", ""},
		{good + " --depth=auto --rsubpaths=4_a", "cannot use --rsubpaths with --depth=auto: give a depth, or leave the subpaths out"},
		{good + " --master --no-master", "cannot use --master together with --no-master"},
		{good + " --resume --no-master", "cannot use --resume with --no-master or --inherit: whoever goes on with a run is its master"},
		{good + " --session-timeout=0", "cannot use --session-timeout=0: it must be between 1 and 3600"},
		{good + " --jobs=-1", "cannot use --jobs=-1: it must be between 0 and 1024"},
		{good + " --slots=0", "cannot use --slots=0: it must be between 1 and 1024"},
		{good + " --batch=501", "cannot use --batch=501: it must be between 1 and 500"},
		{good + " --sync-interval=0", "cannot use --sync-interval=0: it must be between 1 and 86400"},
		{good + " --batch-seconds=0", "cannot use --batch-seconds=0: it must be between 1 and 86400"},
		{good + " --walkers=0", "cannot use --walkers=0: it must be between 1 and 1024"},
		{good + " --rsyncport=65536", "cannot use --rsyncport=65536: it must be between 0 and 65535"},
		{good + " --bind=host", "cannot use --bind=host: give an IP address of this host"},
		{good + " --bind=::1", ""},
		{good + " --bwlimit=fast", "cannot use --bwlimit=fast: a rate is a number with K, M or G behind it, as 200M"},
		{good + " --bwlimit=1K", "cannot use --bwlimit=1K: it has to be between 4K and 1048576G a second, or 0 for no limit"},
		{good + " --startport=0", "cannot use --startport=0: it must be between 1 and 65535"},
		{good + " --timeout=-1", "cannot use --timeout=-1: it must be between 0 and 2147483647"},
		{good + " --max_bytes=-1", "cannot use --max_bytes=-1: it must be between 0 and 9223372036854775807"},
		{good + " --backup_count=-1", "cannot use --backup_count=-1: it must be between 0 and 2147483647"},
		{good + " --max_bytes=0 --backup_count=0 --rsyncport=0 --timeout=0", ""},
	} {
		words := strings.Split(c.args, " ")
		for i, w := range words {
			words[i] = strings.ReplaceAll(strings.ReplaceAll(w, "~", " "), "''", "")
		}
		o, _ := parse(t, words, nil)
		got := ""
		if err := o.problem(); err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", c.args, got, c.want)
		}
	}
}

// One file serves all clients of a session.
func TestOneFileForEveryRole(t *testing.T) {
	file := filepath.Join(t.TempDir(), "zkrs.conf")
	if err := os.WriteFile(file, []byte(`# all nodes
[DEFAULT]
TREE = /data
[MAIN]
servers = zk1:2181,
          zk2:2181,
          zk3:2181/chroot
user = rsync
passwd = 100%%
session = home
rsyncpath = %(TREE)s/home
delete = yes
logfile = /var/log/%%(session)s-%%(rstype)s.log
excludere = /(\.snapshots|tmp)(/.*|$)
[rsync]
passwd = for another program
`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, role := range []string{"-S", "-D", "--state", "--pathsonly"} {
		o, warnings := parse(t, []string{"--configfiles=" + file, role}, nil)
		if why := o.problem(); why != nil || warnings != "" {
			t.Errorf("%s: %s %q", role, why, warnings)
		}
		if diff := cmp.Diff([]string{"zk1:2181", "zk2:2181", "zk3:2181/chroot"}, o.servers); diff != "" {
			t.Error(diff)
		}
		if o.passwd != "100%" || o.rsyncPath != "/data/home" || o.logFile != "/var/log/%(session)s-%(rstype)s.log" || !o.delete {
			t.Errorf("%+v", o)
		}
	}
}

func TestVerifyPathWarns(t *testing.T) {
	if _, warnings := parse(t, []string{"--verifypath"}, nil); strings.Count(warnings, "\n") != 1 || !strings.Contains(warnings, "OFF") || !strings.Contains(warnings, " option=verifypath") {
		t.Errorf("warnings %q", warnings)
	}
	if _, warnings := parse(t, []string{"--disable-verifypath"}, nil); warnings != "" {
		t.Errorf("warnings %q", warnings)
	}
}

// No message about a wrong command line shows the password.
func TestPasswordStaysSecret(t *testing.T) {
	for _, args := range [][]string{{"-p", "-hunter2"}, {"-p-hunter2"}, {"--passwd", "-hunter2"}, {"-p", "n"}} {
		var o options
		var errs bytes.Buffer
		if _, err := newProgram(&o).Parse(args, nil, &bytes.Buffer{}, &errs); err == nil || strings.Contains(errs.String(), "hunter2") {
			t.Errorf("%q: %v %s", args, err, errs.String())
		}
	}
}

func TestRates(t *testing.T) {
	for text, want := range map[string]int{"0": 0, "10": 10240, "200M": 200 << 20, "1.5g": 3 << 29, "5000B": 5000, "10kb": 10000, "2MiB": 2 << 20, "1t": 1 << 40} {
		if got, err := parseRate(text); got != want || err != nil {
			t.Errorf("%s is %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "-1", "M", "1X", "1 M", "1e9", "99999999999999T"} {
		if got, err := parseRate(text); err == nil {
			t.Errorf("%q is %d", text, got)
		}
	}
}
