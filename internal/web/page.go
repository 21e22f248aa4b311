// SPDX-License-Identifier: LGPL-2.1-or-later

package web

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"html/template"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"vsc-zk/internal/session/wire"
	"vsc-zk/internal/status"
)

//go:embed assets
var assets embed.FS

var templates = template.Must(template.New("").Funcs(template.FuncMap{
	"text": text[string], "short": short, "bytes": formatBytes, "rate": formatRate, "count": formatCount, "clock": status.FormatClock,
	"decimal": status.FormatDecimal, "load": func(n *float64) string { return strconv.FormatFloat(*n, 'f', 2, 64) }, "part": part, "percent": status.FormatPercent, "less": func(a, b int) int { return a - b }, "first": first, "more": more,
}).ParseFS(assets, "assets/*.html"))

// text is a text of others as a person may see it.
func text[T ~string](t T) string { return wire.Text(t).String() }

// shortest is how much of a long text is shown where it stands in a row with others.
const shortest = 160

// short leaves out the middle of a long text.
func short(t wire.Text) string {
	runes := []rune(t.String())
	if len(runes) <= shortest {
		return string(runes)
	}
	return string(runes[:shortest/2]) + "…" + string(runes[len(runes)-shortest/2:])
}

func formatBytes(v any) string {
	if n, ok := v.(uint64); ok {
		return status.FormatBytes(n)
	}
	return status.FormatBytes(v.(int64))
}

func formatRate(v any) string {
	if n, ok := v.(int); ok {
		return status.FormatRate(int64(n))
	}
	return status.FormatRate(v.(int64))
}

func formatCount(v any) string {
	if n, ok := v.(int64); ok {
		return status.FormatCount(n)
	}
	return status.FormatCount(v.(int))
}

// part is a part of a whole, from 0 to 100.
func part(some, all any) float64 {
	number := func(v any) float64 { f, _ := strconv.ParseFloat(fmt.Sprint(v), 64); return f }
	if number(all) <= 0 {
		return 0
	}
	return min(100*number(some)/number(all), 100)
}

// maxRows bounds each list.
const maxRows = 100

// first is what is shown of a list, and more is how many that leaves out.
func first(list any) any {
	v := reflect.ValueOf(list)
	return v.Slice(0, min(v.Len(), maxRows)).Interface()
}

func more(list any) int { return max(reflect.ValueOf(list).Len()-maxRows, 0) }

// page is what the template shows.
type page struct {
	Version  string
	Session  string // that is shown; "": there is none
	All      []tab
	Trouble  string    // why nothing new is known; "": it is
	At       time.Time // when this was known
	Snapshot *status.Snapshot
	Over     time.Time // when the run was found to be over; zero: it is not
	Sources  []status.Client
	Dests    []status.Client
	Graphs   []graph
	Steers   bool // it can be asked to change something
}

// tab is a session to choose.
type tab struct {
	Name, State string
	Shown       bool
}

// choose is the session to show: that which was asked for, else the first with a run.
func (v view) choose(asked string) (seen, bool) {
	if asked != "" {
		return v.session(asked)
	}
	if i := slices.IndexFunc(v.sessions, func(s seen) bool { return s.last != nil && s.over.IsZero() }); i >= 0 {
		return v.sessions[i], true
	}
	if len(v.sessions) > 0 {
		return v.sessions[0], true
	}
	return seen{}, false
}

// state is that of a session in a word: over, held, or a status.State.
func (s seen) state() string {
	switch {
	case s.last == nil:
		return string(status.None)
	case !s.over.IsZero():
		return "over"
	case s.last.State == status.Running && s.last.Control.Held() != "":
		return "held"
	}
	return string(s.last.State)
}

