// SPDX-License-Identifier: LGPL-2.1-or-later

package rsyncrunner

import (
	"regexp"
	"slices"
	"strings"
)

// option is a long option of rsync's, and what becomes of it when a user gives it. One rsync over a
// tree has become many over pieces of it, that run beside each other, may be repeated, and whose
// output is read by a program: an option is fine if that makes no difference to it. The others are
// adapted, if the runs together can be made to do what one rsync would have done, or refused.
type option struct {
	names string // as rsync spells it, all of one meaning, with the value it takes: "exclude=PATTERN"
	short string // its letter
	use   use
	why   string // of a refused one what the message says, a sentence that follows a colon
	ours  string // the option of zkrsync's that does it

	internal bool // only for rsyncs among themselves
	local    bool // about how files travel or what is told of it, not about what arrives

	set    func(o *Options, value string)            // of an adapted one: done by a field, and not passed on
	refuse func(o Options, key, value string) string // of an adapted one: says why a value cannot be used; "": it can
}

// use is what becomes of an option.
type use int

const (
	fine    use = iota // passed on as it is
	always             // fine, and nothing new: every run has it
	adapted            // passed on where it suits, or in another form, or done by one of our fields
	refused
)

// The table is as rsync 3.5.0 prints its options with --help, and the names that its documentation
// and its program have beside these, with those of versions since 3.1. What is said of how runs
// behave was tried with 3.5.0.
var table = []option{
	// What is printed.
	{names: "verbose", short: "v", use: adapted, local: true, set: func(o *Options, _ string) { o.Verbose = true }, ours: "verbose",
		why: "the names are logged by the source"},
	{names: "no-verbose no-v", use: fine, local: true, why: "names are only printed"},
	{names: "info=FLAGS", use: adapted, local: true, refuse: refuseFlags("none", "stats", "all"),
		why: "what it prints is passed over, but for the statistics, which have to come; help ends rsync at once and with 0, so that nothing would be sent"},
	{names: "debug=FLAGS", use: adapted, local: true, refuse: refuseFlags(),
		why: "what it prints is passed over; help ends rsync at once and with 0, so that nothing would be sent"},
	{names: "stderr=MODE msgs2stderr no-msgs2stderr", use: refused, why: "statistics and error messages could not be told apart"},
	{names: "quiet", short: "q", use: refused, why: "rsync would not print its statistics, nor what it changes"},
	{names: "motd no-motd", use: fine, local: true, why: "destinations have no message of the day"},
	{names: "stats", use: always, local: true, why: "the statistics are what is counted"},
	{names: "human-readable no-human-readable no-h", short: "h", use: adapted, local: true, set: dropped,
		why: "nobody but this program reads these numbers, and it could not read 1.2K"},
	{names: "8-bit-output no-8-bit-output no-8", short: "8", use: fine, local: true, why: "it is about names in messages"},
	{names: "progress no-progress", use: fine, local: true, why: "what it prints is passed over"},
	{names: "itemize-changes no-itemize-changes no-i", short: "i", use: fine, local: true, why: "lines of this program's own are told from them by a mark"},
	{names: "out-format=FORMAT log-format=FORMAT", use: fine, local: true, why: "the last one counts, which is this program's where it reads them"},
	{names: "log-file=FILE", use: fine, local: true, ours: "logfile", why: "each run appends its lines to the file on its source's node"},
	{names: "log-file-format=FORMAT", use: fine, local: true, why: "see log-file"},
	{names: "outbuf=MODE", use: fine, local: true, why: "the output is read to its end"},
	{names: "help", short: "h", use: refused, why: "rsync would print a text and copy nothing", ours: "help"},
	{names: "version", short: "V", use: refused, why: "rsync would print a text and copy nothing", ours: "version"},
	{names: "list-only", use: refused, why: "paths would be reported as done that were not copied", ours: "pathsonly"},
	{names: "dry-run", short: "n", use: refused, why: "the master has to know of it, and to say what would be done", ours: "dryrun"},

	// What is compared.
	{names: "checksum", short: "c", use: adapted, set: func(o *Options, _ string) { o.Checksum = true }, ours: "checksum", why: "done by our option"},
	{names: "no-checksum no-c", use: fine, why: "with Verify --checksum comes last"},
	{names: "checksum-choice=ALGORITHM cc=ALGORITHM", use: adapted, why: "none compares nothing", refuse: func(_ Options, _, value string) string {
		if strings.Contains(strings.ToLower(value), "none") {
			return "without checksums nobody would notice what was damaged on its way, and a comparison would find no difference"
		}
		return ""
	}},
	{names: "checksum-seed=NUMBER", use: fine, why: "it is about each file"},
	{names: "ignore-times", short: "I", use: fine, why: "it is about each file"},
	{names: "size-only", use: adapted, refuse: refuseBegun, why: "it is about each file, unless one was begun in its place"},
	{names: "modify-window=SECONDS", short: "@", use: fine, why: "it is about each file"},
	{names: "update", short: "u", use: adapted, refuse: refuseBegun, why: "it is about each file, unless one was begun in its place"},
	{names: "existing ignore-non-existing", use: fine, why: "a run makes no directory above its paths either"},
	{names: "ignore-existing", use: adapted, refuse: refuseBegun, why: "it is about each file, and leaves directories alone, unless one was begun in its place"},
	{names: "max-size=SIZE", use: fine, why: "it is about each file"},
	{names: "min-size=SIZE", use: fine, why: "it is about each file"},
	{names: "fuzzy no-fuzzy no-y", short: "y", use: fine, why: "it looks in the directory of the file only"},
	{names: "compare-dest=DIR", use: adapted, refuse: refuseInside, why: "relative to the destination's base in every run"},
	{names: "copy-dest=DIR", use: adapted, refuse: refuseInside, why: "see compare-dest"},
	{names: "link-dest=DIR", use: adapted, refuse: refuseInside, why: "see compare-dest"},

	// What is sent of the tree.
	{names: "archive", short: "a", use: always, why: "what it means is in the command; with a list of paths it does not recurse"},
	{names: "recursive no-recursive no-r", short: "r", use: refused, why: "every path says itself whether all below it belongs to it, and together they are the whole tree"},
	{names: "inc-recursive no-inc-recursive i-r no-i-r", use: fine, why: "it is about when the list is made; with HardLinks it is made first, whatever is said"},
	{names: "relative no-relative no-R", short: "R", use: refused, why: "paths have to keep their place below the base path"},
	{names: "no-implied-dirs no-i-d", use: refused, why: "runs that work on neighbouring paths would lose the modes and times of the directories above them"},
	{names: "implied-dirs i-d", use: always, why: "directories above a path are sent with it"},
	{names: "dirs no-dirs no-d old-dirs old-d", short: "d", use: refused, why: "every path says itself whether all below it belongs to it"},
	{names: "mkpath no-mkpath", use: fine, why: "the destination's base is there"},
	{names: "files-from=FILE", use: refused, why: "the list of paths is made by this program, and to send some paths only there is an option", ours: "paths-from"},
	{names: "from0 no-from0", short: "0", use: refused, why: "the list of paths is made by this program"},
	{names: "one-file-system", short: "x", use: adapted, set: func(o *Options, _ string) { o.OneFileSystem = true }, ours: "one-file-system",
		why: "a run knows only on which file system its own path lies: the walk has to stay on that of the base"},
	{names: "no-one-file-system no-x", use: refused, why: "the walk would stay on one file system, and rsync not: leave --one-file-system out"},
	{names: "prune-empty-dirs", short: "m", use: refused,
		why: "a run over a directory without what is below it would take its subdirectories for empty, leave them out, and with --delete delete them at the destination"},
	{names: "no-prune-empty-dirs no-m", use: always, why: "directories are sent whether they are empty or not"},
	{names: "ignore-missing-args", use: refused, why: "a path that is gone would be reported as completed"},
	{names: "delete-missing-args", use: refused, why: "a path that is gone for a moment, as below a lost mount, would be deleted at the destination with all below it"},
	{names: "remove-source-files remove-sent-files", use: refused,
		why: "a path may be sent more than once, and with --delete its second run would remove from the destination what the first took from the source"},
	{names: "trust-sender", use: fine, why: "it is about what a receiver believes, and this one sends"},

	// Links.
	{names: "links no-links no-l", short: "l", use: fine, why: "it is about each link; links are sent"},
	{names: "copy-links", short: "L", use: refused, why: "a link to a directory would become a directory that no path stands for, and so an empty one"},
	{names: "copy-unsafe-links", use: refused, why: "a link to a directory would become a directory that no path stands for, and so an empty one"},
	{names: "copy-dirlinks", short: "k", use: refused, why: "a link to a directory would become a directory that no path stands for, and so an empty one"},
	{names: "keep-dirlinks", short: "K", use: refused, why: "runs over what is below such a link at the destination would replace it by a directory"},
	{names: "safe-links", use: fine, why: "it is about each link, judged by its place below the base"},
	{names: "insecure-links", use: refused, why: "whoever swaps a directory for a link while rsync reads it could lead rsync out of the tree"},
	{names: "no-insecure-links", use: always, why: "links on the way to a path are refused"},
	{names: "confine-root=DIR", use: fine, local: true, why: "it is about files that options name on the source's node"},
	{names: "munge-links no-munge-links", use: fine, why: "it is about each link"},
	{names: "hard-links", short: "H", use: adapted, set: func(o *Options, _ string) { o.HardLinks = true }, ours: "hardlinks",
		why: "links between paths need a pass of their own at the end"},
	{names: "no-hard-links no-H", use: refused, why: "the pass for hard links would make copies: leave --hardlinks out"},

	// Attributes.
	{names: "perms no-perms no-p", short: "p", use: adapted, refuse: refuseBegun, why: "modes are sent; without, it is about each file that is new, which one that was begun in its place is no more"},
	{names: "executability", short: "E", use: fine, why: "it is about each file"},
	{names: "chmod=MODES", use: fine, why: "it is about each file, and the directories above a path get the same in every run"},
	{names: "acls", short: "A", use: adapted, set: func(o *Options, _ string) { o.ACLs = true }, ours: "acls", why: "done by our option"},
	{names: "no-acls no-A", use: fine, why: "ACLs are only sent if asked for"},
	{names: "xattrs", short: "X", use: adapted, set: func(o *Options, _ string) { o.XAttrs = true }, ours: "xattrs", why: "done by our option"},
	{names: "no-xattrs no-X", use: fine, why: "extended attributes are only sent if asked for"},
	{names: "owner no-owner no-o", short: "o", use: fine, why: "owners are sent; without, it is about each file"},
	{names: "group no-group no-g", short: "g", use: fine, why: "groups are sent; without, it is about each file"},
	{names: "devices no-devices specials no-specials no-D", short: "D", use: fine, why: "both are sent; without, it is about each file"},
	{names: "drop-D", use: refused, why: "a destination's rsync is not told of it: give no-devices and no-specials"},
	{names: "no-drop-D", use: always, why: "devices are sent"},
	{names: "copy-devices", use: fine, why: "it is about each file"},
	{names: "write-devices no-write-devices", use: refused, why: "the daemon of a destination refuses to write into devices"},
	{names: "times no-times no-t", short: "t", use: fine, why: "times are sent; without, it is about each file"},
	{names: "atimes no-atimes no-U", short: "U", use: fine, why: "it is about each file"},
	{names: "open-noatime no-open-noatime", use: fine, local: true, why: "it is about each file"},
	{names: "crtimes no-crtimes no-N", short: "N", use: fine, why: "it is about each file, where rsync can do it"},
	{names: "omit-dir-times no-omit-dir-times no-O", short: "O", use: fine, why: "it is about each directory"},
	{names: "omit-link-times no-omit-link-times no-J", short: "J", use: fine, why: "it is about each link"},
	{names: "super", use: fine, why: "it is about what the receiver tries with each file"},
	{names: "no-super", use: refused, why: "a destination's rsync is not told of it: start the destination as another user"},
	{names: "fake-super", use: fine, why: "a source takes the attributes of each file from where an earlier rsync has hidden them"},
	{names: "numeric-ids", use: always, why: "a destination's rsync, in its chroot, has no names of users"},
	{names: "no-numeric-ids", use: refused, why: "a destination's rsync knows no names of users and groups"},
	{names: "usermap=MAP", use: adapted, set: func(o *Options, value string) { o.UserMap = value }, ours: "usermap",
		why: "a destination's rsync knows no names, says so, changes nothing and ends with 0: they become numbers here"},
	{names: "groupmap=MAP", use: adapted, set: func(o *Options, value string) { o.GroupMap = value }, ours: "groupmap", why: "see usermap"},
	{names: "chown=USER:GROUP", use: adapted, set: setChown, why: "the same as usermap *:USER and groupmap *:GROUP, see there"},
	{names: "copy-as=USER[:GROUP]", use: refused, why: "it changes the user of one side only, and not of this program, which reads the tree too: start the client as that user"},

	// How files are written.
	{names: "inplace", use: adapted, set: func(o *Options, _ string) { o.Inplace = true }, ours: "inplace", why: "done by our option"},
	{names: "no-inplace", use: fine, why: "it is about each file"},
	{names: "append append-verify no-append", use: fine, why: "it is about each file; one that was cut off goes on at the next attempt"},
	{names: "backup no-backup", short: "b", use: fine,
		why: "backups lie beside the files and are kept from deletion in every run; a file that changes while a session runs may be sent twice, and its backup then is the first of the two"},
	{names: "suffix=SUFFIX", use: fine, why: "see backup"},
	{names: "backup-dir=DIR", use: adapted, refuse: refuseInside, why: "relative to the destination's base in every run"},
	{names: "sparse no-sparse no-S", short: "S", use: fine, why: "it is about each file"},
	{names: "preallocate", use: fine, why: "it is about each file"},
	{names: "whole-file no-whole-file no-W", short: "W", use: fine, local: true, why: "it is about each file"},
	{names: "block-size=SIZE", short: "B", use: fine, local: true, why: "it is about each file"},
	{names: "partial", short: "P", use: adapted, set: func(o *Options, _ string) { o.Partial = true }, ours: "partial",
		why: "done by our option, beside the file: in its place it would be taken for the whole one"},
	{names: "no-partial", use: adapted, why: "nothing is kept unless --partial is given", refuse: func(o Options, _, _ string) string {
		if o.Partial {
			return "--partial asks for the opposite"
		}
		return ""
	}},
	{names: "partial-dir=DIR", use: refused, ours: "partial", why: "whoever lists paths, deletes and tidies up has to know the name of that directory"},
	{names: "delay-updates", use: refused, why: "files would be put into place at the end of each of many runs, not all together at the end of the transfer"},
	{names: "no-delay-updates", use: always, why: "files are put into place one by one"},
	{names: "temp-dir=DIR", short: "T", use: refused,
		why: "it would have to lie in the destination's tree, where the temporary files of all runs are in each other's way, and one that deletes removes those of the others"},
	{names: "fsync", use: fine, local: true, why: "it is about each file"},
	{names: "max-alloc=SIZE", use: fine, local: true, why: "it bounds each process"},

	// Deleting.
	{names: "delete delete-before delete-during del delete-delay delete-after", use: adapted, ours: "delete", refuse: needsDelete,
		why: "when each run deletes; runs that send single files delete nothing, and do not get it"},
	{names: "force", use: adapted, refuse: needsDelete, why: "what stands in the way of a file is deleted with --delete"},
	{names: "no-force", use: fine, why: "without it nothing that is not empty makes way"},
	{names: "delete-excluded", use: refused, why: "what is left out on purpose would be deleted at the destination"},
	{names: "ignore-errors", use: refused, why: "a directory that could not be read would be taken for an empty one, and its copy deleted"},
	{names: "no-ignore-errors", use: always, why: "a run that could not read a directory deletes nothing"},
	{names: "max-delete=NUMBER", use: refused, why: "it would limit each run of rsync, not the whole session", ours: "max-delete"},

	// Rules.
	{names: "exclude=PATTERN", use: adapted, refuse: refuseRule, why: "the walk obeys it too: rsync sends a path that is in its list although a pattern matches it, or a directory above it"},
	{names: "include=PATTERN", use: adapted, refuse: refuseRule, why: "see exclude"},
	{names: "filter=RULE", short: "f", use: adapted, refuse: refuseRule, why: "see exclude"},
	{names: "exclude-from=FILE include-from=FILE", use: refused, why: nulSeparated},
	{names: "cvs-exclude", short: "C", use: refused,
		why: "the directories that it leaves out would be sent nevertheless where they are paths of their own: give a pattern for each (exclude:.git/, exclude:.svn/, …)"},

	// The connection.
	{names: "bwlimit=RATE no-bwlimit", use: fine, local: true, why: "it bounds each run: a source has as many at once as it has jobs; --bwlimit of zkrsync bounds the whole session"},
	{names: "timeout=SECONDS no-timeout", use: fine, local: true, ours: "timeout", why: "it is about each connection"},
	{names: "contimeout=SECONDS no-contimeout", use: fine, local: true, why: "it is about each connection"},
	{names: "address=ADDRESS", use: fine, local: true, why: "it is about each connection"},
	{names: "ipv4", short: "4", use: fine, local: true, why: "it is about each connection"},
	{names: "ipv6", short: "6", use: fine, local: true, why: "it is about each connection"},
	{names: "sockopts=OPTIONS", use: adapted, local: true, why: "added to TCP_NODELAY, which small files need"},
	{names: "compress old-compress new-compress no-compress no-z", short: "z", use: fine, local: true, why: "it is about each connection"},
	{names: "compress-choice=ALGORITHM zc=ALGORITHM", use: fine, local: true, why: "it is about each connection"},
	{names: "compress-level=NUMBER zl=NUMBER", use: fine, local: true, why: "it is about each connection"},
	{names: "compress-threads=NUMBER zt=NUMBER", use: fine, local: true, why: "it is about each connection"},
	{names: "skip-compress=LIST", use: fine, local: true, why: "it is about each file"},
	{names: "protocol=NUMBER", use: refused, why: "older protocols do not tell how many files were deleted, and more of what is read back"},
	{names: "iconv=CHARSETS", use: refused, why: "the daemon of a destination refuses it, and names there would differ from those in lists and rules"},
	{names: "no-iconv", use: always, why: "names are sent as they are"},
	{names: "old-args no-old-args secluded-args no-secluded-args protect-args no-protect-args no-s", short: "s", use: fine, local: true, why: "it is about what a shell does at the other side, and there is none"},
	{names: "port=PORT", use: refused, why: "a destination says itself at which port it is reached, which it is told with its own option", ours: "rsyncport"},
	{names: "password-file=FILE", use: refused, why: "destinations ask for no password"},
	{names: "early-input=FILE", use: refused, why: "destinations run no program that would read it"},
	{names: "rsh=COMMAND", short: "e", use: refused, why: "destinations are reached directly, not through a remote shell"},
	{names: "rsync-path=PROGRAM blocking-io no-blocking-io", use: refused, why: "destinations are reached directly, not through a remote shell"},
	{names: "remote-option=OPTION", short: "M", use: refused, why: "the two sides of a transfer have to agree on their options"},

	// What ends or replaces the transfer.
	{names: "stop-after=MINUTES time-limit=MINUTES stop-at=TIME", use: refused, why: "rsync would end as if the destination had stopped answering: to end a session earlier stop its clients, which give back what they had"},
	{names: "write-batch=FILE only-write-batch=FILE read-batch=FILE", use: refused, why: "paths would be reported as done that were not copied, and all runs would write the same file"},
	{names: "qsort", use: refused, why: "a destination's rsync does not know it"},
	{names: "daemon", use: refused, why: "it belongs to rsync's daemon, which a destination sets up", ours: "destination"},
	{names: "server sender detach no-detach config=FILE dparam=OVERRIDE", use: refused, internal: true, why: "it belongs to rsync's daemon, which a destination sets up"},
}

