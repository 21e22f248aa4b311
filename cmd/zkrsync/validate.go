// SPDX-License-Identifier: LGPL-2.1-or-later

package main

import (
	"errors"
	"fmt"
	"math"
	"net"
	"regexp"
	"strconv"
	"strings"
	"unicode"

	"vsc-zk/internal/cli"
	"vsc-zk/internal/rsyncrunner"
	"vsc-zk/internal/session"
)

// problem says what is wrong with the options taken together. The order is that of the Python
// program, and so are the texts that end in an exclamation mark and the one about two roles.
func (o *options) problem() error {
	wrong := func(option, format string, args ...any) error {
		return &session.OptionError{Option: option, Err: fmt.Errorf(format, args...)}
	}
	switch {
	case len(o.servers) == 0:
		return wrong("servers", "No servers given!")
	case o.steers() != "" && (o.hasRole() || o.state || o.watch || o.pathsOnly || o.checks):
		return wrong(o.steers(), "cannot use --%s together with what this client is to do otherwise: it is for a run that is under way", o.steers())
	case o.watch && (o.source || o.destination || o.state || o.pathsOnly || o.checks):
		return wrong("watch", "cannot use --watch together with what this client is to do otherwise: it looks at a session, and takes no part")
	case o.pause && o.unpause:
		return wrong("unpause", "cannot use --pause together with --unpause")
	case o.rsyncPath == "" && o.needsBase():
		return wrong("rsyncpath", "Path is mandatory!")
	case o.depth <= 0 && o.depth != session.AutoDepth:
		return wrong("depth", "Invalid depth!")
	case o.zookeeperHome != "" && o.local == "":
		return wrong("zookeeper-home", "cannot use --zookeeper-home without --local: only that starts a ZooKeeper")
	case o.source && o.destination:
		return wrong("destination", "Client can not be the source AND the destination")
	case !o.hasRole() && !o.aside() && !o.shows():
		return wrong("source", "cannot start without a role: give --source, --destination or --local; or --state, --watch, --web, --metrics, --check or --pathsonly")
	case o.webTokenFile != "" && o.web == "":
		return wrong("web-token-file", "cannot use --web-token-file without --web: it is for who looks at that; --metrics needs none")
	case o.metrics != "" && o.metrics == o.web && !strings.HasSuffix(o.web, ":0"):
		return wrong("metrics", "cannot use --metrics=%s: --web has that address, and the metrics at /metrics", o.metrics)
	case o.master && o.noMaster:
		return wrong("master", "cannot use --master together with --no-master")
	case o.resume && (o.noMaster || o.inherit):
		return wrong("resume", "cannot use --resume with --no-master or --inherit: whoever goes on with a run is its master")
	case o.user == "":
		return wrong("user", "cannot use an empty name of the ZooKeeper user")
	case strings.Contains(o.user, ":"):
		name, _, _ := strings.Cut(o.user, ":") // what follows may be a password
		return wrong("user", "cannot use the ZooKeeper user %q: a name has no colon; a password belongs into --passwd-file, ZKRSYNC_PASSWD or a config file", name+":***")
	case o.detaches() && o.pidFile == "":
		return wrong("pidfile", "No PID file given!")
	case o.depth == session.AutoDepth && len(o.subpaths) > 0:
		return wrong("rsubpaths", "cannot use --rsubpaths with --depth=auto: give a depth, or leave the subpaths out")
	case o.changed != "" && o.pathsFrom != "":
		return wrong("changed", "cannot use --changed together with --paths-from: one of them says what the session is about")
	case o.changed != "" && o.hardLinks:
		return wrong("changed", "cannot use --changed with --hardlinks: a list of changes need not name all names of a file, and rsync would part them at the destination")
	case o.changed != "" && o.pathsOnly:
		return wrong("changed", "cannot use --changed with --pathsonly: nothing is cut")
	case o.changed != "" && (rsyncrunner.Options{Extra: o.arbitOpts}).HasRules():
		return wrong("changed", "cannot use --changed with exclude, include or filter in --arbitopts: rsync sends what is listed all the same; leave these names out of the list")
	case o.changed == "-" && o.detaches():
		return wrong("changed", "cannot use --changed=- with --daemon: a daemon has no standard input; give a file")
	case strings.Contains(o.sentinel, "/") || o.sentinel == "." || o.sentinel == "..":
		return wrong("sentinel", "cannot use --sentinel=%s: give the name of a file that lies in the base directory", o.sentinel)
	}
	if _, err := o.order(); err != nil {
		return wrong(o.steers(), "%w", err)
	}
	if _, err := parseRate(o.bwLimit); err != nil {
		return wrong("bwlimit", "cannot use --bwlimit=%s: %w", o.bwLimit, err)
	}
	if o.bind != "" && net.ParseIP(o.bind) == nil {
		return wrong("bind", "cannot use --bind=%s: give an IP address of this host", o.bind)
	}
	if why := badSession(o.session); why != "" {
		return wrong("session", "cannot use the session name %q: it %s", o.session, why)
	}
	for _, name := range []struct{ option, value string }{{"host", o.host}, {"domain", o.domain}} {
		if strings.ContainsFunc(name.value, func(r rune) bool { return r == ':' || r == '/' || unicode.IsSpace(r) || unicode.IsControl(r) }) {
			return wrong(name.option, "cannot use --%s=%q: it must be a host name; an IPv6 address needs a name", name.option, name.value)
		}
	}
	prefetch := o.prefetch
	if prefetch == session.AutoPrefetch {
		prefetch = 0
	}
	for _, number := range []struct {
		option      string
		value       int64
		least, most int64
	}{
		{"walkers", int64(o.walkers), 1, 1024},
		{"jobs", int64(o.jobs), 0, 1024},
		{"slots", int64(o.slots), 1, 1024},
		{"batch", int64(o.batch), 1, 500},
		{"batch-seconds", int64(o.batchSeconds), 1, 86400},
		{"sync-interval", int64(o.syncInterval), 1, 86400},
		{"prefetch", int64(prefetch), 0, 1024},
		{"rsyncport", int64(o.rsyncPort), 0, 65535},
		{"startport", int64(o.startPort), 1, 65535},
		{"timeout", int64(o.timeout), 0, 1<<31 - 1},
		{"stall", int64(o.stall), 0, 1<<31 - 1},
		{"late-retries", int64(o.lateRetries), 0, 100},
		{"session-timeout", int64(o.sessionTimeout), 1, 3600},
		{"max-failures", int64(o.maxFailures), 0, 1<<31 - 1},
		{"max-delete", int64(o.maxDelete), -1, 1<<31 - 1},
		{"max_bytes", o.maxBytes, 0, 1<<63 - 1},
		{"backup_count", int64(o.backupCount), 0, 1<<31 - 1},
	} {
		if number.value < number.least || number.value > number.most {
			return wrong(number.option, "cannot use --%s=%d: it must be between %d and %d", number.option, number.value, number.least, number.most)
		}
	}
	if option, err := o.tls.Problem(); err != nil {
		return wrong(option, "%w", err)
	}
	return nil
}

