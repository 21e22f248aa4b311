// SPDX-License-Identifier: LGPL-2.1-or-later

// Package link carries the bytes of an rsync at a source to an rsync at a destination, and lets nobody
// else in. It knows nothing of ZooKeeper: who is known, and which certificate a destination has, it is
// told.
//
// # The way of the bytes
//
//	rsync -> Proxy (loopback, HTTP CONNECT) -> TCP -> Listener -> rsync --daemon
//
// At the source rsync is given RSYNC_PROXY, with a token of its own ([Proxy.Open]). The proxy connects to
// the destination that the token is for, whatever rsync asks for. At the destination a [Listener] has a
// function serve each connection that has proven who it is; that function starts rsync --daemon on it.
//
// # Who gets in
//
// Each process makes a key and a self-signed certificate when it starts ([Identity]). Both ends of a
// connection pin the other's certificate by its fingerprint, the SHA-256 of its DER form in hex: the
// source is told the destination's, the destination asks whether the source's is known. TLS 1.3 proves
// that they have the keys. A connection that has proven nothing within ten seconds is closed, and there
// are never more than a fixed number of such connections. A listener never serves more connections at
// once than it has slots.
//
// # On the wire
//
// A link begins with a TLS ClientHello. When the handshake is done, the listener sends one line:
//
//	ok              the bytes follow in this connection
//	ticket HEX      they follow in a second connection, in clear, that begins with the line "zkrsync HEX";
//	                a ticket is good for one connection, within ten seconds
//	no REASON       it does not serve this connection
//
// A plain rsync begins with its greeting, "@RSYNCD: ". It is served by an open listener only, any other
// tells it why not.
//
// # Modes
//
// The listener chooses: [TLS] encrypts the bytes, [Plain] proves identity and hands out a ticket, for
// networks that nobody else can reach. A proxy may demand TLS.
//
// # Errors and time
//
// A connection that cannot be made in 15 s, or is refused, is an error of the destination
// ([Conn.Err]). A peer that is gone without a word is noticed after 30 s (keepalive, TCP_USER_TIMEOUT).
// Counters are in bytes; [Counters.Untaken] tells whether it is the destination that stands still.
//
// [Proxy.SetRate] bounds what a process sends over all its links.
package link
