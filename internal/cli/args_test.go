// SPDX-License-Identifier: LGPL-2.1-or-later

package cli

import (
	"bytes"
	"errors"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// sample is a program with an option of every kind. They are named as zkrsync's are, so that the
// Python program's answers hold for them.
type sample struct {
	servers, rsubpaths, arbitopts      []string
	user, passwd, session, rsyncpath   string
	exclUsr, domain, doneFile, logfile string
	format                             string
	depth, timeout, rsyncport          int
	startport, backupCount             int
	maxBytes                           int64
	excludere                          *regexp.Regexp
	source, destination, dryrun, state bool
	delete, daemon, verbose            bool
	dropcache, verifypath              bool
}

func newSample() (*sample, *Program) {
	s := &sample{user: "root", passwd: "admin", session: "default", exclUsr: "root", depth: 3, startport: 4444,
		logfile: "/tmp/%(session)s.log", maxBytes: 104857600, backupCount: 5, verifypath: true, format: "text",
		excludere: regexp.MustCompile(`/\.snapshots(/.*|$)`)}
	p := New("zkrsync", "A sample.")
	g := p.Group("Main", "All of them.")
	g.Strings(&s.servers, Opt{Name: "servers", Arg: "LIST", Help: "Servers."})
	g.Strings(&s.rsubpaths, Opt{Name: "rsubpaths", Arg: "LIST", Help: "Subpaths."})
	g.Strings(&s.arbitopts, Opt{Name: "arbitopts", Arg: "LIST", Help: "Options."})
	g.String(&s.user, Opt{Name: "user", Short: "u", Arg: "NAME", Help: "User."})
	g.String(&s.passwd, Opt{Name: "passwd", Short: "p", Arg: "TEXT", Help: "Password.", Secret: true})
	g.String(&s.session, Opt{Name: "session", Short: "N", Arg: "NAME", Help: "Session."})
	g.String(&s.rsyncpath, Opt{Name: "rsyncpath", Short: "r", Arg: "DIR", Help: "Path."})
	g.String(&s.exclUsr, Opt{Name: "excl_usr", Arg: "USER", Help: "User."})
	g.String(&s.domain, Opt{Name: "domain", Arg: "NAME", Help: "Domain."})
	g.String(&s.doneFile, Opt{Name: "done-file", Arg: "FILE", Help: "Done file."})
	g.String(&s.logfile, Opt{Name: "logfile", Arg: "FILE", Help: "Log file."})
	g.String(&s.format, Opt{Name: "logformat", Arg: "FORMAT", Help: "Format.", Choices: []string{"text", "json"}, Added: true})
	g.Int(&s.depth, Opt{Name: "depth", Arg: "N", Help: "Depth."})
	g.Int(&s.timeout, Opt{Name: "timeout", Arg: "N", Help: "Timeout."})
	g.Int(&s.rsyncport, Opt{Name: "rsyncport", Arg: "N", Help: "Port."})
	g.Int(&s.startport, Opt{Name: "startport", Arg: "N", Help: "Port."})
	g.Int(&s.backupCount, Opt{Name: "backup_count", Arg: "N", Help: "Backups."})
	g.Int64(&s.maxBytes, Opt{Name: "max_bytes", Arg: "N", Help: "Size."})
	g.Regexp(&s.excludere, Opt{Name: "excludere", Arg: "REGEX", Help: "Excludes."})
	g.Bool(&s.source, Opt{Name: "source", Short: "S", Help: "Source."})
	g.Bool(&s.destination, Opt{Name: "destination", Short: "D", Help: "Destination."})
	g.Bool(&s.dryrun, Opt{Name: "dryrun", Short: "n", Help: "Dry run."})
	g.Bool(&s.state, Opt{Name: "state", Help: "State."})
	g.Bool(&s.delete, Opt{Name: "delete", Help: "Delete."})
	g.Bool(&s.daemon, Opt{Name: "daemon", Help: "Daemon."})
	g.Bool(&s.verbose, Opt{Name: "verbose", Help: "Verbose."})
	g.Bool(&s.dropcache, Opt{Name: "dropcache", Help: "Drop the cache."})
	g.Bool(&s.verifypath, Opt{Name: "verifypath", Help: "Verify.", Inverted: true, Warning: "verifypath is off"})
	return s, p
}

// values lists what differs from the defaults, as name=value.
func (s *sample) values(p *Program) []string {
	_, fresh := newSample()
	got := []string{}
	for _, g := range p.groups {
		for _, opt := range g.options {
			if text := opt.String(); text != fresh.flags.Lookup(opt.Name).Value.String() {
				got = append(got, opt.Name+"="+text)
			}
		}
	}
	slices.Sort(got)
	return got
}

// split splits at blanks. Two single quotes are an empty word, "~" is a blank within a word.
func split(text string) []string {
	list := strings.Fields(text)
	for i, w := range list {
		list[i] = strings.ReplaceAll(strings.ReplaceAll(w, "''", ""), "~", " ")
	}
	return list
}

func TestSyntax(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		// values
		{"--session=a", "session=a"},
		{"--session a", "session=a"},
		{"-Na", "session=a"},
		{"-N a", "session=a"},
		{"-N=a", "session==a"},
		{"--session=", "session="},
		{"--session ''", "session="},
		{"--session=a=b", "session=a=b"},
		{"--session=--debug", "session=--debug"}, // the guard never looks at this form
		{"--session=N", "session=N"},
		{"--session=-1", "session=-1"},
		{"--passwd=p", "passwd=p"},
		// groups
		{"-Snd", "dryrun=true source=true"},
		{"-SN foo", "session=foo source=true"},
		{"-SNfoo", "session=foo source=true"},
		{"-SNfoo -n", "dryrun=true session=foo source=true"},
		// prefixes, over all names
		{"--sess a", "session=a"},
		{"--so", "source=true"},
		{"--done=x", "done-file=x"},
		{"--enable-veri", "verifypath=false"},
		{"--verifypath --disable-veri", ""},
		{"--enable-so", "source=true"},
		{"--dep 4", "depth=4"},
		{"--log=x", "logfile=x"}, // logformat is new: it does not make this ambiguous
		{"--logf=x", "logfile=x"},
		{"--logfo=json", "logformat=json"},
		{"--source", "source=true"},
		// spellings
		{"--max-bytes=5", "max_bytes=5"},
		{"--max_bytes=5", "max_bytes=5"},
		{"--max=5", "max_bytes=5"},
		{"--backup-count=1", "backup_count=1"},
		{"--excl-usr=x", "excl_usr=x"},
		{"--excl-=x", "excl_usr=x"},
		{"--done_file=x", "done-file=x"},
		{"--done_=x", "done-file=x"},
		// booleans, the last one wins
		{"--source --disable-source", ""},
		{"--disable-source --source", "source=true"},
		{"--source --disable-source --enable-source", "source=true"},
		{"--verifypath", "verifypath=false"},
		{"--enable-verifypath", "verifypath=false"},
		{"--verifypath --disable-verifypath", ""},
		// the last one wins, for lists too
		{"--session=a --session=b", "session=b"},
		{"-Na --session=b -N c", "session=c"},
		{"--servers=a,b --servers=c", "servers=c"},
		{"--servers=a,b --servers=", ""},
		// lists
		{"--servers=a,b", "servers=a,b"},
		{"--servers=a,~b~,,c,", "servers=a,b,c"},
		{`--servers=a\,b`, `servers=a\,b`},
		{`--servers="a,b"`, `servers="a,b"`},
		// integers
		{"--depth=0x10", "depth=16"},
		{"--depth=0XfF", "depth=255"},
		{"--depth=0b101", "depth=5"},
		{"--depth=010", "depth=8"},
		{"--depth=0o17", "depth=15"},
		{"--depth=0", "depth=0"},
		{"--depth=00", "depth=0"},
		{"--depth=1_000", "depth=1000"},
		{"--depth=0x_ff", "depth=255"},
		{"--depth=0_7", "depth=7"},
		{"--depth=~5~", "depth=5"},
		{"--depth=+5", "depth=5"},
		{"--depth=-5", "depth=-5"},
		{"--depth=-010", "depth=-10"},
		{"--depth=~010", "depth=10"},
		{"--depth=010~", "depth=8"},
		{"--max_bytes=9000000000", "max_bytes=9000000000"},
		// regular expressions
		{"--excludere=", "excludere="},
		{"--excludere=^/a|b$", "excludere=^/a|b$"},
		// options end
		{"--session=a --", "session=a"},
	} {
		t.Run(c.args, func(t *testing.T) {
			s, p := newSample()
			var out, errs bytes.Buffer
			if _, err := p.Parse(split(c.args), nil, &out, &errs); err != nil {
				t.Fatalf("%v\n%s", err, errs.String())
			}
			if got := strings.Join(s.values(p), " "); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
			if out.Len()+errs.Len() > 0 {
				t.Errorf("said %q %q", out.String(), errs.String())
			}
		})
	}
}

