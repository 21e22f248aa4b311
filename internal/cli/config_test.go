// SPDX-License-Identifier: LGPL-2.1-or-later

package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// dialect is read by this package and by Python's configparser, which must read the same or both
// refuse. Where they are meant to differ, differs says why.
var dialect = []struct {
	name    string
	files   []string
	differs string
}{
	{name: "equals", files: []string{"[MAIN]\nsession=a\n"}},
	{name: "colon", files: []string{"[MAIN]\nsession:a\n"}},
	{name: "blanks around the delimiter", files: []string{"[MAIN]\nsession \t=  a\t \nuser :  b  \n"}},
	{name: "the first delimiter counts", files: []string{"[MAIN]\na=b:c=d\ne:f=g:h\n"}},
	{name: "empty value", files: []string{"[MAIN]\nsession=\nuser =\n"}},
	{name: "no newline at the end", files: []string{"[MAIN]\nsession=a"}},
	{name: "empty file", files: []string{""}},
	{name: "only comments", files: []string{"# a\n; b\n\n"}},
	{name: "keys are case-sensitive", files: []string{"[MAIN]\nSession=a\nsession=b\n"}},
	{name: "sections are case-sensitive", files: []string{"[MAIN]\na=1\n[main]\na=2\n[Main]\na=3\n"}},
	{name: "blanks in a section's name", files: []string{"[ MAIN ]\na=1\n[MAIN]\na=2\n[MAIN ]\na=3\n"}},
	{name: "blanks in a key", files: []string{"[MAIN]\na b = c\n"}},
	{name: "UTF-8", files: []string{"[MAIN]\nsession=é\nü=\u4e2d\n"}},

	{name: "comment lines", files: []string{"# a\n[MAIN]\n; b\n# c=d\n  # indented\n\t;e\nsession=a\n"}},
	{name: "no comment behind a value", files: []string{"[MAIN]\nsession=foo # bar\nuser=a;b\nr=#c\n"}},
	{name: "no comment behind a section", files: []string{"[MAIN] # x\na=b\n"}},
	{name: "comment mark in a key", files: []string{"[MAIN]\na#b=c\n"}},

	{name: "double quotes are kept", files: []string{"[MAIN]\na=\"b\"\nc=\"d\ne='f'\n"}},
	{name: "triple quotes are kept", files: []string{"[MAIN]\na=\"\"\"b\nc=d\"\"\"\n"}},
	{name: "backquotes are kept", files: []string{"[MAIN]\na=`b\nc=d`\n"}},
	{name: "quotes around keys are kept", files: []string{"[MAIN]\n\"a\"=b\n`c`=d\n'e'=f\n\"\"\"g\"\"\"=h\n"}},
	{name: "a key of one dash", files: []string{"[MAIN]\n-=a\n"}},
	{name: "backslash at the end", files: []string{"[MAIN]\na=b\\\nc=d\n"}},
	{name: "dollar references are literal", files: []string{"[MAIN]\na=${b}\nb=$c\n"}},

	{name: "continuation", files: []string{"[MAIN]\nservers=a,\n  b\n"}},
	{name: "continuation by a tab", files: []string{"[MAIN]\nservers=a,\n\tb,\n\t\tc\n"}},
	{name: "continuation of nothing", files: []string{"[MAIN]\nservers=\n  a\n  b\n"}},
	{name: "continuation with an empty line", files: []string{"[MAIN]\na=b\n\n  c\n\nd=e\n"}},
	{name: "continuation with a line of blanks", files: []string{"[MAIN]\na=b\n   \n  c\n"}},
	{name: "continuation with a comment", files: []string{"[MAIN]\na=b\n# x\n  c\n  ; y\n  d\n"}},
	{name: "continuation that looks like a key", files: []string{"[MAIN]\na=b\n  c=d\n"}},
	{name: "continuation that looks like a section", files: []string{"[MAIN]\na=b\n  [c]\nd=e\n"}},
	{name: "empty lines at the end of a value", files: []string{"[MAIN]\na=b\n  c\n\n\n[x]\nd=e\n\n"}},
	{name: "all keys indented alike", files: []string{"[MAIN]\n  a=b\n  c=d\n"}},
	{name: "deeper than an indented key", files: []string{"[MAIN]\n  a=b\n    c\n  d=e\n"}},
	{name: "less deep again", files: []string{"[MAIN]\n  a=b\n c=d\ne=f\n"}},
	{name: "indented section", files: []string{"  [MAIN]\n  a=b\n[x]\n    c=d\n"}},
	{name: "an indented section does not go on", files: []string{"[MAIN]\n[x]\n a=b\n"}},
	{name: "indentation counts characters", files: []string{"[MAIN]\n\u00a0a=b\n c=d\n"}},
	{name: "odd blanks", files: []string{"[MAIN]\na=\u00a0b\u2003\n\x0cc=d\n\x1ce=f\x1f\n\x0b g=h\n"}},

	{name: "text behind a section", files: []string{"[MAIN] foo\na=b\n"}},
	{name: "bracket in a section's name", files: []string{"[a]b]\nc=d\n[[e]]\nf=g\n"}},
	{name: "delimiter in a section's name", files: []string{"[a=b]\nc=d\n[a:b]\ne=f\n"}},
	{name: "dots in section names", files: []string{"[a]\nx=1\n[a.b]\ny=2\n"}},
	{name: "a key that begins with a bracket", files: []string{"[MAIN]\n[a=b\n[]=c\n"}},
	{name: "empty section's name", files: []string{"[MAIN]\n[]\n"}},
	{name: "unclosed section", files: []string{"[MAIN]\n[x\n"}},
	{name: "section without keys", files: []string{"[MAIN]\n[x]\n[y]\na=b\n"}},

	{name: "text before a section", files: []string{"a=b\n[MAIN]\n"}},
	{name: "unclosed first section", files: []string{"[MAIN\na=b\n"}},
	{name: "line without delimiter", files: []string{"[MAIN]\na\n"}},
	{name: "no key", files: []string{"[MAIN]\n=a\n"}},
	{name: "no key before a colon", files: []string{"[MAIN]\n : a\n"}},
	{name: "key twice", files: []string{"[MAIN]\na=b\na=c\n"}},
	{name: "key twice in [DEFAULT]", files: []string{"[DEFAULT]\na=b\n[DEFAULT]\na=c\n"}},
	{name: "section twice", files: []string{"[MAIN]\na=b\n[x]\n[MAIN]\nc=d\n"}},
	{name: "[DEFAULT] twice", files: []string{"[DEFAULT]\na=b\n[MAIN]\n[DEFAULT]\nc=d\n"}},
	{name: "byte order mark", files: []string{"\uFEFF[MAIN]\na=b\n"}},
	{name: "not UTF-8", files: []string{"[MAIN]\na=\xff\n"}},
	{name: "not UTF-8 in a comment", files: []string{"[MAIN]\n# \xe9\na=b\n"}},

	{name: "CRLF", files: []string{"[MAIN]\r\na=b\r\n  c\r\n\r\nd=e\r\n"}},
	{name: "CR", files: []string{"[MAIN]\ra=b\rc=d\r"}},
	{name: "mixed ends of lines", files: []string{"[MAIN]\r\na=b\rc=d\ne=f\r\n"}},
	{name: "a line separator is no end of line", files: []string{"[MAIN]\na=b\u2028c=d\n"}},

	{name: "[DEFAULT] is inherited", files: []string{"[DEFAULT]\na=b\nc=d\n[MAIN]\ne=f\na=own\n[x]\n"}},
	{name: "[DEFAULT] at the end", files: []string{"[MAIN]\nx=%(a)s\n[DEFAULT]\na=b\n"}},
	{name: "[DEFAULT] alone", files: []string{"[DEFAULT]\na=%(nothing)s\n"}},
	{name: "[default] is a section like others", files: []string{"[default]\na=b\n[MAIN]\nc=d\n"}},

	{name: "reference", files: []string{"[MAIN]\na=b\nc=x%(a)sy%(a)s\n"}},
	{name: "reference to [DEFAULT]", files: []string{"[DEFAULT]\nA=b\n[MAIN]\nc=%(A)s\n[x]\nc=%(A)s/%(d)s\nd=e\n"}},
	{name: "reference through [DEFAULT]", files: []string{"[DEFAULT]\na=%(b)s\n[MAIN]\nb=c\n[x]\nb=d\n"}},
	{name: "own key before [DEFAULT]", files: []string{"[DEFAULT]\na=b\n[MAIN]\na=c\nd=%(a)s\n"}},
	{name: "reference to another section", files: []string{"[x]\na=b\n[MAIN]\nc=%(a)s\n"}},
	{name: "references are case-sensitive", files: []string{"[MAIN]\na=b\nc=%(A)s\n"}},
	{name: "double percent", files: []string{"[MAIN]\na=100%%\nb=%%(session)s\nc=%%%%\n"}},
	{name: "double percent through a reference", files: []string{"[MAIN]\na=%%x\nb=%(a)s\n"}},
	{name: "lone percent", files: []string{"[MAIN]\na=100%\n"}},
	{name: "percent and letter", files: []string{"[MAIN]\na=%d\n"}},
	{name: "three percents", files: []string{"[MAIN]\na=%%%\n"}},
	{name: "unclosed reference", files: []string{"[MAIN]\na=%(b\nb=c\n"}},
	{name: "reference without s", files: []string{"[MAIN]\na=%(b)d\nb=c\n"}},
	{name: "empty reference", files: []string{"[MAIN]\na=%()s\n"}},
	{name: "bracket in a reference", files: []string{"[MAIN]\na=%((b)s\n(b=c\n"}},
	{name: "closing bracket in a reference", files: []string{"[MAIN]\na=%(b)c)s\n"}},
	{name: "unknown reference in another section", files: []string{"[MAIN]\na=b\n[x]\nc=%(d)s\n"}},
	{name: "reference to itself", files: []string{"[MAIN]\na=%(a)s\n"}},
	{name: "references in a circle", files: []string{"[MAIN]\na=%(b)s\nb=%(a)s\n"}},
	{name: "references nested ten deep", files: []string{nested(10)}},
	{name: "references nested eleven deep", files: []string{nested(11)}},
	{name: "reference over two lines", files: []string{"[MAIN]\na=%(b\n c)s\n"}},
	{name: "raw sections", files: []string{"[raw_x]\na=100%\nb=%(a)s\n[raw]\nc=d\n"}},
	{name: "raw sections inherit", files: []string{"[DEFAULT]\na=%%\n[raw_x]\nb=c\n[MAIN]\n"}},

	{name: "two files", files: []string{"[MAIN]\na=1\nb=2\n[x]\nc=3\n", "[x]\nd=4\n[MAIN]\nb=5\ne=6\n"}},
	{name: "two files, other spellings", files: []string{"[MAIN]\nmax_bytes=1\n", "[MAIN]\nmax-bytes=2\n"}},
	{name: "a value does not go on in the next file", files: []string{"[MAIN]\na=1\n", "  b\n"}},
	{name: "a section does not go on in the next file", files: []string{"[MAIN]\na=1\n", "b=2\n"}},
	{name: "two files, values of several lines", files: []string{"[MAIN]\na=1\n  2\n", "[MAIN]\na=3\n"}},
	{name: "two files, references", files: []string{"[MAIN]\na=%(b)s\n", "[DEFAULT]\nb=c\n"}},
	{name: "two files, [DEFAULT]", files: []string{"[DEFAULT]\na=1\n[MAIN]\n", "[DEFAULT]\na=2\nb=3\n"}},

	{name: "NUL", files: []string{"[MAIN]\na=b\x00c\n"},
		differs: "no file name, argument or znode can hold a NUL"},
	{name: "spellings of one option", files: []string{"[MAIN]\nmax_bytes=1\nmax-bytes=2\n"},
		differs: "both spellings are one option here, so this is a key that comes twice"},
	{name: "exploding references", files: []string{exploding()},
		differs: "a value of more than 1 MiB is refused, not built"},
}

