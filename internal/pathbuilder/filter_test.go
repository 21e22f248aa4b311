// SPDX-License-Identifier: LGPL-2.1-or-later

package pathbuilder

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// ruleNames are names that a pattern may misread.
var ruleNames = []string{
	"plain", `back\slash`, `end\`, `\`, `\\`, "st*r", "qu?stion", "br[acket", "br]acket", "[]", "]", `b\ack*`, `\*`, `\\[x]`, `*\`,
	"*", "**", "***", "x***", "?", "[", "[!a]", "[[:alpha:]]", "[a-z]", `[\]]`,
	"trail ", " lead", " ", "  ", "tab\t", "new\nline", "\n", "cr\r", "x\r\n",
	"#hash", ";semi", "-dash", "+ plus", "- minus", "P x", "!", "_x", ". merge", ": x", "a,b", `q'"`, "~", "$HOME", "%s", "{a,b}",
	"\xff\xfe", "\x01", "é", "\xff*", "no\nwild\\", "wild*\\\n[", strings.Repeat("x", 255), strings.Repeat("*", 255), strings.Repeat(`\?`, 127),
}

func write(t *testing.T, paths ...string) {
	t.Helper()
	for _, path := range paths {
		mustMkdir(t, filepath.Dir(path))
		if err := os.WriteFile(path, []byte(path), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func there(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// rsync runs it as rsyncrunner does, into a daemon of its own behind a pipe.
func rsync(t *testing.T, src, dst string, list []string, options ...string) {
	t.Helper()
	config := filepath.Join(t.TempDir(), "rsyncd.conf")
	text := fmt.Sprintf("use chroot = no\n[m]\npath = %s\nread only = no\n", dst)
	if os.Geteuid() == 0 {
		text += "uid = root\ngid = root\n"
	}
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	args := append([]string{"--numeric-ids", "-lptgoD", "--from0", "--files-from=-", "--delete"}, options...)
	cmd := exec.CommandContext(t.Context(), "rsync", append(args, "--", src+"/", "rsync://localhost/m")...)
	cmd.Env = append(os.Environ(), "RSYNC_CONNECT_PROG=rsync --daemon --config="+config)
	cmd.Stdin = strings.NewReader(strings.Join(list, "\x00") + "\x00")
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Fatalf("rsync: %v\n%.2000s", err, out)
	}
}

// carriers are the ways to hand patterns to rsync.
func carriers(t *testing.T, rules []string) map[string][]string {
	file := filepath.Join(t.TempDir(), "rules")
	if err := os.WriteFile(file, []byte(strings.Join(rules, "\x00")+"\x00"), 0o600); err != nil {
		t.Fatal(err)
	}
	var args []string
	for _, rule := range rules {
		args = append(args, "--exclude="+rule)
	}
	return map[string][]string{"exclude": args, "from0": {"--exclude-from=" + file}}
}

// An excluded directory is neither sent, nor made empty, nor deleted, and no other one is meant,
// whatever its name and the way the rule is handed over.
func TestFilterRuleWithRsync(t *testing.T) {
	const parent = `p\q/r*[s] ` // no rule may take it for anything else
	var rules []string
	for _, name := range ruleNames {
		rule, err := FilterRule(parent+"/"+name, true)
		if err != nil {
			t.Fatal(err)
		}
		rules = append(rules, rule)
	}
	for carrier, options := range carriers(t, rules) {
		for _, recursive := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/recursive=%v", carrier, recursive), func(t *testing.T) {
				src, dst := t.TempDir(), t.TempDir()
				for i, name := range ruleNames {
					write(t, src+"/"+parent+"/"+name+"/sent")
					if i%2 == 0 { // the others must not be made
						write(t, dst+"/"+parent+"/"+name+"/kept")
					}
					write(t, src+"/other/"+name+"/sent", dst+"/other/gone/"+name)
				}
				write(t, src+"/"+parent+"/keep/f", dst+"/"+parent+"/gone/x")
				list, more := []string{"./" + parent, "./other"}, []string{"-r"}
				if !recursive {
					list, more = []string{"./" + parent + "/", "./other/"}, nil
				}
				rsync(t, src, dst, list, append(more, options...)...)
				for i, name := range ruleNames {
					excluded := dst + "/" + parent + "/" + name
					if there(excluded + "/sent") {
						t.Errorf("%.20q was sent", name)
					}
					if i%2 == 0 && !there(excluded+"/kept") {
						t.Errorf("%.20q was deleted", name)
					}
					if i%2 != 0 && there(excluded) {
						t.Errorf("%.20q was made", name)
					}
					if !there(dst + "/other/" + name) {
						t.Errorf("%.20q elsewhere was excluded too", name)
					}
				}
				if !there(dst + "/" + parent + "/keep") {
					t.Error("a rule excludes too much")
				}
				if there(dst+"/"+parent+"/gone") || there(dst+"/other/gone") {
					t.Error("a rule keeps too much")
				}
			})
		}
	}
}

