package authserver

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"time"
)

// cut says how much of a reply reaches the client.
type cut int

const (
	cutNothing cut = iota // all of it
	cutHalf               // the headers and half of the body
	cutAll                // nothing: the connection closes
)

// reply is an answer that was not sent yet.
type reply struct {
	status int
	body   []byte
	kind   string   // content type; empty: JSON
	header []string // name, value, name, value
	code   string   // the OAuth error it reports, if any
	cut    cut
	faulty bool    // a fault made it or damaged it
	family *family // the family whose rotation this reply tells
	fresh  bool    // it carries the tokens of a refresh
}

// answer is a reply that carries v as JSON.
func answer(v any) *reply {
	body, err := json.Marshal(v)
	if err != nil {
		panic("authserver: encode reply: " + err.Error()) // only plain data is passed
	}
	return &reply{status: http.StatusOK, body: body}
}

// refuse is an error reply in the form of RFC 6749 section 5.2. RFC 9110 asks
// for a challenge in every 401.
func refuse(status int, code, text string) *reply {
	rep := answer(struct {
		Error       string `json:"error,omitempty"`
		Description string `json:"error_description,omitempty"`
	}{code, text})
	rep.status, rep.code = status, code
	if status == http.StatusUnauthorized {
		rep.header = []string{"WWW-Authenticate", `Basic realm="authserver", charset="UTF-8"`}
	}
	return rep
}

// notAllowed is the error of a request that should have used the method.
func notAllowed(method string) *reply {
	rep := badRequest("use " + method)
	rep.status, rep.header = http.StatusMethodNotAllowed, []string{"Allow", method}
	return rep
}

// badRequest is the error of a request that has the wrong form.
func badRequest(text string) *reply {
	return refuse(http.StatusBadRequest, "invalid_request", text)
}

// badGrant is the error of a code or refresh token that is not good (any more).
func badGrant(text string) *reply {
	return refuse(http.StatusBadRequest, "invalid_grant", text)
}

// send writes a reply, or what a fault left of it.
func (s *Server) send(w http.ResponseWriter, rep *reply) {
	if rep.code != "" && !rep.faulty {
		s.counts.refused(rep.code)
	}
	if rep.cut == cutAll {
		panic(http.ErrAbortHandler) // net/http closes the connection
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	if rep.kind != "" {
		h.Set("Content-Type", rep.kind)
	}
	h.Set("Cache-Control", "no-store")
	h.Set("Pragma", "no-cache")
	h.Set("Content-Length", strconv.Itoa(len(rep.body)))
	for i := 0; i+1 < len(rep.header); i += 2 {
		h.Set(rep.header[i], rep.header[i+1])
	}
	w.WriteHeader(rep.status)
	if rep.cut == cutHalf {
		w.Write(rep.body[:len(rep.body)/2])
		_ = http.NewResponseController(w).Flush() // the answer is broken off next
		panic(http.ErrAbortHandler)
	}
	w.Write(rep.body) // an error means that nobody listens any more
}

// wait waits until d has passed or the client has gone.
func wait(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