func (s *Server) newPage(v view, asked string) page {
	p := page{Version: s.cfg.Version, Session: s.cfg.Session, At: v.at, Steers: s.steers()}
	if p.Session == "" {
		p.Session = asked
	}
	if v.err != nil {
		p.Trouble = v.err.Error()
	}
	shown, ok := v.choose(p.Session)
	if ok {
		p.Session, p.Over = shown.name, shown.over
		p.Snapshot = shown.last
	}
	if s.cfg.Session == "" {
		for _, one := range v.sessions {
			p.All = append(p.All, tab{one.name, one.state(), one.name == p.Session})
		}
	}
	if p.Snapshot == nil {
		return p
	}
	for _, c := range p.Snapshot.Clients {
		switch {
		case c.Role == wire.RoleDestination:
			p.Dests = append(p.Dests, c)
		default:
			p.Sources = append(p.Sources, c)
		}
	}
	now := v.at
	if p.Over.IsZero() {
		p.Graphs = []graph{
			draw("Bytes sent", shown.history, now, func(p point) float64 { return p.bytes }, status.FormatRate[float64]),
			draw("Files looked at", shown.history, now, func(p point) float64 { return p.files }, func(n float64) string { return status.FormatDecimal(n) + "/s" }),
		}
	}
	return p
}

// State is the state in a word.
func (p page) State() string { return seen{last: p.Snapshot, over: p.Over}.state() }

// Say is the state in a few words.
func (p page) Say() string {
	switch p.State() {
	case string(status.None):
		return "There is no run"
	case "over":
		return "The run is over"
	case "held":
		held := p.Snapshot.Control.Held()
		return strings.ToUpper(held[:1]) + held[1:]
	case string(status.Running):
		return "Running"
	case string(status.Still):
		return "Standing still"
	}
	return "No master"
}

// Title is that of the browser's window.
func (p page) Title() string {
	title := p.Say()
	if p.State() == string(status.Running) && p.Snapshot.Estimate.By != "" {
		title = strconv.Itoa(p.Percent()) + " %"
	}
	if p.Session != "" {
		title += " · " + text(p.Session)
	}
	return title + " · zkrsync"
}

// Percent is what is done at least.
func (p page) Percent() int { return int(p.Snapshot.Estimate.Percent.Low) }

// Elapsed is how long the run has been going on, or went on.
func (p page) Elapsed() string {
	if p.Snapshot.Began.IsZero() {
		return ""
	}
	return status.FormatLength(p.Snapshot.Time.Sub(p.Snapshot.Began))
}

// Ago is how long ago something was.
func (p page) Ago(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return status.FormatLength(p.Snapshot.Time.Sub(t))
}

// Others is what else has become of paths that were not sent.
func (p page) Others() string {
	var all []string
	for _, other := range []struct {
		count int
		what  string
	}{{p.Snapshot.Paths.Vanished, "vanished"}, {p.Snapshot.Paths.Changed, "changed"}, {p.Snapshot.Paths.Skipped, "skipped"}} {
		if other.count > 0 {
			all = append(all, status.FormatCount(other.count)+" "+other.what)
		}
	}
	return strings.Join(all, ", ")
}

// Growing tells whether more paths may come, that nobody knows yet.
func (p page) Growing() bool { return p.Over.IsZero() && p.Snapshot.Phase == "walking" }

// MoreFailures is how many are not shown.
func (p page) MoreFailures() int { return more(p.Snapshot.Failures) + p.Snapshot.FailuresLeft }

// Used is how much of a destination's file system, or of its inodes, is in use; 0 if that is not known.
func (p page) Used(d *status.Destination) float64 {
	if d.Size == 0 {
		return 0
	}
	used := 100 - part(d.Free, d.Size)
	if d.Inodes > 0 {
		used = max(used, 100-part(d.FreeInodes, d.Inodes))
	}
	return used
}

func (s *Server) pages() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", s.showPage)
	mux.HandleFunc("GET /events", s.showEvents)
	mux.HandleFunc("GET /api/sessions", s.showSessions)
	mux.HandleFunc("GET /api/state", s.showState)
	mux.HandleFunc("GET /metrics", s.showMetrics)
	if s.steers() {
		mux.HandleFunc("POST /steer", s.steer)
	}
	for _, name := range []string{"style.css", "script.js", "icon.svg"} {
		mux.HandleFunc("GET /"+name, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Cache-Control", "no-cache")
			http.ServeFileFS(w, r, assets, "assets/"+name)
		})
	}
	return mux
}