// traced is what an error says, and where the option that it comes from was given, if that is a config
// file. One that is missing may have been in a file that was skipped.
func traced(err error, parsed *cli.Parsed) string {
	var of *session.OptionError
	if !errors.As(err, &of) {
		return err.Error()
	}
	switch at, given := parsed.Origin(of.Option); {
	case at != "":
		return fmt.Sprintf("%v (%s)", err, at)
	case !given:
		return parsed.Missing(err).Error()
	}
	return err.Error()
}

var rateForm = regexp.MustCompile(`(?i)^(\d+(?:\.\d+)?)(b|[kmgt](?:b|ib)?)?$`)

// parseRate reads a rate as rsync's --bwlimit has it, in bytes a second: K, M, G and T are powers of 1024, KB, MB and
// so on of 1000, B is a byte, and a plain number counts units of 1024.
func parseRate(text string) (int, error) {
	found := rateForm.FindStringSubmatch(text)
	if found == nil {
		return 0, errors.New("a rate is a number with K, M or G behind it, as 200M")
	}
	number, err := strconv.ParseFloat(found[1], 64)
	if err != nil {
		return 0, err
	}
	unit, suffix := 1024.0, strings.ToLower(found[2])
	switch {
	case suffix == "b":
		unit = 1
	case suffix != "":
		base := 1024.0
		if strings.HasSuffix(suffix, "b") && !strings.HasSuffix(suffix, "ib") {
			base = 1000
		}
		unit = math.Pow(base, float64(strings.IndexByte("kmgt", suffix[0])+1))
	}
	rate := number * unit
	if rate > 1<<50 || number > 0 && rate < 4096 {
		return 0, errors.New("it has to be between 4K and 1048576G a second, or 0 for no limit")
	}
	return int(rate), nil
}

// badSession says why a name cannot be that of a session, which is a znode, an rsync module and a
// part of file names at the same time; empty if it can.
func badSession(name string) string {
	switch {
	case name == "":
		return "is empty"
	case name == "." || name == "..":
		return "is not a znode's name"
	case strings.ContainsAny(name, "/[]"):
		return "contains one of / [ ]"
	case strings.ContainsFunc(name, unicode.IsControl):
		return "contains a control character"
	case strings.TrimSpace(name) != name:
		return "begins or ends with a blank"
	}
	return ""
}
