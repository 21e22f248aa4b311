// SPDX-License-Identifier: LGPL-2.1-or-later

package main

import (
	"context"
	_ "embed"
	"fmt"
	"regexp"

	"vsc-zk/internal/cli"
	"vsc-zk/internal/link"
	"vsc-zk/internal/rsyncrunner"
	"vsc-zk/internal/session"
)

// guide is what --help=guide shows and zkrsync(7) says.
//
//go:embed guide.md
var guide string

// options are what command line, environment and config files say. Comments tell what a zero value
// means, unless it is "none" or "off".
type options struct {
	// ZooKeeper
	servers      []string
	user, passwd string
	tls          cli.ZookeeperTLS

	sessionTimeout int // seconds

	// Role
	local                                         string // the destination of a local session; "": it is none
	zookeeperHome                                 string // "": Debian's
	source, destination, pathsOnly, state, checks bool
	stateForm                                     string // "": for people; json
	watch                                         bool
	allSessions                                   bool          // with one of these two: no session was named
	asked                                         chan struct{} // by a signal, for the state

	// Steering
	pause, unpause, stop bool
	set                  []string // NAME=VALUE
	skip                 string
	requeue              string

	// Looking
	web          string // HOST:PORT
	webTokenFile string
	metrics      string // HOST:PORT

	// Session
	session           string
	rsyncPath         string
	delete            bool
	checksum          bool
	hardLinks         bool
	inplace           bool
	partial           bool
	acls              bool
	xattrs            bool
	oneFileSystem     bool
	userMap, groupMap string
	dryRun            bool
	allowEmpty        bool
	maxDelete         int // -1: any number
	sentinel          string
	verify            bool
	netcat            bool
	inherit           bool
	resume            bool
	master, noMaster  bool

	// Path building
	depth        int // session.AutoDepth: auto
	walkers      int
	subpaths     []string       // "<depth>_<path>"
	excludeRe    *regexp.Regexp // nil: nothing
	excludeBelow bool
	excludeUser  string // "": any owner
	pathsFrom    string
	changed      string

	// rsync
	jobs         int // 0: one, and none beside leading a run
	slots        int
	batch        int
	batchSeconds int
	noSync       bool
	syncInterval int // seconds
	prefetch     int
	timeout      int // seconds; 0: rsync's own
	stall        int // seconds; 0: never
	verbose      bool
	dropCache    bool
	arbitOpts    []string // "key" or "key:value"
	rsyncPort    int      // 0: search from startPort
	startPort    int

	// Link
	link       string
	linkOnly   bool
	openDaemon bool
	bind       string // "": all
	bwLimit    string // bytes a second, as rsync writes sizes

	// Client
	host        string // "": ask the system
	domain      string
	verifyPath  bool
	doneFile    string
	report      string
	history     string
	failed      string
	onEnd       string
	lateRetries int
	maxFailures int // 0: any number
	daemon      bool
	sysexits    bool
	pidFile     string // template

	// Logging
	logFile     string // template; "": none
	maxBytes    int64
	backupCount int
	logFormat   string // text or json
}

// newProgram registers all options, and sets o to their defaults.
func newProgram(o *options) *cli.Program {
	*o = options{
		user:         "root",
		passwd:       "admin",
		session:      "default",
		depth:        3,
		walkers:      8,
		batch:        500,
		slots:        1,
		maxDelete:    -1,
		excludeRe:    regexp.MustCompile(`/\.snapshots(/.*|$)`),
		excludeUser:  "root",
		batchSeconds: 5,
		syncInterval: 300,
		stall:        600,
		lateRetries:  1,

		sessionTimeout: 10,

		prefetch:    session.AutoPrefetch,
		startPort:   4444,
		link:        string(link.TLS),
		bwLimit:     "0",
		verifyPath:  true,
		pidFile:     "/tmp/zkrsync/%(session)s-%(rstype)s-%(pid)s.pid",
		logFile:     "/tmp/zkrsync/%(session)s-%(rstype)s-%(pid)s.log",
		maxBytes:    100 << 20,
		backupCount: 5,
		logFormat:   "text",
	}
	p := cli.New("zkrsync", "Spread the rsync of one large directory tree over many processes and nodes, which ZooKeeper coordinates.")
	p.Foreign = rsyncrunner.Hint
	p.With = rsyncFound
	o.zookeeperOptions(p)
	o.roleOptions(p)
	o.webOptions(p)
	o.steeringOptions(p)
	o.sessionOptions(p)
	o.pathOptions(p)
	o.rsyncOptions(p)
	o.linkOptions(p)
	o.clientOptions(p)
	o.logOptions(p)
	addNotes(p)
	return p
}

