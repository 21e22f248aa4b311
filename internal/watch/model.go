// SPDX-License-Identifier: LGPL-2.1-or-later

package watch

import (
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"charm.land/bubbles/v2/help"
	"charm.land/bubbles/v2/key"
	"charm.land/bubbles/v2/viewport"
	tea "charm.land/bubbletea/v2"

	"vsc-zk/internal/status"
)

// model is what is on the screen.
type model struct {
	servers string
	choose  func(session string) // has the feed look at another session; "": at all
	steer   func(session string, pause bool)
	listed  bool   // there is a list to go back to
	session string // that is shown; "": the list

	now    time.Time
	looked time.Time // of the last look that was answered
	away   error     // why the last one was not

	list    *table[*status.Snapshot]
	shown   *status.Snapshot // nil: nothing yet
	latest  *status.Snapshot // the same, unless the view is held
	held    bool
	over    time.Time // when the run was no longer there; zero: it is, or never was
	history history
	panels  []panel
	focus   int

	width, height int
	look          styles
	help          help.Model
	filter        string // rows without it are not shown
	filtering     bool   // it is being written
	overlay       overlay
	detailed      string // the row of which there are details
	asks          asks
	said          string         // what came of it, until the next key
	page          viewport.Model // of the overlay
}

// overlay lies over the panels.
type overlay int

const (
	noOverlay overlay = iota
	helpOverlay
	detailOverlay
)

// asks is what is to be confirmed.
type asks int

const (
	asksNothing asks = iota
	asksPause
	asksUnpause
)

// steered is what came of a session that was to be paused, or to go on.
type steered struct {
	session string
	said    string
}

// tick is the time.
type tick time.Time

func newModel(session, servers string, choose func(string), steer func(session string, pause bool)) *model {
	m := &model{
		servers: servers, choose: choose, steer: steer, listed: session == "", session: session,
		list: newSessions(), panels: newPanels(), help: help.New(), page: viewport.New(),
	}
	m.page.SoftWrap = true
	m.dress(true)
	return m
}

// dress takes the colours for a dark background, or a light one.
func (m *model) dress(dark bool) {
	m.look = newStyles(dark)
	m.help.Styles = m.look.help()
}

// state is what was seen last.
func (m *model) state() status.State {
	if m.session == "" {
		return worst(m.list.all)
	}
	if m.latest == nil || !m.over.IsZero() {
		return status.None
	}
	return m.latest.State
}

func (m *model) Init() tea.Cmd {
	return tea.Batch(tea.RequestBackgroundColor, everySecond())
}

func everySecond() tea.Cmd {
	return tea.Tick(time.Second, func(t time.Time) tea.Msg { return tick(t) })
}

func (m *model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tick:
		m.now = time.Time(msg)
		return m, everySecond()
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
		m.turnPage()
	case tea.BackgroundColorMsg:
		m.dress(msg.IsDark())
	case look:
		m.see(msg)
	case steered:
		if msg.session == m.session {
			m.said = msg.said
		}
	case tea.KeyPressMsg:
		return m, m.press(msg)
	case tea.PasteMsg:
		if m.filtering {
			m.find(m.filter + msg.Content)
		}
	}
	return m, nil
}

// see takes in what a look has found.
func (m *model) see(l look) {
	if l.session != m.session {
		return // it was on its way when another one was chosen
	}
	if m.now.Before(l.at) {
		m.now = l.at
	}
	m.away = l.err
	if l.err != nil {
		return
	}
	m.looked = l.at
	if m.session == "" {
		m.list.set(slices.DeleteFunc(l.seen, func(s *status.Snapshot) bool { return s.State == status.None }))
		return
	}
	s := l.seen[0]
	if s.State == status.None && m.latest != nil && m.latest.State != status.None {
		if m.over.IsZero() {
			m.over = l.at
		}
		return // what was seen last stays
	}
	if s.State != status.None && !m.over.IsZero() { // another run
		m.over, m.history = time.Time{}, history{}
	}
	m.latest = s
	if s.State != status.None {
		m.history.add(l.at, float64(s.Rates.Now))
	}
	if !m.held || m.shown == nil {
		m.show()
	}
}

// show brings the latest snapshot onto the screen.
func (m *model) show() {
	if m.latest == nil {
		return
	}
	m.shown = m.latest
	names := namesOf(m.shown)
	for _, p := range m.panels {
		p.set(m.shown, names)
	}
	m.turnPage()
}

// enter shows a session, or the list of them.
func (m *model) enter(session string) {
	m.session, m.looked, m.away, m.said = session, time.Time{}, nil, ""
	m.shown, m.latest, m.over, m.held, m.history = nil, nil, time.Time{}, false, history{}
	m.panels, m.focus, m.overlay = newPanels(), 0, noOverlay
	m.find("")
	m.choose(session)
}

// find filters all rows.
func (m *model) find(filter string) {
	m.filter = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, filter)
	m.list.look(m.filter)
	for _, p := range m.panels {
		p.look(m.filter)
	}
}

// write takes a key of the filter.
func (m *model) write(msg tea.KeyPressMsg) {
	switch {
	case key.Matches(msg, keys.enter):
		m.filtering = false
	case key.Matches(msg, keys.clear):
		m.filtering = false
		m.find("")
	case msg.Code == tea.KeyBackspace:
		_, size := utf8.DecodeLastRuneInString(m.filter)
		m.find(m.filter[:len(m.filter)-size])
	default:
		m.find(m.filter + msg.Text)
	}
}