// nested refers from k1 to k2 and so on, n references deep.
func nested(n int) string {
	var b strings.Builder
	b.WriteString("[MAIN]\n")
	for i := 1; i < n; i++ {
		fmt.Fprintf(&b, "k%d=%%(k%d)s\n", i, i+1)
	}
	fmt.Fprintf(&b, "k%d=%%%%\n", n)
	return b.String()
}

// exploding doubles a text of 64 KiB five times.
func exploding() string {
	text := "[MAIN]\nk0=" + strings.Repeat("x", 1<<16) + "\n"
	for i := 1; i <= 5; i++ {
		text += fmt.Sprintf("k%d=%%(k%d)s%%(k%d)s\n", i, i-1, i-1)
	}
	return text
}

// pythonReader reads lists of file names, one list a line, and writes what configparser makes of
// each: null if it refuses, else the sections in order, each as its name and its keys and values in
// order.
const pythonReader = `
import configparser, json, sys
for line in sys.stdin:
    parser = configparser.ConfigParser()
    parser.optionxform = str
    try:
        parser.read(json.loads(line), encoding="utf-8")
        reading = [[name, [list(item) for item in parser.items(name, raw=name.startswith("raw_"))]] for name in parser.sections()]
    except (configparser.Error, UnicodeDecodeError):
        reading = None
    print(json.dumps(reading))
`

