// SPDX-License-Identifier: LGPL-2.1-or-later

package session

import (
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"vsc-zk/internal/session/wire"
	"vsc-zk/internal/zkclient"
)

// What a client may have for itself: it changes nothing in what arrives at the destination.
var ownOptions = []string{
	"Base.VerifyPath", "Base.Delete", "Base.OneFileSystem", "Base.LeaveOut", // the same as Rsync.Delete
	"Rsync.Verbose", "Rsync.DropCache", "Rsync.Timeout",
}

// A new option of rsync or of the guards is among the terms, or is named here as a client's own.
func TestTermsForgetNoOption(t *testing.T) {
	var c Config
	bound := map[any]bool{}
	for _, term := range c.bind() {
		bound[term.place] = true
		term.set("7") // panics unless the kind of the place is known
		if term.value() == "" {
			t.Errorf("--%s has a place of type %T, which terms do not know", term.option, term.place)
		}
	}
	for name, part := range map[string]reflect.Value{"Base": reflect.ValueOf(&c.Base).Elem(), "Rsync": reflect.ValueOf(&c.Rsync).Elem()} {
		for i := range part.NumField() {
			field := name + "." + part.Type().Field(i).Name
			if own := slices.Contains(ownOptions, field); own == bound[part.Field(i).Addr().Interface()] {
				t.Errorf("%s is among the terms: %v; named as a client's own: %v", field, !own, own)
			}
		}
	}
}

// full has a value for each term.
func full() Config {
	var c Config
	c.Base.Path, c.Base.Sentinel, c.Base.AllowEmpty = "/data/\xff", ".mounted", true
	c.Base.Exclude, c.Base.ExcludeUser, c.Base.ExcludeBelow = regexp.MustCompile(`/\.snapshots(/.*|$)`), "root", true
	c.MaxDelete = 0
	for _, term := range c.bind() {
		switch place := term.place.(type) {
		case *bool:
			*place = term.option != "dryrun" && term.option != "verify" // with these nobody counts deletions
		case *[]string:
			*place = []string{term.option + ":1,2", "b"}
		case *string:
			if *place == "" {
				*place = "x"
			}
		}
	}
	return c
}

// What a master writes is what a slave with --inherit has then, over S/meta.
func TestTermsAreTakenOver(t *testing.T) {
	for name, c := range map[string]Config{"full": full(), "none": {MaxDelete: -1}, "netcat": {Lines: 15, MaxDelete: -1}} {
		meta, ok := wire.DecodeMeta(wire.NewMeta("ID", time.Now(), c.terms()).Encode())
		if !ok {
			t.Fatal("S/meta cannot be read")
		}
		for before, other := range map[string]Config{"full": full(), "none": {MaxDelete: -1}} {
			if err := other.take(meta.Terms); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.terms(), other.terms()); diff != "" {
				t.Errorf("%s over %s: %s", name, before, diff)
			}
		}
	}
	var c Config
	if err := c.take(wire.Terms{"of-a-later-version": "yes"}); err == nil || !strings.Contains(err.Error(), "--of-a-later-version") {
		t.Errorf("error %v, want one that names the option", err)
	}
	for _, extra := range []string{"log-file:/etc/cron.d/x", "log-file-format:x"} {
		var c Config
		if err := c.take(wire.Terms{"arbitopts": wire.Text("no-times" + wire.TermSeparator + extra)}); err == nil || !strings.Contains(err.Error(), extra) {
			t.Errorf("%s is taken over from S/meta: %v", extra, err)
		}
	}
	if got := full().terms(); len(got) != len(c.bind())-2 {
		t.Errorf("%v", got)
	}
}

// What has no effect, or none on what arrives, is no difference.
func TestTermsWithoutEffect(t *testing.T) {
	plain := Config{MaxDelete: -1}
	for _, change := range []func(*Config){
		func(c *Config) { c.MaxDelete = 5 },
		func(c *Config) { c.Base.AllowEmpty = true },
		func(c *Config) { c.Base.ExcludeUser, c.Base.ExcludeBelow = "root", true },
		func(c *Config) { c.Rsync.Extra = []string{"bwlimit:100", "whole-file"} },
		func(c *Config) { c.Rsync.Timeout, c.Rsync.Verbose, c.Jobs, c.Prefetch = 7, true, 3, 0 },
	} {
		other := plain
		change(&other)
		if d := plain.terms().Differences(other.terms()); len(d) > 0 {
			t.Errorf("%v", d)
		}
	}
}

