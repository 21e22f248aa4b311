// SPDX-License-Identifier: LGPL-2.1-or-later

package cli

import (
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// everything is a text with all that the markup has.
const everything = "# A title\n" + `
Before the first chapter,
in two lines.

## First chapter
Directly below, with **strong words**, ` + "`--code` and `**neither**`" + `.
- one item, which
  goes on
- another
1. a number
12. a higher one

    .code   as it is
      'deeper' \ ~^

    after "an empty line"

And on.

### A section

| head | number |
|:---|---:|
| ` + "`x`" + ` | 1 |
| more than fits into the width that the table has | 1,000 |
|  | ÷ |
`

func TestMarkup(t *testing.T) {
	for form, c := range map[string]struct {
		write func(*strings.Builder, []block)
		want  string
	}{
		"terminal": {func(b *strings.Builder, blocks []block) { terminal(b, blocks, 40) }, `
A title

Before the first chapter, in two lines.

First chapter:
  Directly below, with strong words,
  ` + "`--code` and `**neither**`" + `.

  - one item, which goes on
  - another
  1. a number
  12. a higher one

    .code   as it is
      'deeper' \ ~^

    after "an empty line"

  And on.

  A section:
  head                            number
  ------------------------------  ------
  ` + "`x`" + `                                  1
  more than fits into the width    1,000
  that the table has
                                       ÷
`},
		"man": {func(b *strings.Builder, blocks []block) { manual(b, "a.b-c", "1", 7, blocks) }, `
'\" t
.TH A.B\-C 7 "" "a.b\-c 1"
.nh
.ad l
.SH A TITLE
Before the first chapter, in two lines.
.SH FIRST CHAPTER
Directly below, with \fBstrong words\fR, \fB\-\-code\fR and \fB**neither**\fR\&.
.IP \(bu 2
one item, which goes on
.IP \(bu 2
another
.IP 1. 3
a number
.IP 12. 4
a higher one
.PP
.RS 4
.nf
\&.code   as it is
  \(aqdeeper\(aq \e \(ti\(ha

after \(dqan empty line\(dq
.fi
.RE
.PP
And on.
.SS A section
.TS
lxb rb
lx r.
head	number
\fBx\fR	1
T{
more than fits into the width that the table has
T}	1,000
	\[u00F7]
.TE
`},
		"rst": {rst, `
A title
=======

Before the first chapter, in two lines.

First chapter
-------------

Directly below, with **strong words**, ` + "``--code`` and ``**neither**``" + `.

- one item, which goes on
- another
1. a number
12. a higher one

::

    .code   as it is
      'deeper' \ ~^

    after "an empty line"

And on.

A section
~~~~~~~~~

.. list-table::
   :header-rows: 1

   * - head
     - number
   * - ` + "``x``" + `
     - 1
   * - more than fits into the width that the table has
     - 1,000
   * - ` + `
     - ÷

`},
	} {
		var b strings.Builder
		c.write(&b, parseMarkup(everything))
		if diff := cmp.Diff(strings.TrimPrefix(c.want, "\n"), b.String()); diff != "" {
			t.Errorf("%s: want -, got +:\n%s", form, diff)
		}
	}
}

// Whatever is written in a text, all forms of it can be made, and troff gets no
// requests but the writer's own.
func FuzzMarkup(f *testing.F) {
	for _, source := range []string{everything, "", "|", "| a |", "|a|b|\n|-|\n|c|d|e|", "|a|\n|-|-|\n||\n|c|d|", "    code\n- item", ".\n'\n\\", "1. \n## \n\x80`**`**"} {
		f.Add(source)
	}
	request := regexp.MustCompile(`^(\.(TH|nh|ad|SH|SS|PP|IP|TP|RS|RE|nf|fi|TS|TE)\b|'\\" t$)`)
	f.Fuzz(func(t *testing.T, source string) {
		blocks := parseMarkup(source)
		var page, others strings.Builder
		terminal(&others, blocks, 40)
		rst(&others, blocks)
		manual(&page, "x", "1", 7, blocks)
		for line := range strings.SplitSeq(page.String(), "\n") {
			if line != "" && (line[0] == '.' || line[0] == '\'') && !request.MatchString(line) {
				t.Errorf("odd request %q of %q", line, source)
			}
		}
	})
}

func TestRoff(t *testing.T) {
	for text, want := range map[string]string{
		".x": `\&.x`, "'x": `\(aqx`, `a\b`: `a\eb`, "--x": `\-\-x`, "`^~`": `\(ga\(ha\(ti\(ga`, `"÷…"`: `\(dq\[u00F7]\[u2026]\(dq`,
	} {
		if got := roff(text); got != want {
			t.Errorf("%s becomes %s, not %s", text, got, want)
		}
	}
}
