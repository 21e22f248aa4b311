// SPDX-License-Identifier: LGPL-2.1-or-later

package wire

import "fmt"

// Lack is the content of S/lacks/<whoami>: what a destination needs, and has not, to give files all that they
// have at the source.
type Lack string

const (
	LacksNothing Lack = ""
	LacksRoot    Lack = "root"   // it runs as an ordinary user
	LacksChroot  Lack = "chroot" // it runs as root without CAP_SYS_CHROOT
)

// Encode gives the content of the node.
func (l Lack) Encode() []byte { return []byte(l) }

// DecodeLack reads the node.
func DecodeLack(data []byte) (Lack, error) {
	if l := Lack(data); l == LacksRoot || l == LacksChroot {
		return l, nil
	}
	return LacksNothing, fmt.Errorf("cannot read what a destination lacks: %.100q", data)
}

// String says what is not preserved, and why.
func (l Lack) String() string {
	const links = "symbolic links with absolute targets, or targets outside of its path, are rewritten"
	switch l {
	case LacksRoot:
		return "it does not run as root: owners, groups that its user is not in, devices and special files are not preserved, and " + links
	case LacksChroot:
		return "it cannot chroot (no CAP_SYS_CHROOT): " + links
	}
	return "everything is preserved"
}
