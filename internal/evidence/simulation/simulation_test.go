// Package simulation_test lets chance do its worst to a small fleet, in virtual time, and judges after every step.
//
// The engines, their HTTP and the authorization server are the real ones. The store is in memory (TestStoresAgree runs one
// test on it and on the bucket), and queue, scheduler and journals are the simplest that keep the contract. What happens is
// drawn by rapid: a failure prints its seed and the shortest story that shows it.
//
//	go test ./internal/evidence/simulation                                   500 seeds
//	go test ./internal/evidence/simulation -run TestSimulation -rapid.checks=2000   10,000: so many for each rotation class
//	go test ./internal/evidence/simulation -run TestSimulation/strict -rapid.seed=N  a failing seed again
package simulation_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/freshetdev/freshet/internal/authserver"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
	"github.com/freshetdev/freshet/pkg/seal"
)

// TestSimulation lets chance do its worst to a small fleet, class by class, and judges after every step. A failure prints
// its seed and the shortest story that shows it.
func TestSimulation(t *testing.T) {
	t.Parallel()
	r := newRings(t)
	for _, class := range authserver.Rotations() {
		t.Run(string(class), func(t *testing.T) {
			t.Parallel()
			all := new(tally)
			rapid.Check(t, func(rt *rapid.T) {
				cfg := worldConfig{
					Class:    class,
					Life:     rapid.SampledFrom([]time.Duration{2 * time.Minute, 10 * time.Minute, time.Hour}).Draw(rt, "lifetime"),
					Accounts: rapid.IntRange(1, 2).Draw(rt, "accounts"),
					Hosts:    rapid.IntRange(2, 3).Draw(rt, "hosts"),
					Seed:     uint64(rapid.Uint32().Draw(rt, "seed")),
				}
				rapid.SyncTest(rt, func(rt *rapid.T) { simulate(rt, cfg, r, all) })
			})
			t.Logf("%-10s   %s", class, all)
		})
	}
}

func simulate(rt *rapid.T, cfg worldConfig, r rings, all *tally) {
	w := newWorld(cfg, r)
	rt.Cleanup(w.close)
	m := &machine{world: w}
	for i := range cfg.Accounts {
		c := events.Credential{Provider: "acme", Account: fmt.Sprintf("user-%d", i+1)}
		m.all = append(m.all, c)
		if err := w.enrol(c); err != nil {
			rt.Fatal(err)
		}
	}
	rt.Repeat(rapid.StateMachineActions(m))
	w.calm()
	m.want(rt, w.judge.inTheEnd())
	all.add(w, m.steps)
}

// calm ends all mishaps and gives everybody time.
func (w *world) calm() {
	_ = w.auth.SetFaults(nil)
	w.mu.Lock()
	w.backAt, w.doubles, w.lostAcks = time.Time{}, 0, 0
	for _, k := range w.workers {
		k.calm()
	}
	w.mu.Unlock()
	for _, s := range w.store.all() {
		if !s.Record.State.Withdrawn() {
			_, _ = w.writer().SetPaused(w.ctx, s.Record.Credential(), nil)
		}
	}
	w.nudge()
	time.Sleep(4*w.cfg.Life + time.Hour)
	w.mu.Lock()
	w.quiet = true // what is under way ends
	w.mu.Unlock()
	time.Sleep(30 * time.Second)
}

func (k *worker) calm() {
	k.mu.Lock()
	defer k.mu.Unlock()
	clear(k.kill)
	clear(k.freeze)
	clear(k.faults)
}

// machine is the state machine: what can happen, one thing at a time, and what must hold after each.
type machine struct {
	*world
	all   []events.Credential
	steps int
}

func (m *machine) want(rt *rapid.T, faults []string) {
	if len(faults) > 0 {
		rt.Logf("what happened:\n%s", strings.Join(m.judge.story, "\n"))
		rt.Fatalf("%s", strings.Join(faults, "\n"))
	}
}

// Check judges; rapid calls it after each step.
func (m *machine) Check(rt *rapid.T) {
	synctest.Wait()
	m.steps++
	m.want(rt, m.judge.soFar())
}

func (m *machine) credential(rt *rapid.T) events.Credential {
	return rapid.SampledFrom(m.all).Draw(rt, "credential")
}

