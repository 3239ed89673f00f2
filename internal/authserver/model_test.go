package authserver_test

import (
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/freshetdev/freshet/internal/authserver"
	"pgregory.net/rapid"
)

// modelToken is a refresh token and the access token that came with it, in a
// model that forgets nothing.
type modelToken struct {
	refresh, access string
	parent          int // -1: none
	born, spent     time.Time
	childUsed       bool
	refused         bool
}

// model is a grant as the rotation classes define it.
type model struct {
	class                       authserver.Rotation
	tokens                      []modelToken
	dead                        bool
	reused, replayed, lastTries int64
}

const (
	modelGrace    = 30 * time.Second
	modelLifetime = 10 * time.Minute
	modelLead     = time.Minute // a tenth
)

func (m *model) add(refresh, access string, parent int) {
	m.tokens = append(m.tokens, modelToken{refresh: refresh, access: access, parent: parent, born: time.Now()})
}

func (m *model) allowed(t modelToken) bool {
	switch {
	case t.spent.IsZero() || m.class == authserver.RotationOverlap:
		return true
	case m.class == authserver.RotationGrace:
		return time.Since(t.spent) < modelGrace
	case m.class == authserver.RotationUntilUsed:
		return !t.childUsed
	}
	return false
}

func (m *model) used(i int) {
	if parent := m.tokens[i].parent; parent >= 0 {
		m.tokens[parent].childUsed = true
	}
}

// present is the model's side of a refresh; it tells whether it succeeds.
func (m *model) present(i int) bool {
	t := &m.tokens[i]
	if !m.allowed(*t) {
		if t.refused || time.Since(t.born) >= modelLifetime-modelLead {
			m.lastTries++
		} else {
			m.replayed++
		}
		m.dead = true
		return false
	}
	if m.dead {
		return false
	}
	if !t.spent.IsZero() {
		m.reused++
	} else {
		t.spent = time.Now()
	}
	m.used(i)
	return true
}

// useAccess is the model's side of using an access token.
func (m *model) useAccess(i int) bool {
	if m.dead || time.Since(m.tokens[i].born) >= modelLifetime {
		m.tokens[i].refused = true
		return false
	}
	m.used(i)
	return true
}

// refresh does it at the server and in the model, and says where they differ.
func (m *model) refresh(t *testing.T, s *authserver.Server, i int) string {
	want := m.present(i)
	r := refresh(t, s, m.tokens[i].refresh)
	if got := r.status == http.StatusOK; got != want {
		return fmt.Sprintf("refresh with token %d: %d %v, model says %v", i, r.status, r.body, want)
	}
	if want {
		m.add(r.str("refresh_token"), r.str("access_token"), i)
	}
	return ""
}

// step is one thing done to a grant.
type step struct {
	do    string // refresh, newest, access or wait
	token int    // modulo the number of tokens
	wait  time.Duration
}

func drawStep(rt *rapid.T) step {
	return step{
		do:    rapid.SampledFrom([]string{"refresh", "newest", "access", "wait"}).Draw(rt, "do"),
		token: rapid.IntRange(0, 15).Draw(rt, "token"),
		wait:  time.Duration(rapid.IntRange(0, 120).Draw(rt, "seconds")) * time.Second,
	}
}

func (m *model) step(t *testing.T, s *authserver.Server, st step) string {
	i := st.token % len(m.tokens)
	switch st.do {
	case "newest":
		return m.refresh(t, s, len(m.tokens)-1)
	case "refresh":
		return m.refresh(t, s, i)
	case "wait":
		time.Sleep(st.wait)
		return ""
	}
	want := m.useAccess(i)
	if got := use(t, s, m.tokens[i].access).status == http.StatusOK; got != want {
		return fmt.Sprintf("use of access token %d: %v, model says %v", i, got, want)
	}
	return ""
}

// run does the steps and says where server and model first differ.
func (m *model) run(t *testing.T, steps []step) string {
	s := authserver.New(authserver.Config{Rotation: m.class, Grace: modelGrace, AccessLifetime: modelLifetime})
	first := issue(t, s, "alice")
	m.add(first.RefreshToken, first.AccessToken, -1)
	for _, st := range steps {
		if len(m.tokens) == 16 { // more would be forgotten
			break
		}
		if differ := m.step(t, s, st); differ != "" {
			return differ
		}
	}
	l := s.Ledger()
	if l.Reused != m.reused || l.Replayed != m.replayed || l.LastTries != m.lastTries || int(l.Rotations) != len(m.tokens)-1 {
		return fmt.Sprintf("ledger: reused %d replayed %d last tries %d rotations %d; model: %d, %d, %d, %d",
			l.Reused, l.Replayed, l.LastTries, l.Rotations, m.reused, m.replayed, m.lastTries, len(m.tokens)-1)
	}
	return ""
}

func TestServerAgreesWithAModelThatForgetsNothing(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		m := &model{class: rapid.SampledFrom(authserver.Rotations()[1:]).Draw(rt, "class")}
		steps := rapid.SliceOfN(rapid.Custom(drawStep), 1, 60).Draw(rt, "steps")
		differ := ""
		synctest.Test(t, func(t *testing.T) { differ = m.run(t, steps) })
		if differ != "" {
			rt.Fatal(differ)
		}
	})
}
