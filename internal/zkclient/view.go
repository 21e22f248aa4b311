// SPDX-License-Identifier: LGPL-2.1-or-later

package zkclient

import (
	"math/rand/v2"
	"slices"
	"sort"
	"strings"
	"time"
)

// view is a queue's local copy of the names that are free.
type view struct {
	buckets        []bucket // in order of their keys, none empty
	read           time.Time
	turn           <-chan struct{}
	entries, taken *watch
	seen           *watch // of taken, set when the names there were last read
	whole          *watch // fires when the queue is deleted
}

// bucket holds the names that differ in the last three digits only. A million names are too many to
// be sorted at once, or to be moved up each time one of them goes.
type bucket struct {
	key    string
	names  []string
	sorted bool
}

func bucketKey(name string) string { return name[:max(0, len(name)-3)] }

// priority is the part of a bucket's key that tells the priority of its names.
func (b *bucket) priority() string { return b.key[:strings.LastIndexByte(b.key, '-')+1] }

func (b *bucket) sort() []string {
	if !b.sorted {
		slices.Sort(b.names)
		b.sorted = true
	}
	return b.names
}

// free puts names, less those taken, into buckets.
func free(names, taken []string) []bucket {
	gone := make(map[string]bool, len(taken))
	for _, name := range taken {
		gone[name] = true
	}
	at := make(map[string]int)
	var buckets []bucket
	for _, name := range names {
		if gone[name] {
			continue
		}
		key := bucketKey(name)
		i, ok := at[key]
		if !ok {
			i = len(buckets)
			at[key] = i
			buckets = append(buckets, bucket{key: key})
		}
		buckets[i].names = append(buckets[i].names, name)
	}
	slices.SortFunc(buckets, func(a, b bucket) int { return strings.Compare(a.key, b.key) })
	return buckets
}

// pick returns up to n names of the lowest priority that has any which are not busy. They are
// neighbours, from a random one on, so that many consumers seldom try for the same ones. It leaves
// them in the view.
func (v *view) pick(n int, busy func(name string) bool) []string {
	for rest := v.buckets; len(rest) > 0; {
		priority := rest[0].priority()
		end := sort.Search(len(rest), func(i int) bool { return rest[i].priority() > priority })
		if names := pickFrom(rest[:end], n, busy); len(names) > 0 {
			return names
		}
		rest = rest[end:]
	}
	return nil
}

// pickFrom goes around once, and ends in the bucket where it began.
func pickFrom(buckets []bucket, n int, busy func(name string) bool) []string {
	first := rand.IntN(len(buckets))
	at := rand.IntN(len(buckets[first].names))
	var out []string
	for i := range len(buckets) + 1 {
		names := buckets[(first+i)%len(buckets)].sort()
		switch i {
		case 0:
			names = names[at:]
		case len(buckets):
			names = names[:at]
		}
		for _, name := range names {
			if busy(name) {
				continue
			}
			if out = append(out, name); len(out) == n {
				return out
			}
		}
	}
	return out
}

// remove takes a name out of the view.
func (v *view) remove(name string) {
	key := bucketKey(name)
	i, ok := slices.BinarySearchFunc(v.buckets, key, func(b bucket, key string) int { return strings.Compare(b.key, key) })
	if !ok {
		return
	}
	b := &v.buckets[i]
	j, ok := slices.BinarySearch(b.sort(), name)
	if !ok {
		return
	}
	b.names = slices.Delete(b.names, j, j+1)
	if len(b.names) == 0 {
		v.buckets = slices.Delete(v.buckets, i, i+1)
	}
}

// changed is when a watch of the view fired; now, if none has.
func (v *view) changed() time.Time {
	at := time.Now()
	for _, w := range []*watch{v.entries, v.taken} {
		if w != nil && w.has() && w.at.Before(at) {
			at = w.at
		}
	}
	return at
}
