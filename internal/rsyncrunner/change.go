// SPDX-License-Identifier: LGPL-2.1-or-later

package rsyncrunner

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"strings"
)

// Change is one difference between source and destination that a run removes, or would remove.
type Change struct {
	Code string // rsync's %i without blanks at its end: "<f.st......", "*deleting"
	Path string // below Base, as raw bytes; directories end in "/", Base itself is "./"
}

// changeReader picks the lines that report changes out of rsync's output. Each begins with a word
// that this run has made up, so that no file name and no message can look like one. A nil
// changeReader reports nothing.
type changeReader struct {
	mark   []byte
	report func(Change)
	show   bool // leave the lines, without the word, in the output
}

func newChangeReader(report func(Change), show bool) *changeReader {
	return &changeReader{mark: []byte(rand.Text()), report: report, show: show}
}

// args returns the options that make rsync write the lines. The last one undoes an option of the
// user's that lists unchanged files too. Bytes from 0x80 on come as they are, because rsync's way
// to escape them leaves names ambiguous: it writes a name in pieces of 1024 bytes, and at the end
// of a piece it overlooks a backslash that has to be escaped itself.
func (c *changeReader) args() []string {
	if c == nil {
		return nil
	}
	return []string{"--out-format=" + string(c.mark) + "%i|%n", "--8-bit-output", "--no-itemize-changes"}
}

// edit takes a line and returns what is left of it for those who do not look for changes.
func (c *changeReader) edit(line []byte) []byte {
	report, found := bytes.CutPrefix(line, c.mark)
	if !found {
		return escape8Bit(line)
	}
	code, name, found := bytes.Cut(report, []byte("|"))
	if !found {
		return escape8Bit(report)
	}
	c.report(Change{Code: string(bytes.TrimRight(code, " ")), Path: unescape(bytes.TrimSuffix(name, []byte("\n")))})
	if !c.show {
		return nil
	}
	return escape8Bit(bytes.Join([][]byte{code, name}, []byte(" ")))
}

// unescape undoes rsync's \#ooo. rsync also escapes a backslash that is followed by # and three
// digits, so there is one way to read every name.
func unescape(name []byte) string {
	var plain strings.Builder
	for len(name) > 0 {
		if value, ok := escaped(name); ok {
			plain.WriteByte(value)
			name = name[5:]
			continue
		}
		plain.WriteByte(name[0])
		name = name[1:]
	}
	return plain.String()
}

func escaped(text []byte) (byte, bool) {
	if len(text) < 5 || text[0] != '\\' || text[1] != '#' {
		return 0, false
	}
	value := 0
	for _, digit := range text[2:5] {
		if digit < '0' || digit > '7' {
			return 0, false
		}
		value = value*8 + int(digit-'0')
	}
	return byte(value), value < 256
}

// escape8Bit does what rsync does without --8-bit-output.
func escape8Bit(line []byte) []byte {
	var plain []byte
	for _, b := range line {
		if b < 0x7f {
			plain = append(plain, b)
		} else {
			plain = fmt.Appendf(plain, `\#%03o`, b)
		}
	}
	return plain
}