func TestDialectIsPythons(t *testing.T) {
	if len(dialect) < 60 {
		t.Fatalf("only %d files", len(dialect))
	}
	dir := t.TempDir()
	var input bytes.Buffer
	paths := make([][]string, len(dialect))
	for i, c := range dialect {
		for j, text := range c.files {
			path := filepath.Join(dir, fmt.Sprintf("%d.%d", i, j))
			writeFile(t, path, text)
			paths[i] = append(paths[i], path)
		}
		if err := json.NewEncoder(&input).Encode(paths[i]); err != nil {
			t.Fatal(err)
		}
	}
	output := python(t, pythonReader, &input)
	answers := json.NewDecoder(bytes.NewReader(output))
	for i, c := range dialect {
		var theirs any
		if err := answers.Decode(&theirs); err != nil {
			t.Fatalf("answer %d: %v", i, err)
		}
		t.Run(c.name, func(t *testing.T) {
			reading, err := readAll(paths[i])
			var ours any
			if err == nil {
				ours = reading
			}
			ours = throughJSON(t, ours)
			diff := cmp.Diff(theirs, ours)
			switch {
			case diff != "" && c.differs == "":
				t.Errorf("error %v; -python +ours\n%s", err, diff)
			case diff == "" && c.differs != "":
				t.Errorf("no difference, although %s", c.differs)
			}
		})
	}
}

