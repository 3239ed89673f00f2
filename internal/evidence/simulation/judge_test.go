package simulation_test

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/refresh"
)

// judge watches every write and every event, and asks the authorization server.
type judge struct {
	world *world

	mu        sync.Mutex
	faults    []string
	story     []string
	committed map[string]commit // every version there ever was
	told      map[string]bool   // those that were told
	accounts  map[string]string // grant id to the account at the provider
	awaited   map[events.Credential]string
	excused   map[string]string         // grant ids whose loss nobody could prevent, and why
	jobs      map[events.Credential]int // the newest job of each, by number
	attempts  map[string]int            // the job of each attempt
	acks      map[int]uint64            // the version that the acker of a job knew of
	wiped     map[string]bool           // attempts whose outcome was on a disk that is gone
	replaced  map[string]bool           // versions that a person's write replaced before anybody told
	skipped   int                       // versions that only their successors announced
	lost      int
}

// commit is the attempt behind a version.
type commit struct {
	attempt string
	version uint64
}

func newJudge(w *world) *judge {
	return &judge{
		world: w, committed: make(map[string]commit), told: make(map[string]bool), accounts: make(map[string]string),
		awaited: make(map[events.Credential]string), excused: make(map[string]string), jobs: make(map[events.Credential]int),
		attempts: make(map[string]int), acks: make(map[int]uint64), replaced: make(map[string]bool), wiped: make(map[string]bool),
	}
}

// queued and acked follow the jobs.
func (j *judge) queued(c events.Credential, number int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.jobs[c] = number
}

func (j *judge) acked(number int, by delivered) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.acks[number] = by.After
}

// taken reports whether the job of a commit was acked by somebody who had decided before the commit, on a second delivery.
// Acks are not fenced: should the author die between commit and event, and stay away until there is a newer version, nobody
// is left to tell of this one.
func (j *judge) taken(c commit) bool {
	knew, ok := j.acks[j.attempts[c.attempt]]
	return ok && knew < c.version
}

// version names one version of one grant.
func version(c events.Credential, grant string, generation, n uint64) string {
	return fmt.Sprintf("%s %s %d.%d", c, grant, generation, n)
}

// note adds a line to the story that a failure is told with; j.mu is held.
func (j *judge) note(format string, args ...any) {
	at := time.Since(j.world.began).Round(time.Millisecond)
	j.story = append(j.story, fmt.Sprintf("%12s  ", at)+fmt.Sprintf(format, args...))
}

// happened is note without the lock.
func (w *world) happened(format string, args ...any) {
	w.judge.mu.Lock()
	defer w.judge.mu.Unlock()
	w.judge.note(format, args...)
}

func (j *judge) fault(format string, args ...any) {
	j.faults = append(j.faults, fmt.Sprintf(format, args...))
}

// await says which account the next grant of a credential has at the provider.
func (j *judge) await(c events.Credential, account string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.awaited[c] = account
}

// put judges a write.
func (j *judge) put(before, after refresh.Stored) {
	j.mu.Lock()
	defer j.mu.Unlock()
	b, a := &before.Record, &after.Record
	c := a.Credential()
	j.note("write %s", describe(after))
	if a.Generation < b.Generation || a.Version < b.Version || a.Version > b.Version+1 || a.Generation != b.Generation && a.Version == b.Version {
		j.fault("%s went from %d.%d to %d.%d", c, b.Generation, b.Version, a.Generation, a.Version)
	}
	if a.GrantID == b.GrantID && a.Generation != b.Generation || a.GrantID != b.GrantID && a.Generation == b.Generation {
		j.fault("%s went from grant %s to %s, from generation %d to %d", c, b.GrantID, a.GrantID, b.Generation, a.Generation)
	}
	if j.accounts[a.GrantID] == "" {
		j.accounts[a.GrantID] = j.awaited[c]
	}
	if a.Claim != nil && j.attempts[a.Claim.Attempt] == 0 {
		j.attempts[a.Claim.Attempt] = j.jobs[c]
	}
	if b.State == refresh.StateReauthRequired && !a.State.Withdrawn() && a.State != b.State && a.Version == b.Version {
		j.fault("%s was reauth_required and is %s, without a new token", c, a.State)
	}
	if was := version(c, b.GrantID, b.Generation, b.Version); !j.told[was] && (a.GrantID != b.GrantID || a.State.Withdrawn()) {
		j.replaced[was] = true
	}
	if a.Version != b.Version {
		j.committed[version(c, a.GrantID, a.Generation, a.Version)] = commit{a.Last.Attempt, a.Version}
	}
	if a.State == refresh.StateReauthRequired && b.State != a.State && j.ended(a.GrantID) == "" {
		j.fault("%s is reauth_required, and the provider would take its refresh token", c)
	}
	j.world.nudge()
}

// describe is a record in one line.
func describe(s refresh.Stored) string {
	r := &s.Record
	line := fmt.Sprintf("%s %s %d.%d %s at revision %d", r.Credential(), r.GrantID, r.Generation, r.Version, r.State, s.Revision)
	if r.Claim != nil {
		line += fmt.Sprintf(", claimed by %s for %s", r.Claim.Worker, r.Claim.Attempt)
	}
	if r.Doubt != nil {
		line += fmt.Sprintf(", in doubt about %s", r.Doubt.Attempt)
	}
	if r.Failure != nil {
		line += fmt.Sprintf(", failed: %s %s", r.Failure.Class, r.Failure.Code)
	}
	if r.Last != nil {
		line += ", last " + r.Last.Attempt
	}
	return line
}