// rsyncFound is what --version says about rsync.
func rsyncFound() string {
	version, file, err := rsyncrunner.Version(context.Background()) // which takes seconds at most
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("rsync %s (%s)", version, file)
}

func (o *options) zookeeperOptions(p *cli.Program) {
	g := p.Group("ZooKeeper", "How to reach ZooKeeper, the same for all clients.")
	g.Strings(&o.servers, cli.Opt{Name: "servers", Arg: "LIST",
		Help: "ZooKeeper servers, separated by commas, each HOST or HOST:PORT (port 2181 if not given); /PATH behind the last one is the root of all names.", Note: "mandatory"})
	g.String(&o.user, cli.Opt{Name: "user", Short: "u", Arg: "NAME",
		Help: "ZooKeeper user that may write below /admin/rsync, as set up with zkinitree."})
	g.String(&o.passwd, cli.Opt{Name: "passwd", Short: "p", Arg: "PASSWORD",
		Help:    "Password of that user. Other users of the host can see the command line: better use --passwd-file, ZKRSYNC_PASSWD or a config file.",
		Secret:  true,
		Warning: "the password was on the command line, where other users of this host can see it until it has been read, and stays in the history of the shell: better use --passwd-file=FILE, the environment variable ZKRSYNC_PASSWD, or a config file of mode 600"})
	g.SecretFile(&o.passwd, cli.Opt{Name: "passwd-file", Arg: "FILE", Added: true,
		Help: "Read that password from the only line of this file, which others must not be able to read or write; /dev/fd/N for a pipe."})
	g.ZookeeperTLS(&o.tls)
	g.Int(&o.sessionTimeout, cli.Opt{Name: "session-timeout", Arg: "SECONDS", Added: true,
		Help: "How long this client may be without ZooKeeper until its work is given to others, and how long it takes until they notice that it has died. ZooKeeper may grant less or more."})
}

func (o *options) roleOptions(p *cli.Program) {
	g := p.Group("Role", "What this client does: one of these; --check goes with a role, or alone.")
	g.String(&o.local, cli.Opt{Name: "local", Arg: "DIR", Added: true,
		Help: "Copy what is below --rsyncpath to this directory of the same machine, all in one process: a source with --jobs (by default as many as there are processors, at least 2 and at most 8), a destination and a private ZooKeeper, which needs Debian's packages zookeeper and default-jre-headless, or --zookeeper-home. With --resume it goes on where the same command was interrupted."})
	g.String(&o.zookeeperHome, cli.Opt{Name: "zookeeper-home", Arg: "DIR", Added: true,
		Help: "For --local: the directory that ZooKeeper's tarball was unpacked to."})
	g.Bool(&o.source, cli.Opt{Name: "source", Short: "S",
		Help: "Send: the first source of a session becomes its master, which lists the paths; the others run rsync."})
	g.Bool(&o.destination, cli.Opt{Name: "destination", Short: "D",
		Help: "Receive: run an rsync daemon for the sources."})
	g.BoolForm(&o.state, &o.stateForm, cli.Opt{Name: "state", Choices: []string{"json"},
		Help: "Show how far the session is, who is there, what runs where and what has failed, and exit: 0 if it is running, 14 if there is no run, 15 if it stands still, 16 if it has no master. Without --session all sessions are shown. With =json one JSON object a line, see zkrsync(7). Nothing is written to ZooKeeper, and no log file unless --logfile is given on the command line or in the environment."})
	g.Bool(&o.watch, cli.Opt{Name: "watch", Added: true,
		Help: "Show a session while it goes on, on the whole screen, until q is pressed; ? shows the keys. Without --session show the list of sessions, to choose from. Without a terminal write a line a minute, and one when something has changed, until the run is over. Needs no base directory, and changes nothing. The exit status is that of --state."})
	g.Bool(&o.pathsOnly, cli.Opt{Name: "pathsonly",
		Help: "Only list the paths, to try --depth, --rsubpaths and --excludere: show their number and the seconds it took, then forget them."})
	g.Bool(&o.checks, cli.Opt{Name: "check", Added: true,
		Help: "Look for all that could keep a client from working, with --source or --destination also for what only that needs, and exit: a line for each thing, with ok or what to type; 1 if something is wrong."})
}

