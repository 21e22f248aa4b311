// SPDX-License-Identifier: LGPL-2.1-or-later

package web

import (
	"crypto/sha256"
	"crypto/subtle"
	"net"
	"net/http"
	"strings"
)

// access decides who is answered.
type access struct {
	token string // "": none is asked for
	local bool   // only what is addressed to a loopback host is answered
	host  string // as the user has named it, which is good too
}

// policy has a browser load nothing from elsewhere, run no script but ours, and show the page in no other one.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

func (a *access) guard(next http.Handler) http.Handler {
	next = new(http.CrossOriginProtection).Handler(next) // what changes something
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for name, value := range map[string]string{
			"Content-Security-Policy": policy, "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer",
			"Cross-Origin-Resource-Policy": "same-origin", "Cross-Origin-Opener-Policy": "same-origin", "Cache-Control": "no-store",
		} {
			w.Header().Set(name, value)
		}
		switch {
		case a.local && !a.isOurs(r.Host):
			refuse(w, http.StatusMisdirectedRequest, "cannot answer for the host %q: this is for 127.0.0.1, or localhost, only", r.Host)
		case isForeign(r):
			refuse(w, http.StatusForbidden, "cannot answer the page of another origin")
		case !a.knows(r):
			w.Header().Set("WWW-Authenticate", `Basic realm="zkrsync: any user, the token as password", charset="UTF-8"`)
			refuse(w, http.StatusUnauthorized, "cannot answer without the token: give it as the password of any user, or as a Bearer token")
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// isOurs tells whether a request is addressed to this host as only who sits at it can call it. A browser names the host
// whose page asks, also if that name was made to lead here.
func (a *access) isOurs(hostport string) bool {
	host := hostport
	if name, _, err := net.SplitHostPort(hostport); err == nil {
		host = name
	}
	host = strings.TrimSuffix(strings.Trim(host, "[]"), ".")
	if strings.EqualFold(host, "localhost") || a.host != "" && strings.EqualFold(host, a.host) {
		return true
	}
	return net.ParseIP(host).IsLoopback()
}

// isForeign tells whether the page of another origin asks; a link there, or one of the bookmarks, is none.
func isForeign(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "none", "same-origin":
		return false
	}
	return r.Header.Get("Sec-Fetch-Mode") != "navigate" || r.Header.Get("Sec-Fetch-Dest") != "document"
}

// knows tells whether a request carries the token.
func (a *access) knows(r *http.Request) bool {
	if a.token == "" {
		return true
	}
	_, given, ok := r.BasicAuth()
	if !ok {
		given, ok = strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	}
	want, got := sha256.Sum256([]byte(a.token)), sha256.Sum256([]byte(given))
	return ok && subtle.ConstantTimeCompare(want[:], got[:]) == 1
}
