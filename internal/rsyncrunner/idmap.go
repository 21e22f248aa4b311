// SPDX-License-Identifier: LGPL-2.1-or-later

package rsyncrunner

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// idOrRange is what a map may have at its left side besides names and *.
var idOrRange = regexp.MustCompile(`^[0-9]+(-[0-9]+)?$`)

// numericMap gives a map of rsync's for users or groups with numbers for the names in it. A
// destination's rsync could not look them up: it runs in a chroot, and --numeric-ids keeps the
// sender from telling names. As owners go by their numbers anyway, a name means the number that it
// has here.
func numericMap(ctx context.Context, option, value string, id func(context.Context, string) (uint32, error)) (string, error) {
	if value == "" {
		return "", nil
	}
	refuse := func(pair, why string) error {
		return fmt.Errorf("cannot use --%s=%s: %q %s", option, value, pair, why)
	}
	number := func(name string) (string, error) {
		if _, err := strconv.ParseUint(name, 10, 32); err == nil {
			return name, nil
		}
		n, err := id(ctx, name)
		return strconv.FormatUint(uint64(n), 10), err
	}
	pairs := strings.Split(value, ",")
	for i, pair := range pairs {
		from, to, found := strings.Cut(pair, ":")
		var err error
		switch {
		case !found || to == "":
			return "", refuse(pair, "is not of the form FROM:TO")
		case from == "":
			return "", refuse(pair, "is for owners without a name, and owners are not sent by names: give numbers, or * for all")
		case from == "*" || idOrRange.MatchString(from):
		case strings.ContainsAny(from, "*?["):
			return "", refuse(pair, "is for names of a form, and owners are not sent by names: give the names, numbers, or * for all")
		default:
			if from, err = number(from); err != nil {
				return "", refuse(pair, "has an unknown name: "+err.Error())
			}
		}
		if to, err = number(to); err != nil {
			return "", refuse(pair, "has an unknown name: "+err.Error())
		}
		pairs[i] = from + ":" + to
	}
	return strings.Join(pairs, ","), nil
}
