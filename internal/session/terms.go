// SPDX-License-Identifier: LGPL-2.1-or-later

package session

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"vsc-zk/internal/rsyncrunner"
	"vsc-zk/internal/session/member"
	"vsc-zk/internal/session/wire"
)

// term binds an option that all sources of a session have to agree on to its place in a Config.
type term struct {
	option string
	place  any // *bool, *int (negative: none), *string, *[]string or **regexp.Regexp
}

// bind gives every such option of c. A slave compares all of them with its master's, and takes them over
// with --inherit.
func (c *Config) bind() []term {
	return []term{
		{"rsyncpath", &c.Base.Path},
		{"sentinel", &c.Base.Sentinel},
		{"allow-empty", &c.Base.AllowEmpty},
		{"excludere", &c.Base.Exclude},
		{"excl_usr", &c.Base.ExcludeUser},
		{"exclude-below", &c.Base.ExcludeBelow},
		{"delete", &c.Rsync.Delete},
		{"checksum", &c.Rsync.Checksum},
		{"hardlinks", &c.Rsync.HardLinks},
		{"inplace", &c.Rsync.Inplace},
		{wire.PartialTerm, &c.Rsync.Partial},
		{"acls", &c.Rsync.ACLs},
		{"xattrs", &c.Rsync.XAttrs},
		{"one-file-system", &c.Rsync.OneFileSystem},
		{"usermap", &c.Rsync.UserMap},
		{"groupmap", &c.Rsync.GroupMap},
		{wire.DryRunTerm, &c.Rsync.DryRun},
		{wire.VerifyTerm, &c.Rsync.Verify},
		{"arbitopts", &c.Rsync.Extra},
		{"max-delete", &c.MaxDelete},
	}
}

// netcatTerm is the term of a session that sends lines, which agrees on nothing else.
const netcatTerm = "netcat"

// terms are what a source that leads with this configuration asks of the others. What has no effect beside
// other options is left out.
func (c Config) terms() wire.Terms {
	if c.Lines > 0 {
		return wire.Terms{netcatTerm: "yes"}
	}
	c.MaxDelete = c.maxDelete()
	c.Rsync.Extra = slices.DeleteFunc(slices.Clone(c.Rsync.Extra), rsyncrunner.Local)
	c.Base.AllowEmpty = c.Base.AllowEmpty && c.Rsync.Delete
	if c.Base.Exclude == nil {
		c.Base.ExcludeUser, c.Base.ExcludeBelow = "", false
	}
	terms := wire.Terms{}
	for _, t := range c.bind() {
		if value := t.value(); value != "" {
			terms[t.option] = wire.Text(value)
		}
	}
	return terms
}

// take replaces what c has by the terms of a master.
func (c *Config) take(terms wire.Terms) error {
	own := slices.DeleteFunc(slices.Clone(c.Rsync.Extra), func(extra string) bool { return !rsyncrunner.Local(extra) })
	known := map[string]bool{netcatTerm: true}
	for _, t := range c.bind() {
		known[t.option] = true
		if err := t.set(string(terms[t.option])); err != nil {
			return fmt.Errorf("cannot take over --%s of the master: %w", t.option, err)
		}
	}
	// No master tells of these. One could have this client write any file.
	for _, extra := range c.Rsync.Extra {
		if rsyncrunner.Local(extra) {
			return fmt.Errorf("cannot take over --arbitopts=%s of the master: that is each client's own", extra)
		}
	}
	for option := range terms {
		if !known[option] {
			return fmt.Errorf("cannot take over --%s of the master: this version of zkrsync does not know it; use the same version", option)
		}
	}
	c.Rsync.Extra = append(own, c.Rsync.Extra...)
	c.Lines = 0
	if terms[netcatTerm] != "" {
		c.Lines = 1 // it is the master who makes them
	}
	return nil
}

func (t term) value() string {
	switch place := t.place.(type) {
	case *bool:
		if *place {
			return "yes"
		}
	case *int:
		if *place >= 0 {
			return strconv.Itoa(*place)
		}
	case *string:
		return *place
	case *[]string:
		return strings.Join(*place, wire.TermSeparator)
	case **regexp.Regexp:
		if *place != nil {
			return (*place).String()
		}
	}
	return ""
}

// set is for the "" of a term that is off or not given, too.
func (t term) set(value string) (err error) {
	switch place := t.place.(type) {
	case *bool:
		*place = value != ""
	case *int:
		*place = -1
		if value != "" {
			*place, err = strconv.Atoi(value)
		}
	case *string:
		*place = value
	case *[]string:
		*place = nil
		if value != "" {
			*place = strings.Split(value, wire.TermSeparator)
		}
	case **regexp.Regexp:
		*place = nil
		if value != "" {
			*place, err = regexp.Compile(value)
		}
	}
	return err
}

// ErrTerms: this source and its master were started for different things.
var ErrTerms = errors.New("the options are not the master's")

// termsError is an ErrTerms that says it in its own words.
type termsError string

func (e termsError) Error() string      { return string(e) }
func (termsError) Is(target error) bool { return target == ErrTerms }

// errNothingToInherit is the end of a source with --inherit under a master that tells no options.
var errNothingToInherit error = termsError("cannot inherit options (--inherit): the master of this session is a Python one, or of an earlier version, and does not tell its own; leave --inherit out and give them")

// agree lets a source follow only a master that asks for what this source was started with; with Inherit it
// takes that over. A Python master asks for nothing.
func (s *source) agree(ctx context.Context, m *member.Member) error {
	asked, err := m.Terms(ctx)
	if err != nil {
		return err
	}
	if s.cfg.Inherit && s.worker == nil {
		if asked == nil {
			return errNothingToInherit
		}
		if err := s.inherit(ctx, asked); err != nil {
			return err
		}
	}
	if asked == nil {
		return nil
	}
	if differences := asked.Differences(s.cfg.terms()); len(differences) > 0 {
		return termsError(fmt.Sprintf("cannot take part in session %q: this source was started with other options than its master: %s. Start it with the master's, or with --inherit, which takes them",
			m.Tree.Name(), wire.JoinDifferences(differences)))
	}
	return nil
}

// inherit takes the master's terms. What the user has named himself, and differs, does not count.
func (s *source) inherit(ctx context.Context, asked wire.Terms) error {
	var overruled []wire.Difference
	var options []string
	for _, d := range asked.Differences(s.cfg.terms()) {
		if s.cfg.Given != nil && s.cfg.Given(d.Option) {
			overruled, options = append(overruled, d), append(options, d.Option)
		}
	}
	if len(overruled) > 0 {
		s.client.Log.Warn("With --inherit the master's options hold, not those given here: "+wire.JoinDifferences(overruled), "event", "inherited", "option", strings.Join(options, ","))
	}
	if err := s.cfg.take(asked); err != nil {
		return err
	}
	return s.settle(ctx)
}