// A source that was started for something else than its master ends before it has taken or sent anything
// and is not counted; the others go on.
func TestSourceWithOtherOptions(t *testing.T) {
	r := newRig(t)
	r.makeTree(smallTree)
	r.put(r.dst, "only/here")
	r.put(filepath.Dir(r.src), "beside/src")
	master := r.queued()
	parent, other := filepath.Dir(r.src), t.TempDir()
	for _, c := range []struct {
		change func(*Config)
		want   string
	}{
		{func(c *Config) { c.Base.Path = parent }, "--rsyncpath (master: " + r.src + ", here: " + parent + ")"},
		{func(c *Config) { c.Base.Path = other }, "--rsyncpath (master: " + r.src + ", here: " + other + ")"},
		{func(c *Config) { c.Rsync.Delete = true }, "--delete (master: no, here: yes)"},
		{func(c *Config) { c.Rsync.Extra = []string{"no-times", "chmod:go="} }, "--arbitopts (master: none, here: no-times,chmod:go=)"},
		{func(c *Config) { c.Base.Exclude = regexp.MustCompile("/dir000") }, "--excludere (master: none, here: /dir000)"},
		{func(c *Config) { c.Lines, c.LineSender = 3, sendLines(noLines) }, "--netcat (master: no, here: yes), --rsyncpath (master: " + r.src + ", here: none)"},
		{func(c *Config) { c.Rsync.Delete, c.MaxDelete = true, 0 }, "--delete (master: no, here: yes), --max-delete (master: none, here: 0)"},
	} {
		err := r.wait(r.source(2, c.change, func(c *Config) {
			c.Member.Joined = func() { t.Error("the start was said to have gone well") }
		}))
		if err == nil || !strings.Contains(err.Error(), ": "+c.want+". ") {
			t.Errorf("error %v, want one with %s", err, c.want)
		}
	}
	if n, err := r.zk().Party(r.tree().Party(wire.PartySources), "").Count(t.Context()); n != 1 || err != nil {
		t.Errorf("%d sources are counted (%v), want the master alone", n, err)
	}
	if n := r.sent(""); n != 0 {
		t.Errorf("%d paths sent by sources that should not take any", n)
	}
	if _, err := os.Stat(filepath.Join(r.dst, "only/here")); err != nil {
		t.Error(err)
	}
	r.must(os.RemoveAll(filepath.Join(r.dst, "only")))
	r.finish(master, r.slave(3), r.destination(4))
	r.identical()
	r.left()
}

// The same with a source that came before the session, and one whose master has only just begun.
func TestSourceWithOtherOptionsWaits(t *testing.T) {
	r := newRig(t)
	r.makeTree(smallTree)
	zk := r.zk()
	lock := zk.Lock(r.tree().Lock(), "")
	if ok, err := lock.TryAcquire(t.Context()); !ok || err != nil {
		t.Fatal(ok, err)
	}
	early := r.source(2, func(c *Config) { c.Rsync.Delete = true })
	r.waitFor("event=waiting-for-lock")
	r.must(zk.EnsurePath(t.Context(), filepath.Dir(r.tree().Ready())))
	terms := r.config(1, r.src).terms()
	r.must(zk.Multi(t.Context(),
		zkclient.OpCreate(r.tree().Ready(), []byte(wire.Start), zkclient.Persistent),
		zkclient.OpCreate(r.tree().Meta(), wire.NewMeta("ID", time.Now(), terms).Encode(), zkclient.Persistent)))
	late := r.source(3, func(c *Config) { c.Rsync.Checksum = true })
	for run, want := range map[*running]string{early: "--delete (", late: "--checksum ("} {
		if err := r.wait(run); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %s", err, want)
		}
	}
}

// With --inherit a source does what the master was asked for; it waits for one and never leads. What the
// user has given and does not hold is said, what he has not is not.
func TestInherit(t *testing.T) {
	r := newRig(t)
	r.makeTree(smallTree)
	r.put(r.dst, "only/here")
	bare := func(c *Config) {
		c.Inherit, c.Base.Path, c.MaxDelete, c.Rsync.Extra = true, "", 3, []string{"no-whole-file"}
	}
	first := r.source(2, bare)
	r.waitFor("event=waiting-for-lock")
	deletes := func(c *Config) { c.Rsync.Delete, c.Rsync.Extra = true, []string{"omit-link-times"} }
	master := r.source(1, deletes)
	second := r.source(3, bare, func(c *Config) {
		c.Base.Path, c.Rsync.Checksum, c.Rsync.Inplace = filepath.Dir(r.src), true, true
		c.Given = func(option string) bool { return option == "rsyncpath" || option == "checksum" || option == "delete" }
	})
	r.waitFor("event=inherited")
	r.finish(master, first, second, r.destination(4))
	r.identical()
	said := strings.Count(r.log.String(), "the master's options hold, not those given here: --checksum (master: no, here: yes), "+
		"--delete (master: yes, here: no), --rsyncpath (master: "+r.src+", here: "+filepath.Dir(r.src)+")")
	if said != 1 {
		t.Errorf("said %d times, want once; log:\n%s", said, r.log)
	}
}

