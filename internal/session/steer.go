// SPDX-License-Identifier: LGPL-2.1-or-later

package session

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"vsc-zk/internal/session/member"
	"vsc-zk/internal/session/wire"
	"vsc-zk/internal/zkclient"
)

// ErrNoRun: there is no run that could be steered.
var ErrNoRun = errors.New("no run of this session is under way")

// Order is what a user asks for while a run is under way.
type Order struct {
	Pause, Unpause bool
	Stop           bool
	Jobs           map[string]int // by host, or by a source's whoami
	BwLimit        *int           // bytes a second, 0: no limit
	Skip           string         // a path below the base
	Requeue        bool           // what has failed
}

// Answer is what came of it.
type Answer struct {
	Sources int      // Go sources that have noted it
	Silent  []string // that have not, or the master as it has not done it yet
	Python  []string // sources that never note anything
	Running int      // runs still at work while nothing is to be begun
	Waiting int      // paths that were queued, of what is to be skipped
	InWork  int      // that were in work
	Failed  int      // that had failed
	Unseen  bool     // the first walk is not over: more may come
	Ended   bool     // the run is over
}

// ErrUnnoted is wrapped when something was asked for, or may have been, and it is not known whether all
// sources have noted it.
var ErrUnnoted = errors.New("not all have noted what was asked for; who is not connected now notes it when it is again")

// Steer asks for something, and waits until the sources have noted it, for Timing.Heed at the most. With an
// error that is not ErrUnnoted nothing was asked for.
func Steer(ctx context.Context, cfg Config, order Order) (answer Answer, err error) {
	client, err := newClient(ctx, cfg, sourceLogger)
	if err != nil {
		return answer, err
	}
	m, err := client.Connect(ctx)
	if err != nil {
		return answer, err
	}
	defer m.ZK.Close()
	s := &steersman{m: m, order: order, answer: &answer}
	if s.meta, err = s.run(ctx); err != nil {
		return answer, err
	}
	if err := s.check(ctx); err != nil {
		return answer, err
	}
	if err = s.write(ctx); err == nil {
		err = s.await(ctx)
	}
	if err != nil && s.asked {
		err = fmt.Errorf("%w: %w", ErrUnnoted, err)
	}
	return answer, err
}

// steersman carries an order out.
type steersman struct {
	m       *member.Member
	order   Order
	answer  *Answer
	meta    wire.Meta
	skip    wire.Text // below the base; "": nothing
	version int32     // of S/control, as it was written; -1: it was not
	asked   bool      // something was written, or may have been
}

// run finds the run.
func (s *steersman) run(ctx context.Context) (meta wire.Meta, err error) {
	m := s.m
	data, stat, err := m.ZK.Get(ctx, m.Tree.Ready())
	if errors.Is(err, zkclient.ErrNoNode) {
		return meta, fmt.Errorf("%w: %q", ErrNoRun, m.Tree.Name())
	}
	if err != nil {
		return meta, fmt.Errorf("cannot look for the run: %w", err)
	}
	m.Client.SetEpoch(stat.Czxid)
	meta, _, known, err := m.Meta(ctx)
	switch {
	case err != nil:
		return meta, err
	case !known:
		return meta, fmt.Errorf("cannot steer the run of session %q: its master is a Python one, or of another version, and follows nobody", m.Tree.Name())
	case string(data) == wire.Stop || meta.End != "":
		return meta, fmt.Errorf("%w: that of %q is just ending", ErrNoRun, m.Tree.Name())
	case meta.Lead == "":
		return meta, fmt.Errorf("%w: that of %q is suspended; to go on with it start its clients, the first source with --resume", ErrNoRun, m.Tree.Name())
	}
	return meta, nil
}

// check refuses what cannot be done, before anything is written.
func (s *steersman) check(ctx context.Context) error {
	heeds, err := s.heeds(ctx)
	if err != nil {
		return err
	}
	for name := range s.order.Jobs {
		found, leads := false, false
		var hosts []string
		for whoami, heed := range heeds {
			hosts = append(hosts, wire.HostOf(whoami))
			if name == whoami || name == wire.HostOf(whoami) {
				found, leads = found || !heed.Leads, leads || heed.Leads
			}
		}
		slices.Sort(hosts)
		switch {
		case found:
		case leads:
			return fmt.Errorf("cannot set the jobs of %s: its source is the master and was started without jobs of its own; start another source there", name)
		case len(hosts) == 0:
			return fmt.Errorf("cannot set the jobs of %s: the run has no Go source", name)
		default:
			return fmt.Errorf("cannot set the jobs of %s: there is no Go source of that name in the run; there are some on %s", name, strings.Join(slices.Compact(hosts), ", "))
		}
	}
	if s.order.Requeue && s.meta.Ended.Failed-s.meta.Foreign <= 0 {
		return errors.New("cannot queue again what has failed: nothing has")
	}
	if s.order.Skip == "" {
		return nil
	}
	if err := s.below(); err != nil {
		return err
	}
	return s.find(ctx)
}

