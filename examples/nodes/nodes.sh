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
# How far it is, on any node: zkrsync --state --configfiles=/etc/zkrsync/home.conf
set -eu

on() {
	nodes=$1
	shift
	${ON:-clush -S -b -w} "$nodes" ${VIA:-} "$@"
}

case ${1:-} in
check)
	status=0
	on "$DESTINATIONS" zkrsync --check -D -r "$TO" --configfiles="$CONF" || status=$?
	on "$SOURCES" zkrsync --check -S -r "$FROM" --configfiles="$CONF" || status=$?
	exit $status
	;;
start)
	# With --daemon zkrsync comes back when the client has joined the session, or says why it cannot.
	# One that cannot does not keep the others from it.
	status=0
	on "$SOURCES" zkrsync -S --resume -r "$FROM" --configfiles="$CONF" --daemon || status=$?
	on "$DESTINATIONS" zkrsync -D -r "$TO" --configfiles="$CONF" --daemon || status=$?
	exit $status
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
