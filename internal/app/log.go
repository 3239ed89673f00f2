package app

import (
	"errors"
	"path/filepath"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/freshetdev/freshet/pkg/refresh"
	"github.com/freshetdev/freshet/pkg/seal"
)

// observe logs a job's end: one line for each refresh at debug, one for each anomaly at warn or error with what to
// do.
func (w *Worker) observe(res refresh.Result) {
	if w.cfg.OnResult != nil {
		w.cfg.OnResult(res)
	}
	w.telemetry.Result(res)
	w.warnSkew(res)
	level, what := w.weigh(res)
	ev := w.log.WithLevel(level)
	if level < w.log.GetLevel() || ev == nil {
		return
	}
	ev.Stringer("credential", res.Credential).Str("class", string(res.Class)).Str("why", string(res.Decision.Why)).
		Uint64("version", res.After).Int64("took_ms", res.Total.Milliseconds())
	if res.Attempt != "" {
		ev.Str("attempt", res.Attempt).Int64("provider_ms", res.Exchange.Milliseconds())
	}
	if res.Attempt != "" && res.After > res.Before && res.Margin != 0 {
		ev.Int64("margin_s", int64(res.Margin/time.Second))
	}
	if res.RetryAfter > 0 {
		ev.Int64("retry_after_s", int64(res.RetryAfter/time.Second))
	}
	if keptAside(res.Err) {
		ev.Str("journal", filepath.Join(w.cfg.StateDir, "journal"))
	}
	if res.Code != "" {
		ev.Str("code", res.Code)
	}
	if res.Detail != "" {
		ev.Str("detail", res.Detail)
	}
	ev.AnErr("error", res.Err).Msg(what)
}

// keptAside reports whether the journal holds something that the store does not.
func keptAside(err error) bool {
	return errors.Is(err, refresh.ErrLateReply) || errors.Is(err, refresh.ErrNoRecord) || errors.Is(err, refresh.ErrUnsettled)
}

// weigh says how loud a result is, and in words what it means and what to do.
func (w *Worker) weigh(res refresh.Result) (zerolog.Level, string) {
	switch {
	case errors.Is(res.Err, refresh.ErrLateReply):
		return zerolog.ErrorLevel, "a reply came after a newer version was committed, and is kept, sealed, in this journal: " +
			"the credential goes on with the newer version; should the provider reject that one, log in again"
	case errors.Is(res.Err, refresh.ErrNoRecord):
		return zerolog.ErrorLevel, "a reply came for a credential whose record has disappeared, and is kept, sealed, in this journal: " +
			"see whether the bucket was emptied or set back; restore it, or log in again"
	case errors.Is(res.Err, refresh.ErrGrantGone):
		return zerolog.WarnLevel, "the grant was replaced or withdrawn during the attempt: what was received is given back; nothing to do"
	case errors.Is(res.Err, refresh.ErrUnsettled):
		return zerolog.ErrorLevel, "the outcome is in the journal and not in the store yet, tried every few seconds: see to NATS, and keep this journal"
	case errors.Is(res.Err, refresh.ErrMalformed):
		return w.once(res.Credential.String() + " " + res.Err.Error()), "the record cannot be read and is passed over: restore it, or delete its key and log in again"
	case errors.Is(res.Err, seal.ErrCorrupt):
		return w.once(res.Credential.String() + " " + res.Err.Error()), "the record's grant does not open and is passed over: restore it, or log in again"
	case errors.Is(res.Err, seal.ErrUnknownKey):
		return w.once(res.Credential.Provider + " lacks a key"), "this worker lacks a key: give it the current keysets; it leaves the lane meanwhile"
	case errors.Is(res.Err, refresh.ErrNotFound):
		return zerolog.InfoLevel, "a job for a credential that is not there is dropped"
	}
	return w.weighClass(res)
}

func (w *Worker) weighClass(res refresh.Result) (zerolog.Level, string) {
	switch res.Class {
	case refresh.ClassOK:
		if res.Err != nil {
			return zerolog.WarnLevel, "refreshed, with the trouble in error: the new token is stored, see to what the error names"
		}
		return zerolog.DebugLevel, "refreshed"
	case refresh.ClassFresh:
		if res.Err != nil {
			return w.loudness(res, zerolog.WarnLevel), "a job ended without an attempt, and the scheduler asks again: see what the error names"
		}
		return zerolog.DebugLevel, "nothing to do"
	case refresh.ClassTransient, refresh.ClassThrottled:
		return w.loudness(res, zerolog.WarnLevel), "not refreshed, tried again by itself, later with each failure: " +
			"freshet show says when; see to the provider, or the way to it, if it lasts"
	case refresh.ClassUnknown:
		return zerolog.WarnLevel, "the outcome is unknown, and the provider's rotation class decides what follows: " +
			"freshet show says when; see that the declared rotation is the provider's"
	case refresh.ClassRejected:
		return zerolog.WarnLevel, "the provider rejects the grant: asked once more, then a person must log in again with freshet login"
	case refresh.ClassMisconfigured:
		return w.loudness(res, zerolog.ErrorLevel), "the provider refuses our client: check client_id, client_secret and auth_style, then apply; no credential is marked"
	default:
		return w.loudness(res, zerolog.ErrorLevel), "this worker cannot do its work and leaves the lane for a few seconds: see to what the error names on this host"
	}
}

// loudness lets one line in ten seconds through for each provider and class, so that an outage does not drown what
// else is said.
func (w *Worker) loudness(res refresh.Result, level zerolog.Level) zerolog.Level {
	if w.quiet.allow(res.Credential.Provider+" "+string(res.Class), quietFor, time.Now()) {
		return level
	}
	return zerolog.DebugLevel
}

// once lets one line an hour through for each kind: a bad record stays due, and every job for it finds the same.
func (w *Worker) once(kind string) zerolog.Level {
	if w.quiet.allow(kind, quietAbout, time.Now()) {
		return zerolog.ErrorLevel
	}
	return zerolog.DebugLevel
}

const (
	// quietFor is how long a line of the same kind stays at debug.
	quietFor = 10 * time.Second
	// quietAbout is the same for a line about what only a person can mend.
	quietAbout = time.Hour
	// maxKinds bounds the memory of a limiter. What it forgets is only said once more.
	maxKinds = 10_000
)

// limiter remembers when a kind of line was last let through.
type limiter struct {
	mu   sync.Mutex
	last map[string]time.Time
}

func (l *limiter) allow(kind string, quiet time.Duration, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if last, ok := l.last[kind]; ok && now.Sub(last) < quiet {
		return false
	}
	if l.last == nil || len(l.last) >= maxKinds {
		l.last = make(map[string]time.Time)
	}
	l.last[kind] = now
	return true
}
