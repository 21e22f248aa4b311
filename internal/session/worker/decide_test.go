// SPDX-License-Identifier: LGPL-2.1-or-later

package worker

import (
	"testing"

	"vsc-zk/internal/rsyncrunner"
	"vsc-zk/internal/session/wire"
)

func TestDecide(t *testing.T) {
	const lastTry = attempts - 1
	for what, c := range map[string]struct {
		facts facts
		want  decision
	}{
		"all is well":          {facts{}, decision{next: end, outcome: wire.Completed, counts: true, note: true}},
		"all is well, several": {facts{several: true}, decision{next: end, outcome: wire.Completed, counts: true, note: true}},

		"rsync is not here":          {facts{unable: true}, decision{next: quit}},
		"rsync is not here, several": {facts{unable: true, several: true}, decision{next: quit}},
		"cannot be started":          {facts{notRun: true}, decision{next: later, outcome: wire.Failed, counts: true}},
		"cannot be started, last":    {facts{notRun: true, attempts: lastTry}, decision{next: end, outcome: wire.Failed, counts: true}},
		"cannot be started, several": {facts{notRun: true, several: true}, decision{next: oneByOne}},

		"wanted":             {facts{asked: true}, decision{next: handOver}},
		"wanted, several":    {facts{asked: true, several: true}, decision{next: share}},
		"left":               {facts{lost: true}, decision{next: elsewhere}},
		"left, last":         {facts{lost: true, attempts: lastTry}, decision{next: elsewhere}},
		"left, several":      {facts{lost: true, several: true}, decision{next: share}},
		"stalled":            {facts{stalled: true}, decision{next: byOthers}},
		"stalled, several":   {facts{stalled: true, several: true}, decision{next: oneByOne}},
		"stalled often":      {facts{stalled: true, blamed: true}, decision{next: end, outcome: wire.Failed, counts: true}},
		"bad path":           {facts{class: rsyncrunner.Fatal, harmless: true}, decision{next: later, outcome: wire.Failed, counts: true}},
		"bad path, last":     {facts{class: rsyncrunner.Fatal, harmless: true, attempts: lastTry}, decision{next: end, outcome: wire.Failed, counts: true, note: true}},
		"bad path, several":  {facts{class: rsyncrunner.Fatal, harmless: true, several: true}, decision{next: oneByOne}},
		"bad options":        {facts{class: rsyncrunner.Fatal}, decision{next: quit}},
		"bad, several":       {facts{class: rsyncrunner.Fatal, several: true}, decision{next: quit}},
		"bad, and unmounted": {facts{class: rsyncrunner.Fatal, moved: true}, decision{next: later, outcome: wire.Failed, counts: true}},

		"unmounted":             {facts{moved: true}, decision{next: later, outcome: wire.Failed, counts: true}},
		"unmounted, last":       {facts{moved: true, attempts: lastTry}, decision{next: end, outcome: wire.Failed, counts: true}},
		"unmounted, several":    {facts{moved: true, several: true}, decision{next: oneByOne}},
		"away":                  {facts{away: true}, decision{next: atOnce}},
		"away, several":         {facts{away: true, several: true}, decision{next: share}},
		"away, not run, last":   {facts{away: true, notRun: true, attempts: lastTry}, decision{next: atOnce}},
		"away, moved, bad":      {facts{away: true, moved: true, class: rsyncrunner.Fatal}, decision{next: atOnce}},
		"part missing":          {facts{missing: true}, decision{next: later, outcome: wire.Failed, counts: true}},
		"part missing, last":    {facts{missing: true, attempts: lastTry}, decision{next: end, outcome: wire.Failed, counts: true, note: true}},
		"part missing, several": {facts{missing: true, several: true}, decision{next: oneByOne}},
		"not noted":             {facts{unnoted: true}, decision{next: later, outcome: wire.Failed, counts: true}},

		"share used up":          {facts{class: rsyncrunner.DeletesStopped, more: true}, decision{next: atOnce}},
		"budget used up":         {facts{class: rsyncrunner.DeletesStopped}, decision{next: end, outcome: wire.Completed, counts: true, exhausted: true, note: true}},
		"share used up, several": {facts{class: rsyncrunner.DeletesStopped, several: true}, decision{next: oneByOne}},

		"silent":                      {facts{class: rsyncrunner.Destination}, decision{next: elsewhere}},
		"silent, several":             {facts{class: rsyncrunner.Destination, several: true}, decision{next: share}},
		"refuses":                     {facts{class: rsyncrunner.Destination, answers: true}, decision{next: byOthers}},
		"refuses, again":              {facts{class: rsyncrunner.Destination, answers: true, attempts: lastTry}, decision{next: byOthers}},
		"all refuse":                  {facts{class: rsyncrunner.Destination, answers: true, blamed: true}, decision{next: end, outcome: wire.Failed, counts: true}},
		"refuses, several":            {facts{class: rsyncrunner.Destination, answers: true, several: true}, decision{next: oneByOne}},
		"no room":                     {facts{class: rsyncrunner.NoRoom}, decision{next: byOthers}},
		"no room here":                {facts{class: rsyncrunner.NoRoom, exchanged: true}, decision{next: elsewhere}},
		"no room anywhere":            {facts{class: rsyncrunner.NoRoom, blamed: true}, decision{next: end, outcome: wire.Failed, counts: true}},
		"no room, several":            {facts{class: rsyncrunner.NoRoom, several: true}, decision{next: oneByOne}},
		"files vanish":                {facts{class: rsyncrunner.Vanished}, decision{next: atOnce, counts: true}},
		"files vanish, last":          {facts{class: rsyncrunner.Vanished, attempts: lastTry}, decision{next: end, outcome: wire.Vanished, counts: true, note: true}},
		"files vanish, several, last": {facts{class: rsyncrunner.Vanished, attempts: lastTry, several: true}, decision{next: oneByOne}},

		"partial":              {facts{class: rsyncrunner.Partial}, decision{next: later, outcome: wire.Failed, counts: true}},
		"partial, last":        {facts{class: rsyncrunner.Partial, attempts: lastTry}, decision{next: end, outcome: wire.Failed, counts: true, note: true}},
		"partial, not noted":   {facts{class: rsyncrunner.Partial, attempts: lastTry, unnoted: true}, decision{next: end, outcome: wire.Failed, counts: true}},
		"partial, several":     {facts{class: rsyncrunner.Partial, several: true}, decision{next: oneByOne}},
		"partial, vanished":    {facts{class: rsyncrunner.Partial, gone: wire.Vanished}, decision{next: end, outcome: wire.Vanished, counts: true}},
		"partial, changed":     {facts{class: rsyncrunner.Partial, gone: wire.Changed}, decision{next: end, outcome: wire.Changed, counts: true}},
		"no way made":          {facts{class: rsyncrunner.Partial, stopped: true, more: true}, decision{next: atOnce}},
		"no way made, no more": {facts{class: rsyncrunner.Failed, stopped: true}, decision{next: later, outcome: wire.Failed, counts: true}},
	} {
		if got := decide(c.facts); got != c.want {
			t.Errorf("%s: %+v, want %+v", what, got, c.want)
		}
	}
}
