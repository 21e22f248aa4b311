// SPDX-License-Identifier: LGPL-2.1-or-later

package main

import (
	"cmp"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"unicode"

	"vsc-zk/internal/cli"
	"vsc-zk/internal/pathbuilder"
	"vsc-zk/internal/zkclient"
)

const (
	rootUser = "root"
	topNode  = "/admin" // all clients keep below it
)

// tree is what the config files ask for.
type tree struct {
	rootPassword string
	nodes        []node // parents before children, else in file order
}

// node is one znode that is to be there in the end.
type node struct {
	path       string
	acl        []zkclient.ACL
	value      string // data of a new node
	sequential bool   // path is only the beginning of its name
	implied    bool   // made for makepath, has no section of its own
	where      string // for messages: file and line
}

// mistake is the error of a node that cannot be set up.
func (n node) mistake(why string) error {
	return fmt.Errorf("cannot set up %s (%s): %s", pathbuilder.Printable(n.path), n.where, why)
}

// readTree reads the sections other than [MAIN]. The error joins all mistakes, one line each.
func readTree(parsed *cli.Parsed) (tree, error) {
	sections := parsed.Sections
	passwords, mistakes := readUsers(parsed)
	t := tree{rootPassword: passwords[rootUser]}
	r := nodeReader{passwords: passwords}
	for _, s := range sections {
		if isNode(s) {
			r.read(s)
		}
	}
	t.nodes = r.withParents()
	return t, errors.Join(append(mistakes, r.mistakes...)...)
}

func isNode(s cli.Section) bool { return strings.HasPrefix(s.Name, "/") }

// readUsers returns the password of each user. A user without one is in the map, too: the missing
// password is one mistake, and no mention of the user is another.
func readUsers(parsed *cli.Parsed) (passwords map[string]string, mistakes []error) {
	passwords = make(map[string]string)
	for _, s := range parsed.Sections {
		if isNode(s) {
			continue
		}
		passwords[s.Name] = ""
		for _, k := range s.Keys {
			if k.Name == "passwd" {
				passwords[s.Name] = k.Value
			}
		}
		switch {
		case strings.Contains(s.Name, ":"):
			mistakes = append(mistakes, fmt.Errorf("cannot use section [%s] (%s:%d): the name of a user must have no colon, that of a znode begins with /", s.Name, s.File, s.Line))
		case passwords[s.Name] == "" && s.Name != rootUser:
			mistakes = append(mistakes, fmt.Errorf("cannot use section [%s] (%s:%d): User %s has no password attribute! Add passwd=… to it", s.Name, s.File, s.Line, s.Name))
		}
	}
	if passwords[rootUser] == "" {
		mistakes = slices.Insert(mistakes, 0, parsed.Missing(errors.New("cannot set up a tree: Root user not configured or has no password attribute! "+
			"Give a file that has a section [root] with passwd=… to --configfiles")))
	}
	return passwords, mistakes
}

// nodeReader collects the nodes of the sections whose names begin with a slash.
type nodeReader struct {
	passwords map[string]string
	nodes     []node
	makePath  []int // indexes of the nodes whose parents are to be made
	mistakes  []error
}

// read reads one section. Keys with an empty value count for nothing.
func (r *nodeReader) read(s cli.Section) {
	n := node{
		path:  s.Name,
		acl:   []zkclient.ACL{zkclient.DigestACL(rootUser, r.passwords[rootUser], zkclient.PermAll)},
		where: fmt.Sprintf("%s:%d", s.File, s.Line),
	}
	refuse := func(format string, args ...any) {
		r.mistakes = append(r.mistakes, n.mistake(fmt.Sprintf(format, args...)))
	}
	if why := badPath(n.path); why != "" {
		refuse("%s", why)
	}
	makePath := false
	for _, k := range s.Keys {
		if k.Value == "" {
			continue
		}
		switch k.Name {
		case "value":
			n.value = k.Value
		case "ephemeral", "sequence", "makepath":
			on, err := cli.ParseBool(k.Value)
			switch {
			case err != nil:
				refuse("%s must be yes or no", k.Name)
			case !on:
			case k.Name == "ephemeral":
				refuse("an ephemeral node would vanish when zkinitree ends; leave ephemeral out")
			case k.Name == "sequence":
				n.sequential = true
			case k.Name == "makepath":
				makePath = true
			}
		default:
			perms, err := parsePerms(k.Name)
			if err != nil {
				refuse("%v", err)
				continue
			}
			for user := range strings.SplitSeq(k.Value, ",") {
				user = strings.TrimSpace(user)
				password, known := r.passwords[user]
				if user == "" {
					continue
				}
				if !known {
					refuse("%s: User %s not configured! Add a section [%s] with passwd=…", k.Name, user, user)
					continue
				}
				if a := zkclient.DigestACL(user, password, perms); !slices.Contains(n.acl, a) {
					n.acl = append(n.acl, a)
				}
			}
		}
	}
	if makePath {
		r.makePath = append(r.makePath, len(r.nodes))
	}
	r.nodes = append(r.nodes, n)
}

// withParents adds the parents that makepath asks for, with the rights of the node that they are
// made for, and sorts parents before children.
func (r *nodeReader) withParents() []node {
	nodes := slices.Clone(r.nodes)
	there := make(map[string]bool)
	for _, n := range nodes {
		there[n.path] = there[n.path] || !n.sequential
	}
	for _, i := range r.makePath {
		n := r.nodes[i]
		for parent := path.Dir(n.path); parent != "/" && !there[parent]; parent = path.Dir(parent) {
			there[parent] = true
			nodes = append(nodes, node{path: parent, acl: n.acl, implied: true, where: n.where})
		}
	}
	slices.SortStableFunc(nodes, func(a, b node) int {
		return cmp.Compare(strings.Count(a.path, "/"), strings.Count(b.path, "/"))
	})
	return nodes
}

// badPath says why zkinitree cannot make a node of this path; empty if it can.
func badPath(p string) string {
	switch {
	case p != topNode && !strings.HasPrefix(p, topNode+"/"):
		return fmt.Sprintf("path %s not subpath of %s", pathbuilder.Printable(p), topNode)
	case path.Clean(p) != p: // Clean drops what ZooKeeper refuses
		return "the path must have no empty, . or .. component and no / at its end"
	case strings.ContainsFunc(p, notInPaths):
		return "the path has a character that ZooKeeper does not take"
	}
	return ""
}

// notInPaths tells whether ZooKeeper refuses the character in a path. The list is that of its
// PathUtils.validatePath.
func notInPaths(r rune) bool {
	return unicode.IsControl(r) || r >= 0xd800 && r <= 0xf8ff || r >= 0xfff0 && r <= 0xffff
}

// parsePerms reads a key whose value is a list of users.
func parsePerms(key string) (zkclient.Perms, error) {
	if key == "all" {
		return zkclient.PermAll, nil
	}
	letters := map[rune]zkclient.Perms{
		'r': zkclient.PermRead, 'w': zkclient.PermWrite, 'c': zkclient.PermCreate, 'd': zkclient.PermDelete, 'a': zkclient.PermAdmin,
	}
	var perms zkclient.Perms
	for _, letter := range key {
		perm, ok := letters[letter]
		if !ok {
			return 0, fmt.Errorf("key %s is neither made of the permission letters r, w, c, d and a, nor all, value, sequence or makepath", key)
		}
		perms |= perm
	}
	return perms, nil
}