// longName matches the name of a long option.
var longName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9-]+$`)

// lookup finds an option by one of its names.
func lookup(name string) *option {
	for i := range table {
		if _, ok := table[i].values()[name]; ok {
			return &table[i]
		}
	}
	return nil
}

// values gives for each name of the option what its value is called, "" if it takes none.
func (o *option) values() map[string]string {
	values := map[string]string{}
	for _, spelling := range strings.Fields(o.names) {
		name, value, _ := strings.Cut(spelling, "=")
		values[name] = value
	}
	return values
}

// first is the name that rsync's help uses.
func (o *option) first() string {
	name, _, _ := strings.Cut(strings.Fields(o.names)[0], "=")
	return name
}

// Hint says how somebody who knows an option of rsync's, by its long name or its letter, gets what it
// does, and by which option of zkrsync's, "" if by none. It is false for what users of rsync do not
// give.
func Hint(name string) (hint, ours string, ok bool) {
	known := lookup(name)
	if len(name) == 1 {
		if at := slices.IndexFunc(table, func(o option) bool { return o.short == name }); at >= 0 {
			known, name = &table[at], table[at].first()
		}
	}
	switch {
	case known == nil || known.internal:
		return "", "", false
	case known.ours != "":
		return "zkrsync calls it --" + known.ours, known.ours, true
	case known.use == always:
		return "it is always on", "", true
	case known.use == refused:
		return "zkrsync does not have it: " + known.why, "", true
	}
	hint = "give it to rsync with --arbitopts=" + name
	if value := known.values()[name]; value != "" {
		hint += ":" + value
	}
	return hint, "", true
}

// Local reports whether one of Options.Extra is about how files travel or what is told of it, not about
// what arrives: the sources of a session may differ in it.
func Local(extra string) bool {
	key, _, _ := strings.Cut(extra, ":")
	known := lookup(key)
	return known != nil && known.local
}

// dropped is for what is accepted and not passed on.
func dropped(*Options, string) {}

// setChown is --chown=USER:GROUP, either of which may be missing.
func setChown(o *Options, value string) {
	user, group, _ := strings.Cut(value, ":")
	if user != "" {
		o.UserMap = "*:" + user
	}
	if group != "" {
		o.GroupMap = "*:" + group
	}
}

// refuseFlags is for --info and --debug: help, and flags that must not be set.
func refuseFlags(unfit ...string) func(Options, string, string) string {
	return func(_ Options, _, value string) string {
		for flag := range strings.SplitSeq(value, ",") {
			name := strings.ToLower(strings.TrimRight(flag, "0123456789"))
			if name == "help" {
				return "rsync would print a text and copy nothing"
			}
			if slices.Contains(unfit, name) {
				return "rsync would not print its statistics, or others than are read"
			}
		}
		return ""
	}
}

func refuseRule(_ Options, key, value string) string {
	_, why := parseRule(key, value)
	return why
}

func needsDelete(o Options, _, _ string) string {
	if o.Delete {
		return ""
	}
	return "it deletes at the destination: turn on --delete too"
}

// refuseBegun is for what passes over files that are there already, as a whole or their modes. Where files are written in
// their place, one that was begun when its run was stopped is there for the next run: it would never be completed.
func refuseBegun(o Options, key, _ string) string {
	stays := func(extra string) bool {
		name, _, _ := strings.Cut(extra, ":")
		return slices.Contains([]string{"inplace", "append", "append-verify"}, name)
	}
	switch {
	case !o.Inplace && !slices.ContainsFunc(o.Extra, stays):
		return ""
	case key == "perms":
		return ""
	case key == "no-perms", key == "no-p":
		return "a file that a run has begun in its place, and another goes on with, would keep the mode that it was begun with, which is for its owner only"
	}
	return "a file that a run has begun in its place and not finished would be passed over by the next, and stay as it is: leave out --inplace and append"
}

// refuseInside is for directories at the destination, where a daemon lets nobody out of its path.
func refuseInside(o Options, _, _ string) string {
	if !o.Delete {
		return ""
	}
	return "its directory would lie in the destination's tree, and with --delete one run would delete it while others need it"
}
