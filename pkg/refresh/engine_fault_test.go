package refresh_test

import (
	"context"
	"errors"
	"runtime"
	"sync"

	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/refresh"
)

// errNoAnswer is what a caller hears when nobody answers: what it asked for is done, or it is not.
var errNoAnswer = errors.New("no answer")

// step is what becomes of one call: do carries it out.
type step func(do func() error) error

// pass lets a call through.
func pass(do func() error) error { return do() }

// lost: the call fails, and nothing is done.
func lost(func() error) error { return errNoAnswer }

// deaf: the call is carried out, and its caller does not hear of it.
func deaf(do func() error) error {
	if err := do(); err != nil {
		return err
	}
	return errNoAnswer
}

// die ends the calling goroutine, as a kill at this instruction would end its process.
func die(func() error) error {
	runtime.Goexit()
	panic("unreachable")
}

// deadOnceDone dies when the call has been carried out.
func deadOnceDone(do func() error) error {
	_ = do()
	return die(nil)
}

// after lets something else happen first.
func after(first func()) step {
	return func(do func() error) error {
		first()
		return do()
	}
}

// says answers with an error, and nothing is done.
func says(err error) step { return func(func() error) error { return err } }

// script is what becomes of the calls of one kind. mu guards all of it.
type script struct {
	mu    sync.Mutex
	next  []step // of the coming calls
	rest  step   // of those after them; nil: let through
	calls int
}

// set replaces what is to come.
func (s *script) set(rest step, next ...step) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next, s.rest = next, rest
}

func (s *script) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls
}

func (s *script) run(do func() error) error {
	s.mu.Lock()
	s.calls++
	now := s.rest
	if len(s.next) > 0 {
		now, s.next = s.next[0], s.next[1:]
	}
	s.mu.Unlock()
	if now == nil {
		return do()
	}
	return now(do)
}

// faultyStore is a store whose calls go wrong as the scripts say.
type faultyStore struct {
	refresh.Store
	gets, puts script
}

func (s *faultyStore) Get(ctx context.Context, c events.Credential) (found refresh.Stored, err error) {
	err = s.gets.run(func() (err error) {
		found, err = s.Store.Get(ctx, c)
		return err
	})
	return found, err
}

func (s *faultyStore) Put(ctx context.Context, w refresh.Write) (revision uint64, err error) {
	err = s.puts.run(func() (err error) {
		revision, err = s.Store.Put(ctx, w)
		return err
	})
	if err != nil {
		return 0, err
	}
	return revision, nil
}

// faultyTeller is a teller whose calls go wrong as the script says; it remembers the ids.
type faultyTeller struct {
	refresh.Teller
	tells script
	mu    sync.Mutex
	ids   []string
}

func (t *faultyTeller) Publish(ctx context.Context, e events.Event) error {
	t.mu.Lock()
	t.ids = append(t.ids, e.ID)
	t.mu.Unlock()
	return t.tells.run(func() error { return t.Teller.Publish(ctx, e) })
}

// faultyJournal is a journal whose calls go wrong as the scripts say.
type faultyJournal struct {
	refresh.Journal
	appends, commits script
}

func (j *faultyJournal) Append(e refresh.Entry) error {
	return j.appends.run(func() error { return j.Journal.Append(e) })
}

func (j *faultyJournal) Committed(id string, revision uint64) error {
	return j.commits.run(func() error { return j.Journal.Committed(id, revision) })
}
