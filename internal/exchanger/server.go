package exchanger

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/gofrs/flock"

	"github.com/freshetdev/freshet/internal/journal"
	"github.com/freshetdev/freshet/pkg/refresh"
)

const (
	// expireEvery is how often ids are forgotten.
	expireEvery = 5 * time.Second
	// ackWithin is how long a stopping exchanger waits for acknowledgements of its last outcomes.
	ackWithin = 250 * time.Millisecond
	// farewell is how long it waits for its last answers to go out.
	farewell = time.Second
)

// Server is an exchanger at work. Use Open.
type Server struct {
	cfg      Config
	clock    clock
	store    *store
	table    *table
	listener net.Listener
	lock     *flock.Flock
	flights  sync.WaitGroup
}

// Open takes the state directory and the socket, and recalls what an earlier life left. The caller must Run the server,
// which releases both. Errors wrap ErrInUse where another process has either.
func Open(ctx context.Context, cfg Config) (*Server, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	st, err := openStore(cfg)
	if errors.Is(err, journal.ErrLocked) {
		return nil, fmt.Errorf("open exchanger: %w: %w", ErrInUse, err)
	}
	if err != nil {
		return nil, fmt.Errorf("open exchanger: %w", err)
	}
	s := &Server{cfg: cfg, clock: newClock(), store: st, table: newTable(cfg.Linger)}
	if err := s.prepare(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open exchanger: %w", err), st.close())
	}
	return s, nil
}

func (s *Server) prepare(ctx context.Context) (err error) {
	if err := s.recall(); err != nil {
		return err
	}
	s.listener, s.lock, err = listen(ctx, s.cfg.Socket)
	return err
}

// recall takes over what an earlier life left.
func (s *Server) recall() error {
	left, err := s.store.recall()
	if err != nil {
		return err
	}
	now := s.clock.now()
	for id, i := range left.intents {
		if err := s.recallOutcome(left, id, i, now); err != nil {
			return err
		}
		s.table.keep(id, i.Ticket.Key, left.replies[id].Data, i.Deadline.plus(keepKnown))
		delete(left.replies, id)
	}
	for id, e := range left.replies {
		s.table.keep(id, e.Key, e.Data, now.plus(maxAhead))
	}
	return nil
}

// recallOutcome gives an attempt that was cut short the only outcome that can be told. After a loss of power, or damage,
// the outcome may have been here and acknowledged: then nothing is told, the claim's end will tell.
func (s *Server) recallOutcome(left remembered, id string, i intent, now moment) error {
	_, have := left.replies[id]
	if have || left.done[id] || s.store.damaged || i.Deadline.BootID != now.BootID {
		return nil
	}
	entry, err := s.cfg.Keys.SealOutcome(i.Ticket, cutShort(i))
	if err != nil {
		return err
	}
	if err := s.store.reply(entry); err != nil {
		s.cfg.OnError(err) // it is made again at the next start
	}
	left.replies[id] = entry
	return nil
}

// cutShort is the outcome of an attempt that this process was killed in.
func cutShort(i intent) refresh.Outcome {
	return refresh.Outcome{
		Phase: refresh.PhaseSent, StartedAt: i.At, EndedAt: time.Now(),
		Err: "the exchanger was killed after it had taken the request",
	}
}

// Held is the number of outcomes that are not acknowledged.
func (s *Server) Held() int {
	_, n, _ := s.table.counts()
	return n
}

// InFlight is the number of attempts without an outcome.
func (s *Server) InFlight() int {
	n, _, _ := s.table.counts()
	return n
}

// Writable is nil when outcomes can be expected to be kept.
func (s *Server) Writable() error { return s.store.writable() }

// Run serves until ctx ends. Then it takes no new attempt, finishes what is in flight, which the deadlines bound, and
// releases socket and state directory. Outcomes that nobody acknowledged stay in the journal.
func (s *Server) Run(ctx context.Context) (err error) {
	defer func() { err = errors.Join(err, s.store.close(), s.lock.Close()) }()
	srv := &http.Server{
		Handler: s.routes(), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10,
		ErrorLog: log.New(io.Discard, "", 0), // what net/http prints may quote a request
	}
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(s.listener) }()
	err = s.tend(ctx, ended)
	s.table.stop()
	s.flights.Wait()
	s.awaitAcknowledgements()
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewell)
	defer cancel()
	if srv.Shutdown(last) != nil {
		_ = srv.Close() // a client that does not read; its outcome is in the journal
	}
	if err == nil {
		<-ended // it was told to
	}
	return err
}

// tend forgets old ids until ctx ends or the socket fails.
func (s *Server) tend(ctx context.Context, ended <-chan error) error {
	tick := time.NewTicker(expireEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-ended:
			return fmt.Errorf("serve %s: %w", s.cfg.Socket, err)
		case <-tick.C:
			s.expire(s.clock.now())
		}
	}
}

func (s *Server) expire(now moment) {
	for _, id := range s.table.expire(now) {
		if err := s.store.forget(id); err != nil {
			s.cfg.OnError(err)
			return // after a restart it is forgotten again
		}
	}
}

// awaitAcknowledgements gives workers that have just got an outcome the time to say so.
func (s *Server) awaitAcknowledgements() {
	limit := time.NewTimer(ackWithin)
	defer limit.Stop()
	for {
		empty, news := s.table.empty()
		if empty {
			return
		}
		select {
		case <-news:
		case <-limit.C:
			return
		}
	}
}