func (o *options) webOptions(p *cli.Program) {
	g := p.Group("Looking over HTTP", "In any client beside its role, or without a role, with no base directory and no log file, until it is ended; then for all sessions if --session is left away. What only looks, checks or steers leaves it out. See zkrsync(7).")
	g.String(&o.web, cli.Opt{Name: "web", Arg: "HOST:PORT", Added: true,
		Help: "Show the session in a browser at http://HOST:PORT/, as JSON at /api/state, and as metrics at /metrics; port 0 to search a free one. Every user of this host can see it, names of paths included. Without --web-token-file HOST has to be of this host only, as 127.0.0.1."})
	g.String(&o.webTokenFile, cli.Opt{Name: "web-token-file", Arg: "FILE", Added: true,
		Help: "Show it only to who knows the only line of this file, as the password of any user; it has at least 16 characters, and others must not be able to read or write the file. The page then has buttons to pause, stop and steer the run, and may be shown on any address; it travels in clear, the token too."})
	g.String(&o.metrics, cli.Opt{Name: "metrics", Arg: "HOST:PORT", Added: true,
		Help: "Offer metrics for Prometheus at http://HOST:PORT/metrics to everybody who reaches it; they name sessions and hosts, but no paths."})
}

func (o *options) steeringOptions(p *cli.Program) {
	g := p.Group("Steering", "Ask for something while a run is under way, from anywhere, instead of a role; needs no base directory. See zkrsync(7).")
	g.Bool(&o.pause, cli.Opt{Name: "pause", Added: true,
		Help: "Begin nothing more until --unpause. What is being sent goes on to its end."})
	g.Bool(&o.unpause, cli.Opt{Name: "unpause", Added: true,
		Help: "Go on after --pause."})
	g.Bool(&o.stop, cli.Opt{Name: "stop", Added: true,
		Help: "Begin nothing more, and suspend the run when what is being sent has come to its end: all clients leave, and a source with --resume goes on with it."})
	g.Strings(&o.set, cli.Opt{Name: "set", Arg: "LIST", Added: true,
		Help: "Change settings, separated by commas: bwlimit=RATE, what the whole session sends in a second, as --bwlimit has it; jobs=NUMBER@HOST, the transfers that the sources of a host run at once, or a single one, as HOST:PID; 0 for none."})
	g.String(&o.skip, cli.Opt{Name: "skip", Arg: "PATH", Added: true,
		Help: "Do not send this file or directory, and what is below it, but leave it at the destination as it is. PATH is absolute or below the sources' base directory. What is being sent of it is ended."})
	g.String(&o.requeue, cli.Opt{Name: "requeue", Arg: "WHAT", Added: true,
		Help: "failed to queue again what has failed so far, with fresh attempts."})
}

