package web

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"github.com/freshetdev/freshet/internal/app"
	"github.com/freshetdev/freshet/internal/audit"
	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/internal/enroll"
	"github.com/freshetdev/freshet/internal/listen"
	"github.com/freshetdev/freshet/pkg/refresh"
	"github.com/freshetdev/freshet/pkg/seal"
)

// Server connects accounts. Run serves both its handlers.
//
// Concurrency: safe for any number of goroutines.
type Server struct {
	broker    *broker.Broker
	writer    *enroll.Writer
	keys      refresh.Keys
	bucket    string // of the enrolments
	publicURL string // without a slash at its end
	secure    bool   // people come by https
	token     seal.Secret
	dashboard Dashboard
	exchange  *refresh.HTTPExchange
	asker     *refresh.Asker
	log       zerolog.Logger
	quiet     quiet
	audit     *audit.Log
	sessions  adminSessions
}

// New returns a Server whose listeners are somebody else's. cfg.PublicURL is required; who may reach AdminHandler, and that the
// dashboard runs, is the caller's care.
func New(cfg Config) *Server {
	publicURL := normalURL(cfg.PublicURL)
	s := &Server{
		broker: cfg.Broker, writer: cfg.Writer, keys: cfg.Writer.Keys, bucket: cfg.Broker.Names().EnrollmentsBucket(),
		publicURL: publicURL, secure: strings.HasPrefix(publicURL, "https:"),
		token: cfg.AdminToken, exchange: cfg.Exchange, asker: refresh.NewAsker(nil), log: cfg.Log, audit: cfg.Audit,
	}
	if cfg.Dashboard != nil {
		s.dashboard = cfg.Dashboard(s.Link)
	}
	if s.exchange == nil {
		s.exchange = refresh.NewHTTPExchange(refresh.HTTPExchangeConfig{Now: cfg.Writer.Now})
	}
	return s
}

// normalURL writes the scheme and the host in small letters, as browsers and providers compare them, and no slash at the end.
func normalURL(address string) string {
	if u, err := url.Parse(address); err == nil {
		u.Host = strings.ToLower(u.Host)
		address = u.String()
	}
	return strings.TrimSuffix(address, "/")
}

// Close closes the connections to providers that carry no request, and ends the sessions of the admin listener.
func (s *Server) Close() {
	s.sessions.close()
	s.exchange.CloseIdle()
	s.asker.CloseIdle()
}

// stopWithin bounds the end of what is under way: a browser that is back, and the token request it waits for.
const stopWithin = storeWithin + 5*time.Second

// writeWithin bounds an answer: the token request of a browser that is back is part of it.
const writeWithin = storeWithin + 10*time.Second

// Run serves both listeners until ctx ends, and then what is under way. NATS time is measured meanwhile.
func Run(ctx context.Context, cfg Config) error {
	if err := cfg.Validate(); err != nil {
		return err
	}
	cfg = cfg.withDefaults()
	public, err := cfg.Public.Open(ctx, cfg.Log)
	if err != nil {
		return fmt.Errorf("--listen: %w", err)
	}
	admin, err := cfg.Admin.Open(ctx, cfg.Log)
	if err != nil {
		public.Close()
		return fmt.Errorf("--admin-listen: %w", err)
	}
	if cfg.PublicURL == "" {
		cfg.PublicURL = "http://" + public.Addr().String()
	}
	s := New(cfg)
	defer s.Close()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return cfg.Broker.RunClock(ctx) })
	g.Go(func() error { return app.SayRefusals(ctx, cfg.Broker.Conn(), cfg.Log) })
	s.awaitClock(ctx)
	if s.dashboard != nil {
		g.Go(func() error { return s.dashboard.Run(ctx) })
	}
	g.Go(func() error {
		return listen.Serve(ctx, public, listen.Server(s.PublicHandler(), writeWithin), stopWithin)
	})
	g.Go(func() error {
		return listen.Serve(ctx, admin, listen.Server(s.AdminHandler(), writeWithin), stopWithin)
	})
	s.log.Info().Stringer("public", public.Addr()).Str("public_url", s.publicURL).Stringer("admin", admin.Addr()).Msg("web started")
	if !cfg.Public.TLS() && !listen.Loopback(cfg.Public.Address) {
		s.log.Warn().Msg("--listen speaks plain http beyond loopback: see that only the proxy that ends TLS reaches it")
	}
	if cfg.Ready != nil {
		cfg.Ready(public.Addr().String(), admin.Addr().String())
	}
	err = g.Wait()
	s.log.Info().Msg("web stopped")
	return err
}

// clockWithin is how long the first measurement of NATS time is waited for.
const clockWithin = 2 * time.Second

// awaitClock waits until NATS time is known, so that what is stored is stamped with it.
func (s *Server) awaitClock(ctx context.Context) {
	late := time.NewTimer(clockWithin)
	defer late.Stop()
	select {
	case <-s.broker.ClockReady():
	case <-ctx.Done():
	case <-late.C:
		s.log.Warn().Msg("NATS time cannot be measured yet, and this machine's clock is used: see that this NATS user may ask for STREAM.INFO of the records")
	}
}
