package exchanger

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"
)

func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/attempts/{id}", s.serveAttempt)
	mux.HandleFunc("GET /v1/attempts/{id}", s.serveOutcome)
	mux.HandleFunc("GET /v1/held", s.serveHeld)
	mux.HandleFunc("POST /v1/acknowledged", s.serveAcknowledged)
	mux.HandleFunc("GET /v1/status", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, http.StatusOK, s.status()) })
	return mux
}

func (s *Server) status() status {
	flying, heldNow, stopping := s.table.counts()
	st := status{Store: s.store.id, InFlight: flying, Held: heldNow}
	var err error
	if st.Proof, err = newProof(s.cfg.Keys, s.store.id); err == nil {
		err = s.store.writable()
	}
	if err != nil {
		st.Refusing = err.Error()
	}
	if stopping {
		st.Refusing = "the exchanger is stopping"
	}
	return st
}

// serveAttempt answers with the attempt's one outcome when it is there. A client that goes away ends nothing.
func (s *Server) serveAttempt(w http.ResponseWriter, r *http.Request) {
	c := new(call)
	if err := readJSON(w, r, c); err != nil {
		writeRefusal(w, refuse(refusedBad, err.Error()))
		return
	}
	if err := c.validate(r.PathValue("id")); err != nil {
		writeRefusal(w, refuse(refusedBad, err.Error()))
		return
	}
	a, refused := s.take(c)
	if refused != nil {
		writeRefusal(w, refused)
		return
	}
	defer s.table.leave(a)
	select {
	case <-r.Context().Done():
		return
	case <-a.done:
	}
	h, refused := s.table.result(a)
	if refused != nil {
		writeRefusal(w, refused)
		return
	}
	writeJSON(w, http.StatusOK, h)
}

// serveOutcome answers with what has become of an attempt so far.
func (s *Server) serveOutcome(w http.ResponseWriter, r *http.Request) {
	h, refused := s.table.find(r.PathValue("id"))
	if refused != nil {
		writeRefusal(w, refused)
		return
	}
	writeJSON(w, http.StatusOK, h)
}

// serveHeld answers with outcomes that nobody waits for, as soon as there are any.
func (s *Server) serveHeld(w http.ResponseWriter, r *http.Request) {
	wait, err := time.ParseDuration(r.FormValue("wait"))
	if err != nil || wait < 0 || wait > maxWait {
		writeRefusal(w, refuse(refusedBad, "wait must be a duration of at most "+maxWait.String()))
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), wait)
	defer cancel()
	writeJSON(w, http.StatusOK, heldList{Held: s.await(ctx), Status: s.status()})
}

// await looks again when there is news, and once per Linger for those whose time of quiet is over.
func (s *Server) await(ctx context.Context) []held {
	tick := time.NewTicker(s.cfg.Linger)
	defer tick.Stop()
	for {
		found, news := s.table.offer()
		if _, _, stopping := s.table.counts(); len(found) > 0 || stopping {
			return found
		}
		select {
		case <-ctx.Done():
			return nil
		case <-news:
		case <-tick.C:
		}
	}
}

func (s *Server) serveAcknowledged(w http.ResponseWriter, r *http.Request) {
	var ack acknowledgement
	if err := readJSON(w, r, &ack); err != nil {
		writeRefusal(w, refuse(refusedBad, err.Error()))
		return
	}
	for _, id := range s.table.acknowledge(ack.IDs) {
		if err := s.store.acknowledge(id); err != nil {
			s.cfg.OnError(err) // after a restart it is offered again
		}
	}
	w.WriteHeader(http.StatusNoContent)
}

// readJSON reads a body. The error is in words of its own: a decoder's may quote what it read.
func readJSON(w http.ResponseWriter, r *http.Request, to any) error {
	err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxCall)).Decode(to)
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return errors.New("the body is too large")
	case err != nil:
		return errors.New("the body is not the JSON that is wanted here")
	}
	return nil
}

func writeRefusal(w http.ResponseWriter, r *refusal) { writeJSON(w, r.httpStatus(), r) }

// writeJSON answers. A client that is gone needs no answer, so nobody looks at the error.
func writeJSON(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(v)
}
