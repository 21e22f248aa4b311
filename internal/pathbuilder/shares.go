// SPDX-License-Identifier: LGPL-2.1-or-later

package pathbuilder

import (
	"context"
	"sync"
	"sync/atomic"
)

// inShares calls each for 0 to n-1: in this goroutine and, if n is more than a share, in as many
// others as find a place in helpers. It stops early when ctx ends.
func inShares(ctx context.Context, helpers chan struct{}, n, share int, each func(i int)) {
	var taken atomic.Int64
	look := func() {
		for ctx.Err() == nil {
			end := int(taken.Add(int64(share)))
			if end-share >= n {
				return
			}
			for i := end - share; i < min(end, n); i++ {
				each(i)
			}
		}
	}
	var others sync.WaitGroup
	defer others.Wait()
	for i := share; i < n; i += share {
		select {
		case helpers <- struct{}{}:
			others.Go(func() {
				look()
				<-helpers
			})
			continue
		default: // all are busy
		}
		break
	}
	look()
}