// Names that a wildcard left unescaped, or a backslash too many, would match.
func TestFilterRuleMatchesOneName(t *testing.T) {
	neighbours := map[string][]string{
		"a*":     {"a", "ab", `a\`, "a*b", `a\*`},
		"a?":     {"ab", "a?b", `a\?`},
		"[ab]":   {"a", "b", `\[ab]`, `[ab\]`},
		`a\b`:    {"ab", `a\\b`},
		`a\*b`:   {"a*b", `a\xb`, `a\\*b`, `a\\xb`},
		`[\a]`:   {"a", `[a]`, `\`},
		"a**":    {"a", "ab", "abc"},
		"x ":     {"x"},
		"#x":     {"x"},
		"a\nb[]": {"a", "b[]", "b"},
	}
	var rules []string
	src, dst := t.TempDir(), t.TempDir()
	for name, others := range neighbours {
		rule, err := FilterRule(name, true)
		if err != nil {
			t.Fatal(err)
		}
		rules = append(rules, rule)
		write(t, src+"/"+name+"/f")
		for _, other := range others {
			if _, excluded := neighbours[other]; !excluded {
				write(t, src+"/"+other+"/f")
			}
		}
	}
	for carrier, options := range carriers(t, rules) {
		t.Run(carrier, func(t *testing.T) {
			rsync(t, src, dst, []string{"./"}, append(options, "-r")...)
			for name, others := range neighbours {
				if there(dst + "/" + name) {
					t.Errorf("%q was sent", name)
				}
				for _, other := range others {
					if _, excluded := neighbours[other]; !excluded && !there(dst+"/"+other+"/f") {
						t.Errorf("the rule for %q excludes %q too", name, other)
					}
				}
			}
		})
	}
}

func TestFilterRuleOfFiles(t *testing.T) {
	src, dst := t.TempDir(), t.TempDir()
	write(t, src+"/a/dir/f", src+"/a/file", src+"/a/both/f", src+"/b/both")
	var options []string
	for rel, dirOnly := range map[string]bool{"a/dir": true, "a/file": false, "a/both": false, "b/both": true} {
		rule, err := FilterRule(rel, dirOnly)
		if err != nil {
			t.Fatal(err)
		}
		options = append(options, "--exclude="+rule)
	}
	rsync(t, src, dst, []string{"./"}, append(options, "-r")...)
	for rel, want := range map[string]bool{"a": true, "a/dir": false, "a/file": false, "a/both": false, "b/both": true} {
		if there(dst+"/"+rel) != want {
			t.Errorf("%s was sent: %v", rel, !want)
		}
	}
}

func TestFilterRuleRefuses(t *testing.T) {
	for _, rel := range []string{"", "/a", "a/", "a//b", "..", "a/../b", ".", "a\x00b", strings.Repeat("*/", 2000) + "x"} {
		if rule, err := FilterRule(rel, true); err == nil || rule != "" {
			t.Errorf("FilterRule(%.20q) = %.20q", rel, rule)
		}
	}

	// rsync takes the longest rule; one that is longer it drops, and says so.
	longest := strings.Repeat(strings.Repeat("d", 199)+"/", 20) + strings.Repeat("d", 4093-4000)
	rule, err := FilterRule(longest, true)
	if err != nil || len(rule) != maxRule {
		t.Fatalf("a rule of %d bytes: %v", len(rule), err)
	}
	if _, err := FilterRule(longest+"d", true); err == nil || !strings.Contains(err.Error(), "4095") {
		t.Errorf("a rule that is too long: %v", err)
	}
	src, dst := t.TempDir(), t.TempDir()
	rsync(t, src, dst, []string{"./"}, "-r", "--exclude="+rule)
	out, err := exec.CommandContext(t.Context(), "rsync", "-r", "-n", "--exclude="+rule+"d", src+"/", dst).CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("discarding over-long filter")) {
		t.Errorf("rsync and a rule of one byte more: %v\n%.500s", err, out)
	}
}

// Directories that only the destination has, at any level.
func TestProtectRuleWithRsync(t *testing.T) {
	src, dst := t.TempDir(), t.TempDir()
	var options []string
	for _, name := range ruleNames {
		options = append(options, "--filter="+ProtectRule(name))
		write(t, dst+"/"+name+"/kept", dst+"/a/b/"+name+"/kept")
		write(t, dst+"/files/"+name) // a file is no directory
	}
	write(t, dst+"/gone/a/f") // what an unescaped wildcard would keep
	write(t, src+"/a/b/f", src+"/files/f")
	rsync(t, src, dst, []string{"./"}, append(options, "-r")...)
	for _, name := range ruleNames {
		if !there(dst+"/"+name+"/kept") || !there(dst+"/a/b/"+name+"/kept") {
			t.Errorf("%.20q was deleted", name)
		}
		if there(dst + "/files/" + name) {
			t.Errorf("the file %.20q was kept", name)
		}
	}
	if there(dst + "/gone") {
		t.Error("a rule keeps too much")
	}
}

func TestProtectName(t *testing.T) {
	names := []string{".snapshots", "a b", "é", "a-b_c", `back\slash`, "st*r[x]?", "(a|b)$^+.{2}", "#", "new\nline", "%"}
	for _, name := range names {
		got, ok := ProtectName(regexp.MustCompile("/" + regexp.QuoteMeta(name) + "(/.*|$)"))
		if !ok || got != name {
			t.Errorf("name %q: %q, %v", name, got, ok)
		}
	}
	if name, ok := ProtectName(regexp.MustCompile(`/\.snapshots(/.*|$)`)); !ok || name != ".snapshots" {
		t.Errorf("the default: %q, %v", name, ok)
	}
	for _, pattern := range []string{
		"", "(/.*|$)", "/(/.*|$)", "/.snapshots(/.*|$)", "/a*(/.*|$)", "/a|b(/.*|$)", "/(a|b)(/.*|$)", "/[ab](/.*|$)", "/(?i)ab(/.*|$)",
		"(?i)/ab(/.*|$)", "/a/b(/.*|$)", "a(/.*|$)", "^/a(/.*|$)", `/\.\.(/.*|$)`, `/\.(/.*|$)`, "/a", "/a$", "/a/", "/a(/.*)", `/a(/.*|$)x`, `/a\x00(/.*|$)`, "/a^(/.*|$)", "/a{2}(/.*|$)",
	} {
		if name, ok := ProtectName(regexp.MustCompile(pattern)); ok {
			t.Errorf("pattern %q: %q", pattern, name)
		}
	}
	if _, ok := ProtectName(nil); ok {
		t.Error("no pattern")
	}
}
