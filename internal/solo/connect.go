package solo

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"

	"golang.org/x/sync/errgroup"

	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/internal/dashboard"
	"github.com/freshetdev/freshet/internal/enroll"
	"github.com/freshetdev/freshet/internal/listen"
	"github.com/freshetdev/freshet/internal/web"
	"github.com/freshetdev/freshet/pkg/events"
)

// demoVisitor is the account that dev's connect link is for.
const demoVisitor = "you"

// operator is who pauses lanes in the dashboard.
const operator = "operator:dashboard"

// pages are the dashboard, and those on which people connect their accounts, on one listener on loopback.
type pages struct {
	*web.Server
	address string // http://HOST:PORT
	group   errgroup.Group
	cancel  context.CancelFunc
	srv     *http.Server
}

// servePages starts them. The end of ctx is not theirs: stop is.
func (n *node) servePages(ctx context.Context, b *broker.Broker, address, source string) (*pages, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen for the dashboard: %w", err)
	}
	p := &pages{address: "http://" + l.Addr().String()}
	var board web.Dashboard
	log := n.auditLog(b, source)
	p.Server = web.New(web.Config{
		Audit: log, Broker: b, PublicURL: p.address, Log: n.log,
		Writer: &enroll.Writer{Store: b, Teller: b.Publisher(), Keys: n.keys(b), Source: source, Now: b.Now},
		Dashboard: func(link func(context.Context, events.Credential) (string, error)) web.Dashboard {
			board = dashboard.New(dashboard.Config{Broker: b, Link: link, Operator: operator, Audit: log, Log: n.log})
			return board
		},
	})
	mux := http.NewServeMux()
	mux.Handle("/connect/", p.PublicHandler())
	mux.Handle("/", p.AdminHandler())
	p.srv = listen.Server(mux, 0)
	ctx, p.cancel = context.WithCancel(context.WithoutCancel(ctx))
	p.group.Go(func() error { return board.Run(ctx) })
	p.group.Go(func() error {
		if err := p.srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	return p, nil
}

// stop ends them and waits.
func (p *pages) stop() error {
	p.cancel()
	_ = p.srv.Close() // what is under way does not matter here
	err := p.group.Wait()
	p.Close()
	return err
}

// startWeb serves the pages and makes a link to try.
func (d *dev) startWeb(ctx context.Context, b *broker.Broker) (stop func(), err error) {
	p, err := d.node.servePages(ctx, b, "127.0.0.1:0", "freshet/dev")
	if err != nil {
		return nil, err
	}
	stop = func() { _ = p.stop() } // a page that cannot be served changes no judgement
	d.dashboard = p.address
	if d.link, err = p.Link(ctx, events.Credential{Provider: devProvider, Account: demoVisitor}); err != nil {
		stop()
		return nil, fmt.Errorf("make a connect link: %w", err)
	}
	return stop, nil
}
