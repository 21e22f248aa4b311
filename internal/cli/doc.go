// SPDX-License-Identifier: LGPL-2.1-or-later

// Package cli is what the two programs' command lines have in common: options,
// environment, config files, help, completion, man pages, and the log.
//
// # Options
//
// A [Program] holds one table of options. It is read from, in rising
// precedence: the variable's value when it is registered (the default), config
// files, the environment, the command line. Within one source the last one
// wins, for lists too. Names treat "_" and "-" alike (max_bytes, max-bytes).
//
// The syntax is that of Python's optparse, because scripts exist that rely on
// it; pflag keeps the typed flags, and one pass (args.go) rewrites what was
// typed into name and value by these rules:
//
//   - --opt=v, --opt v, -Nv, -N v; -N=v is the value "=v". Short options group,
//     and the last of a group may take a value. "--" ends options. A word that
//     is no option is an error.
//   - A long name may be cut to any prefix that only one option has. An option
//     that the Python program did not have (Opt.Added) is looked at only when no
//     other matches, so that no known abbreviation becomes ambiguous.
//   - Every boolean X has --enable-X and --disable-X.
//   - Integers: 0x, 0b, 0o, a leading 0 is octal, "_" between digits, blanks
//     around. Lists split at commas, items trimmed, empty ones dropped.
//   - A value given as a word of its own, or attached to a short option, is
//     refused when it looks like an option: see guard in args.go.
//
// A usage error is written to stderr as "Usage: P [options]", an empty line and
// "P: error: MESSAGE"; the exit status is 2. Options act where they stand: what
// is wrong before --help is an error, what comes after it is not looked at.
//
// # Environment
//
// P_NAME, upper case, with "_" for "-": ZKRSYNC_DONE_FILE. Booleans: 1, yes,
// true, on, y set; 0, no, false, off, n and empty are as if the variable
// were absent (P_DISABLE_NAME=1 switches off what a file switched on);
// anything else is an error.
//
// # Config files
//
// Only the files of --configfiles are read, in order, later ones win key by key.
// One that is missing or cannot be read is skipped with a warning: installations
// name files that only some nodes have. A file that can be read but is wrong is
// an error, exit status 1, with file and line; a value that its option
// refuses is a usage error, exit status 2, as on the command line.
//
// [MAIN] holds options, by their exact long names. The dialect is that of
// Python's configparser: see readConfig in config.go.
//
// # Markup
//
// Help and guide are written to the terminal and as man pages by the same code;
// notes and the guide are texts in a small part of Markdown, which code forges
// show, too. Blocks begin on a line of their own:
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
// In running text and cells `text` is typed, or read, exactly so, and **text**
// stands out; both are bold in a man page, and on the terminal the former keeps its
// marks. There is no other markup and no way to escape it. In the help of options
// and the titles of notes every character means itself.
//
// # Log
//
// [OpenLog] writes every record to stderr and, once opened, to a file, as
//
//	2026-11-22 21:01:59,870 INFO       RsyncSource     MainThread  No active session
//
// local time; level padded to 10, logger to 15, thread to 10. The attribute
// "logger" fills the logger column, other attributes follow the message as
// key=value. A message's further lines stand bare. With JSON each record is one
// object a line (log/slog's keys time, level, msg; then logger and attributes).
// What is not UTF-8 and control characters are written as \xNN.
package cli
