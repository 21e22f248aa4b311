// SPDX-License-Identifier: LGPL-2.1-or-later

// Package web shows sessions over HTTP: as a page for people, as JSON, and as metrics. It reads what package status
// reads. It writes only what a person has asked for on the page, by Config.Steer.
//
//	/                        the page of a session; ?session=NAME for one of several
//	/events?session=NAME     what changes on it, as Server-Sent Events
//	/api/sessions            the sessions and their states
//	/api/state?session=NAME  a status.Snapshot
//	/metrics                 for Prometheus
//	/steer                   POST, with a token only: pause, go on, stop, queue again what has failed, bound the rate
//
// # One reader
//
// All who look share one feed, which takes a snapshot every two seconds while somebody does, and every 15 seconds
// otherwise, for the graphs. It has a ZooKeeper session of its own; when that is lost, the page says since when, keeps
// what was seen last, and a new session is tried at each look.
//
// # The page
//
// The server writes the HTML, all of it, by html/template; the script only puts the parts that have changed in the
// place of the old ones. Without scripts the page loads itself again. Nothing comes from elsewhere, and a policy (CSP)
// has the browser refuse what would. Texts from ZooKeeper are shown as wire.Text prints them, so that a name with
// marks of direction or control characters cannot look like another one. Lists are bounded.
//
// # Who gets in
//
// Without a token only loopback addresses are listened on, and only requests for a loopback host are answered, so that
// a page elsewhere, whose name leads to 127.0.0.1, reads nothing. With one, every request has to carry it, as the
// password of any user (Basic) or as a Bearer token. Requests of pages of other origins are refused in any case.
//
// The number of connections and of those who follow the page is bounded, and so is the time for each read and write.
package web