// What is inherited is checked as what is given.
func TestInheritChecks(t *testing.T) {
	r := newRig(t)
	r.makeTree(smallTree)
	sentinel := filepath.Join(r.src, ".mounted")
	r.must(os.WriteFile(sentinel, nil, 0o644))
	master := r.queued(func(c *Config) { c.Base.Sentinel = ".mounted" })
	r.must(os.Remove(sentinel))
	if err := r.wait(r.source(2, func(c *Config) { c.Inherit = true })); err == nil || !strings.Contains(err.Error(), "--sentinel") {
		t.Errorf("error %v, want one about the sentinel", err)
	}
	master.stop(errStopped)
	_ = r.wait(master)
}

// A Python master tells no options: nothing is compared, and nothing can be inherited. What an earlier
// session of the name has left does not count.
func TestTermsOfPythonMaster(t *testing.T) {
	r := newRig(t)
	r.makeTree(smallTree)
	zk := r.zk()
	r.must(zk.EnsurePath(t.Context(), filepath.Dir(r.tree().Ready())))
	_, err := zk.Create(t.Context(), r.tree().Meta(), wire.NewMeta("ID", time.Now(), wire.Terms{"delete": "yes"}).Encode(), zkclient.Persistent)
	r.must(err)
	lock := zk.Lock(r.tree().Lock(), "")
	if ok, err := lock.TryAcquire(t.Context()); !ok || err != nil {
		t.Fatal(ok, err)
	}
	_, err = zk.Create(t.Context(), r.tree().Ready(), []byte(wire.Start), zkclient.Persistent)
	r.must(err)
	for _, queue := range []string{r.tree().PathQueue(), r.tree().CompletedQueue(), r.tree().FailedQueue(), r.tree().DestQueue()} {
		r.must(zk.Queue(queue).Ensure(t.Context()))
	}
	if err := r.wait(r.source(2, func(c *Config) { c.Inherit = true })); err == nil || !strings.Contains(err.Error(), "--inherit") {
		t.Errorf("error %v, want one about --inherit", err)
	}
	slave := r.source(3, func(c *Config) { c.Rsync.Delete = true })
	r.until("the slave is counted", func() bool {
		n, err := zk.Party(r.tree().Party(wire.PartySources), "").Count(t.Context())
		return err == nil && n == 1
	})
	_, err = zk.Set(t.Context(), r.tree().Ready(), []byte(wire.Stop), -1)
	r.must(err)
	r.finish(slave)
}

// A state that this version cannot read is of a master of another one.
func TestOtherFormat(t *testing.T) {
	r := newRig(t)
	r.makeTree(smallTree)
	zk := r.zk()
	lock := zk.Lock(r.tree().Lock(), "")
	if ok, err := lock.TryAcquire(t.Context()); !ok || err != nil {
		t.Fatal(ok, err)
	}
	r.must(zk.EnsurePath(t.Context(), filepath.Dir(r.tree().Ready())))
	r.must(zk.Multi(t.Context(),
		zkclient.OpCreate(r.tree().Ready(), []byte(wire.Start), zkclient.Persistent),
		zkclient.OpCreate(r.tree().Meta(), []byte(`{"format": 99}`), zkclient.Persistent)))
	if err := r.wait(r.source(2)); err == nil || !strings.Contains(err.Error(), "format 99") {
		t.Errorf("error %v, want one about the format", err)
	}
}

// No password is in S/meta.
func TestTermsHaveNoPassword(t *testing.T) {
	c := full()
	c.Member.Zookeeper.User, c.Member.Zookeeper.Password = "hunter", "s3cret"
	for _, value := range slices.Collect(maps.Values(c.terms())) {
		if strings.Contains(string(value), "s3cret") {
			t.Error("the password is among the terms")
		}
	}
}
