// SPDX-License-Identifier: LGPL-2.1-or-later

package web

import (
	"net/http"
	"strings"
	"time"
)

// steers tells whether the page can be asked to change something.
func (s *Server) steers() bool { return s.cfg.Token != "" && s.cfg.Steer != nil }

// slowest is how long it may take until all clients have noted what was asked for.
const slowest = time.Minute

// steered is what came of it.
type steered struct {
	Session string
	Said    []string
	Trouble string
}

// steer does what a button of the page is for.
func (s *Server) steer(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 4<<10)
	asked, name := r.PostFormValue("do"), r.URL.Query().Get("session")
	option, value := asked, ""
	switch asked {
	case "pause", "unpause", "stop":
	case "requeue":
		value = "failed"
	case "bwlimit":
		option, value = "set", "bwlimit="+strings.TrimSpace(r.PostFormValue("rate"))
	default:
		refuse(w, http.StatusBadRequest, "cannot do %q", asked)
		return
	}
	now, _ := s.feed.current()
	if _, ok := now.session(name); !ok {
		refuse(w, http.StatusNotFound, "there is no session %q", name)
		return
	}
	if err := http.NewResponseController(w).SetWriteDeadline(time.Now().Add(slowest)); err != nil {
		refuse(w, http.StatusInternalServerError, "%v", err)
		return
	}
	s.log.InfoContext(r.Context(), "Asked for on the page: "+strings.TrimSpace(option+" "+value), "option", option)
	answer, err := s.cfg.Steer(r.Context(), name, option, value)
	result := steered{Session: name, Said: strings.Split(strings.TrimSpace(answer), "\n")}
	status := http.StatusOK
	if err != nil {
		result.Trouble, status = err.Error(), http.StatusConflict
	}
	s.feed.hurry()
	s.writeHTML(w, status, "steered.html", result)
}
