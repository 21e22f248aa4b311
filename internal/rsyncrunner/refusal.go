// SPDX-License-Identifier: LGPL-2.1-or-later

package rsyncrunner

import "strings"

// refusal says why an option cannot be used, "" if it can.
func (o Options) refusal(key, value string) string {
	switch key {
	case "files-from", "from0", "no-from0":
		return "the list of paths is made by this program"
	case "no-implied-dirs", "no-i-d":
		return "runs that work on neighbouring paths would lose the modes and times of the directories above them"
	case "relative", "no-relative", "no-R":
		return "paths have to keep their place below the base path"
	case "recursive", "no-recursive", "no-r", "dirs", "no-dirs", "no-d", "old-dirs", "old-d":
		return "every path says itself whether all below it belongs to it"
	case "remove-source-files", "remove-sent-files":
		return "a path may be sent more than once, and with --delete its second run would remove from the destination what the first took from the source"
	case "dry-run":
		return "use this program's own option for a dry run"
	case "ignore-errors":
		return "a directory that could not be read would be taken for an empty one, and its copy deleted"
	case "delete-excluded":
		return "what is left out on purpose would be deleted at the destination"
	case "delete-missing-args":
		return "a path that is gone for a moment, as below a lost mount, would be deleted at the destination with all below it"
	case "max-delete":
		return "it would limit each run of rsync, not the whole session: use this program's own limit on deletions"
	case "stop-after", "time-limit", "stop-at":
		return "rsync would end as if the destination had stopped answering"
	case "quiet":
		return "rsync would not print its statistics, nor what it changes"
	case "list-only", "read-batch", "write-batch", "only-write-batch":
		return "paths would be reported as done that were not copied"
	case "del", "delete", "delete-before", "delete-during", "delete-delay", "delete-after", "force":
		if !o.Delete {
			return "it deletes at the destination: turn on this program's own delete option too"
		}
	case "daemon", "server", "sender", "detach", "no-detach", "config", "dparam", "port":
		return "it belongs to the daemon, which this program sets up"
	case "rsh", "rsync-path", "blocking-io", "no-blocking-io":
		return "destinations are reached directly, not through a remote shell"
	case "remote-option":
		return "the two sides of a transfer have to agree on their options"
	case "help", "version":
		return "rsync would print a text and copy nothing"
	case "stderr", "msgs2stderr", "no-msgs2stderr":
		return "statistics and error messages could not be told apart"
	case "exclude-from", "include-from":
		return nulSeparated
	case "exclude", "include":
		if value == "!" {
			return clearing
		}
	case "filter":
		switch strings.TrimSuffix(value, ",") {
		case "!", "clear":
			return clearing
		}
		if readsRuleFile(value) {
			return nulSeparated
		}
	}
	return ""
}

const clearing = "it would clear the rules that keep excluded directories out"

const nulSeparated = "rsync would expect NUL instead of line ends in its file, as it does in the list of paths, and so not find the rules: give them one by one (exclude:PATTERN, include:PATTERN)"

// readsRuleFile reports whether a filter rule names a file with more rules: merge or dir-merge, or
// their short forms, a full stop and a colon.
func readsRuleFile(rule string) bool {
	rule = strings.TrimLeft(rule, " ")
	return strings.HasPrefix(rule, "merge") || strings.HasPrefix(rule, "dir-merge") ||
		strings.HasPrefix(rule, ".") || strings.HasPrefix(rule, ":")
}