func TestUsageErrors(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"--bogus", "no such option: --bogus"},
		{"--bogus=1", "no such option: --bogus"},
		{"-x", "no such option: -x"},
		{"-Sx", "no such option: -x"},
		{"-S=1", "no such option: -="},
		{"-é", "no such option: -é"},
		{"-Sé", "no such option: -é"},
		{"--session", "--session option requires 1 argument"},
		{"--sess", "--session option requires 1 argument"},
		{"-N", "-N option requires 1 argument"},
		{"-SN", "-N option requires 1 argument"},
		{"--max-bytes", "--max_bytes option requires 1 argument"},
		{"--source=", "--source option does not take a value"},
		{"--source=true", "--source option does not take a value"},
		{"--so=1", "--source option does not take a value"},
		{"--enable-source=1", "--enable-source option does not take a value"},
		{"--disable-veri=1", "--disable-verifypath option does not take a value"},
		{"--shorthelp=1", "--shorthelp option does not take a value"},
		{"--version=1", "--version option does not take a value"},
		{"--depth=abc", "option --depth: invalid integer value: 'abc'"},
		{"--depth=", "option --depth: invalid integer value: ''"},
		{"--depth=1.5", "option --depth: invalid integer value: '1.5'"},
		{"--depth=08", "option --depth: invalid integer value: '08'"},
		{"--depth=0x", "option --depth: invalid integer value: '0x'"},
		{"--depth=0b", "option --depth: invalid integer value: '0b'"}, // 0 in the original
		{"--depth=-0x1", "option --depth: invalid integer value: '-0x1'"},
		{"--depth=0x-1", "option --depth: invalid integer value: '0x-1'"},
		{"--depth=~0x1", "option --depth: invalid integer value: ' 0x1'"},
		{"--depth=1__0", "option --depth: invalid integer value: '1__0'"},
		{"--depth=_1", "option --depth: invalid integer value: '_1'"},
		{"--depth=1_", "option --depth: invalid integer value: '1_'"},
		{"--depth=+-1", "option --depth: invalid integer value: '+-1'"},
		{"--depth=it's", `option --depth: invalid integer value: "it's"`},
		{"--max-bytes=x", "option --max_bytes: invalid integer value: 'x'"},
		{"--depth=99999999999999999999", "option --depth: integer value out of range: '99999999999999999999'"},
		{"--help=foo", "option --help: invalid choice: 'foo' (choose from '', 'rst', 'short', 'config', 'man')"},
		{"--help foo", "option --help: invalid choice: 'foo' (choose from '', 'rst', 'short', 'config', 'man')"},
		{"-Hfoo", "option -H: invalid choice: 'foo' (choose from '', 'rst', 'short', 'config', 'man')"},
		{"-H foo", "option -H: invalid choice: 'foo' (choose from '', 'rst', 'short', 'config', 'man')"},
		{"-SHS", "option -H: invalid choice: 'S' (choose from '', 'rst', 'short', 'config', 'man')"},
		{"--completion=tcsh", "option --completion: invalid choice: 'tcsh' (choose from 'bash', 'zsh', 'fish')"},
		{"--logformat=xml", "option --logformat: invalid choice: 'xml' (choose from 'text', 'json')"},
		{"--de", "ambiguous option: --de (--debug, --delete, --depth, --destination?)"},
		{"--de=1", "ambiguous option: --de (--debug, --delete, --depth, --destination?)"},
		{"--excl=x", "ambiguous option: --excl (--excl_usr, --excludere?)"},
		{"--disable-d", "ambiguous option: --disable-d (--disable-daemon, --disable-debug, --disable-delete, --disable-destination, --disable-dropcache, --disable-dryrun?)"},
		{"foo", "Invalid arguments args ['foo']"},
		{"foo -S bar", "Invalid arguments args ['foo', 'bar']"},
		{"-", "Invalid arguments args ['-']"},
		{"-S -- -n --bogus", "Invalid arguments args ['-n', '--bogus']"},
		{"it's \xff", `Invalid arguments args ["it's", '\xff']`},
		{"--bog\x1bus", `"no such option: --bog\x1bus"`}, // a terminal must not obey it
		{"--bog\u202eus", `"no such option: --bog\u202eus"`},
		{`--excludere=(?=a)`, `option --excludere: invalid regular expression '(?=a)': look-ahead and look-behind are not supported; the syntax is RE2`},
		{`--excludere=a(?<!b)`, `option --excludere: invalid regular expression 'a(?<!b)': look-ahead and look-behind are not supported; the syntax is RE2`},
		{`--excludere=(a)\1`, `option --excludere: invalid regular expression '(a)\\1': back-references are not supported; the syntax is RE2`},
		{`--excludere=(?P<n>a)(?P=n)`, `option --excludere: invalid regular expression '(?P<n>a)(?P=n)': back-references are not supported; the syntax is RE2`},
		{`--excludere=a\Z`, `option --excludere: invalid regular expression 'a\\Z': \Z is written \z; the syntax is RE2`},
		{`--excludere=(a`, `option --excludere: invalid regular expression '(a': missing closing ): (a; the syntax is RE2`},
		// the first mistake counts, and help only where it stands
		{"--depth=a --bogus", "option --depth: invalid integer value: 'a'"},
		{"--bogus --depth=a", "no such option: --bogus"},
		{"--depth=abc -h", "option --depth: invalid integer value: 'abc'"},
		{"foo --bogus", "no such option: --bogus"},
	} {
		t.Run(c.args, func(t *testing.T) {
			checkUsage(t, split(c.args), nil, c.want)
		})
	}
}

