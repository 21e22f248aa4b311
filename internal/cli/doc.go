// SPDX-License-Identifier: LGPL-2.1-or-later

// Package cli is what the two programs' command lines have in common: options, environment, config
// files, help, completion, man pages, the log, and the end by a signal.
//
// # Options
//
// A [Program] holds one table of options. They get their values from, in rising precedence: the
// variable's value when the option is registered (the default), config files, the environment, the
// command line. Within one source the last value wins, for lists too. Names treat "_" and "-" alike
// (max_bytes, max-bytes).
//
// The syntax is that of Python's optparse, because scripts exist that rely on it. pflag keeps the
// typed flags; one pass (args.go) rewrites the words of a command line into names and values, by
// these rules:
//
//   - --opt=v, --opt v, -Nv, -N v; -N=v is the value "=v". Short options group, and the last one of
//     a group may take a value. "--" ends options. A word that is no option is an error.
//   - A long name may be cut to any prefix that only one option has. An option that the Python
//     program did not have (Opt.Added) is looked at only when no other matches, so that no known
//     abbreviation becomes ambiguous. A name of rsync's (Program.Foreign) is an abbreviation only of
//     the option that does the same; else, and where there is none, the error says what to give.
//   - Every boolean X has --enable-X and --disable-X. Some can be given as --X=WORD, too.
//   - Integers: 0x, 0b, 0o, a leading 0 is octal, "_" between digits, blanks around. Lists split at
//     commas, items are trimmed, empty ones dropped; in lists of EscapedStrings "\," is a comma.
//   - A value that is a word of its own, or is attached to a short option, is refused when it looks
//     like an option: see guard in args.go.
//
// A usage error is written to stderr as "Usage: P [options]", an empty line and "P: error:
// MESSAGE"; the exit status is 2. Options act where they stand: a mistake in front of --help is an
// error, one behind it is not seen.
//
// # Environment
//
// P_NAME sets an option, in upper case, with "_" for "-": ZKRSYNC_DONE_FILE. Booleans: 1, yes,
// true, on, y switch on; 0, no, false, off, n and empty are as if the variable were absent
// (P_DISABLE_NAME=1 switches off what a file switched on); anything else is an error.
//
// # Config files
//
// Only the files of --configfiles are read, in order; later ones win, key by key. A file that is
// missing or cannot be read is skipped with a warning: installations name files that only some
// nodes have. A file that can be read but is wrong is an error that names file and line, exit
// status 1. A value that its option refuses is a usage error, exit status 2, as on the command
// line.
//
// A file that everybody may write is an error: whoever writes it decides what is sent and deleted. One that
// holds a password and that others can read, or write as its group, or that is another user's, is used with
// a warning that says what to type.
//
// [MAIN] holds options, by their exact long names. The dialect is that of Python's configparser:
// see readConfig in config.go.
//
// # Secrets
//
// The value of an option that is Opt.Secret is in no message and no help. On the command line, where all
// users of the machine can see it, it is overwritten with stars as soon as it has been read, and a warning
// names better ways. A daemon that is started again is not given it there (Parsed.Args), nor the name of a
// file that it was read from ([Group.SecretFile]): that may be a pipe, and is read once. A file for a secret
// that others can read or write is refused.
//
// # Markup
//
// Help and guide are written to the terminal and as man pages by the same code; notes and the guide
// are texts in a small part of Markdown, which code forges show, too. Blocks begin on a line of
// their own:
//
//	# Title            once, at the beginning of a guide
//	## Chapter
//	### Section
//	Running text       up to an empty line, or to a line that begins one of these
//	- item             of a list; its further lines are indented by the width of
//	1. item            the mark. Items hold nothing but running text
//	    code           indented by four, empty lines too; not right behind an item
//	| head | number |  a table: | at both ends, and a second line that says with
//	|---|---:|         a colon at the right what is flush right
//	| cell | 12 |
//
// In running text and cells `text` is typed, or read, exactly so, and **text** stands out; both are
// bold in a man page, and on the terminal the former keeps its marks. There is no other markup and
// no way to escape it. In the help of options and the titles of notes every character means itself.
//
// # Log
//
// A [Log] writes every record to stderr and, once [Log.Open] has opened it, to a file, as
//
//	2026-11-22 21:01:59,870 INFO       RsyncSource     MainThread  No active session
//
// in local time; level padded to 10, logger to 15, thread to 10. The field "logger" fills the
// logger column; other fields do not appear, so that the lines are those of the Python program.
// Further lines of a message stand bare, and so does the output of children. A line that does not
// print (control characters, marks of direction, bytes that are not UTF-8) is quoted as in Go: see
// pathbuilder.Printable.
//
// Two levels lie beside those of log/slog (package level), both INFO to who reads: level.Detail is for the file, and for
// stderr at DEBUG only, as is the output of children that is one; level.Notice is written at every level, but with Quiet
// not to stderr. A line that stands below all else on a terminal ([Log.Live])
// is taken away before anything is written, and put back behind it.
//
// With JSON each record is one object a line: time, level, logger and msg, which say what the text
// form says, then the fields. Each line that a child prints is a record of the logger "output".
//
// # Fields
//
// Fields are slog attributes. The whole program uses these names, for these things only:
//
//	path         what is sent, as the report names it (1_/data/a), or a file or directory of a tree
//	source       a source, HOST:PID
//	destination  a destination, HOST:PID
//	port         a TCP port
//	url          where something is shown
//	server       a ZooKeeper server, HOST:PORT
//	znode        the path of a znode
//	file         a file of this client: log, pid file, config file, report
//	option       the long name of an option
//	flags        rsync's options, passed on
//	outcome      completed, failed, vanished, changed, skipped or unfinished, as in the report
//	attempt      the number of the attempt, from 1
//	bytes        bytes sent
//	seconds      how long something took or will take
//	count        how many of what the message is about
//	event        what has happened, one word for each kind of message that somebody may wait for:
//	             no-destination, set-aside, base-away, cut, not-preserved, old-rsync, end, ...
//	paths        how many paths the message is about, or a run carries
//	queued       paths that were queued so far
//	remaining    paths that are not done yet
//	completed    paths that were sent
//	failed       paths that have failed
//	vanished     paths that were gone before they could be sent
//	changed      paths that are no directories any more, or directories that a walk found changed
//	unfinished   paths that nobody has ended
//	skipped      paths that a user did not want to be sent
//	deleted      entries deleted at the destination
//	sources      how many are connected
//	destinations how many are connected
//	clients      who is connected
//	walk         the number of a walk through the tree, from 1
//	depth        levels of directories that become paths of their own
//	pieces       paths into which one was cut
//	entries      entries of a queue
//	files        files that the message is about
//	idle         jobs without work
//	jobs         how many a source runs at once
//	split        entries in work that are wanted to be cut
//	share        entries in work that are wanted to be shared
//	change       what rsync would change, as it itemizes it
//	difference   a difference between source and destination
//	error        what went wrong
//	signal       the number of a signal
//	status       the exit status with which the program ends
//
// Numbers are JSON numbers, durations too, in seconds. An error is its text; bytes and types made
// of a string are texts. A text that does not print, and one that begins with a double quote, is
// quoted as in Go, all others are as they were: so strconv.Unquote gives the bytes of what begins
// with a double quote. A group's members have its name and a dot in front of theirs. Of two fields
// with one name the last one counts.
package cli
