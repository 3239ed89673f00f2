package refresh_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/freshetdev/freshet/internal/authserver"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
)

// asks sets up a strict provider that answers for refresh tokens, and a worker that asks it.
func (w *world) asks() *worker {
	w.apply("asks", authserver.Config{IntrospectRefresh: true}, func(d *provider.Definition) {
		d.IntrospectURL = strings.TrimSuffix(d.TokenURL, "/token") + "/introspect"
	})
	asker := refresh.NewAsker(w.dial)
	w.stops = append(w.stops, asker.CloseIdle)
	return w.worker("w1", func(c *refresh.Config) { c.Active, c.Revoke = asker.Active, asker.Revoke })
}

// A request that was lost on its way to a strict provider: the provider calls the refresh token active, so it is presented.
func TestAnActiveTokenOfUnknownFateIsPresented(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		k := w.asks()
		c := w.enrol("asks/alice")
		w.must(w.servers["asks"].SetFaults([]authserver.Fault{{Kind: authserver.FaultDrop, Count: 1}}))
		wantResult(t, w.do(k, c), refresh.VerdictAck, refresh.ClassUnknown)
		r := w.wantRecord(c, refresh.StateUncertain, 1)
		quarantine := w.providers["asks"].Timing().Quarantine
		if wait := time.Until(r.RefreshAt); wait < quarantine || r.RefreshAt.After(refresh.LastTryAt(r.IssuedAt, r.ExpiresAt)) {
			t.Errorf("asked after %v: the attempt may still be under way", wait)
		}
		if res := w.do(k, c); res.Decision.Why != refresh.WhyBackoff {
			t.Errorf("at once: %s because %s", res.Decision.Action, res.Decision.Why)
		}
		time.Sleep(time.Until(r.RefreshAt))
		res := w.do(k, c)
		wantResult(t, res, refresh.VerdictAck, refresh.ClassOK)
		if res.Decision.Why != refresh.WhyActive {
			t.Errorf("because %s", res.Decision.Why)
		}
		w.wantRecord(c, refresh.StateActive, 2)
		w.wantJudge("asks", judge{requests: 2, rotations: 1})
		w.wantHeld(c)
	})
}

// An answer that was lost on its way back: the provider does not call the token active, so nothing is presented before
// nothing is left to lose, and nobody is marked by that word.
func TestASpentTokenIsNotPresented(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		k := w.asks()
		c := w.enrol("asks/alice")
		w.must(w.servers["asks"].SetFaults([]authserver.Fault{{Kind: authserver.FaultDrop, After: true, Count: 1}}))
		wantResult(t, w.do(k, c), refresh.VerdictAck, refresh.ClassUnknown)
		time.Sleep(time.Until(w.wantRecord(c, refresh.StateUncertain, 1).RefreshAt))
		wantResult(t, w.do(k, c), refresh.VerdictAck, refresh.ClassUnknown)
		r := w.wantRecord(c, refresh.StateUncertain, 1)
		if r.Doubt == nil || !r.Doubt.Inactive || !r.RefreshAt.Equal(refresh.LastTryAt(r.IssuedAt, r.ExpiresAt)) {
			t.Errorf("doubt %+v, next at %v", r.Doubt, r.RefreshAt)
		}
		w.wantJudge("asks", judge{requests: 1, rotations: 1})
		time.Sleep(time.Until(r.RefreshAt))
		if res := w.do(k, c); res.Decision.Why != refresh.WhyLastTry {
			t.Errorf("in the end: %s because %s", res.Decision.Action, res.Decision.Why)
		}
	})
}

// A provider that does not answer the question is asked again.
func TestAnInquiryThatFailsIsRepeated(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		k := w.asks()
		c := w.enrol("asks/alice")
		w.must(w.servers["asks"].SetFaults([]authserver.Fault{
			{Kind: authserver.FaultDrop, Count: 1}, {Kind: authserver.FaultStatus, Status: 503, Endpoint: "introspect", Count: 1},
		}))
		wantResult(t, w.do(k, c), refresh.VerdictAck, refresh.ClassUnknown)
		time.Sleep(time.Until(w.wantRecord(c, refresh.StateUncertain, 1).RefreshAt))
		if res := w.do(k, c); res.Err == nil || errors.Is(res.Err, refresh.ErrUnsettled) {
			t.Errorf("the failed inquiry: %v", res.Err)
		}
		r := w.wantRecord(c, refresh.StateUncertain, 1)
		if r.Doubt == nil || r.Doubt.Inactive {
			t.Errorf("doubt %+v", r.Doubt)
		}
		time.Sleep(time.Until(r.RefreshAt))
		wantResult(t, w.do(k, c), refresh.VerdictAck, refresh.ClassOK)
		w.wantJudge("asks", judge{requests: 2, rotations: 1})
	})
}