func (o *options) sessionOptions(p *cli.Program) {
	g := p.Group("Session", "What is transferred, and how. All sources of a session must agree: one that was started otherwise than its master stops and says where they differ.")
	g.String(&o.session, cli.Opt{Name: "session", Short: "N", Arg: "NAME",
		Help: "Name of the session. Clients with the same name work together; sessions with different names do not meet."})
	g.String(&o.rsyncPath, cli.Opt{Name: "rsyncpath", Short: "r", Arg: "DIR",
		Help: "Base directory: sources send what is below it, destinations receive there. It may differ between sources and destinations, not among sources.", Note: "mandatory"})
	g.Bool(&o.delete, cli.Opt{Name: "delete",
		Help: "Delete at the destination what the source does not have (rsync --delete)."})
	g.Bool(&o.checksum, cli.Opt{Name: "checksum",
		Help: "Compare files by checksum instead of size and time (rsync --checksum)."})
	g.Bool(&o.hardLinks, cli.Opt{Name: "hardlinks",
		Help: "Keep hard links between files (rsync --hard-links)."})
	g.Bool(&o.inplace, cli.Opt{Name: "inplace",
		Help: "Write into the files of the destination instead of replacing them (rsync --inplace)."})
	g.Bool(&o.partial, cli.Opt{Name: "partial", Added: true,
		Help: "Keep what a run that is ended, or loses its connection, has of a file, in the directory .zkrsync-partial beside it, so that the next attempt sends only the rest (rsync --partial-dir). Not with --inplace, which needs no such copy."})
	g.Bool(&o.acls, cli.Opt{Name: "acls", Added: true,
		Help: "Send access control lists (rsync --acls); they are compared with --verify, too. Without it they stay behind, and a source that sees one says so once."})
	g.Bool(&o.xattrs, cli.Opt{Name: "xattrs", Added: true,
		Help: "Send extended attributes (rsync --xattrs). For the rest as --acls."})
	g.Bool(&o.oneFileSystem, cli.Opt{Name: "one-file-system", Added: true,
		Help: "Stay on the file system of the source's base directory (rsync --one-file-system): what is mounted below is sent as an empty directory, and nothing below it is deleted."})
	g.String(&o.userMap, cli.Opt{Name: "usermap", Arg: "MAP", Added: true,
		Help: "Give files other owners at the destination (rsync --usermap): FROM:TO, separated by commas, the first that fits counts. FROM is a name, a number, a range of numbers, or * for all, TO a name or number. Names are looked up on the source."})
	g.String(&o.groupMap, cli.Opt{Name: "groupmap", Arg: "MAP", Added: true,
		Help: "Give files other groups (rsync --groupmap). For the rest as --usermap."})
	g.Bool(&o.dryRun, cli.Opt{Name: "dryrun", Short: "n",
		Help: "Change nothing at the destination, only find out what would be done (rsync --dry-run)."})
	g.Bool(&o.allowEmpty, cli.Opt{Name: "allow-empty", Added: true,
		Help: "Go on when the source's base directory is empty and --delete is on. Otherwise that is refused: it is what a file system that is not mounted looks like, and it would empty the destination."})
	g.Int(&o.maxDelete, cli.Opt{Name: "max-delete", Arg: "NUMBER", Added: true,
		Help: "Delete at most so many files and directories at the destination in the whole session. When they are used up nothing more is deleted, and the master exits with 23. Sources of the Python version do not count.", Note: "default: any number"})
	g.String(&o.sentinel, cli.Opt{Name: "sentinel", Arg: "NAME", Added: true,
		Help: "Use a base directory, of a source or of a destination, only while it has a file of this name: that tells a mounted file system from an empty mount point."})
	g.Bool(&o.verify, cli.Opt{Name: "verify", Added: true,
		Help: "Only compare source and destination, by checksums; write nothing. Sources print each difference, the master logs and counts them, and exits with 23 if there is any."})
	g.Bool(&o.netcat, cli.Opt{Name: "netcat",
		Help: "Test the session without rsync: sources send a line for each of fifteen made-up paths, destinations print them."})
	g.Bool(&o.inherit, cli.Opt{Name: "inherit", Added: true,
		Help: "Take the master's options instead of giving them again: all of this group, --rsyncpath included, --arbitopts, --excludere, --excl_usr and --exclude-below. Such a source never begins a run; it waits for a master. The master must not be of the Python version."})
	g.Bool(&o.resume, cli.Opt{Name: "resume", Added: true,
		Help: "Go on with a run that has no master any more: what is finished is not done again, what is unfinished or has failed is. Without such a run this source starts one or joins it. Without this option a source that finds one cleans it up."})
	g.Bool(&o.master, cli.Opt{Name: "master", Added: true,
		Help: "When the master is lost, let this source take over before others."})
	g.Bool(&o.noMaster, cli.Opt{Name: "no-master", Added: true,
		Help: "Never let this source be the master: it neither begins a run nor takes one over."})
}