// below finds the place of the path that is to be skipped below the base.
func (s *steersman) below() error {
	base := string(s.meta.Terms["rsyncpath"])
	if base == "" {
		return errors.New("cannot skip a path: this run sends no files")
	}
	asked := s.order.Skip
	if !strings.HasPrefix(asked, "/") {
		asked = path.Join(base, asked)
	}
	rel, ok := strings.CutPrefix(path.Clean(asked), strings.TrimSuffix(base, "/")+"/")
	if !ok || rel == "" {
		return fmt.Errorf("cannot skip %s: it is not below the run's base directory, which is %s", wire.Text(s.order.Skip), wire.Text(base))
	}
	s.skip = wire.Text(rel)
	return nil
}

// find counts what would be skipped, and refuses what is nothing.
func (s *steersman) find(ctx context.Context) error {
	m, a := s.m, s.answer
	concerns := func(value []byte) bool {
		task := wire.DecodeTask(value)
		rel, err := task.Within(string(s.meta.Terms["rsyncpath"]))
		if task.Err != nil || err != nil {
			return false
		}
		within := func(dir, path string) bool { return dir == "" || path == dir || strings.HasPrefix(path, dir+"/") }
		if task.Kind.Named() {
			return slices.ContainsFunc(task.Files, func(file wire.Text) bool {
				return within(string(s.skip), string(file)) || task.Kind == wire.Listed && within(string(file), string(s.skip))
			})
		}
		return within(string(s.skip), rel) || task.Kind == wire.Recursive && within(rel, string(s.skip)) || path.Dir("/"+string(s.skip)) == "/"+rel
	}
	for _, queue := range []string{m.Tree.PathQueue(), m.Tree.ExtQueue()} {
		taken, err := m.Children(ctx, queue+"/taken")
		if err != nil {
			return err
		}
		slices.Sort(taken)
		if err := s.each(ctx, queue+"/entries", func(name string, data []byte) {
			if !concerns(data) {
				return
			}
			if _, held := slices.BinarySearch(taken, name); held {
				a.InWork++
			} else {
				a.Waiting++
			}
		}); err != nil {
			return err
		}
	}
	if err := s.each(ctx, m.Tree.Split(), func(_ string, data []byte) {
		if concerns(data) {
			a.Waiting++
		}
	}); err != nil {
		return err
	}
	if err := s.each(ctx, m.Tree.Failures(), func(_ string, data []byte) {
		if f, err := wire.DecodeFailure(data); err == nil && concerns([]byte(f.Path)) {
			a.Failed++
		}
	}); err != nil {
		return err
	}
	stage := s.meta.Stage
	a.Unseen = stage.Phase == wire.Walking && stage.Pass == 0 && !stage.Fed
	if a.InWork+a.Waiting+a.Failed == 0 && !a.Unseen {
		return fmt.Errorf("cannot skip %s: nothing of it is queued, in work or failed; it was sent already, or is not there", s.skip)
	}
	return nil
}

// each reads the children of a node.
func (s *steersman) each(ctx context.Context, parent string, use func(name string, data []byte)) error {
	names, err := s.m.Children(ctx, parent)
	if err != nil {
		return err
	}
	contents, err := s.m.ReadAll(ctx, parent, names)
	if err != nil {
		return err
	}
	for i, name := range names {
		if contents[i] != nil { // else it is gone
			use(name, contents[i])
		}
	}
	return nil
}

// heeds are what the sources have noted, by whoami.
func (s *steersman) heeds(ctx context.Context) (map[string]wire.Heed, error) {
	all := map[string]wire.Heed{}
	err := s.each(ctx, s.m.Tree.Heeds(), func(whoami string, data []byte) {
		if heed, err := wire.DecodeHeed(data); err == nil {
			all[whoami] = heed
		}
	})
	return all, err
}