func (s *Server) showPage(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := waiting(r)
	defer cancel()
	p := s.newPage(s.feed.latest(ctx), r.URL.Query().Get("session"))
	s.writeHTML(w, http.StatusOK, "page.html", p)
}

// writeHTML answers with a page.
func (s *Server) writeHTML(w http.ResponseWriter, status int, name string, data any) {
	var html bytes.Buffer
	if err := templates.ExecuteTemplate(&html, name, data); err != nil {
		s.log.Error("The page cannot be shown: "+err.Error(), "error", err)
		refuse(w, http.StatusInternalServerError, "cannot show the page: %v", err)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(html.Bytes()) // whoever asked may have left
}

// event is what the script gets.
type event struct {
	Title string `json:"title"`
	Say   string `json:"say"`
	HTML  string `json:"html"`
}

// beat is how often something is sent, be it only that nothing has changed, so that the script knows that it is heard.
const beat = 15 * time.Second

func (s *Server) showEvents(w http.ResponseWriter, r *http.Request) {
	done, ok := s.feed.follow(maxFollowers)
	if !ok {
		w.Header().Set("Retry-After", "10")
		refuse(w, http.StatusServiceUnavailable, "cannot show this to more than %d at a time: close another window", maxFollowers)
		return
	}
	defer done()
	w.Header().Set("Content-Type", "text/event-stream")
	control := http.NewResponseController(w)
	if _, err := w.Write([]byte("retry: 1000\n\n")); err != nil {
		return
	}
	var last []byte
	for {
		now, changed := s.feed.current()
		var html bytes.Buffer
		p := s.newPage(now, r.URL.Query().Get("session"))
		data := []byte("event: beat\ndata:\n\n") // a comment would not reach the script
		if !now.at.IsZero() || now.err != nil {
			if err := templates.ExecuteTemplate(&html, "live", p); err != nil {
				s.log.ErrorContext(r.Context(), "The page cannot be shown: "+err.Error(), "error", err)
				return
			}
			encoded, err := json.Marshal(event{p.Title(), p.Say(), html.String()})
			if err == nil && !bytes.Equal(encoded, last) {
				last, data = encoded, fmt.Appendf(nil, "data: %s\n\n", encoded)
			}
		}
		_ = control.SetWriteDeadline(time.Now().Add(slow)) // as above
		if _, err := w.Write(data); err != nil {
			return
		}
		if control.Flush() != nil {
			return
		}
		select {
		case <-changed:
		case <-time.After(beat):
		case <-r.Context().Done():
			return
		}
	}
}

func (s *Server) showSessions(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := waiting(r)
	defer cancel()
	v := s.feed.latest(ctx)
	if v.err != nil {
		refuse(w, http.StatusServiceUnavailable, "%v", v.err)
		return
	}
	type session struct {
		Session string       `json:"session"`
		State   status.State `json:"state"`
	}
	all := []session{}
	for _, one := range v.sessions {
		if one.now != nil {
			all = append(all, session{one.name, one.now.State})
		}
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(all) // as above
}

func (s *Server) showState(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := waiting(r)
	defer cancel()
	v, name := s.feed.latest(ctx), r.URL.Query().Get("session")
	if name == "" {
		name = s.cfg.Session
	}
	shown, ok := v.choose(name)
	switch {
	case v.err != nil:
		refuse(w, http.StatusServiceUnavailable, "%v", v.err)
	case !ok || shown.now == nil:
		refuse(w, http.StatusNotFound, "there is no run of this session; /api/sessions names those of which there is one")
	default:
		w.Header().Set("Content-Type", "application/json")
		_ = shown.now.JSON(w) // as above
	}
}
