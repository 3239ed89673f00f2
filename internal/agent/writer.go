package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/freshetdev/freshet/internal/audit"
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
	reads  *audit.Reads // nil: nobody counts
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
	changed := !same(w.file.Path, content)
	if changed {
		if err := errors.Join(w.owe(), replaceFile(w.file.Path, content)); err != nil {
			return err
		}
		w.reads.Add(audit.Given{Credential: t.Credential, Token: t.AccessToken, Via: "file", Caller: audit.Caller{Name: w.file.Path}})
		w.log.Info().Uint64("version", t.Version).Msg("the file has a new token")
		w.clean()
	}
	if w.newest = t; !changed && !w.owes() {
		return nil
	}
	err = w.file.follow(ctx, t.AccessToken, w.log)
	if err != nil && ctx.Err() != nil {
		return nil // we are ending, and still owe it
	}
	if err != nil {
		w.log.Error().Err(err).Msg("what should follow the change has failed; it is tried with the next one")
	}
	return w.settle()
}

// clean removes what agents that were killed while they wrote have left beside the file.
func (w *writer) clean() {
	if err := replace.Clean(w.file.Path, time.Now()); err != nil {
		w.log.Warn().Err(err).Msg("temporary files beside the file, which have tokens in them, are not removed")
	}
}

// debt is the file that stands beside one with a new token until what follows the change has been done.
func (f File) debt() string {
	return filepath.Join(filepath.Dir(f.Path), ".freshet-"+filepath.Base(f.Path)+".due")
}

// owe notes, before a change, that something has to follow it, so that it does also when we end in between.
func (w *writer) owe() error {
	if !w.file.followed() || w.owes() {
		return nil
	}
	// O_EXCL follows no link: whoever else may write into the directory could lay one to a file of ours, which would be emptied.
	f, err := os.OpenFile(w.file.debt(), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("note what is due after a change of %s: %w", w.file.Path, err)
	}
	return f.Close()
}

// owes reports whether a change is there that nothing has followed yet.
func (w *writer) owes() bool {
	_, err := os.Lstat(w.file.debt())
	return w.file.followed() && err == nil
}

func (w *writer) settle() error {
	if err := os.Remove(w.file.debt()); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// older reports whether t was followed by u.
func older(t, u tokens.Token) bool {
	return t.Generation < u.Generation || t.Generation == u.Generation && t.Version < u.Version
}

// replaceFile puts data in the place of a file at once, for its owner alone.
func replaceFile(path string, data []byte) error {
	if err := replace.File(path, data); err != nil {
		return fmt.Errorf("replace %s: %w", path, err)
	}
	return nil
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
