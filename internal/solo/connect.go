package solo

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/internal/enroll"
	"github.com/freshetdev/freshet/internal/web"
	"github.com/freshetdev/freshet/pkg/events"
)

// demoVisitor is the account that dev's connect link is for.
const demoVisitor = "you"

// startWeb serves the pages of `freshet web` on loopback, and makes a link to try.
func (d *dev) startWeb(ctx context.Context, b *broker.Broker) (stop func(), err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for connect links: %w", err)
	}
	s := web.New(web.Config{Broker: b, PublicURL: "http://" + l.Addr().String(), Log: d.cfg.Log, Writer: &enroll.Writer{
		Store: b, Teller: b.Publisher(), Keys: d.node.keys(b), Source: "freshet/dev", Now: b.Now,
	}})
	srv := &http.Server{Handler: s.PublicHandler(), ReadHeaderTimeout: 10 * time.Second}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	stop = func() { _ = srv.Close(); <-served; s.Close() }
	if d.link, err = s.Link(ctx, events.Credential{Provider: devProvider, Account: demoVisitor}); err != nil {
		stop()
		return nil, fmt.Errorf("make a connect link: %w", err)
	}
	return stop, nil
}
