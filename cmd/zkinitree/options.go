// SPDX-License-Identifier: LGPL-2.1-or-later

package main

import "vsc-zk/internal/cli"

// options are what command line, environment and [MAIN] say.
type options struct {
	servers []string
	tls     cli.ZookeeperTLS
}

func newProgram(o *options) *cli.Program {
	p := cli.New("zkinitree", "Set up znodes and the rights of users on them, as config files describe them.")
	p.KeepSections = true
	g := p.Group("ZooKeeper", "")
	g.Strings(&o.servers, cli.Opt{Name: "servers", Arg: "LIST",
		Help: "ZooKeeper servers, separated by commas: HOST or HOST:PORT (2181 without); the last may end in /CHROOT, a znode that everything then lies below."})
	g.ZookeeperTLS(&o.tls)
	p.Note("Sections of the config files", `The files named by --configfiles describe users and znodes:

    [root]
    passwd=secret

    [alice]
    passwd=hers

    [/admin]

    [/admin/tools]
    all=alice
    r=bob,carol

[root] and its passwd are needed: user root gets all rights on every node. Any other section that does not begin with / is a user, who must have a passwd.

A section that begins with / is a znode, at or below /admin. Its keys are made of the letters r (read), w (write), c (create children), d (delete children) and a (change rights), in any order, or are the word all; their values are users, separated by commas. Further keys: value (data of a new node), sequence (yes: the server appends a number to the name, at every run anew) and makepath (yes: make missing parents, with the same rights).

Nodes are made parents first. One that exists keeps its data, and its rights are replaced if they differ; warnings say so, and if there was nothing to change. Nothing is written unless the whole tree can be set up.`)
	p.Note("Exit status", `
| status | meaning |
|---|---|
| 0 | the tree is as the file says |
| 1 | an error, said on stderr; before anything is written if the file is at fault |
| 2 | the command line is wrong |
| 128+n | ended by signal n, cleanly (130 Ctrl-C, 143 kill) |`)
	p.Note("See also", "zkrsync(7), or `zkrsync --help=guide`: the tree that sessions of zkrsync need. zkrsync(1)")
	return p
}