func (o *options) pathOptions(p *cli.Program) {
	g := p.Group("Path building", "How the tree is cut into pieces; for sources and --pathsonly.")
	g.IntOr("auto", session.AutoDepth, &o.depth, cli.Opt{Name: "depth", Arg: "NUMBER",
		Help: "Levels of directories below the base that become pieces of their own; everything deeper goes with its piece. At least 1; auto to begin with about a hundred pieces, which are cut further where that is needed."})
	g.Int(&o.walkers, cli.Opt{Name: "walkers", Arg: "NUMBER", Added: true,
		Help: "Directories that the master reads at the same time."})
	g.Strings(&o.subpaths, cli.Opt{Name: "rsubpaths", Arg: "LIST",
		Help: "Cut some directories into smaller pieces: DEPTH_PATH, separated by commas, deepest paths last. 4_home/big goes four levels below home/big; each has to reach at least as deep as --depth and those before it."})
	g.Regexp(&o.excludeRe, cli.Opt{Name: "excludere", Arg: "REGEX",
		Help: "Leave out the directories whose path matches somewhere, and what is below them. It must not match the base directory itself. With --delete, what only the destination has stays where the pattern is of the form /name(/.*|$). RE2 syntax; empty to leave out nothing."})
	g.Bool(&o.excludeBelow, cli.Opt{Name: "exclude-below", Added: true,
		Help: "Let --excludere hold for all directories, not only for those down to --depth. Sources then look through each piece for matches before they send it."})
	g.String(&o.pathsFrom, cli.Opt{Name: "paths-from", Arg: "FILE", Added: true,
		Help: "Do not walk: queue the pieces that this file names, one a line, as --failed has written them."})
	g.String(&o.changed, cli.Opt{Name: "changed", Arg: "FILE", Added: true,
		Help: "For the master: do not walk, but compare only the files and directories that this list names, each alone; with --delete remove at the destination what of them is not there any more. Names below the base, or absolute ones in it, each ended by a NUL or, if the list has none, a line break; - for standard input."})
	g.String(&o.excludeUser, cli.Opt{Name: "excl_usr", Arg: "USER",
		Help: "Apply --excludere only to directories of this user; empty for those of any user."})
}

func (o *options) rsyncOptions(p *cli.Program) {
	g := p.Group("rsync", "How this client runs rsync.")
	g.Int(&o.jobs, cli.Opt{Name: "jobs", Short: "j", Arg: "NUMBER", Added: true,
		Help: "Transfers that this source runs at once, each to a destination (slot) of its own. A master that is given it transfers too, so that one source and one destination make a session.", Note: "default: 1, and none for the master"})
	g.Int(&o.slots, cli.Opt{Name: "slots", Arg: "NUMBER", Added: true,
		Help: "Transfers that this destination receives at once."})
	g.Int(&o.batch, cli.Opt{Name: "batch", Arg: "NUMBER", Added: true,
		Help: "Most pieces that one run of rsync may carry; 1 for one run a piece."})
	g.Int(&o.batchSeconds, cli.Opt{Name: "batch-seconds", Arg: "SECONDS", Added: true,
		Help: "How long a run of rsync with several pieces should take: as many go together as recent runs let expect."})
	g.Bool(&o.noSync, cli.Opt{Name: "no-sync", Added: true,
		Help: "For the master: count pieces as completed as soon as they are sent. Otherwise they count when their destination has them on its disk, and what it has not when it loses its power is sent again."})
	g.Int(&o.syncInterval, cli.Opt{Name: "sync-interval", Arg: "SECONDS", Added: true,
		Help: "For a destination: flush the file system of the base directory (syncfs) at least so often; at first more often, and always when the master waits for nothing else."})
	g.IntOr("auto", session.AutoPrefetch, &o.prefetch, cli.Opt{Name: "prefetch", Arg: "NUMBER", Added: true,
		Help: "Names that a source looks at before its rsyncs come to them, at the same time: on a file system that answers slowly rsync then need not wait for each. auto: 32, where the answers are slow. 0 to leave that to rsync."})
	g.Int(&o.timeout, cli.Opt{Name: "timeout", Arg: "SECONDS",
		Help: "End a transfer that moves nothing for so many seconds (rsync --timeout); 0 for no limit."})
	g.Int(&o.stall, cli.Opt{Name: "stall", Arg: "SECONDS", Added: true,
		Help: "End an rsync of this client in which nothing has moved for so long, neither a byte nor a system call, as below a file server that hangs; its paths are tried elsewhere. Less than 61 would end rsyncs that wait. 0 for no limit."})
	g.Bool(&o.verbose, cli.Opt{Name: "verbose",
		Help: "Have rsync name the files it transfers (rsync --verbose); they are logged with --info."})
	g.Bool(&o.dropCache, cli.Opt{Name: "dropcache",
		Help: "Keep transferred files out of the page cache (rsync --drop-cache); needs an rsync with that patch."})
	g.EscapedStrings(&o.arbitOpts, cli.Opt{Name: "arbitopts", Arg: "LIST",
		Help: `Further long options for the rsync of a source, separated by commas, without dashes: KEY or KEY:VALUE; \, is a comma in a value. Those that would do something else to a tree that is sent in pieces than in one rsync are refused, with the reason, as are those that are not known.`})
}

