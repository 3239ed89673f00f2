package exchanger

import (
	"cmp"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/freshetdev/freshet/internal/journal"
	"github.com/freshetdev/freshet/pkg/refresh"
)

// The entries of the journal of intents: what an id begins with says what it is. An outcome's id is the attempt's.
const (
	storeID      = "store"
	intentPrefix = "intent/"
)

// intent says that a byte of an attempt may be sent from here on.
type intent struct {
	Ticket   refresh.Ticket `json:"ticket"`
	Deadline moment         `json:"deadline"`
	At       time.Time      `json:"at"`
}

// keepMarks is how long the journal keeps acknowledged intents if nobody retires them, which expire does much sooner.
const keepMarks = 24 * time.Hour

// store is the journal of intents and that of outcomes, apart because outcomes are large and soon gone, intents small and long
// kept. An intent is pending until its outcome was acknowledged, then it is marked as committed: so an intent without an
// outcome is not taken for one that was cut short.
type store struct {
	intents, replies *journal.Journal

	id      string
	damaged bool // found by open: some of what was journalled may be lost
}

// openingName is a file that is there from before the journals are opened until the store has its id. Damage is mended, and told, as
// a journal opens; who finds the file was killed, or failed, in between, and the damage would be known to nobody any more.
const openingName = "opening"

// openStore takes the state directory for this process. Where its journal was damaged, an intent may be lost: the store
// then gets a new id, and requests that belong to the old one are refused. So does a store whose last opening was cut short.
func openStore(cfg Config) (_ *store, err error) {
	var opened, damaged atomic.Bool
	onError := func(err error) {
		if !opened.Load() {
			damaged.Store(true)
		}
		cfg.OnError(err)
	}
	s := &store{}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	cut, err := beginOpening(cfg.StateDir)
	if err != nil {
		return nil, err
	}
	s.intents, err = journal.Open(filepath.Join(cfg.StateDir, "intents"), journal.Config{MaxBytes: cfg.MaxBytes, KeepFor: keepMarks, OnError: onError})
	if err != nil {
		return nil, err
	}
	s.replies, err = journal.Open(filepath.Join(cfg.StateDir, "replies"), journal.Config{MaxBytes: cfg.MaxBytes, OnError: onError})
	if err != nil {
		return nil, err
	}
	opened.Store(true)
	s.damaged = damaged.Load() || cut
	if err := s.identify(s.damaged); err != nil {
		return nil, err
	}
	return s, os.Remove(filepath.Join(cfg.StateDir, openingName))
}

// beginOpening leaves the file that says that the journals are being opened, and reports whether an earlier one is there.
func beginOpening(dir string) (cut bool, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return false, fmt.Errorf("create state directory: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, openingName), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("open state directory: %w", err)
	}
	return false, f.Close()
}

func (s *store) close() (err error) {
	for _, j := range []*journal.Journal{s.intents, s.replies} {
		if j != nil {
			err = errors.Join(err, j.Close())
		}
	}
	return err
}

// writable is nil when an intent and its outcome can be expected to be journalled.
func (s *store) writable() error { return cmp.Or(s.intents.Writable(), s.replies.Writable()) }

// identify finds the store's id, or draws one.
func (s *store) identify(anew bool) error {
	for _, e := range s.intents.Pending() {
		if e.ID == storeID && !anew {
			s.id = string(e.Data)
			return nil
		}
	}
	s.id = rand.Text()
	if err := retire(s.intents, storeID); err != nil {
		return err
	}
	return s.intents.Append(journal.Entry{ID: storeID, Data: []byte(s.id)})
}

// intend journals that an attempt may be sent.
func (s *store) intend(c *call) error {
	data, err := json.Marshal(intent{Ticket: c.Ticket, Deadline: c.Deadline, At: time.Now()})
	if err != nil {
		return fmt.Errorf("journal intent of attempt %s: %w", c.Ticket.Attempt, err)
	}
	return s.intents.Append(journal.Entry{ID: intentPrefix + c.Ticket.Attempt, Key: c.Ticket.Key, Data: data})
}

// reply journals a sealed outcome.
func (s *store) reply(e refresh.Entry) error {
	return s.replies.Append(journal.Entry{ID: e.ID, Key: e.Key, Data: e.Data})
}

// acknowledge forgets an outcome; the intent stays, marked. The order matters to whoever is killed in between.
func (s *store) acknowledge(id string) error {
	if err := s.intents.Committed(intentPrefix+id, 1); err != nil && !errors.Is(err, journal.ErrUnknown) {
		return err
	}
	return retire(s.replies, id)
}

// forget forgets an attempt.
func (s *store) forget(id string) error { return retire(s.intents, intentPrefix+id) }

func retire(j *journal.Journal, id string) error {
	if err := j.Retire(id); err != nil && !errors.Is(err, journal.ErrUnknown) {
		return err
	}
	return nil
}

// remembered is what an earlier life left.
type remembered struct {
	intents map[string]intent        // by attempt
	done    map[string]bool          // those whose outcome was acknowledged
	replies map[string]refresh.Entry // by attempt
}

// recall reads what the journals hold.
func (s *store) recall() (remembered, error) {
	r := remembered{intents: make(map[string]intent), done: make(map[string]bool), replies: make(map[string]refresh.Entry)}
	for _, e := range s.replies.Pending() {
		r.replies[e.ID] = refresh.Entry{ID: e.ID, Key: e.Key, Data: e.Data}
	}
	kept := s.intents.Stats().Recent
	entries := s.intents.Pending()
	pending := len(entries)
	entries = slices.AppendSeq(entries, s.intents.Recent())
	if got := len(entries) - pending; got != kept {
		return r, fmt.Errorf("read the journal: only %d of %d marked intents can be read; an attempt might be sent twice: check the disk", got, kept)
	}
	for _, e := range entries {
		id, ok := strings.CutPrefix(e.ID, intentPrefix)
		if !ok {
			continue
		}
		var i intent
		if err := json.Unmarshal(e.Data, &i); err != nil {
			return r, fmt.Errorf("read intent of attempt %s: %w; a newer version may have written it", id, err)
		}
		r.intents[id], r.done[id] = i, !e.Committed.IsZero()
	}
	return r, nil
}
