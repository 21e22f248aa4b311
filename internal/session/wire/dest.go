// SPDX-License-Identifier: LGPL-2.1-or-later

package wire

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Whoami is the name of a client. Python clients split it, and the value of a destination's entry,
// at colons, so the host must have none.
func Whoami(host string, pid int) string { return fmt.Sprintf("%s:%d", host, pid) }

// HostOf is the host of a client's name.
func HostOf(whoami string) string {
	host, _, _ := strings.Cut(whoami, ":")
	return host
}

// States of a destination, the content of S/dests/<whoami>. They change only under S/destslock:
//
//	""                 -> active    by the destination: it serves, and its base is there
//	active             -> paused    by the destination: its base is gone
//	paused             -> disabled  by a worker that meets it, and takes it out of the queue
//	paused or disabled -> active    by the destination: its base is back
const (
	Active   = "active"
	Paused   = "paused"
	Disabled = "disabled"
)

// Dest is an entry of S/destQueue: "<port>:<host>:<pid>".
type Dest struct {
	Port   int
	Whoami string
}

// Host is where workers reach the destination.
func (d Dest) Host() string { return HostOf(d.Whoami) }

// Encode gives the value of the entry.
func (d Dest) Encode() []byte { return fmt.Appendf(nil, "%d:%s", d.Port, d.Whoami) }

// DecodeDest reads the value of an entry. What it names becomes part of rsync's command line: the
// host has to be a name and nothing else.
func DecodeDest(value []byte) (Dest, error) {
	port, whoami, _ := strings.Cut(string(value), ":")
	host, pid, ok := strings.Cut(whoami, ":")
	number, err := strconv.ParseUint(port, 10, 16)
	_, badPID := strconv.ParseUint(pid, 10, 64)
	if err != nil || number == 0 || port[0] == '0' || !ok || badPID != nil || !IsHost(host) {
		return Dest{}, fmt.Errorf("cannot use destination %.100q: not of the form port:host:pid", value)
	}
	return Dest{Port: int(number), Whoami: whoami}, nil
}

// Key is the content of S/keys/<whoami>, an ephemeral node of each client that has links: who knows the
// session's password can read it and make one, nobody else. Both ends of a link pin the other's certificate by it.
type Key struct {
	Fingerprint string `json:"fingerprint"`    // of the certificate, see package link
	Mode        string `json:"mode,omitempty"` // of a destination: how bytes travel to it, tls or plain
}

// Encode gives the content of the node.
func (k Key) Encode() []byte { return mustEncode(k) }

// maxKey is far beyond the size of the node's content.
const maxKey = 1024

// DecodeKey reads the node. One that no ZooKeeper session owns is of nobody who is there.
func DecodeKey(data []byte, ephemeral bool) (Key, error) {
	var k Key
	if !ephemeral {
		return Key{}, errors.New("cannot use the key of a client: its node is not ephemeral")
	}
	if len(data) > maxKey {
		return Key{}, fmt.Errorf("cannot use the key of a client: it has %d bytes", len(data))
	}
	if err := json.Unmarshal(data, &k); err != nil {
		return Key{}, fmt.Errorf("cannot read the key of a client: %w", err)
	}
	if !fingerprint.MatchString(k.Fingerprint) {
		return Key{}, fmt.Errorf("cannot use the key of a client: its fingerprint is %.100q", k.Fingerprint)
	}
	if k.Mode != "" && k.Mode != "tls" && k.Mode != "plain" {
		return Key{}, fmt.Errorf("cannot use the key of a client: its mode is %.100q", k.Mode)
	}
	return k, nil
}

// fingerprint matches a SHA-256 in hex.
var fingerprint = regexp.MustCompile(`^[0-9a-f]{64}$`)

// hostName matches the names and IPv4 addresses by which clients are known. An underscore is in no
// name of the Internet, but in many of inner networks.
var hostName = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?$`)

// IsHost tells whether clients can be known by this name.
func IsHost(name string) bool { return hostName.MatchString(name) }

// MaxSlots is how often a destination is in S/destQueue at the most.
const MaxSlots = 1024

// EncodeNumber gives the content of S/portmap/<whoami>, S/slots/<whoami> and S/deletes.
func EncodeNumber(n int) []byte { return strconv.AppendInt(nil, int64(n), 10) }

// DecodeNumber reads one; it is not negative.
func DecodeNumber(data []byte) (int, error) {
	n, err := strconv.Atoi(string(data))
	if err != nil || n < 0 {
		return 0, fmt.Errorf("cannot read the number %q", data)
	}
	return n, nil
}