// readAll returns the reading in the form of pythonReader.
func readAll(paths []string) ([][2]any, error) {
	c, skipped, err := readConfig(paths)
	if err != nil {
		return nil, err
	}
	if len(skipped) > 0 {
		return nil, fmt.Errorf("warnings: %v", skipped)
	}
	return c.reading()
}

func (c *config) reading() ([][2]any, error) {
	all := [][2]any{}
	for _, name := range c.ini.SectionStrings() {
		if name == defaultSection {
			continue
		}
		keys, err := c.section(name)
		if err != nil {
			return nil, err
		}
		items := [][2]string{}
		for _, key := range keys {
			items = append(items, [2]string{key.Name, key.Value})
		}
		all = append(all, [2]any{name, items})
	}
	return all, nil
}

// throughJSON makes values comparable with decoded ones.
func throughJSON(t *testing.T, v any) any {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var out any
	if err := json.Unmarshal(text, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// python runs a program in Python 3 and returns what it prints.
func python(t *testing.T, program string, input *bytes.Buffer) []byte {
	t.Helper()
	path, err := exec.LookPath("python3")
	if err != nil {
		t.Fatal("python3 is missing: apt-get install python3")
	}
	cmd := exec.CommandContext(t.Context(), path, "-X", "utf8", "-c", program)
	cmd.Stdin = input
	var errs bytes.Buffer
	cmd.Stderr = &errs
	output, err := cmd.Output()
	if err != nil {
		t.Fatalf("python3: %v\n%s", err, errs.String())
	}
	return output
}

// configFile makes a file whose name has no comma, whatever the test's has.
func configFile(t *testing.T, text string) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "config")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	file := filepath.Join(dir, "c")
	writeFile(t, file, text)
	return file
}

