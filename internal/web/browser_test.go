// SPDX-License-Identifier: LGPL-2.1-or-later

package web

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// browser is a real Chromium, which is told over a pipe what to do (the DevTools protocol): each message is a JSON
// object, with a NUL behind it. It ends by itself when the pipe is closed.
type browser struct {
	t    *testing.T
	in   *os.File
	tab  string
	next int

	mu      sync.Mutex
	answers map[int]chan json.RawMessage
}

// newBrowser starts one, which ends with the test.
func newBrowser(t *testing.T) *browser {
	t.Helper()
	theirIn, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	out, theirOut, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "chromium")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
		"--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--hide-scrollbars", "--user-data-dir="+dir, "--remote-debugging-pipe")
	cmd.ExtraFiles = []*os.File{theirIn, theirOut}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatalf("cannot start Chromium: %v; make test-deps installs it", err)
	}
	theirIn.Close()
	theirOut.Close()
	b := &browser{t: t, in: in, answers: map[int]chan json.RawMessage{}}
	var reading sync.WaitGroup
	reading.Go(func() { b.read(out) })
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
		in.Close()
		reading.Wait()
		out.Close()
		for range 50 { // its other processes may still write there
			if os.RemoveAll(dir) == nil {
				break
			}
			time.Sleep(20 * time.Millisecond)
		}
		if t.Failed() {
			t.Logf("Chromium says:\n%.3000s", said.String())
		}
	})
	var made struct{ TargetID, SessionID string }
	b.call("Target.createTarget", map[string]any{"url": "about:blank"}, &made)
	b.call("Target.attachToTarget", map[string]any{"targetId": made.TargetID, "flatten": true}, &made)
	b.tab = made.SessionID
	return b
}

func (b *browser) read(out *os.File) {
	messages := bufio.NewReader(out)
	for {
		data, err := messages.ReadBytes(0)
		if err != nil {
			return
		}
		var message struct{ ID int }
		if json.Unmarshal(bytes.TrimSuffix(data, []byte{0}), &message) != nil || message.ID == 0 {
			continue // what nobody has asked for
		}
		b.mu.Lock()
		if answer := b.answers[message.ID]; answer != nil {
			answer <- json.RawMessage(bytes.TrimSuffix(data, []byte{0}))
		}
		b.mu.Unlock()
	}
}

// call has it do something.
func (b *browser) call(method string, params map[string]any, result any) {
	b.t.Helper()
	if err := b.try(method, params, result); err != nil {
		b.t.Fatal(err)
	}
}

func (b *browser) try(method string, params map[string]any, result any) error {
	b.t.Helper()
	answer := make(chan json.RawMessage, 1)
	b.mu.Lock()
	b.next++
	id := b.next
	b.answers[id] = answer
	b.mu.Unlock()
	request := map[string]any{"id": id, "method": method, "params": params}
	if b.tab != "" {
		request["sessionId"] = b.tab
	}
	data, err := json.Marshal(request)
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := b.in.Write(append(data, 0)); err != nil {
		b.t.Fatal(err)
	}
	select {
	case data := <-answer:
		got := struct {
			Error  *struct{ Message string }
			Result any
		}{Result: result}
		if err := json.Unmarshal(data, &got); err != nil || got.Error != nil {
			return fmt.Errorf("%s: %v, %s", method, err, data)
		}
		return nil
	case <-time.After(time.Minute):
		return fmt.Errorf("%s: no answer", method)
	}
}

// open shows an address.
func (b *browser) open(url string) {
	b.t.Helper()
	var result struct{ ErrorText string }
	b.call("Page.navigate", map[string]any{"url": url}, &result)
	if result.ErrorText != "" {
		b.t.Fatalf("%s: %s", url, result.ErrorText)
	}
	b.soon("the page is there", func() bool { return b.value("document.readyState") == "complete" })
}

// value is what an expression is worth on the page, as text.
func (b *browser) value(expression string) string {
	b.t.Helper()
	var got struct {
		Result           struct{ Value any }
		ExceptionDetails *struct{ Text string }
	}
	asked := map[string]any{"expression": expression, "returnByValue": true}
	err := b.try("Runtime.evaluate", asked, &got)
	for end := time.Now().Add(time.Minute); err != nil && time.Now().Before(end); time.Sleep(20 * time.Millisecond) { // one page goes, and the next comes
		err = b.try("Runtime.evaluate", asked, &got)
	}
	if err != nil {
		b.t.Fatal(err)
	}
	if got.ExceptionDetails != nil {
		b.t.Fatalf("%s: %s", expression, got.ExceptionDetails.Text)
	}
	return fmt.Sprint(got.Result.Value)
}

// text is what a part of the page says; "" if there is none.
func (b *browser) text(selector string) string {
	b.t.Helper()
	return b.value(fmt.Sprintf("(document.querySelector(%q)||{innerText:''}).innerText", selector))
}

// until waits for a text in a part of the page.
func (b *browser) until(selector, text string) {
	b.t.Helper()
	b.soon(fmt.Sprintf("%s says %q", selector, text), func() bool { return strings.Contains(b.text(selector), text) })
}

func (b *browser) soon(what string, ok func() bool) {
	b.t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			b.t.Fatalf("waited in vain until %s; the page says:\n%s", what, b.text("body"))
		}
	}
}

// size gives the window a size.
func (b *browser) size(width, height int) {
	b.t.Helper()
	b.call("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false}, nil)
}

// scheme is light or dark.
func (b *browser) scheme(scheme string) {
	b.t.Helper()
	b.call("Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{{"name": "prefers-color-scheme", "value": scheme}}}, nil)
}

// photograph writes a picture of the whole page into a file.
func (b *browser) photograph(file string) {
	b.t.Helper()
	var shot struct{ Data string }
	b.call("Page.captureScreenshot", map[string]any{"format": "png", "captureBeyondViewport": true}, &shot)
	data, err := base64.StdEncoding.DecodeString(shot.Data)
	if err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(file, data, 0o644); err != nil {
		b.t.Fatal(err)
	}
}