// write asks for it, and for a bandwidth at last: that cannot be refused.
func (s *steersman) write(ctx context.Context) error {
	m, o := s.m, s.order
	s.version = -1
	if o.Pause || o.Unpause || o.Stop || o.Requeue || s.skip != "" || len(o.Jobs) > 0 {
		if err := s.control(ctx); err != nil {
			return fmt.Errorf("cannot steer the run: %w", err)
		}
	}
	if o.BwLimit == nil {
		return nil
	}
	data := wire.EncodeNumber(*o.BwLimit)
	err := s.ask(ctx, func() error {
		_, err := m.ZK.Set(ctx, m.Tree.BwLimit(), data, -1)
		if errors.Is(err, zkclient.ErrNoNode) {
			_, err = m.ZK.Create(ctx, m.Tree.BwLimit(), data, zkclient.Persistent)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("cannot set the bandwidth of the run: %w", err)
	}
	return nil
}

// control writes S/control, by compare and set.
func (s *steersman) control(ctx context.Context) error {
	m := s.m
	for {
		data, stat, err := m.ZK.Get(ctx, m.Tree.Control())
		if err != nil {
			return err
		}
		control, err := wire.DecodeControl(data)
		if err != nil {
			m.Log.Warn(err.Error()+"; it is written anew", "event", "foreign", "znode", m.Tree.Control(), "error", err)
		}
		s.change(&control)
		next := control.Encode()
		if len(next) > maxControl {
			return errors.New("too much was asked for already, in too many paths that are to be skipped")
		}
		err = s.ask(ctx, func() error {
			set, err := m.ZK.Set(ctx, m.Tree.Control(), next, stat.Version)
			s.version = set.Version
			return err
		})
		if !errors.Is(err, zkclient.ErrBadVersion) || errors.Is(err, zkclient.ErrConnectionLoss) {
			return err
		}
	}
}

// ask writes something, and keeps in mind that it was written, or may have been as nobody answered.
func (s *steersman) ask(ctx context.Context, write func() error) error {
	err := write()
	if err == nil || ctx.Err() != nil || errors.Is(err, zkclient.ErrConnectionLoss) || errors.Is(err, zkclient.ErrSessionLost) {
		s.asked = true
	}
	return err
}

// maxControl bounds S/control, which is one znode.
const maxControl = 512 << 10

// change adds the order to what was asked for before.
func (s *steersman) change(c *wire.Control) {
	o := s.order
	c.Paused = c.Paused && !o.Unpause || o.Pause
	c.Stop = c.Stop || o.Stop
	for name, jobs := range o.Jobs {
		if c.Jobs == nil {
			c.Jobs = map[string]int{}
		}
		c.Jobs[name] = jobs
	}
	if s.skip != "" && !slices.Contains(c.Skip, s.skip) {
		c.Skip = append(c.Skip, s.skip)
	}
	if o.Requeue {
		c.Requeue++
	}
}

// await waits until all have noted it.
func (s *steersman) await(ctx context.Context) error {
	for until := time.Now().Add(s.m.Client.Timing.Heed); ; {
		if err := s.look(ctx); err != nil {
			return err
		}
		if s.answer.Ended || len(s.answer.Silent) == 0 || time.Now().After(until) {
			return nil
		}
		if err := zkclient.Sleep(ctx, s.m.Client.Timing.Poll/3); err != nil {
			return err
		}
	}
}

// look finds out who has noted it.
func (s *steersman) look(ctx context.Context) error {
	m, a := s.m, s.answer
	a.Sources, a.Running, a.Silent, a.Python = 0, 0, nil, nil
	meta, _, ok, err := m.Meta(ctx)
	if err != nil {
		return err
	}
	if a.Ended = !ok || meta.End != "" || meta.Lead == ""; a.Ended {
		return nil
	}
	heeds, err := s.heeds(ctx)
	if err != nil {
		return err
	}
	sources, err := m.Party(wire.PartySources).Members(ctx)
	if err != nil {
		return err
	}
	ext, err := m.Party(wire.PartyExt).Members(ctx)
	if err != nil {
		return err
	}
	slices.Sort(sources)
	for _, whoami := range slices.Compact(sources) {
		heed, says := heeds[whoami]
		switch {
		case !slices.Contains(ext, whoami):
			a.Python = append(a.Python, whoami)
		case !says || heed.Version < s.version, s.order.BwLimit != nil && !heed.Leads && heed.BwLimit != int64(*s.order.BwLimit):
			a.Silent = append(a.Silent, whoami)
		default:
			a.Sources++
			a.Running += heed.Running
		}
	}
	if meta.Steered.Version < s.version {
		a.Silent = append(a.Silent, "the master")
	}
	return nil
}