func TestConfigErrors(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"a=b\n", "FILE:1: the line stands before any section; options belong below [MAIN]"},
		{"\n[MAIN]\nhunter2\n", "FILE:3: the line is neither a [section] nor key = value"},
		{"[MAIN]\n\n[x\n", "FILE:3: the line is neither a [section] nor key = value"},
		{"[MAIN]\n=hunter2\n", "FILE:2: there is no key in front of '='"},
		{"[MAIN]\nsession=a\nuser=b\nsession=c\n", "FILE:4: session comes twice in [MAIN], first in line 2; keep one"},
		{"[MAIN]\nmax_bytes=1\nmax-bytes=2\n", "FILE:3: max-bytes comes twice in [MAIN], first in line 2; keep one"},
		{"[MAIN]\n[x]\n[MAIN]\n", "FILE:3: section [MAIN] comes twice, first in line 1; merge the two"},
		{"\uFEFF[MAIN]\n", "FILE:1: the file begins with a byte order mark; save it as UTF-8 without one"},
		{"[MAIN]\n\na=\xff\n", "FILE:3: the byte 0xff is not UTF-8; save the file as UTF-8"},
		{"[MAIN]\na=\x00\n", "FILE:2: the byte 0x00 is not text"},
		{"[MAIN]\n\npasswd=hun%ter2\n", "FILE:3: passwd in [MAIN]: a literal % is written %%, and a reference %(key)s"},
		{"[MAIN]\npasswd=hun%(t)ser2\n", "FILE:2: passwd in [MAIN]: %(key)s must name a key of the same section or of [DEFAULT]; a literal % is written %%"},
		{"[DEFAULT]\na=%(b)s\n[x]\n", "FILE:2: a in [x]: %(key)s must name a key of the same section or of [DEFAULT]; a literal % is written %%"},
		{"[MAIN]\nsession=%(user)s\nuser=%(session)s\n", "FILE:2: session in [MAIN]: references are nested deeper than 10; is there a circle?"},
		{exploding(), "FILE:7: k5 in [MAIN]: the value expands to more than 1048576 bytes"},
		{"[MAIN]\nsesion=a\n", "FILE:2: zkrsync has no option sesion; did you mean session?"},
		{"[MAIN]\nmaxbytes=1\n", "FILE:2: zkrsync has no option maxbytes; did you mean max_bytes?"},
		{"[MAIN]\nN=a\n", "FILE:2: zkrsync has no option N; the long name of -N is session"},
		{"[MAIN]\nxyzzy=1\n", "FILE:2: zkrsync has no option xyzzy"},
		{"[MAIN]\nsess=a\n", "FILE:2: zkrsync has no option sess"}, // no prefixes
		{"[MAIN]\nSESSION=a\n", "FILE:2: zkrsync has no option SESSION"},
		{"[DEFAULT]\nbogus=1\n[MAIN]\n", "FILE:2: zkrsync has no option bogus"},
		{"[MAIN]\nsource=maybe\n", "FILE:2: source: invalid boolean value: 'maybe' (use yes or no)"},
		{"[MAIN]\nsource=\n", "FILE:2: source: invalid boolean value: '' (use yes or no)"},
		{"[MAIN]\nsource=y\n", "FILE:2: source: invalid boolean value: 'y' (use yes or no)"},
	} {
		t.Run(c.want, func(t *testing.T) {
			file := configFile(t, c.text)
			_, p := newSample()
			var out, errs bytes.Buffer
			_, err := p.Parse([]string{"--configfiles=" + file}, nil, &out, &errs)
			if exit, ok := err.(*Exit); !ok || exit.Code != 1 {
				t.Fatalf("error %v, want exit status 1", err)
			}
			want := regexp.MustCompile(`^\S+ \S+ ERROR      ZKRSYNC         MainThread  cannot use config file ` +
				regexp.QuoteMeta(strings.Replace(c.want, "FILE", file, 1)) + "\n$")
			if !want.MatchString(errs.String()) {
				t.Errorf("said %s", errs.String())
			}
		})
	}
}