// rows are those that keys act on.
func (m *model) rows() interface {
	move(by int)
	sort()
	turn()
} {
	if m.session == "" {
		return m.list
	}
	return m.panels[m.focus]
}

func (m *model) press(msg tea.KeyPressMsg) (cmd tea.Cmd) {
	k := keys
	if key.Matches(msg, k.interrupt) {
		return tea.Quit
	}
	m.said = ""
	if asked := m.asks; asked != asksNothing {
		if m.asks = asksNothing; msg.Text == "y" {
			m.said = "asking the sources…"
			m.steer(m.session, asked == asksPause)
		}
		return nil
	}
	if m.filtering {
		m.write(msg)
		return nil
	}
	if m.overlay != noOverlay {
		switch {
		case key.Matches(msg, k.quit):
			return tea.Quit
		case key.Matches(msg, k.back, k.enter, k.help):
			m.overlay = noOverlay
		default:
			m.page, cmd = m.page.Update(msg)
		}
		return cmd
	}
	page := max(1, m.height/2)
	switch {
	case key.Matches(msg, k.quit):
		return tea.Quit
	case key.Matches(msg, k.suspend):
		return tea.Suspend
	case key.Matches(msg, k.help):
		m.open(helpOverlay)
	case key.Matches(msg, k.up):
		m.rows().move(-1)
	case key.Matches(msg, k.down):
		m.rows().move(1)
	case key.Matches(msg, k.pageUp):
		m.rows().move(-page)
	case key.Matches(msg, k.pageDown):
		m.rows().move(page)
	case key.Matches(msg, k.first):
		m.rows().move(-1 << 30)
	case key.Matches(msg, k.last):
		m.rows().move(1 << 30)
	case key.Matches(msg, k.sort):
		m.rows().sort()
	case key.Matches(msg, k.turn):
		m.rows().turn()
	case key.Matches(msg, k.filter):
		m.filtering = true
	case key.Matches(msg, k.back):
		switch {
		case m.filter != "":
			m.find("")
		case m.listed && m.session != "":
			m.enter("")
		}
	case m.session == "":
		if key.Matches(msg, k.enter) && len(m.list.rows) > 0 {
			m.enter(m.list.rows[m.list.cursor].Session)
		}
	case key.Matches(msg, k.hold):
		if m.held = !m.held; !m.held {
			m.show()
		}
	case key.Matches(msg, k.pause):
		if s := m.latest; s == nil || s.State == status.None || !m.over.IsZero() {
			m.said = "there is nothing to pause"
		} else if s.Control.Paused {
			m.asks = asksUnpause
		} else {
			m.asks = asksPause
		}
	case key.Matches(msg, k.next):
		m.focus = (m.focus + 1) % len(m.panels)
	case key.Matches(msg, k.previous):
		m.focus = (m.focus + len(m.panels) - 1) % len(m.panels)
	case key.Matches(msg, k.panel):
		m.focus = int(msg.Code - '1')
	case key.Matches(msg, k.enter):
		if m.detailed = m.panels[m.focus].at(); m.detailed != "" {
			m.open(detailOverlay)
		}
	}
	return nil
}

// open lays something over the panels.
func (m *model) open(o overlay) {
	m.overlay = o
	m.page.GotoTop()
	m.turnPage()
}

// bindings are the keys.
type bindings struct {
	up, down, pageUp, pageDown, first, last, next, previous, panel, enter, back, clear key.Binding
	sort, turn, filter, hold, pause, help, quit, interrupt, suspend                    key.Binding
}

func bind(shown, what string, names ...string) key.Binding {
	return key.NewBinding(key.WithKeys(names...), key.WithHelp(shown, what))
}

var keys = bindings{
	up:        bind("↑ k", "up", "up", "k"),
	down:      bind("↓ j", "down", "down", "j"),
	pageUp:    bind("PgUp", "page up", "pgup", "ctrl+b"),
	pageDown:  bind("PgDn", "page down", "pgdown", "ctrl+f"),
	first:     bind("Home g", "first", "home", "g"),
	last:      bind("End G", "last", "end", "G"),
	next:      bind("Tab", "next panel", "tab", "right", "l"),
	previous:  bind("Shift-Tab", "previous panel", "shift+tab", "left", "h"),
	panel:     bind("1 to 4", "that panel", "1", "2", "3", "4"),
	enter:     bind("Enter", "details", "enter"),
	back:      bind("Esc", "back", "esc", "backspace"),
	clear:     bind("Esc", "no filter", "esc", "ctrl+u"),
	sort:      bind("s", "sort", "s"),
	turn:      bind("r", "reverse", "r"),
	filter:    bind("/", "filter", "/"),
	hold:      bind("Space", "hold", "space"),
	pause:     bind("p", "pause session", "p"),
	help:      bind("?", "help", "?"),
	quit:      bind("q", "quit", "q"),
	interrupt: bind("Ctrl-C", "quit", "ctrl+c"),
	suspend:   bind("Ctrl-Z", "suspend", "ctrl+z"),
}
