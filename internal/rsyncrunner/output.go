// SPDX-License-Identifier: LGPL-2.1-or-later

package rsyncrunner

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"sync"
)

// maxLine bounds a line that is kept or waited for; longer ones are cut up. A path of 4 KiB fits,
// even if rsync writes five bytes for each of its bytes.
const maxLine = 32 << 10

// lineWriter cuts a stream into lines, hands each to line (without its end) and copies the stream
// to out in whole lines, so that two streams do not mix within a line. It never fails, because a
// child must not die of a log disk that is full.
type lineWriter struct {
	edit    func([]byte) []byte // what out and line get instead of a line; nil: the line
	out     io.Writer           // nil: no copy
	line    func([]byte)
	pending []byte
}

func (w *lineWriter) Write(data []byte) (int, error) {
	w.pending = append(w.pending, data...)
	end := bytes.LastIndexByte(w.pending, '\n') + 1
	if end == 0 && len(w.pending) >= maxLine {
		end = len(w.pending)
	}
	if end > 0 {
		w.emit(w.pending[:end])
		w.pending = append(w.pending[:0], w.pending[end:]...)
	}
	return len(data), nil
}

// flush hands over a last line that has no end.
func (w *lineWriter) flush() {
	if len(w.pending) > 0 {
		w.emit(w.pending)
		w.pending = nil
	}
}

func (w *lineWriter) emit(data []byte) {
	if w.edit != nil {
		var edited []byte
		for line := range bytes.Lines(data) {
			edited = append(edited, w.edit(line)...)
		}
		data = edited
	}
	if w.out != nil && len(data) > 0 {
		_, _ = w.out.Write(data)
	}
	if w.line == nil {
		return
	}
	for line := range bytes.Lines(data) {
		line = bytes.TrimSuffix(line, []byte("\n"))
		for len(line) > maxLine {
			w.line(line[:maxLine])
			line = line[maxLine:]
		}
		w.line(line)
	}
}

// sharedWriter lets the two streams of one child share a writer.
type sharedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

// share returns nil for nil.
func share(w io.Writer) io.Writer {
	if w == nil {
		return nil
	}
	return &sharedWriter{w: w}
}

func (s *sharedWriter) Write(data []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.w.Write(data)
}

// excerpt keeps the first and the last lines of a stream of any length.
type excerpt struct {
	mu    sync.Mutex
	head  []string
	tail  []string
	total int
}

const (
	excerptHead = 50
	excerptTail = 50
	excerptLine = 1 << 10 // bytes of a line
)

func (e *excerpt) add(line []byte) {
	if len(bytes.TrimSpace(line)) == 0 {
		return
	}
	text := string(line[:min(len(line), excerptLine)])
	e.mu.Lock()
	defer e.mu.Unlock()
	e.total++
	if len(e.head) < excerptHead {
		e.head = append(e.head, text)
		return
	}
	if len(e.tail) == excerptTail {
		copy(e.tail, e.tail[1:])
		e.tail = e.tail[:excerptTail-1]
	}
	e.tail = append(e.tail, text)
}

func (e *excerpt) lines() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	lines := append([]string(nil), e.head...)
	if left := e.total - len(e.head) - len(e.tail); left > 0 {
		lines = append(lines, fmt.Sprintf("(%d lines left out)", left))
	}
	return append(lines, e.tail...)
}

// said tells what the child printed, for an error's text.
func (e *excerpt) said() string {
	lines := e.lines()
	if len(lines) == 0 {
		return "it printed nothing"
	}
	return "it printed: " + strings.Join(lines, "; ")
}

// fileList keeps the beginning of what rsync prints before its statistics.
type fileList struct {
	text   []byte
	left   int  // lines left out
	marked bool // the statistics have begun, at:
	cut    int
	cutOut int
}

const maxFileList = 64 << 10

func (f *fileList) add(line []byte) {
	if bytes.HasPrefix(line, []byte("Number of files:")) {
		// A listed file may have such a name: the last one counts.
		f.marked, f.cut, f.cutOut = true, len(f.text), f.left
	}
	if f.left > 0 || len(f.text)+len(line) >= maxFileList {
		f.left++
		return
	}
	f.text = append(append(f.text, line...), '\n')
}

func (f *fileList) String() string {
	text, left := f.text, f.left
	if f.marked {
		text, left = f.text[:f.cut], f.cutOut
	}
	list := strings.TrimSpace(string(text))
	if left > 0 {
		list += fmt.Sprintf("\n(%d lines left out)", left)
	}
	return list
}
