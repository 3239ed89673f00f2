package app

import (
	"errors"
	"sync"
	"time"
)

// recheck is what a worker owes each connection to NATS: a server that lost power may have forgotten what it acknowledged, so
// every outcome that the journal still keeps is held against its record before this worker presents anything.
type recheck struct {
	wanted chan struct{} // readable while somebody waits

	mu    sync.Mutex
	done  bool
	epoch uint64        // the connection that was rechecked
	ended chan struct{} // closed at the next end
}

func newRecheck() *recheck {
	return &recheck{wanted: make(chan struct{}, 1), ended: make(chan struct{})}
}

// is reports whether the connection was rechecked.
func (r *recheck) is(epoch uint64) bool {
	ok, _ := r.look(epoch)
	return ok
}

func (r *recheck) look(epoch uint64) (ok bool, ended <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.done && r.epoch == epoch, r.ended
}

// finish says that a connection was rechecked.
func (r *recheck) finish(epoch uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.done, r.epoch = true, epoch
	close(r.ended)
	r.ended = make(chan struct{})
}

var errRecheck = errors.New("outcomes that are committed are being compared with their records, since the connection to NATS is new")

// await waits until the present connection was rechecked, at most so long.
func (r *recheck) await(epoch func() uint64, within time.Duration) error {
	ok, ended := r.look(epoch())
	if ok {
		return nil
	}
	late := time.NewTimer(within)
	defer late.Stop()
	for {
		select {
		case r.wanted <- struct{}{}:
		default: // somebody has said so
		}
		select {
		case <-ended:
		case <-late.C:
			return errRecheck
		}
		if ok, ended = r.look(epoch()); ok {
			return nil
		}
	}
}
