// SPDX-License-Identifier: LGPL-2.1-or-later

package main

import (
	"bytes"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

// shown is what zkrsync prints for this option.
func shown(t *testing.T, columns int, option string) string {
	t.Helper()
	var out, errs bytes.Buffer
	code := run(t.Context(), []string{option}, []string{fmt.Sprintf("COLUMNS=%d", columns)}, &out, &errs)
	if code != 0 || errs.Len() > 0 {
		t.Fatalf("%s: exit status %d, %s", option, code, errs.String())
	}
	return out.String()
}

// isCode tells whether a line on the terminal is code: that looks as in the source.
func isCode(line string) bool {
	return strings.HasPrefix(line, "    ") && strings.Contains(guide, "\n"+line+"\n")
}

// unroff takes away what protects text from troff, and what makes it bold.
func unroff(page string) string {
	page = regexp.MustCompile(`\\\[u[0-9A-F]+\]`).ReplaceAllStringFunc(page, func(number string) string {
		r, _ := strconv.ParseInt(number[3:len(number)-1], 16, 32)
		return string(rune(r))
	})
	return strings.NewReplacer(`\-`, "-", `\(aq`, "'", `\(ga`, "`", `\(dq`, `"`, `\(ti`, "~", `\(ha`, "^", `\fB`, "", `\fR`, "", `\&`, "", `\e`, `\`).Replace(page)
}

// Both forms of the guide have all of its chapters, sections and words: nothing
// in it is markup that the program does not know.
func TestGuideIsWhole(t *testing.T) {
	text := shown(t, 80, "--help=guide")
	page := unroff(shown(t, 80, "--help=guide-man"))
	headings := regexp.MustCompile(`(?m)^(##+) (.*)$`).FindAllStringSubmatch(guide, -1)
	if len(headings) < 10 {
		t.Fatalf("only %d headings", len(headings))
	}
	for _, heading := range headings {
		inText, inPage := "\n"+heading[2]+":\n", "\n.SH "+strings.ToUpper(heading[2])+"\n"
		if heading[1] == "###" {
			inText, inPage = "\n  "+heading[2]+":\n", "\n.SS "+heading[2]+"\n"
		}
		if strings.Count(text, inText) != 1 || strings.Count(page, inPage) != 1 {
			t.Errorf("%q is not there once in each form", heading[2])
		}
	}
	source := strings.ToLower(strings.NewReplacer("`", "", "**", "").Replace(guide))
	mark := regexp.MustCompile(`^(#+|-|\||\d+\.|(\|-+:?)+\|)$`)
	for form, output := range map[string]string{"terminal": strings.ReplaceAll(text, "`", ""), "man": page} {
		output = strings.ToLower(output)
		for word := range strings.FieldsSeq(source) {
			if !mark.MatchString(word) && strings.Count(output, word) < strings.Count(source, word) {
				t.Errorf("%q is missing: %s", word, form)
			}
		}
	}
	for line := range strings.SplitSeq(text, "\n") {
		if regexp.MustCompile(`\*\*|\]\(|^ *#|^ *\||<!--`).MatchString(line) && !isCode(line) {
			t.Errorf("markup is left: %s", line)
		}
	}
	if odd := regexp.MustCompile(`(?m)^(- |\d+\. ).*\n(  .*\n)*\n    .*`).FindString(guide); odd != "" {
		t.Errorf("code right behind an item is part of it in Markdown: put a sentence between\n%s", odd)
	}
}

// Only lines of code are wider than the terminal.
func TestGuideFits(t *testing.T) {
	for _, columns := range []int{60, 80, 150} {
		for line := range strings.SplitSeq(shown(t, columns, "--help=guide"), "\n") {
			if utf8.RuneCountInString(line) > columns && !isCode(line) {
				t.Errorf("wider than %d: %q", columns, line)
			}
		}
	}
}

// README is what one reads first, and leaves the rest to the guide: it is short,
// and no sentence stands in both.
func TestReadme(t *testing.T) {
	data, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	readme := string(data)
	if lines := strings.Count(readme, "\n"); lines > 130 {
		t.Errorf("%d lines are more than 130", lines)
	}
	for line := range strings.SplitSeq(readme, "\n") {
		if utf8.RuneCountInString(line) > 100 {
			t.Errorf("wider than 100: %q", line)
		}
	}
	for _, command := range []string{"make demo", "make test", "zkrsync --help=guide"} {
		if !strings.Contains(readme, command) {
			t.Errorf("no %q", command)
		}
	}
	flat := func(text string) string { return strings.Join(strings.Fields(text), " ") }
	for sentence := range strings.SplitSeq(flat(readme), ". ") {
		if strings.Count(sentence, " ") > 5 && strings.Contains(flat(guide), sentence) {
			t.Errorf("stands in the guide, too: %q", sentence)
		}
	}
}

// foreignOptions are those of other programs that the documents name.
var foreignOptions = map[string]bool{
	"--numeric-ids": true, "--dry-run": true, "--transfers": true, "--contents": true, // rsync, rclone, dsync
	"--nodes": true, "--export": true, "--json": true, // sbatch, curl
}

// What the documents say of options holds for options that exist.
func TestDocumentedOptions(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	help := shown(t, 80, "--help")
	for _, text := range []string{string(readme), guide} {
		found := regexp.MustCompile(`--[a-z][a-z_-]+`).FindAllString(text, -1)
		for _, option := range found {
			if !foreignOptions[option] && !regexp.MustCompile(`(?m)^  (-., )?`+option+`\b`).MatchString(help) {
				t.Errorf("there is no option %s", option)
			}
		}
		if len(found) == 0 {
			t.Error("no options found")
		}
	}
}
