// SPDX-License-Identifier: LGPL-2.1-or-later

package pathbuilder

import (
	"context"
	"math/rand/v2"
	"slices"
)

// Range is some of the names of one directory: those that are neither less than From nor, unless To
// is empty, at or beyond To, compared by their bytes.
type Range struct{ From, To string }

func (r Range) has(name []byte) bool {
	return string(name) >= r.From && (r.To == "" || string(name) < r.To)
}

const (
	// sampleSize bounds the memory of Ranges: names of 255 bytes take 18 MB.
	sampleSize = 1 << 16

	// perRange is the least number of names of the sample in a range. With so few a range now and
	// then has half or twice the names that it should have.
	perRange = 4
)

// Ranges cuts what a directory holds besides directories into ranges of about so many names, at
// least one range. The first is open at the beginning and the last at the end, and each begins
// where the one before it ends. path is absolute; it may be a link.
//
// In a directory of up to 65,536 names the ranges differ by one name at most. In a larger one
// 65,536 names, chosen by chance, stand for all: most of 100 ranges are within 4 % of their size,
// most of 1,000 within 12 %, and there are never more than 16,384. The directory is read once.
func Ranges(ctx context.Context, path string, names int) ([]Range, error) {
	dir, err := openByPath(path)
	if err != nil {
		return nil, err
	}
	defer dir.close()
	s := sample{limit: sampleSize}
	err = dir.names(ctx, func(n dirName) error {
		if !n.isDir() {
			s.add(n.bytes)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return s.ranges(names), nil
}

// sample holds some of the names that were added, each as likely as any other (reservoir sampling:
// Vitter 1985, algorithm R).
type sample struct {
	limit int
	names []string
	seen  int
}

func (s *sample) add(name []byte) {
	s.seen++
	if len(s.names) < s.limit {
		s.names = append(s.names, string(name))
	} else if i := rand.IntN(s.seen); i < s.limit {
		s.names[i] = string(name)
	}
}

func (s *sample) ranges(names int) []Range {
	count := (s.seen-1)/max(names, 1) + 1 // rounded up
	if s.seen > s.limit {
		count = min(count, s.limit/perRange)
	}
	slices.Sort(s.names)
	ranges := []Range{{}}
	for i := 1; i < count; i++ {
		cut := s.names[i*len(s.names)/count]
		last := &ranges[len(ranges)-1]
		if cut == last.From { // the same name read twice
			continue
		}
		last.To = cut
		ranges = append(ranges, Range{From: cut})
	}
	return ranges
}

// NamesIn calls emit for what the directory rel below the base ("" for the base itself) holds in
// the range besides directories, in no order. It follows no link. A path that is no directory any
// more is an error like Split's. An error of emit is returned as it is.
func (t *Tree) NamesIn(ctx context.Context, rel string, r Range, emit func(name string) error) error {
	fd, err := t.openForReading(rel)
	if err != nil {
		return err
	}
	dir := openDir{fd: fd, path: t.path(rel)}
	defer dir.close()
	return dir.names(ctx, func(n dirName) error {
		if n.isDir() || !r.has(n.bytes) {
			return nil
		}
		return emit(string(n.bytes))
	})
}
