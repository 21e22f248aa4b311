// SPDX-License-Identifier: LGPL-2.1-or-later

package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"vsc-zk/internal/pathbuilder"
	"vsc-zk/internal/session"
	"vsc-zk/internal/session/wire"
	"vsc-zk/internal/status"
)

// steers is an option by which a run that is under way is steered; "" if there is none.
func (o *options) steers() string {
	for _, option := range []struct {
		name  string
		given bool
	}{
		{"pause", o.pause}, {"unpause", o.unpause}, {"stop", o.stop}, {"set", len(o.set) > 0}, {"skip", o.skip != ""}, {"requeue", o.requeue != ""},
	} {
		if option.given {
			return option.name
		}
	}
	return ""
}

// order is what these options ask for.
func (o *options) order() (session.Order, error) {
	order := session.Order{Pause: o.pause, Unpause: o.unpause, Stop: o.stop, Skip: o.skip, Requeue: o.requeue != ""}
	if o.requeue != "" && o.requeue != "failed" {
		return order, fmt.Errorf("cannot use --requeue=%s: only what has failed can be queued again, as --requeue=failed", o.requeue)
	}
	for _, setting := range o.set {
		name, value, _ := strings.Cut(setting, "=")
		switch name {
		case "bwlimit":
			rate, err := parseRate(value)
			if err != nil {
				return order, fmt.Errorf("cannot use --set=%s: %w", setting, err)
			}
			order.BwLimit = &rate
		case "jobs":
			number, host, _ := strings.Cut(value, "@")
			jobs, err := strconv.Atoi(number)
			if err != nil || jobs < 0 || jobs > wire.MaxJobs || host == "" {
				return order, fmt.Errorf("cannot use --set=%s: it has the form jobs=NUMBER@HOST, with a number between 0 and %d", setting, wire.MaxJobs)
			}
			if order.Jobs == nil {
				order.Jobs = map[string]int{}
			}
			order.Jobs[host] = jobs
		default:
			return order, fmt.Errorf("cannot use --set=%s: what can be set is bwlimit=RATE and jobs=NUMBER@HOST", setting)
		}
	}
	return order, nil
}

// steer asks for it and says what came of it.
func (o *options) steer(ctx context.Context, cfg session.Config, stdout io.Writer) error {
	order, err := o.order()
	if err != nil {
		return err
	}
	answer, err := session.Steer(ctx, cfg, order)
	if err != nil {
		return err
	}
	say := func(format string, args ...any) { fmt.Fprintf(stdout, format+"\n", args...) }
	if order.Pause {
		say("Paused: nothing is begun any more, until --unpause.")
	}
	if order.Unpause {
		say("Not paused any more.")
	}
	if order.Stop {
		say("Stopping: nothing is begun any more, and the run is suspended when what is being sent has come to its end.")
	}
	if limit := order.BwLimit; limit != nil && *limit > 0 {
		say("The session sends at most %d bytes a second.", *limit)
	} else if limit != nil {
		say("The session sends as much as it can.")
	}
	for _, host := range slices.Sorted(maps.Keys(order.Jobs)) {
		say("Jobs of the sources on %s: %d.", pathbuilder.Printable(host), order.Jobs[host])
	}
	if order.Skip != "" {
		more := ""
		if answer.Unseen {
			more = "; the walk through the tree is not over, and what it finds there is skipped too"
		}
		say("Skipped: %s. Of the paths that it is in, or has in it: %d waiting, %d in work, %d failed%s.",
			pathbuilder.Printable(order.Skip), answer.Waiting, answer.InWork, answer.Failed, more)
	}
	if order.Requeue {
		say("What has failed is queued again.")
	}
	if answer.Ended {
		say("The run is over.")
		return nil
	}
	say("%s.", following(answer.Sources))
	if order.Pause || order.Stop {
		say("%s still under way.", status.Plural(answer.Running, "transfer"))
	}
	if len(answer.Python) > 0 {
		say("Sources of the Python version do not follow, they go on: %s.", printable(answer.Python))
	}
	if len(answer.Silent) > 0 {
		say("Not noted yet: %s.", printable(answer.Silent))
		return session.ErrUnnoted
	}
	return nil
}

// following says how many sources do what was asked for.
func following(n int) string {
	if n == 1 {
		return "1 source follows"
	}
	return status.Plural(n, "source") + " follow"
}

// printable is a list of names as a terminal may show it.
func printable(names []string) string {
	return pathbuilder.Printable(strings.Join(names, ", "))
}
