// SPDX-License-Identifier: LGPL-2.1-or-later

package cli

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

// text is what the sample program writes for one option.
func text(t *testing.T, arg string, environ ...string) string {
	t.Helper()
	_, p := newSample()
	p.Version = "1.2"
	p.Guide("# A guide\n\nIntroduction.\n\n## One\n\nFirst.\n\n## Two\n\nSecond.", "Two")
	p.Note("Notes", "A paragraph.\n\n    some   code\n\n    .more\n\nLast.")
	var out, errs bytes.Buffer
	_, err := p.Parse([]string{arg}, environ, &out, &errs)
	var exit *Exit
	if !errors.As(err, &exit) || exit.Code != 0 || errs.Len() > 0 {
		t.Fatalf("%s: %v %s", arg, err, errs.String())
	}
	return out.String()
}

// Every option is in every text that is made from the table.
func TestEveryTextHasEveryOption(t *testing.T) {
	_, p := newSample()
	for _, g := range p.allGroups() {
		for _, opt := range g.options {
			for arg, form := range map[string]string{
				"--help":            "\n  " + opt.label(),
				"--help=rst":        "* - ``" + opt.label() + "``\n",
				"--help=man":        ".TP\n\\fB" + roff(opt.label()) + "\\fR\n",
				"--completion=bash": "--" + opt.Name,
				"--completion=zsh":  "--" + opt.Name,
			} {
				if !strings.Contains(text(t, arg), form) {
					t.Errorf("%s does not have %s", arg, form)
				}
			}
			if strings.Contains(text(t, "-h"), "\n  "+opt.label()) != (opt.Short != "") {
				t.Errorf("-h and --%s", opt.Name)
			}
		}
	}
}

func TestHelpIsWrapped(t *testing.T) {
	for _, columns := range []int{40, 60, 80, 200} {
		for _, arg := range []string{"--help", "-h", "--confighelp"} {
			longest := 0
			for line := range strings.Lines(text(t, arg, fmt.Sprintf("COLUMNS=%d", columns))) {
				if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > columns && strings.Count(strings.TrimSpace(line), " ") > 0 && !strings.Contains(line, "(default:") {
					t.Errorf("%s at %d columns: %q", arg, columns, line)
				} else {
					longest = max(longest, n)
				}
			}
			if longest < columns/2 {
				t.Errorf("%s uses only %d of %d columns", arg, longest, columns)
			}
		}
	}
	for _, odd := range []string{"COLUMNS=0", "COLUMNS=-5", "COLUMNS=wide", "COLUMNS=", "LINES=3"} {
		if text(t, "--help", odd) != text(t, "--help", "COLUMNS=80") {
			t.Errorf("%s is not as 80", odd)
		}
	}
	if text(t, "--help", "COLUMNS=3") != text(t, "--help", "COLUMNS=40") {
		t.Error("less than 40 columns")
	}
}

func TestHelpTellsDefaults(t *testing.T) {
	help := strings.Join(strings.Fields(text(t, "--help")), " ")
	for _, want := range []string{
		"--servers=LIST Servers. (default: none)",
		"-N, --session=NAME Session. (default: default)",
		"--depth=N Depth. (default: 3)",
		`--excludere=REGEX Excludes. (default: /\.snapshots(/.*|$))`,
		"-S, --source Source. -D,", // off is not worth a word
		"--verifypath Verify. Logging:",
		"-H, --help[=FORMAT] Show",
		"Notes: A paragraph. some code .more Last.",
	} {
		if !strings.Contains(help, want) {
			t.Errorf("no %q in\n%s", want, help)
		}
	}
}

func TestGuide(t *testing.T) {
	want := "A guide\n\nIntroduction.\n\nOne:\n  First.\n\nTwo:\n  Second.\n"
	if diff := cmp.Diff(want, text(t, "--help=guide")); diff != "" {
		t.Error(diff)
	}
	want = "'\\\" t\n.TH ZKRSYNC 7 \"\" \"zkrsync 1.2\"\n.nh\n.ad l\n.SH NAME\nzkrsync \\- a guide\n" +
		".SH DESCRIPTION\nIntroduction.\n.SH ONE\nFirst.\n.SH TWO\nSecond.\n"
	if diff := cmp.Diff(want, text(t, "--help=guide-man")); diff != "" {
		t.Error(diff)
	}
	for _, help := range []string{text(t, "--help"), text(t, "--help=rst"), text(t, "--help=man")} {
		if strings.Contains(help, "First.") || !strings.Contains(help, "Second.") || !strings.Contains(help, "guide instead") {
			t.Errorf("not the chapter that was asked for, or no word of the guide:\n%s", help)
		}
	}

	_, without := newSample()
	var out, errs bytes.Buffer
	_, err := without.Parse([]string{"--help=guide"}, nil, &out, &errs)
	if exit := (*Exit)(nil); !errors.As(err, &exit) || exit.Code != 2 || out.Len() > 0 || !strings.Contains(errs.String(), "invalid choice: 'guide'") {
		t.Errorf("a program without a guide: %v %s %s", err, out.String(), errs.String())
	}
}

