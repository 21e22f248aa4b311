// SPDX-License-Identifier: LGPL-2.1-or-later

package leader

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"vsc-zk/internal/session/wire"
)

func TestDivide(t *testing.T) {
	held := func(links int) wire.Use { return wire.Use{Links: links, Held: true} }
	for name, c := range map[string]struct {
		uses map[string]wire.Use
		want map[string]int64
	}{
		"nobody":        {nil, map[string]int64{}},
		"one":           {map[string]wire.Use{"a": held(2)}, map[string]int64{"a": 1000}},
		"two":           {map[string]wire.Use{"a": held(1), "b": held(1)}, map[string]int64{"a": 500, "b": 500}},
		"by links":      {map[string]wire.Use{"a": held(3), "b": held(1)}, map[string]int64{"a": 750, "b": 250}},
		"one is idle":   {map[string]wire.Use{"a": held(1), "b": {}}, map[string]int64{"a": 975, "b": 25}},
		"one uses less": {map[string]wire.Use{"a": held(1), "b": {Links: 1, Rate: 100}}, map[string]int64{"a": 850, "b": 150}},
		"all use less":  {map[string]wire.Use{"a": {Links: 1, Rate: 100}, "b": {Links: 1, Rate: 200}}, map[string]int64{"a": 450, "b": 550 - 25 + 25}},
		"all are idle":  {map[string]wire.Use{"a": {}, "b": {}}, map[string]int64{"a": 25, "b": 25}},
	} {
		t.Run(name, func(t *testing.T) {
			got := divide(1000, c.uses)
			for who, want := range c.want {
				if diff := got[who] - want; diff < -30 || diff > 30 {
					t.Errorf("%s gets %d, want about %d: %v", who, got[who], want, got)
				}
			}
		})
	}
}

// However sources are at work, they never have more than the bound together, and who waits is not left out.
func TestDivideNeverGivesMore(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 10_000 {
		limit, uses := 1+random.Int64N(1<<uint(1+random.IntN(40))), map[string]wire.Use{}
		for i := range random.IntN(40) {
			uses[fmt.Sprint(i)] = wire.Use{Rate: random.Int64N(limit * 2), Links: random.IntN(10), Held: random.IntN(2) == 0}
		}
		sum := int64(0)
		for name, share := range divide(limit, uses) {
			sum += share
			if share < 0 || share == 0 && uses[name].Held && limit > 100_000 {
				t.Fatalf("%s gets %d of %d: %v", name, share, limit, uses)
			}
		}
		if sum > limit {
			t.Fatalf("%d of %d: %v", sum, limit, uses)
		}
	}
}
