package agent

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/freshetdev/freshet/internal/replace"
	"github.com/freshetdev/freshet/pkg/tokens"
)

const (
	// firstRetry and maxRetry bound the wait before a file that could not be written is tried again; it doubles in between.
	firstRetry = time.Second
	maxRetry   = time.Minute
)

// writer keeps one file.
type writer struct {
	file   File
	client *tokens.Client
	log    zerolog.Logger

	mu     sync.Mutex   // one change at a time, with what follows it
	newest tokens.Token // that the file had in it
}

// run keeps the file until ctx ends.
func (w *writer) run(ctx context.Context) error {
	news := make(chan tokens.Change, 1)
	over := make(chan error, 1)
	go func() {
		over <- w.client.OnChange(ctx, w.file.Credential, func(c tokens.Change) { replaceNews(news, c) })
	}()
	var latest tokens.Change
	var retry <-chan time.Time
	for pause := firstRetry; ; {
		select {
		case err := <-over:
			return err
		case latest = <-news:
			pause = firstRetry
		case <-retry:
			pause = min(2*pause, maxRetry)
		}
		retry = nil
		if err := w.take(ctx, latest); err != nil && ctx.Err() == nil {
			w.log.Error().Err(err).Dur("again_in", pause).Msg("the file is not written")
			retry = time.After(pause)
		}
	}
}

// replaceNews puts c in the place of what has not been taken yet. There is one sender.
func replaceNews(news chan tokens.Change, c tokens.Change) {
	select {
	case <-news:
	default:
	}
	news <- c
}

// take brings the file to where the credential stands.
func (w *writer) take(ctx context.Context, c tokens.Change) error {
	if c.Err != nil {
		w.log.Warn().Err(c.Err).Msg("there is no newer token; the file keeps the last one")
	}
	if c.Token.AccessToken.IsZero() {
		return nil
	}
	return w.bring(ctx, c.Token)
}

// bring writes a token into the file unless a newer one is there, and has what follows a change follow.
func (w *writer) bring(ctx context.Context, t tokens.Token) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if older(t, w.newest) {
		return nil
	}
	content, err := w.file.render(t)
	if err != nil {
		return err
	}
	changed, err := replaceFile(w.file.Path, content)
	if err != nil {
		return err
	}
	if w.newest = t; !changed {
		return nil
	}
	w.log.Info().Uint64("version", t.Version).Msg("the file has a new token")
	if err := w.file.follow(ctx, t.AccessToken, w.log); err != nil {
		w.log.Error().Err(err).Msg("what should follow the change has failed; it is tried with the next one")
	}
	return nil
}

// older reports whether t was followed by u.
func older(t, u tokens.Token) bool {
	return t.Generation < u.Generation || t.Generation == u.Generation && t.Version < u.Version
}

// replaceFile puts data in the place of a file at once, for its owner alone, and reports whether that changed anything.
func replaceFile(path string, data []byte) (changed bool, err error) {
	if same(path, data) {
		return false, nil
	}
	if err := replace.File(path, data); err != nil {
		return false, fmt.Errorf("replace %s: %w", path, err)
	}
	return true, nil
}

// same reports whether a file has this content already and nobody else can read it.
func same(path string, data []byte) bool {
	info, err := os.Lstat(path)
	if err != nil || info.Mode() != fs.FileMode(0o600) || info.Size() != int64(len(data)) {
		return false
	}
	there, err := os.ReadFile(path)
	return err == nil && bytes.Equal(there, data)
}