// checkUsage parses, and expects exit status 2 and exactly this text on stderr.
func checkUsage(t *testing.T, args, environ []string, want string) {
	t.Helper()
	_, p := newSample()
	var out, errs bytes.Buffer
	_, err := p.Parse(args, environ, &out, &errs)
	var exit *Exit
	if !errors.As(err, &exit) || exit.Code != 2 {
		t.Fatalf("error %v, want exit status 2\n%s", err, errs.String())
	}
	if diff := cmp.Diff("Usage: zkrsync [options]\n\nzkrsync: error: "+want+"\n", errs.String()); diff != "" {
		t.Error(diff)
	}
	if out.Len() > 0 {
		t.Errorf("said %q on stdout", out.String())
	}
}

func TestGuard(t *testing.T) {
	for _, c := range []struct{ args, refused, use string }{
		{"-N D", "'-D' is a valid option", "--session=D"},
		{"-ND", "'-D' is a valid option", "--session=D"},
		{"-SND", "'-D' is a valid option", "--session=D"},
		{"--session D", "'-D' is a valid option", "--session=D"},
		{"--sess H", "'-H' is a valid option", "--session=H"},
		{"-N -session", "'--session' is a valid option", "--session=-session"},
		{"--max-bytes D", "'-D' is a valid option", "--max_bytes=D"},
		{"-N -S", "Value '-S' is also a valid option", "--session=-S"},
		{"--session --debug", "Value '--debug' is also a valid option", "--session=--debug"},
		{"--session --enable-debug", "Value '--enable-debug' is also a valid option", "--session=--enable-debug"},
		{"-N --", "Value '--' starts with a '-'", "--session=--"},
		{"-N -", "Value '-' starts with a '-'", "--session=-"},
		{"--depth -1", "Value '-1' starts with a '-'", "--depth=-1"},
		{"-N-1", "Value '-1' starts with a '-'", "--session=-1"},
		{"-N --deb", "Value '--deb' starts with a '-'", "--session=--deb"}, // no prefixes here
		{"-p -secret", "Value '***' starts with a '-'", "--passwd=***"},
		{"-p n", "'-***' is a valid option", "--passwd=***"},
		{"-N D foo D", "'-D' is a valid option", "--session=D"},     // an equal word further right does not hide it
		{"--domain=D -ND", "'-D' is a valid option", "--session=D"}, // nor does a part of a word
	} {
		t.Run(c.args, func(t *testing.T) {
			_, p := newSample()
			var out, errs bytes.Buffer
			_, err := p.Parse(split(c.args), nil, &out, &errs)
			text := c.refused + ". Use '" + c.use + "' if the value is correct."
			want := regexp.MustCompile(`^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} WARNING    ExtOption       MainThread  ` + regexp.QuoteMeta(text) +
				"\n" + regexp.QuoteMeta("Usage: zkrsync [options]\n\nzkrsync: error: "+text+"\n") + "$")
			if err == nil || !want.MatchString(errs.String()) {
				t.Errorf("error %v, said\n%s", err, errs.String())
			}
		})
	}
}

