// SPDX-License-Identifier: LGPL-2.1-or-later

package zktest

import "encoding/binary"

// requests follows what a client sends: frames of length, xid, operation, and what belongs to that.
// The first has no operation.
type requests struct {
	greeted bool
	head    [12]byte
	n, skip int
	xid     int32 // of the last that was counted
}

// follow counts the requests whose head ends in b: those that read (a sync too), and those that
// change something.
func (f *requests) follow(b []byte) (reads, writes, multis int) {
	for len(b) > 0 {
		if f.skip > 0 {
			n := min(f.skip, len(b))
			f.skip -= n
			b = b[n:]
			continue
		}
		n := copy(f.head[f.n:], b)
		f.n += n
		b = b[n:]
		if f.n < len(f.head) { // no request is shorter
			continue
		}
		f.n, f.skip = 0, int(binary.BigEndian.Uint32(f.head[:]))-8
		if f.greeted {
			before := reads + writes
			switch binary.BigEndian.Uint32(f.head[8:]) {
			case 1, 2, 5, 7, 14: // create, delete, setData, setACL, multi
				writes++
				if binary.BigEndian.Uint32(f.head[8:]) == 14 {
					multis++
				}
			case 3, 4, 6, 8, 9, 12: // exists, getData, getACL, getChildren, sync, getChildren2
				reads++
			}
			if reads+writes > before {
				f.xid = int32(binary.BigEndian.Uint32(f.head[4:]))
			}
		}
		f.greeted = true
	}
	return reads, writes, multis
}

// replies follows what a server sends: frames of length, xid (-1: the event of a watch), and what
// belongs to that. The first has no xid.
type replies struct {
	greeted bool
	head    [8]byte
	n, rest int
	drop    bool  // the frame at hand
	xid     int32 // of the last reply that has begun
}

// filter returns b, without the events if asked. It holds the head of a frame back until that is
// whole.
func (f *replies) filter(b []byte, dropEvents bool) []byte {
	var out []byte
	for len(b) > 0 {
		if f.rest > 0 {
			n := min(f.rest, len(b))
			if !f.drop {
				out = append(out, b[:n]...)
			}
			f.rest -= n
			b = b[n:]
			continue
		}
		n := copy(f.head[f.n:], b)
		f.n += n
		b = b[n:]
		if f.n < len(f.head) {
			continue
		}
		xid := int32(binary.BigEndian.Uint32(f.head[4:]))
		f.n, f.rest = 0, int(binary.BigEndian.Uint32(f.head[:]))-4
		f.drop = dropEvents && f.greeted && xid == -1
		if f.greeted {
			f.xid = max(f.xid, xid)
		}
		if !f.drop {
			out = append(out, f.head[:]...)
		}
		f.greeted = true
	}
	return out
}

// frames collects what comes in pieces: length, and so many bytes.
type frames struct{ rest []byte }

// next gives those that are whole with b.
func (f *frames) next(b []byte) (whole [][]byte) {
	f.rest = append(f.rest, b...)
	for len(f.rest) >= 4 {
		n := 4 + int(binary.BigEndian.Uint32(f.rest))
		if len(f.rest) < n {
			break
		}
		whole, f.rest = append(whole, f.rest[:n:n]), f.rest[n:]
	}
	return whole
}

// behind answers reads of one node as the first of them was answered. It is for one server.
type behind struct {
	path string
	kept []byte // that answer
}

// lag is what a connection to such a server has to know.
type lag struct {
	requests, replies frames
	reads             map[int32]bool // of the node, that are not answered yet
}

// request notes reads of the node.
func (l *lag) request(b []byte, node *behind) {
	for _, f := range l.requests.next(b) {
		if len(f) > 16 && binary.BigEndian.Uint32(f[8:]) == 4 { // getData: path, and whether to watch
			if path := f[16:]; len(path) == len(node.path)+1 && string(path[:len(node.path)]) == node.path {
				l.reads[int32(binary.BigEndian.Uint32(f[4:]))] = true
			}
		}
	}
}

// reply returns what the client gets instead of b.
func (l *lag) reply(b []byte, node *behind) (out []byte) {
	for _, f := range l.replies.next(b) {
		xid := int32(binary.BigEndian.Uint32(f[4:]))
		switch {
		case !l.reads[xid] || binary.BigEndian.Uint32(f[16:]) != 0: // xid, zxid, error
		case node.kept == nil:
			node.kept = f
		default:
			f = append(append([]byte{}, node.kept[:4]...), append(f[4:16:16], node.kept[16:]...)...)
		}
		delete(l.reads, xid)
		out = append(out, f...)
	}
	return out
}