func (o *options) linkOptions(p *cli.Program) {
	g := p.Group("Link", "How the bytes of the rsyncs travel, and who gets in at a destination: see zkrsync(7).")
	g.String(&o.link, cli.Opt{Name: "link", Arg: "MODE", Choices: []string{string(link.TLS), string(link.Plain)}, Added: true,
		Help: "For a destination: encrypt what sources send (tls), or only prove who both are and let it travel in clear (plain), in networks that nobody else reaches. A source to which tls is given does not use destinations that are plain; without the option it takes what each destination offers."})
	g.Bool(&o.linkOnly, cli.Opt{Name: "link-only", Added: true,
		Help: "For a source: do not use destinations of the Python version, which cannot prove who they are and to which everything travels in clear."})
	g.Bool(&o.openDaemon, cli.Opt{Name: "open-daemon", Added: true,
		Help: "For a destination: serve any rsync that reaches its port, as the Python version does. Sources of the Python version need that; so may everybody else read, write and delete in the base directory."})
	g.String(&o.bind, cli.Opt{Name: "bind", Arg: "ADDRESS", Added: true,
		Help: "For a destination: listen on this address only. It has to be one that its name leads to.", Note: "default: all addresses"})
	g.String(&o.bwLimit, cli.Opt{Name: "bwlimit", Arg: "RATE", Added: true,
		Help: "For the master: send at most so many bytes a second in the whole session, as 200M or 1.5G (as in rsync: K, M, G are powers of 1024, KB, MB, GB of 1000, a plain number counts KiB). What one source does not use others may. Sources of the Python version, and what goes to destinations of it, do not count. 0 for no limit."})
	g.Int(&o.rsyncPort, cli.Opt{Name: "rsyncport", Arg: "PORT",
		Help: "Port on which a destination listens; it must be free. 0 to search one from --startport."})
	g.Int(&o.startPort, cli.Opt{Name: "startport", Arg: "PORT",
		Help: "First port that a destination tries to listen on."})
}

