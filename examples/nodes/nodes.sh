#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# A session on many nodes, from one of them, with ClusterShell or pdsh:
#
#     export SOURCES='node[1-4]' DESTINATIONS='store[1-2]'    # the nodes
#     export FROM=/home TO=/new/home                          # the two base directories
#     export CONF=/etc/zkrsync/home.conf                      # on all nodes: servers, password, session
#     export ON='pdsh -S -w'                                  # for pdsh; ClusterShell if it is not set
#     export VIA=sudo                                         # if that is how to become root there
#
#     sh nodes.sh check       # is all there that is needed?
#     sh nodes.sh start       # begin, or go on with what was interrupted; also for nodes that come later
#     sh nodes.sh stop        # end all clients; "start" goes on
#
# How far it is, on any node: zkrsync --state -r /home --configfiles=/etc/zkrsync/home.conf
set -eu

on() {
	nodes=$1
	shift
	${ON:-clush -S -b -w} "$nodes" ${VIA:-} "$@"
}

case ${1:-} in
check)
	on "$DESTINATIONS" zkrsync --check -D -r "$TO" --configfiles="$CONF"
	on "$SOURCES" zkrsync --check -S -r "$FROM" --configfiles="$CONF"
	;;
start)
	# With --daemon zkrsync comes back when the client has joined the session, or says why it cannot.
	on "$SOURCES" zkrsync -S --resume -r "$FROM" --configfiles="$CONF" --daemon
	on "$DESTINATIONS" zkrsync -D -r "$TO" --configfiles="$CONF" --daemon
	;;
stop)
	on "$SOURCES" pkill -TERM -x zkrsync || true # none may be left
	on "$DESTINATIONS" pkill -TERM -x zkrsync || true
	;;
*)
	echo "usage: $0 check|start|stop" >&2
	exit 2
	;;
esac