// The value is looked up among all words. Nothing is said unless the first equal word is the one
// that has just been read.
func TestGuardQuirk(t *testing.T) {
	s, p := newSample()
	if _, err := p.Parse(split("-S --session -S"), nil, &bytes.Buffer{}, &bytes.Buffer{}); err != nil || s.session != "-S" {
		t.Errorf("session %q, error %v", s.session, err)
	}
	// The attached form has no word of its own, so that any equal word hides it.
	checkUsage(t, split("-ND -- D"), nil, "Invalid arguments args ['D']")
}

func TestEnvironment(t *testing.T) {
	for _, c := range []struct{ env, args, want string }{
		{"ZKRSYNC_SESSION=a", "", "session=a"},
		{"ZKRSYNC_SESSION=D", "", "session=D"}, // no guard
		{"ZKRSYNC_SESSION=--debug", "", "session=--debug"},
		{"ZKRSYNC_SESSION=a", "--session=b", "session=b"},
		{"ZKRSYNC_SESSION=a=b", "", "session=a=b"},
		{"ZKRSYNC_DONE_FILE=a", "", "done-file=a"},
		{"ZKRSYNC_MAX_BYTES=0x10", "", "max_bytes=16"},
		{"ZKRSYNC_SERVERS=a,b", "", "servers=a,b"},
		{"ZKRSYNC_SOURCE=1", "", "source=true"},
		{"ZKRSYNC_SOURCE=YES", "", "source=true"},
		{"ZKRSYNC_SOURCE=y", "", "source=true"},
		{"ZKRSYNC_SOURCE=on", "", "source=true"},
		{"ZKRSYNC_SOURCE=0", "", ""},
		{"ZKRSYNC_SOURCE=", "", ""},
		{"ZKRSYNC_SOURCE=No", "", ""},
		{"ZKRSYNC_SOURCE=off", "", ""},
		{"ZKRSYNC_SOURCE=n", "", ""},
		{"ZKRSYNC_SOURCE=1", "--disable-source", ""},
		{"ZKRSYNC_DISABLE_SOURCE=1", "", ""},
		{"ZKRSYNC_ENABLE_SOURCE=1", "", "source=true"},
		{"ZKRSYNC_SOURCE=1 ZKRSYNC_DISABLE_SOURCE=1", "", ""}, // in the order of the names
		{"ZKRSYNC_VERIFYPATH=1", "", "verifypath=false"},
		{"ZKRSYNC_VERIFYPATH=0", "", ""},
		{"ZKRSYNC_BOGUS=1 ZKRSYNC_sess=a session=x ZKINITREE_SESSION=x", "", ""},
	} {
		t.Run(c.env+" "+c.args, func(t *testing.T) {
			s, p := newSample()
			var errs bytes.Buffer
			if _, err := p.Parse(split(c.args), strings.Fields(c.env), &bytes.Buffer{}, &errs); err != nil {
				t.Fatalf("%v: %s", err, errs.String())
			}
			if got := strings.Join(s.values(p), " "); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
	for _, c := range []struct{ env, want string }{
		{"ZKRSYNC_DEPTH=abc", "option --depth: invalid integer value: 'abc'"},
		{"ZKRSYNC_SOURCE=maybe", "environment variable ZKRSYNC_SOURCE: invalid boolean value: 'maybe' (use yes or no)"},
		{"ZKRSYNC_HELP=1", "option --help: invalid choice: '1' (choose from '', 'rst', 'short', 'config', 'man')"},
		// in the order of the options: help, the program's by name, log, config
		{"ZKRSYNC_TIMEOUT=a ZKRSYNC_DEPTH=b ZKRSYNC_INFO=c", "option --depth: invalid integer value: 'b'"},
		{"ZKRSYNC_INFO=c ZKRSYNC_VERIFYPATH=d", "environment variable ZKRSYNC_VERIFYPATH: invalid boolean value: 'd' (use yes or no)"},
	} {
		t.Run(c.env, func(t *testing.T) {
			checkUsage(t, []string{"--bogus"}, strings.Fields(c.env), c.want)
		})
	}
}

func TestHelpActsWhereItStands(t *testing.T) {
	for _, c := range []struct{ args, env, want string }{
		{"-h --bogus", "", "Usage: zkrsync [options]"},
		{"-h --depth=abc", "", "Usage: zkrsync [options]"},
		{"-Sh", "", "Usage: zkrsync [options]"},
		{"-H", "", "Ways to give options:"},
		{"-H -S", "", "Ways to give options:"},
		{"--help", "", "Ways to give options:"},
		{"--help=", "", "Ways to give options:"},
		{"--help=-x", "", "Ways to give options:"},
		{"--h", "", "Ways to give options:"},
		{"--help rst", "", ".. list-table::"},
		{"--help=rst", "", ".. list-table::"},
		{"-H rst", "", ".. list-table::"},
		{"-Hrst", "", ".. list-table::"},
		{"-SHrst", "", ".. list-table::"},
		{"--help=config", "", "[MAIN]"},
		{"--confighelp", "", "[MAIN]"},
		{"--help=man", "", ".TH ZKRSYNC 1"},
		{"--completion=bash", "", "complete -F _zkrsync zkrsync"},
		{"--completion zsh", "", "#compdef zkrsync"},
		{"--version", "", "zkrsync 1.2"},
		{"--bogus", "ZKRSYNC_HELP=", "Ways to give options:"},
		{"--bogus", "ZKRSYNC_HELP=rst", ".. list-table::"},
		{"--bogus", "ZKRSYNC_SHORTHELP=1", "--help shows all options"},
		{"--bogus", "ZKRSYNC_CONFIGHELP=yes", "[MAIN]"},
	} {
		t.Run(c.args+" "+c.env, func(t *testing.T) {
			_, p := newSample()
			p.Version = "1.2"
			var out, errs bytes.Buffer
			_, err := p.Parse(split(c.args), strings.Fields(c.env), &out, &errs)
			var exit *Exit
			if !errors.As(err, &exit) || exit.Code != 0 || errs.Len() > 0 {
				t.Fatalf("error %v, said %s", err, errs.String())
			}
			if !strings.Contains(out.String(), c.want) {
				t.Errorf("no %q in\n%s", c.want, out.String())
			}
		})
	}
	// In a config file, too.
	_, p := newSample()
	var out bytes.Buffer
	_, err := p.Parse([]string{"--configfiles=" + configFile(t, "[MAIN]\nhelp=rst\n")}, nil, &out, &bytes.Buffer{})
	if exit, ok := err.(*Exit); !ok || exit.Code != 0 || !strings.Contains(out.String(), ".. list-table::") {
		t.Errorf("help=rst in a file: %v", err)
	}
	// The three spellings of the short help are one.
	var texts []string
	for _, arg := range []string{"-h", "--shorthelp", "--help=short"} {
		_, p := newSample()
		var out bytes.Buffer
		_, _ = p.Parse([]string{arg}, nil, &out, &bytes.Buffer{})
		texts = append(texts, out.String())
	}
	if texts[0] != texts[1] || texts[0] != texts[2] {
		t.Error("-h, --shorthelp and --help=short differ")
	}
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Names of rsync's options are no abbreviations, but of options that do the same, and get a hint.
func TestForeignOptions(t *testing.T) {
	for word, want := range map[string]string{
		"--exclude=x": "--exclude is not taken for --excludere, as it is also an option of rsync: do this", "--dry-run": "no such option: --dry-run: do this",
		"-z": "no such option: -z: do this", "--del": "", "--exclud=x": "", "--bogus": "no such option: --bogus",
	} {
		p := New("p", "")
		var deletes bool
		var pattern string
		g := p.Group("g", "")
		g.Bool(&deletes, Opt{Name: "delete"})
		g.String(&pattern, Opt{Name: "excludere"})
		p.Foreign = func(name string) (hint, option string, ok bool) {
			switch name {
			case "del":
				return "do that", "delete", true
			case "exclude", "dry-run", "z":
				return "do this", "", true
			}
			return "", "", false
		}
		var errs bytes.Buffer
		_, err := p.Parse([]string{word}, nil, io.Discard, &errs)
		if got := errs.String(); (err == nil) != (want == "") || want != "" && !strings.HasSuffix(got, "p: error: "+want+"\n") {
			t.Errorf("%s: %v %q, want %q", word, err, got, want)
		}
	}
}