// With the comment marks of its options removed, the config help is a config
// file that changes nothing.
func TestConfigHelpReadsBack(t *testing.T) {
	help := text(t, "--confighelp")
	set := regexp.MustCompile(`(?m)^#(\w)`).ReplaceAllString(help, "$1")
	if strings.Count(set, "\nsession=default\n") != 1 || !strings.Contains(set, "\nlogfile=/tmp/%%(session)s.log\n") {
		t.Fatalf("options are missing in\n%s", set)
	}
	for name, file := range map[string]string{"as it is": help, "all set": set} {
		path := configFile(t, file)
		s, p := newSample()
		var errs bytes.Buffer
		parsed, err := p.Parse([]string{"--configfiles=" + path}, nil, &bytes.Buffer{}, &errs)
		if err != nil {
			t.Fatalf("%s: %v %s", name, err, errs.String())
		}
		if got := s.values(p); len(got) > 0 || len(parsed.warnings) > 0 {
			t.Errorf("%s: changed %q, warned %q", name, got, warnings(parsed))
		}
		for _, g := range append(p.groups, p.logging) {
			for _, opt := range g.options {
				if strings.Contains(file, "\n"+opt.Name+"=") != (name == "all set") {
					t.Errorf("%s: %s", name, opt.Name)
				}
			}
		}
	}
}

func TestManPage(t *testing.T) {
	page := text(t, "--help=man")
	for _, want := range []string{
		"'\\\" t\n.TH ZKRSYNC 1 \"\" \"zkrsync 1.2\"\n",
		".SH NAME\nzkrsync \\- a sample\n",
		".SH SYNOPSIS\n\\fBzkrsync\\fR [options]\n",
		".SH OPTIONS\n.SS Main\nAll of them.\n",
		".TP\n\\fB\\-N, \\-\\-session=NAME\\fR\nSession. (default: default)\n",
		".SH NOTES\nA paragraph.\n.PP\n.RS 4\n.nf\nsome   code\n\n\\&.more\n.fi\n.RE\n.PP\nLast.\n",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("no %q in\n%s", want, page)
		}
	}
}

// bashComplete asks the script in a real bash what may follow the words; the
// last of them is the one at the cursor.
func bashComplete(t *testing.T, script string, words ...string) []string {
	t.Helper()
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Fatal("bash is missing: apt-get install bash")
	}
	// compopt works only while bash completes; here it has nothing to do.
	driver := script + `
compopt() { :; }
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
_zkrsync
[[ ${#COMPREPLY[@]} -eq 0 ]] || printf '%s\n' "${COMPREPLY[@]}"
`
	cmd := exec.CommandContext(t.Context(), bash, append([]string{"--norc", "-c", driver, "bash", "zkrsync"}, words...)...)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	output, err := cmd.Output()
	if err != nil || errs.Len() > 0 {
		t.Fatalf("bash: %v\n%s", err, errs.String())
	}
	found := strings.Split(strings.TrimSuffix(string(output), "\n"), "\n")
	slices.Sort(found)
	return found
}

func TestBashCompletion(t *testing.T) {
	script := text(t, "--completion=bash")
	t.Chdir(t.TempDir())
	for _, name := range []string{"file one", "other"} {
		writeFile(t, name, "")
	}
	if err := os.Mkdir("files", 0o700); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		words string
		want  string
	}{
		{"--se", "--servers= --session="},
		{"--sourc", "--source"},
		{"-S --sess", "--session="},
		{"--enable-so", "--enable-source"},
		{"--disable-d", "--disable-daemon --disable-debug --disable-delete --disable-destination --disable-dropcache --disable-dryrun"},
		{"--logformat = ", "json text"},
		{"--logformat = j", "json"},
		{"--help = m", "man"},
		{"--help = g", "guide guide-man"},
		{"-H r", "rst"},
		{"-H gu", "guide guide-man"},
		{"-r f", "files"},
		{"--rsyncpath = f", "files"},
		{"--logfile = f", "file~one files"},
		{"--configfiles = a,o", "a,other"},
		{"--session = x", ""},
		{"-N x", ""},
		{"x", ""},
	} {
		words := strings.Split(c.words, " ")
		want := strings.Split(c.want, " ")
		for i := range want {
			want[i] = strings.ReplaceAll(want[i], "~", " ")
		}
		if diff := cmp.Diff(want, bashComplete(t, script, words...)); diff != "" {
			t.Errorf("%s: %s", c.words, diff)
		}
	}
}

