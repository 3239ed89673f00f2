package web_test

import (
	"context"
	"errors"
	"testing"

	"github.com/freshetdev/freshet/internal/app"
	"github.com/freshetdev/freshet/internal/audit"
	"github.com/freshetdev/freshet/internal/web"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/refresh"
)

// fullStore takes nothing any more.
type fullStore struct{ refresh.Store }

func (fullStore) Put(context.Context, refresh.Write) (uint64, error) {
	return 0, errors.Join(refresh.ErrTooLarge, errors.New("full"))
}

func (c *town) entries() (actions []audit.Action) {
	c.t.Helper()
	c.must(audit.Read(c.t.Context(), c.broker.ReadAudit, c.broker.Names(), audit.Filter{}, func(e audit.Entry) error {
		if e.Data.Link == "" || e.Subject() != "acme/alice" {
			c.t.Errorf("%s is about %q, link %q", e.Action, e.Subject(), e.Data.Link)
		}
		if actions = append(actions, e.Action); (e.Action == audit.Enrolled) != (e.Data.RefreshTokenRef != "") {
			c.t.Errorf("%s refers to %q", e.Action, e.Data.RefreshTokenRef)
		}
		return nil
	}, func(err error) { c.t.Error(err) }))
	return actions
}

// Who dies between the entry and the record leaves an entry without a credential, never a credential without an entry.
func TestAnEnrolmentIsWrittenDownBeforeItIsStored(t *testing.T) {
	t.Parallel()
	c := newTown(t)
	log := app.AuditLog(c.broker, "test", "freshet/test", func(err error) { t.Error(err) })
	for i := range c.servers {
		c.servers[i] = c.server(web.Config{Audit: log})
	}
	c.admin.Config.Handler = c.servers[0].AdminHandler()
	link := c.link(forAlice)
	if got := c.entries(); len(got) != 1 || got[0] != audit.LinkMade {
		t.Fatalf("entries %v", got)
	}
	c.writer.Store = fullStore{c.broker}
	b := c.browser()
	c.get(b, c.agree(b, c.leave(b, link), "alice"))
	if got := c.entries(); len(got) != 2 || got[1] != audit.Enrolled {
		t.Errorf("entries %v, want link_made and enrolled", got)
	}
	if _, err := c.broker.Get(t.Context(), events.Credential{Provider: "acme", Account: "alice"}); !errors.Is(err, refresh.ErrNotFound) {
		t.Errorf("the record: %v, want none", err)
	}
}