func (o *options) clientOptions(p *cli.Program) {
	g := p.Group("Client", "What concerns only this client.")
	g.String(&o.host, cli.Opt{Name: "host", Arg: "NAME", Added: true,
		Help: "Name under which this client is known and, if it is a destination, reached.", Note: "default: the full name of the host"})
	g.String(&o.domain, cli.Opt{Name: "domain", Arg: "DOMAIN",
		Help: "Let sources reach this destination by the host's name in this domain, for instance that of a faster network."})
	g.Bool(&o.verifyPath, cli.Opt{Name: "verifypath", Inverted: true,
		Help:    "Switch OFF the regular check that the base directory is there. --disable-verifypath leaves it on. The sense is reversed because existing config files rely on it.",
		Warning: "--verifypath switches the check of the base directory OFF: this client does not notice if it goes away. To keep the check leave the option out or give --disable-verifypath (verifypath=no in a file)"})
	g.String(&o.doneFile, cli.Opt{Name: "done-file", Arg: "FILE",
		Help: "Write the numbers of completed, failed and unfinished paths to this file at the end (JSON in gzip); only the master does."})
	g.String(&o.report, cli.Opt{Name: "report", Arg: "FILE", Added: true,
		Help: "Write what became of each piece to this file as it becomes known: JSON lines with outcome, attempts, seconds, bytes, who sent it and error lines, and the totals at the end; only the master does."})
	g.String(&o.history, cli.Opt{Name: "history", Arg: "FILE", Added: true,
		Help: "The --report of an earlier run over the same tree: what took longest in that goes first, and what is said of how far this run is rests on it; only the master reads it."})
	g.String(&o.failed, cli.Opt{Name: "failed", Arg: "FILE", Added: true,
		Help: "Write the pieces that failed or were left over to this file at the end, for --paths-from; only the master does."})
	g.String(&o.onEnd, cli.Opt{Name: "on-end", Arg: "COMMAND", Added: true,
		Help: "When a run has ended, give this shell command what became of it, as JSON on its standard input; only the master that has ended it does. It has a minute. What becomes of the command is logged, and changes nothing."})
	g.Int(&o.lateRetries, cli.Opt{Name: "late-retries", Arg: "NUMBER", Added: true,
		Help: "Rounds in which pieces that have failed are tried once more, when all else is done; only the master does."})
	g.Int(&o.maxFailures, cli.Opt{Name: "max-failures", Arg: "NUMBER", Added: true,
		Help: "End the session when so many pieces have failed; those that are left stay unfinished. 0 to go on whatever fails; only the master does."})
	g.Bool(&o.daemon, cli.Opt{Name: "daemon",
		Help: "Go on in the background once started."})
	g.Bool(&o.sysexits, cli.Opt{Name: "sysexits", Added: true,
		Help: "For supervisors and job scripts: where the exit status would be 1, end with 75 if it is worth trying again, 77 if something is not allowed, and 78 if an option or config file is wrong."})
	g.String(&o.pidFile, cli.Opt{Name: "pidfile", Arg: "FILE",
		Help: "Process id of the daemon; %(session)s, %(rstype)s (source, dest, local or None) and %(pid)s (of the process that started it) are filled in."})
}

func (o *options) logOptions(p *cli.Program) {
	g := p.Logging()
	g.Intro("Without --info or --debug stderr shows warnings, errors and how far the run is. Lines for each path are in the log file only; with --debug on stderr, too.")
	g.String(&o.logFile, cli.Opt{Name: "logfile", Arg: "FILE",
		Help: "Log here too, beside stderr; filled in as --pidfile. Empty for no file. In a config file % is written %%."})
	g.Int64(&o.maxBytes, cli.Opt{Name: "max_bytes", Arg: "BYTES",
		Help: "Size at which the log file is renamed to FILE.1, FILE.1 to FILE.2 and so on; 0 to let it grow."})
	g.Int(&o.backupCount, cli.Opt{Name: "backup_count", Arg: "NUMBER",
		Help: "Number of renamed log files to keep; with 0 the log file is not renamed but grows."})
	g.String(&o.logFormat, cli.Opt{Name: "logformat", Arg: "FORMAT", Choices: []string{"text", "json"}, Added: true,
		Help: "Form of the log: text, or json for one object a line."})
}

func addNotes(p *cli.Program) {
	p.Guide(guide, "Exit status")
	p.Note("Examples", `
On each node that holds the target, and as often as it has capacity:

    zkrsync --servers=zk1,zk2,zk3 -u rsync --passwd-file=/root/zk.passwd -N home -D -r /target --daemon

On each node that holds the source; the first one becomes the master and only coordinates:

    zkrsync --servers=zk1,zk2,zk3 -u rsync --passwd-file=/root/zk.passwd -N home -S -r /home --delete --info

With servers, user and password in a file:

    zkrsync --configfiles=/etc/zkrs.conf -N home -S -r /home --delete

How far it is:

    zkrsync --configfiles=/etc/zkrs.conf -N home --state`)
	p.Note("See also", "zkrsync(7), or `zkrsync --help=guide`: how to set up, run and watch sessions, what is guarded, and what to know. zkinitree(1), rsync(1)")
}
