package app

import (
	"context"
	"errors"

	"github.com/freshetdev/freshet/internal/journal"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/refresh"
)

// takeBack puts replies that were set aside for want of a record back among those to commit, where there is a record now: a
// backup was restored after this worker had looked, and what it holds may be the newest there is. In aside.log they stay, for a
// person to remove.
func (w *Worker) takeBack(ctx context.Context) {
	aside, err := w.journal.Aside()
	if err != nil {
		w.log.Warn().Err(err).Str("dir", w.cfg.StateDir).Msg("what was set aside cannot be read, and is not looked at again")
		return
	}
	for _, a := range aside {
		if a.Reason != refresh.AsideNoRecord {
			continue
		}
		if err := w.takeBackOne(ctx, a.Entry); err != nil && !errors.Is(err, refresh.ErrNotFound) {
			w.log.Warn().Err(err).Str("attempt", a.ID).Str("key", a.Key).Msg("a reply that was set aside is not looked at again before the next start")
		}
	}
}

func (w *Worker) takeBackOne(ctx context.Context, e journal.Entry) error {
	c, err := events.ParseKey(e.Key)
	if err != nil {
		return err
	}
	if _, err = w.broker.Get(ctx, c); err != nil {
		return err
	}
	return w.journal.Append(e)
}
