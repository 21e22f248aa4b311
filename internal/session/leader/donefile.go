// SPDX-License-Identifier: LGPL-2.1-or-later

package leader

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/google/renameio/v2"

	"vsc-zk/internal/session/wire"
)

// The done-file is a gzip file with one JSON object, in the form that vsc-base's FileCache gives it: each
// key holds a "py/tuple" of the time (Unix seconds) and the value. Other keys than "stats" are kept.

// cacheItem is one key of the object, in the order of the file.
type cacheItem struct {
	key   string
	value json.RawMessage
}

// writeDoneFile puts counts under "stats" into the done-file at path, which is replaced at once or not at
// all. An entry whose time lies in the future stays, as in the original. problem is why an existing file
// could not be read, and was therefore replaced.
func writeDoneFile(path string, counts wire.Counts, now time.Time) (problem, err error) {
	items, problem := readDoneFile(path)
	stats := fmt.Sprintf(`{"py/tuple": [%s, {"unfinished": %d, "failed": %d, "completed": %d, "vanished": %d, "changed": %d, "skipped": %d}]}`,
		strconv.FormatFloat(float64(now.UnixMicro())/1e6, 'f', -1, 64),
		counts.Unfinished, counts.Failed, counts.Completed, counts.Vanished, counts.Changed, counts.Skipped)
	items = updateStats(items, json.RawMessage(stats), now)

	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return problem, fmt.Errorf("cannot make the directory of the done-file: %w", err)
	}
	data, err := encodeDoneFile(path, items, now)
	if err != nil {
		return problem, err
	}
	if err := renameio.WriteFile(path, data, 0o644, beside(path), renameio.WithStaticPermissions(0o644)); err != nil {
		return problem, fmt.Errorf("cannot write done-file %q: %w", path, err)
	}
	return problem, nil
}

func updateStats(items []cacheItem, stats json.RawMessage, now time.Time) []cacheItem {
	for i, item := range items {
		if item.key != "stats" {
			continue
		}
		var old struct {
			Tuple []json.RawMessage `json:"py/tuple"`
		}
		var at float64
		if json.Unmarshal(item.value, &old) == nil && len(old.Tuple) > 0 &&
			json.Unmarshal(old.Tuple[0], &at) == nil && at > float64(now.UnixMicro())/1e6 {
			return items
		}
		items[i].value = stats
		return items
	}
	return append(items, cacheItem{"stats", stats})
}

func encodeDoneFile(path string, items []cacheItem, now time.Time) ([]byte, error) {
	var object strings.Builder
	for i, item := range items {
		if i > 0 {
			object.WriteString(", ")
		}
		key, err := json.Marshal(item.key)
		if err != nil {
			return nil, fmt.Errorf("cannot encode done-file %q: %w", path, err)
		}
		fmt.Fprintf(&object, "%s: %s", key, item.value)
	}
	var out bytes.Buffer
	z, err := gzip.NewWriterLevel(&out, gzip.BestCompression) // says XFL 2
	if err != nil {
		return nil, fmt.Errorf("cannot compress done-file %q: %w", path, err)
	}
	z.ModTime = now
	if name := strings.TrimSuffix(filepath.Base(path), ".gz"); isLatin1(name) {
		z.Name = name
	}
	if _, err := io.WriteString(z, "{"+object.String()+"}"); err != nil {
		return nil, fmt.Errorf("cannot compress done-file %q: %w", path, err)
	}
	if err := z.Close(); err != nil {
		return nil, fmt.Errorf("cannot compress done-file %q: %w", path, err)
	}
	return out.Bytes(), nil
}

// isLatin1 tells whether gzip's header can hold the name.
func isLatin1(name string) bool {
	for _, r := range name {
		if r == 0 || r > 0xff {
			return false
		}
	}
	return true
}

// readDoneFile returns the keys of an existing done-file; none and no problem if there is no file.
func readDoneFile(path string) ([]cacheItem, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read done-file %q: %w", path, err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, fmt.Errorf("cannot read done-file %q, it is not a gzip file and will be replaced: %w", path, err)
	}
	items, err := readObject(z)
	if err != nil {
		return nil, fmt.Errorf("cannot read done-file %q, it will be replaced: %w", path, err)
	}
	return items, nil
}

func readObject(r io.Reader) ([]cacheItem, error) {
	dec := json.NewDecoder(r)
	if token, err := dec.Token(); err != nil || token != json.Delim('{') {
		return nil, errors.Join(errors.New("it does not hold a JSON object"), err)
	}
	var items []cacheItem
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return nil, err
		}
		item := cacheItem{key: key.(string)} // JSON has no other keys
		if err := dec.Decode(&item.value); err != nil {
			return nil, err
		}
		items = append(items, item)
	}
	if _, err := dec.Token(); err != nil {
		return nil, err
	}
	return items, nil
}
