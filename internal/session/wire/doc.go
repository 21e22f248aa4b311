// SPDX-License-Identifier: LGPL-2.1-or-later

// Package wire has the name and the content of every znode of a session. Contents are encoded and
// decoded here and nowhere else: the rest of the program handles the types of this package.
//
// # Words
//
// One word stands for one thing, in code, logs and documents:
//
//	path         what one queue entry is about: a directory with or without what is below it, files
//	             of a directory by a range of names, groups of hard links, or names that were listed as changed
//	entry        the znode that holds a path, in S/pathQueue or S/extQueue
//	task         the content of an entry, decoded
//	run          one rsync process and the tasks it carries
//	session      one transfer from start to end, over all its clients and leaders
//	client       one process of a session; its name, whoami, is <host>:<pid>, or <host>:<another number>
//	             where that is taken
//	member       a client in one ZooKeeper session
//	leader       the source that walks the tree, queues paths and accounts for them; in the Python
//	             program and in what users read: the master
//	worker       the part of a source that runs rsync; to users: a slave
//	job          one of a worker's concurrent runs
//	destination  a client that serves its base path to the workers
//	link         the connection that carries the bytes of one run (package link)
//	key          by what a client proves at a link who it is
//	slot         one of a destination's concurrent runs
//	base         the directory that a source sends, or into which a destination receives
//	phase        what is queued between two moments at which all queues are empty: a walk, the
//	             deletions that ranges left over, what has failed, or the groups of hard links
//	epoch        the czxid of S/watch/ready: it tells one session of a name from the next
//
// # Znodes
//
// S is /admin/rsync/<session>; [Tree] names all nodes. Those of the Python program (vsc-zk 2.0.7 on
// kazoo, https://github.com/hpcugent/vsc-zk) are a wire format: names, flags, contents and the order
// of operations are fixed, so that Go and Python clients can work in one session.
//
//	S/lock                      lock of the leader; [StandBy] and [Resume] mark who would take over
//	S/watch/ready               "start", then "stop"
//	S/parties/allsd|sources|dests  who is connected
//	S/pathQueue                 entries for every source ("1_/data/a", "0_/data")
//	S/completedQueue, failedQueue  entries that Python workers have ended
//	S/outputQueue               text that is logged at the end
//	S/destQueue                 "<port>:<whoami>", once for each slot
//	S/stats/<name>              decimal counters
//	S/usedports/<host>/<port>   ports that are taken on a host; ephemeral
//	S/portmap/<whoami>          a destination's port in decimal; ephemeral
//	S/dests/<whoami>            a destination's state; ephemeral
//	S/portlock, S/destslock     locks of short sections
//
// The others are extensions, which Python clients never look at:
//
//	S/meta                      JSON ([Meta]): how far the session is, and what all sources have to
//	                            agree on ([Terms]). Only the leader writes it, in
//	                            the transactions that do what it tells of. It is void when its epoch
//	                            is not that of S/watch/ready.
//	S/failures, leftovers, deeper  notes of the leader for the next one: paths that have failed (JSON,
//	                            [Failure]), directories in which something is to be deleted, and those
//	                            whose entries were cut; named by a hash of the path
//	S/parts                     sequential, JSON ([Part]): the leaders that the session has had
//	S/place                     JSON ([Place]): what the leader's base is. It is made in the transaction
//	                            that makes S/watch/ready, and void if its czxid is not the epoch.
//	S/parties/ext               the clients that know the extensions
//	S/parties/bases             sequential and ephemeral, JSON ([Position]): where the bases of the clients
//	                            stand on their machines
//	S/extQueue                  entries whose names a Python worker would misread, and those that it
//	                            does not know (ranges, leftovers, links, listed names). It counts once S/meta is valid.
//	S/results                   sequential, JSON ([Result]): what became of the tasks of one run
//	S/split                     entries on their way between the queue and the pieces they are cut
//	                            into. Only the leader takes them out.
//	S/wanted                    JSON ([Wanted]): entries in work of which idle jobs should get a share
//	S/idle                      an ephemeral node for each job that has a destination and no work
//	S/slots/<whoami>            ephemeral, decimal: how often a destination should be in S/destQueue;
//	                            missing: once
//	S/keys/<whoami>             ephemeral, JSON ([Key]): the certificate by which a client is known at the
//	                            other end of a link, and how bytes travel to a destination
//	S/status/<whoami>           ephemeral, JSON ([Status]): what a client does, for people to look at
//	S/extDestQueue              as S/destQueue, for destinations that only Go sources can use
//	S/bwlimit                   decimal: what all sources together may send in a second; missing or 0: any amount.
//	                            The leader writes it at the begin, anybody later
//	S/shares                    JSON ([Shares]): what of that each source may send
//	S/rates/<whoami>            ephemeral, JSON ([Use]): what a source sends
//	S/control                   JSON ([Control]): what users ask for while the run is under way. The leader makes
//	                            it, anybody of the session writes it
//	S/heeds/<whoami>            ephemeral, JSON ([Heed]): what a source has noted of that
//	S/links                     JSON ([LinkGroup]): hard links that lead out of their path
//	S/claims/<inode>            empty: somebody sends the first name of a file whose names lie in
//	                            several paths; the others are for the pass of the hard links
//	S/sync                      a word: when results count. Setting it again asks destinations to flush. It
//	                            counts if it was made in the transaction that made S/watch/ready.
//	S/synced/<whoami>           JSON ([Synced]): of which results a destination has the data on its disk.
//	                            S/synced itself is set in each transaction that changes one.
//	S/watch                     JSON ([Epitaph]): how the last session has ended
//	S/lacks/<whoami>            ephemeral, a word ([Lack]): what a destination needs, and has not, to give files
//	                            all that they have at the source; missing: nothing
//	S/deletes                   decimal: what --max-delete leaves; its children are shares of runs
//
// Times are in seconds, sizes in bytes.
package wire