func (m *machine) host(rt *rapid.T) *worker {
	n := rapid.IntRange(1, m.cfg.Hosts).Draw(rt, "host")
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.workers[fmt.Sprintf("w%d", n)]
}

// pass lets time go by: a moment, an attempt, a redelivery, or until something is due.
func (m *machine) pass(rt *rapid.T) {
	d := rapid.SampledFrom([]time.Duration{
		time.Millisecond, 100 * time.Millisecond, 2 * time.Second, 30 * time.Second, time.Minute, m.cfg.Life / 4, m.cfg.Life / 2,
	}).Draw(rt, "then wait")
	time.Sleep(d)
}

// Wait does nothing.
func (m *machine) Wait(rt *rapid.T) { m.pass(rt) }

// WaitUntilDue waits until just about the next refresh.
func (m *machine) WaitUntilDue(rt *rapid.T) {
	s, err := m.store.Get(m.ctx, m.credential(rt))
	if d := time.Until(s.Record.RefreshAt); err == nil && d > 0 {
		time.Sleep(d + rapid.SampledFrom([]time.Duration{0, 10 * time.Millisecond, 150 * time.Millisecond, time.Second}).Draw(rt, "and then"))
	}
}

// Kill makes a worker die at a step, now or later, and come back, with its disk or without.
func (m *machine) Kill(rt *rapid.T) {
	k, step := m.host(rt), rapid.SampledFrom(refresh.Steps()).Draw(rt, "step")
	nth := rapid.IntRange(1, 2).Draw(rt, "nth")
	m.afterlife(rt, k)
	k.mu.Lock()
	k.kill[step] = nth
	k.mu.Unlock()
	m.pass(rt)
}

// afterlife says what comes after a worker's next death.
func (m *machine) afterlife(rt *rapid.T, k *worker) {
	back := rapid.SampledFrom([]time.Duration{time.Second, 20 * time.Second, 2 * time.Minute, m.cfg.Life / 2}).Draw(rt, "back after")
	wiped := rapid.IntRange(0, 9).Draw(rt, "disk") == 9
	k.mu.Lock()
	defer k.mu.Unlock()
	k.back, k.wiped = back, wiped
}

// Freeze makes a worker stand still at a step, for a moment or beyond its claim.
func (m *machine) Freeze(rt *rapid.T) {
	k, step := m.host(rt), rapid.SampledFrom(refresh.Steps()).Draw(rt, "step")
	d := rapid.SampledFrom([]time.Duration{time.Second, 9 * time.Second, 15 * time.Second, 40 * time.Second, 3 * time.Minute, m.cfg.Life}).Draw(rt, "for")
	k.mu.Lock()
	k.freeze[step] = d
	k.mu.Unlock()
	m.pass(rt)
}

// Fail makes a worker's next calls of a kind go wrong.
func (m *machine) Fail(rt *rapid.T) {
	k, kind := m.host(rt), rapid.SampledFrom(calls).Draw(rt, "call")
	modes := rapid.SliceOfN(rapid.SampledFrom([]mode{lost, deaf, dieBefore, dieAfter, well}), 1, 4).Draw(rt, "modes")
	m.afterlife(rt, k)
	k.mu.Lock()
	k.faults[kind] = modes
	k.mu.Unlock()
	m.pass(rt)
}

// Outage takes the store and the events away from everybody.
func (m *machine) Outage(rt *rapid.T) {
	d := rapid.SampledFrom([]time.Duration{2 * time.Second, 30 * time.Second, 5 * time.Minute}).Draw(rt, "for")
	m.mu.Lock()
	m.backAt = time.Now().Add(d)
	m.mu.Unlock()
	m.pass(rt)
}

