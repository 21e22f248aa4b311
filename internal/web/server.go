// SPDX-License-Identifier: LGPL-2.1-or-later

package web

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/netutil"

	"vsc-zk/internal/zkclient"
)

// Config says what is shown where.
type Config struct {
	Zookeeper zkclient.Config
	Session   string // "": all of which there is a run

	Web     string // HOST:PORT of the page, of the JSON and of the metrics; "": none
	Token   string // that every request to it has to carry; "": none has to, and it is for this host only
	Metrics string // HOST:PORT of the metrics alone, for everybody who reaches it; "": none

	// Steer asks for something while a run is under way, by one of the program's options, and gives its answer;
	// nil: nobody can. It is offered only with a token.
	Steer func(ctx context.Context, session, option, value string) (answer string, err error)

	Version string       // of the program
	Logger  *slog.Logger // nil: none
}

const (
	maxConnections = 256
	maxFollowers   = 64
	slow           = 10 * time.Second // the most that a read or a write may take
)

// MinToken is how long a token has to be: nobody can then find it by trying.
const MinToken = 16

// Errors of Open that come from how it was asked for.
var (
	ErrWeb     = errors.New("cannot use --web")
	ErrToken   = errors.New("cannot use --web-token-file")
	ErrMetrics = errors.New("cannot use --metrics")
)

// Server shows sessions until it is asked to end.
type Server struct {
	cfg    Config
	log    *slog.Logger
	looker *looker
	feed   *feed
	sites  []*site
}

// site is one address.
type site struct {
	listener net.Listener
	server   *http.Server
	path     string
}

// Open listens, and connects to ZooKeeper. Who opens a Server has to call Serve.
func Open(ctx context.Context, cfg Config) (*Server, error) {
	s := &Server{cfg: cfg, log: cmp.Or(cfg.Logger, slog.New(slog.DiscardHandler)).With("logger", "web")}
	if cfg.Token != "" && len(cfg.Token) < MinToken {
		return nil, fmt.Errorf("%w: a token has to have %d characters at least, so that nobody finds it by trying", ErrToken, MinToken)
	}
	cfg.Zookeeper.Logger = s.log
	s.looker = &looker{cfg: cfg.Zookeeper, session: cfg.Session}
	s.feed = newFeed(s.looker.look)
	if err := s.listen(); err != nil {
		s.close()
		return nil, err
	}
	if err := s.looker.connect(ctx); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *Server) listen() error {
	if s.cfg.Web != "" {
		page, err := listen(s.cfg.Web)
		if err != nil {
			return fmt.Errorf("%w=%s: %w", ErrWeb, s.cfg.Web, err)
		}
		s.sites = append(s.sites, &site{listener: page, path: "/"})
		if !isLoopback(page) && s.cfg.Token == "" {
			return fmt.Errorf("%w=%s without --web-token-file: whoever reaches that address could see the session; take one of this host only, as 127.0.0.1", ErrWeb, s.cfg.Web)
		}
		access := &access{token: s.cfg.Token, local: s.cfg.Token == "", host: hostOf(s.cfg.Web)}
		s.sites[0].server = s.server(access.guard(s.pages()))
	}
	if s.cfg.Metrics != "" {
		metrics, err := listen(s.cfg.Metrics)
		if err != nil {
			return fmt.Errorf("%w=%s: %w", ErrMetrics, s.cfg.Metrics, err)
		}
		mux := http.NewServeMux()
		mux.HandleFunc("GET /metrics", s.showMetrics)
		access := &access{local: isLoopback(metrics), host: hostOf(s.cfg.Metrics)}
		s.sites = append(s.sites, &site{metrics, s.server(access.guard(mux)), "/metrics"})
	}
	return nil
}

// listen takes only what nobody else has. A host that is left away stands for all addresses.
func listen(address string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, errors.Unwrap(err) // without the address
	}
	return netutil.LimitListener(l, maxConnections), nil
}

func isLoopback(l net.Listener) bool { return l.Addr().(*net.TCPAddr).IP.IsLoopback() }

func hostOf(address string) string {
	host, _, _ := net.SplitHostPort(address)
	return host
}

func (s *Server) server(handler http.Handler) *http.Server {
	return &http.Server{
		Handler: handler, ReadTimeout: slow, WriteTimeout: slow, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10,
		ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
}

// URLs are where there is something to see, the page first.
func (s *Server) URLs() (all []string) {
	for _, site := range s.sites {
		all = append(all, "http://"+site.listener.Addr().String()+site.path)
	}
	return all
}

// Serve shows the sessions until ctx ends, and returns when nothing of it runs any more.
func (s *Server) Serve(ctx context.Context) error {
	defer s.close()
	ctx, cancel := context.WithCancelCause(ctx)
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel(nil)
	all.Go(func() { s.feed.run(ctx) })
	for _, site := range s.sites {
		site.server.BaseContext = func(net.Listener) context.Context { return ctx }
		all.Go(func() {
			if err := site.server.Serve(site.listener); !errors.Is(err, http.ErrServerClosed) {
				cancel(fmt.Errorf("cannot answer on %s any more: %w", site.listener.Addr(), err))
			}
		})
	}
	<-ctx.Done()
	for _, site := range s.sites {
		site.server.Close()
	}
	return context.Cause(ctx)
}

// close lets go of what Open has taken.
func (s *Server) close() {
	for _, site := range s.sites {
		site.listener.Close()
	}
	s.looker.close()
}

// waiting bounds how long a request waits for the feed.
func waiting(r *http.Request) (context.Context, context.CancelFunc) {
	return context.WithTimeout(r.Context(), patience+time.Second)
}

// refuse answers with a plain line.
func refuse(w http.ResponseWriter, status int, format string, args ...any) {
	http.Error(w, strings.TrimSpace(fmt.Sprintf(format, args...)), status)
}