func TestZshCompletion(t *testing.T) {
	script := text(t, "--completion=zsh")
	for _, want := range []string{
		"#compdef zkrsync\n",
		"\t\t'(-N --session)-N+[Session.]:NAME:' \\\n",
		"\t\t'(-N --session)--session=[Session.]:NAME:' \\\n",
		"\t\t'--logformat=[Format.]:FORMAT:(text json)' \\\n",
		"\t\t'(-r --rsyncpath)--rsyncpath=[Path.]:DIR:_files -/' \\\n",
		"\t\t'!--enable-source' '!--disable-source' \\\n",
		"::FORMAT:(rst short config man guide guide-man)' \\\n",
		"\t\t'--completion=[Show a completion script for this shell (bash, zsh or fish) and exit.]:SHELL:(bash zsh fish)'\n}",
	} {
		if !strings.Contains(script, want) {
			t.Errorf("no %q in\n%s", want, script)
		}
	}
	_, p := newSample()
	p.groups[0].options[0].Help = `It's [a]: \b`
	var b strings.Builder
	p.zshCompletion(&b)
	if want := `'--servers=[It'\''s \[a\]\: \\b]:LIST:'`; !strings.Contains(b.String(), want) {
		t.Errorf("no %s in\n%s", want, b.String())
	}
}

// The shell function that came with the Python program goes on working.
func TestOldBashCompletion(t *testing.T) {
	for line, want := range map[string]string{
		"zkrsync --se":       "COMPREPLY=(--servers --session)\n",
		"zkrsync -S --de":    "COMPREPLY=(--debug --delete --depth --destination)\n",
		"zkrsync --bogus":    "COMPREPLY=()\n",
		"zkrsync -N":         "COMPREPLY=(-N)\n",
		"zkrsync ":           "COMPREPLY=()\n",
		"zkrsync -r /t":      "COMPREPLY=()\n",
		"zkrsync --enable-i": "COMPREPLY=(--enable-info)\n",
	} {
		_, p := newSample()
		var out, errs bytes.Buffer
		_, err := p.Parse([]string{"--bogus"}, []string{"OPTPARSE_AUTO_COMPLETE=1", "COMP_LINE=" + line, fmt.Sprintf("COMP_POINT=%d", len(line)), "COMP_CWORD=1"}, &out, &errs)
		var exit *Exit
		if !errors.As(err, &exit) || exit.Code != 1 || out.String() != want || errs.Len() > 0 {
			t.Errorf("%q: %v %q %q", line, err, out.String(), errs.String())
		}
	}
	_, p := newSample()
	var out bytes.Buffer
	_, _ = p.Parse(nil, []string{"OPTPARSE_AUTO_COMPLETE=1", "COMP_LINE=zkrsync --session --x", "COMP_POINT=12"}, &out, &bytes.Buffer{})
	if out.String() != "COMPREPLY=(--servers --session)\n" {
		t.Errorf("in the middle of the line: %s", out.String())
	}
}

func TestTerminalWidth(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "x"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	if got := width(nil, file); got != 80 {
		t.Errorf("a file is %d wide", got)
	}
	if got := width([]string{"COLUMNS=100"}, file); got != 100 {
		t.Errorf("COLUMNS=100 gives %d", got)
	}
}

func TestSuggest(t *testing.T) {
	_, p := newSample()
	for name, want := range map[string]string{
		"sesion":   "; did you mean session?",
		"sever":    "; did you mean servers?",
		"donefile": "; did you mean done-file?",
		"logfiel":  "; did you mean logfile?",
		"N":        "; the long name of -N is session",
		"q":        "",
		"xyzzy":    "",
	} {
		if got := p.suggest(name); got != want {
			t.Errorf("%s: %q", name, got)
		}
	}
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"a", "", 1}, {"", "ab", 2}, {"kitten", "sitting", 3}, {"abc", "abc", 0}} {
		if got := editDistance(c.a, c.b); got != c.want {
			t.Errorf("%s %s: %d", c.a, c.b, got)
		}
	}
}