// Misbehave makes the provider answer the next requests wrongly, or not at all.
func (m *machine) Misbehave(rt *rapid.T) {
	f := rapid.SampledFrom([]authserver.Fault{
		{Kind: authserver.FaultDrop}, {Kind: authserver.FaultStatus}, {Kind: authserver.FaultGarbage},
		{Kind: authserver.FaultStatus, Status: 503, RetryAfter: 20 * time.Second}, {Kind: authserver.FaultStatus, Status: 429},
		{Kind: authserver.FaultError, Code: "temporarily_unavailable"}, {Kind: authserver.FaultDelay, Delay: 9 * time.Second},
		{Kind: authserver.FaultDelay, Delay: 45 * time.Second},
		{Kind: authserver.FaultDrop, After: true}, {Kind: authserver.FaultTruncate, After: true}, {Kind: authserver.FaultStatus, Status: 502, After: true},
		{Kind: authserver.FaultGarbage, After: true}, {Kind: authserver.FaultDelay, Delay: 45 * time.Second, After: true},
	}).Draw(rt, "fault")
	f.Count = rapid.IntRange(1, 3).Draw(rt, "times")
	if err := m.auth.SetFaults([]authserver.Fault{f}); err != nil {
		rt.Fatal(err)
	}
	m.pass(rt)
}

// Double makes the next deliveries come to two workers at once.
func (m *machine) Double(rt *rapid.T) {
	m.mu.Lock()
	m.doubles = rapid.IntRange(1, 3).Draw(rt, "times")
	m.mu.Unlock()
	m.pass(rt)
}

// LoseAcks makes the next acks go astray.
func (m *machine) LoseAcks(rt *rapid.T) {
	m.mu.Lock()
	m.lostAcks = rapid.IntRange(1, 3).Draw(rt, "times")
	m.mu.Unlock()
	m.pass(rt)
}

// Demand asks for a newer token; where the provider's resource refuses the old one, it says so.
func (m *machine) Demand(rt *rapid.T) {
	c := m.credential(rt)
	if s, err := m.store.Get(m.ctx, c); err == nil && !s.Record.State.Withdrawn() {
		m.publish(c, refresh.Job{
			Reason: events.ReasonDemand, GrantID: s.Record.GrantID, NewerThan: s.Record.Version, Refused: m.use(&s.Record),
		})
	}
	m.pass(rt)
}

// Enrol replaces the grant, or brings back what was withdrawn.
func (m *machine) Enrol(rt *rapid.T) {
	err := m.enrol(m.credential(rt))
	if err != nil && !errors.Is(err, errNoAnswer) {
		rt.Fatal(err)
	}
	m.pass(rt)
}

// Revoke withdraws the grant at the provider, which tells nobody.
func (m *machine) Revoke(rt *rapid.T) {
	if s, err := m.store.Get(m.ctx, m.credential(rt)); err == nil {
		m.judge.mu.Lock()
		account := m.judge.accounts[s.Record.GrantID]
		m.judge.mu.Unlock()
		m.auth.Revoke(account)
	}
	m.pass(rt)
}

// Withdraw makes a tombstone.
func (m *machine) Withdraw(rt *rapid.T) {
	state := rapid.SampledFrom([]refresh.State{refresh.StateRevoked, refresh.StateDeleted}).Draw(rt, "state")
	_, _ = m.writer().Tombstone(m.ctx, m.credential(rt), state)
	m.pass(rt)
}

// Pause stops a credential, or lets it go on.
func (m *machine) Pause(rt *rapid.T) {
	p := &provider.Pause{By: "operator"}
	if rapid.Bool().Draw(rt, "resume") {
		p = nil
	}
	_, _ = m.writer().SetPaused(m.ctx, m.credential(rt), p)
	m.nudge()
	m.pass(rt)
}

// Rewrap promotes the other key and moves a record to it. Workers get to know it when they start.
func (m *machine) Rewrap(rt *rapid.T) {
	m.mu.Lock()
	m.promoted = !m.promoted
	m.mu.Unlock()
	_ = m.reseal(m.credential(rt))
	m.pass(rt)
}

// newRings makes two keys, and the keysets in which the one and the other is primary.
func newRings(t *testing.T) rings {
	t.Helper()
	var sets [2]map[string]any
	for i := range sets {
		data, err := seal.GenerateKeyset()
		must(t, err)
		must(t, json.Unmarshal(data, &sets[i]))
	}
	keys := append(sets[0]["key"].([]any), sets[1]["key"].([]any)...)
	load := func(primary any) *seal.Keyset {
		data, err := json.Marshal(map[string]any{"primaryKeyId": primary, "key": keys})
		must(t, err)
		k, err := seal.LoadKeyset(data)
		must(t, err)
		return k
	}
	return rings{load(sets[0]["primaryKeyId"]), load(sets[1]["primaryKeyId"])}
}