// ended says why the provider has ended a grant.
func (j *judge) ended(grant string) string {
	for _, g := range j.world.auth.Account(j.accounts[grant]).Grants {
		return string(g.Ended)
	}
	return ""
}

// tell judges an event.
func (j *judge) tell(e events.Event) {
	j.mu.Lock()
	defer j.mu.Unlock()
	v := version(e.Data.Credential(), e.Data.GrantID, e.Data.Generation, e.Data.Version)
	j.note("tell  %s of %s by %s", e.Type, v, e.Source)
	if _, ok := j.committed[v]; !ok {
		j.fault("%s tells of %s, which was never committed", e.Type, v)
	}
	if e.Type == events.TokenUpdated {
		j.told[v] = true
	}
}

// excuse says why a grant may be lost.
func (w *world) excuse(grant, why string) {
	w.judge.mu.Lock()
	defer w.judge.mu.Unlock()
	w.judge.excused[grant] = why
}

// wipe takes a host's disk. What waited in its journal is gone. w.mu is not held.
func (w *world) wipe(name string) {
	w.mu.Lock()
	d := w.disks[name]
	w.disks[name] = newDisk()
	w.mu.Unlock()
	entries, _ := d.all()
	for _, e := range entries {
		w.judge.mu.Lock()
		w.judge.wiped[e.ID] = true
		w.judge.mu.Unlock()
		if s, err := w.store.Get(w.ctx, mustKey(e.Key)); err == nil && e.Revision == 0 {
			w.excuse(s.Record.GrantID, "a disk was lost with the answer on it")
		}
	}
}

func mustKey(key string) events.Credential {
	c, err := events.ParseKey(key)
	if err != nil {
		panic(err)
	}
	return c
}

// soFar returns what is wrong at any moment.
func (j *judge) soFar() []string {
	l := j.world.auth.Ledger()
	j.mu.Lock()
	defer j.mu.Unlock()
	faults := slices.Clone(j.faults)
	if l.Replayed > 0 {
		faults = append(faults, fmt.Sprintf("%d refresh tokens were replayed: %+v", l.Replayed, l.Anomalies))
	}
	if l.Concurrent > 0 {
		faults = append(faults, fmt.Sprintf("%d refresh tokens were presented twice at once: %+v", l.Concurrent, l.Anomalies))
	}
	return faults
}

// inTheEnd returns what is wrong when everybody is up, nothing fails and all had time.
func (j *judge) inTheEnd() []string {
	faults := j.soFar()
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, v := range slices.Sorted(maps.Keys(j.committed)) {
		switch {
		case j.told[v]:
		case j.replaced[v], j.taken(j.committed[v]) && (!j.newest(v) || j.wiped[j.committed[v].attempt]):
			j.skipped++
		default:
			faults = append(faults, v+" was never told")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(j.world.disks)) {
		if _, pending := j.world.disks[name].all(); pending > 0 {
			faults = append(faults, fmt.Sprintf("%d outcomes wait in the journal of %s", pending, name))
		}
	}
	for _, s := range j.world.store.all() {
		if fault := j.lasting(&s.Record); fault != "" {
			faults = append(faults, fault)
		}
	}
	return faults
}

// newest reports whether a version is what a record holds.
func (j *judge) newest(v string) bool {
	return slices.ContainsFunc(j.world.store.all(), func(s seen) bool {
		r := &s.Record
		return version(r.Credential(), r.GrantID, r.Generation, r.Version) == v
	})
}

// lasting says what is wrong with a record in the end.
func (j *judge) lasting(r *refresh.Record) string {
	if r.State.Withdrawn() {
		return ""
	}
	c := r.Credential()
	ended := j.ended(r.GrantID)
	excuse := j.excuseOf(r.GrantID)
	switch {
	case r.State == refresh.StateReauthRequired && ended == "reuse" && excuse == "":
		return fmt.Sprintf("%s is lost, and nobody's death or answer explains it", c)
	case r.State == refresh.StateReauthRequired:
		j.lost++
		return ""
	}
	g, err := j.world.keys().OpenGrant(r)
	if err != nil {
		return err.Error()
	}
	if lost := j.world.auth.Lost(map[string]string{j.accounts[r.GrantID]: g.RefreshToken.Reveal()}); len(lost) > 0 {
		return fmt.Sprintf("%s is lost (%s) and says that it is %s; excuse: %q", c, lost[0].Why, r.State, excuse)
	}
	if r.State != refresh.StateActive || !r.ExpiresAt.After(time.Now()) {
		return fmt.Sprintf("%s is %s, its token ends at %v, and nothing is wrong with it", c, r.State, r.ExpiresAt)
	}
	return ""
}

// excuseOf says why a grant may be lost: what the world knows, or the provider, which knows the answers that nobody got.
func (j *judge) excuseOf(grant string) string {
	if why := j.excused[grant]; why != "" {
		return why
	}
	for _, g := range j.world.auth.Account(j.accounts[grant]).Grants {
		if g.Lost > 0 {
			return "an answer did not arrive"
		}
	}
	return ""
}