func TestConfigUsageErrors(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"[MAIN]\n\ndepth=abc\n", "option --depth: invalid integer value: 'abc' (FILE:3)"},
		{"[MAIN]\ndepth=\n", "option --depth: invalid integer value: '' (FILE:2)"},
		{"[MAIN]\nexcludere=(\n", "option --excludere: invalid regular expression '(': missing closing ): (; the syntax is RE2 (FILE:2)"},
		{"[MAIN]\nshorthelp=1\n", "--shorthelp option does not take a value (FILE:2)"},
		{"[MAIN]\nenable-source=yes\n", "no such option: --enable-enable-source (FILE:2; in a file it is source=yes or source=no)"},
		{"[MAIN]\ndisable-source=no\n", "no such option: --disable-disable-source (FILE:2; in a file it is source=yes or source=no)"},
	} {
		t.Run(c.want, func(t *testing.T) {
			file := configFile(t, c.text)
			// It does not help that the command line gives the option, too.
			checkUsage(t, []string{"--depth=1", "--configfiles=" + file}, nil, strings.ReplaceAll(c.want, "FILE", file))
		})
	}
}

func TestConfigValues(t *testing.T) {
	for _, c := range []struct{ text, args, env, want string }{
		{"[MAIN]\nsession=a\n", "", "", "session=a"},
		{"[MAIN]\nsession=a\n", "--session=b", "", "session=b"},
		{"[MAIN]\nsession=a\n", "--session=default", "", ""}, // given, though it is the default
		{"[MAIN]\nsession=a\n", "", "ZKRSYNC_SESSION=b", "session=b"},
		{"[MAIN]\nsession=a\n", "--session=c", "ZKRSYNC_SESSION=b", "session=c"},
		{"[main]\nsession=a\n", "", "", ""},
		{"[DEFAULT]\nsession=a\n", "", "", ""}, // without [MAIN] nothing is set
		{"[DEFAULT]\nsession=a\n[MAIN]\n", "", "", "session=a"},
		{"[DEFAULT]\nTREE=/x\n[MAIN]\nrsyncpath=%(TREE)s/y\n", "", "", "rsyncpath=/x/y"},
		{"[DEFAULT]\nmax_bytes=1\n[MAIN]\nmax-bytes=2\n", "", "", "max_bytes=2"},
		{"[MAIN]\nsource=yes\ndryrun=ON\nstate=1\ndelete=True\n", "", "", "delete=true dryrun=true source=true state=true"},
		{"[MAIN]\nsource=no\ndryrun=off\nstate=0\ndelete=FALSE\n", "", "", ""},
		{"[MAIN]\nsource=no\n", "", "ZKRSYNC_SOURCE=1", "source=true"},
		{"[MAIN]\nsource=yes\n", "", "ZKRSYNC_SOURCE=0", "source=true"}, // as if absent
		{"[MAIN]\nsource=yes\n", "", "ZKRSYNC_DISABLE_SOURCE=1", ""},
		{"[MAIN]\nsource=yes\n", "--disable-source", "", ""},
		{"[MAIN]\nverifypath=true\n", "", "", "verifypath=false"},
		{"[MAIN]\nverifypath=false\n", "", "", ""},
		{"[MAIN]\nverifypath=true\n", "--disable-verifypath", "", ""},
		{"[MAIN]\nmax-bytes=5\nexcl-usr=x\ndone_file=y\nbackup-count=1\n", "", "", "backup_count=1 done-file=y excl_usr=x max_bytes=5"},
		{"[MAIN]\nservers= a , b,\n  c\n", "", "", "servers=a,b,c"},
		{"[MAIN]\nsession=D\n", "", "", "session=D"}, // no guard
		{"[MAIN]\nlogfile=/l/%%(session)s.log\n", "", "", "logfile=/l/%(session)s.log"},
		{"[MAIN]\nlogfile=/l/%(session)s.log\nsession=a\n", "", "", "logfile=/l/a.log session=a"},
		{"[MAIN]\nconfigfiles=/nonexistent\n", "", "", ""},
		{"[MAIN]\nexcludere=\n", "", "", "excludere="},
	} {
		t.Run(c.text+c.args+c.env, func(t *testing.T) {
			file := configFile(t, c.text)
			s, p := newSample()
			var errs bytes.Buffer
			if _, err := p.Parse(append(split(c.args), "--configfiles="+file), strings.Fields(c.env), &bytes.Buffer{}, &errs); err != nil {
				t.Fatalf("%v: %s", err, errs.String())
			}
			if got := strings.Join(s.values(p), " "); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// A level that is asked for on the command line or in the environment wins over those of the files.
// One that is only taken back there does not.
func TestLevel(t *testing.T) {
	for _, c := range []struct{ text, args, env, want string }{
		{"", "", "", "WARN"},
		{"", "--info", "", "INFO"},
		{"", "-d", "", "DEBUG"},
		{"", "-d --info", "", "INFO"},
		{"", "--info -d", "", "DEBUG"},
		{"", "-d --quiet", "", "WARN"},
		{"", "-d --disable-debug", "", "DEBUG"},
		{"", "--quiet", "ZKRSYNC_DEBUG=1", "WARN"},
		{"info=yes", "", "", "INFO"},
		{"info=yes", "-d", "", "DEBUG"},
		{"debug=yes", "--quiet", "", "WARN"},
		{"debug=yes", "", "ZKRSYNC_INFO=1", "INFO"},
		{"info=yes", "--disable-info", "", "INFO"},
		{"info=yes\ndebug=yes", "", "", "DEBUG"},
		{"debug=yes\ninfo=yes", "", "", "INFO"},
		{"debug=no", "", "", "WARN"},
	} {
		t.Run(c.text+c.args+c.env, func(t *testing.T) {
			file := configFile(t, "[MAIN]\n"+c.text+"\n")
			_, p := newSample()
			if _, err := p.Parse(append(split(c.args), "--configfiles="+file), strings.Fields(c.env), &bytes.Buffer{}, &bytes.Buffer{}); err != nil {
				t.Fatal(err)
			}
			if got := p.Level().String(); got != c.want {
				t.Errorf("level %s, want %s", got, c.want)
			}
		})
	}
}

func TestSeveralFiles(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	writeFile(t, "one", "[MAIN]\nsession=a\nuser=x\nmax_bytes=1\n[s]\nk=1\n")
	writeFile(t, "two", "[MAIN]\nsession=b\nmax-bytes=2\n[r]\nCONST=3\n[s]\nk=2\nl=3\n")
	writeFile(t, "three", "[DEFAULT]\nCONST=1\nuser=inherited\n[MAIN]\nmax_bytes=3\n")

	for _, c := range []struct{ args, want, warn string }{
		{"--configfiles=one,two", "max_bytes=2 session=b user=x", ""},
		{"--configfiles=two,one", "max_bytes=1 session=a user=x", ""},
		{"--configfiles=one --configfiles=two", "max_bytes=2 session=b", ""},
		{"--configfiles=one,two,three", "max_bytes=3 session=b user=x", ""},
		{"--configfiles=two,three", "max_bytes=3 session=b user=inherited", ""},
		{"--configfiles=one,two --ignoreconfigfiles=two", "max_bytes=1 session=a user=x", ""},
		{"--configfiles=one,./two --ignoreconfigfiles=two", "max_bytes=2 session=b user=x", ""},
		{"--configfiles=one,none", "max_bytes=1 session=a user=x", "config file none is skipped, it cannot be read: no such file or directory"},
		{"--configfiles=" + dir, "", "config file " + dir + " is skipped, it cannot be read: is a directory"},
	} {
		t.Run(c.args, func(t *testing.T) {
			s, p := newSample()
			parsed, err := p.Parse(split(c.args), nil, &bytes.Buffer{}, &bytes.Buffer{})
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(s.values(p), " "); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
			if got := warnings(parsed); got != c.warn {
				t.Errorf("warnings %q, want %q", got, c.warn)
			}
			if parsed.Sections != nil {
				t.Error("sections, without KeepSections")
			}
		})
	}

	_, p := newSample()
	p.KeepSections = true
	parsed, err := p.Parse([]string{"--configfiles=one,two,three"}, nil, &bytes.Buffer{}, &bytes.Buffer{})
	if err != nil {
		t.Fatal(err)
	}
	want := []Section{
		{Name: "s", File: "one", Line: 5, Keys: []Key{
			{Name: "user", Value: "inherited"},
			{Name: "k", Value: "2"},
			{Name: "l", Value: "3"},
		}},
		{Name: "r", File: "two", Line: 4, Keys: []Key{{Name: "user", Value: "inherited"}}},
	}
	if diff := cmp.Diff(want, parsed.Sections); diff != "" {
		t.Error(diff)
	}
}

func TestInversionWarns(t *testing.T) {
	for args, want := range map[string]int{"": 0, "--verifypath": 1, "--disable-verifypath": 0, "--verifypath --disable-verifypath": 0} {
		_, p := newSample()
		parsed, err := p.Parse(split(args), nil, &bytes.Buffer{}, &bytes.Buffer{})
		if err != nil || len(parsed.warnings) != want {
			t.Errorf("%q: error %v, warnings %q", args, err, warnings(parsed))
		}
	}
}

func warnings(parsed *Parsed) string {
	var texts []string
	for _, w := range parsed.warnings {
		texts = append(texts, w.text)
	}
	return strings.Join(texts, "|")
}

// What is read, printed and read again is the same, before and after expansion.
func FuzzReadConfig(f *testing.F) {
	for _, c := range dialect {
		for _, text := range c.files {
			if len(text) < 1<<12 {
				f.Add([]byte(text))
			}
		}
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		first := newConfig()
		if err := first.read(text, position{file: "first"}); err != nil {
			return
		}
		printed := first.print()
		second := newConfig()
		if err := second.read([]byte(printed), position{file: "second"}); err != nil {
			t.Fatalf("%v, printed\n%s", err, printed)
		}
		if diff := cmp.Diff(printed, second.print()); diff != "" {
			t.Fatalf("printed twice\n%s", diff)
		}
		one, err1 := first.reading()
		two, err2 := second.reading()
		if (err1 == nil) != (err2 == nil) {
			t.Fatalf("%v and %v", err1, err2)
		}
		if diff := cmp.Diff(one, two); diff != "" {
			t.Fatalf("read\n%s\nprinted\n%s", diff, printed)
		}
		_, p := newSample()
		_ = p.applyConfig(first, map[string]string{})
	})
}

// print writes the config as a file.
func (c *config) print() string {
	var b strings.Builder
	for _, s := range c.ini.Sections() {
		fmt.Fprintf(&b, "[%s]\n", s.Name())
		for _, k := range s.Keys() {
			fmt.Fprintf(&b, "%s =%s\n", k.Name(), strings.ReplaceAll(" "+k.Value(), "\n", "\n  "))
		}
	}
	return b.String()
}

// Whoever finds an option wrong later can say where it stands.
func TestOrigin(t *testing.T) {
	t.Chdir(t.TempDir())
	writeFile(t, "one", "[DEFAULT]\nuser=x\n[MAIN]\nmax-bytes=1\nsession=a\n")
	writeFile(t, "two", "[MAIN]\n\nsession=b\n")
	_, p := newSample()
	parsed, err := p.Parse([]string{"--configfiles=one,none,two", "--max_bytes=2"}, nil, &bytes.Buffer{}, &bytes.Buffer{})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		option, at string
		given      bool
	}{{"user", "one:2", true}, {"session", "two:3", true}, {"max_bytes", "", true}, {"max-bytes", "", true}, {"debug", "", false}} {
		if at, given := parsed.Origin(c.option); at != c.at || given != c.given {
			t.Errorf("%s: %q, %v; want %q, %v", c.option, at, given, c.at, c.given)
		}
	}
	if diff := cmp.Diff([]string{"none"}, parsed.Skipped); diff != "" {
		t.Error(diff)
	}
}
