package authserver

import (
	"maps"
	"sync"
	"sync/atomic"
	"time"
)

// Ledger is what the server saw: the judge of a client's care with its refresh
// tokens. It is a copy; all numbers count from the start of the server.
type Ledger struct {
	// Requests counts requests by endpoint: authorize, token, introspect,
	// revoke, resource, metadata.
	Requests map[string]int64 `json:"requests"`
	// Enrolments counts authorization codes redeemed.
	Enrolments int64 `json:"enrolments"`
	// Issued counts grants made by Server.Issue.
	Issued int64 `json:"issued"`
	// Refreshes counts refresh requests answered with tokens, undamaged.
	Refreshes int64 `json:"refreshes"`
	// Rotations counts successors issued, whether or not the answer arrived.
	Rotations int64 `json:"rotations"`
	// Reused counts spent refresh tokens that were accepted, as their class
	// allows.
	Reused int64 `json:"reused"`
	// Replayed counts spent refresh tokens presented outside the allowance of
	// their class, last tries excepted. Like LastTries and Concurrent it counts
	// what clients do, so also requests that a fault kept from taking effect.
	Replayed int64 `json:"replayed"`
	// LastTries counts spent refresh tokens presented outside the allowance when
	// their holder had nothing left to lose: the access token issued together
	// with the presented token had ended, was within Config.LastTryLead of its
	// end, or had been refused by /resource.
	LastTries int64 `json:"last_tries"`
	// Concurrent counts presentations of a refresh token that began while
	// another presentation of the same token was in flight: n at once count n-1.
	Concurrent int64 `json:"concurrent"`
	// Revoked counts grants ended because a refresh token or a code was reused.
	Revoked int64 `json:"revoked"`
	// Withdrawn counts grants ended by Server.Revoke or at /revoke.
	Withdrawn int64 `json:"withdrawn"`
	// Damaged counts rotations whose answer a fault destroyed or replaced.
	Damaged int64 `json:"damaged"`
	// Abandoned counts rotations whose client had hung up before the answer.
	Abandoned int64 `json:"abandoned"`
	// Errors counts the errors the server answered by its own rules, by OAuth
	// error code. Those of faults are not among them.
	Errors map[string]int64 `json:"errors"`
	// Faults counts the faults carried out, by moment and kind: "after drop".
	Faults map[string]int64 `json:"faults"`
	// InFlight and MaxInFlight are the token requests in flight now and at most.
	InFlight    int64 `json:"in_flight"`
	MaxInFlight int64 `json:"max_in_flight"`
	// Clients has the token requests of each client that authenticated.
	Clients map[string]ClientLedger `json:"clients"`
	// Grants and Codes are how many grants, ended ones included, and open
	// authorization codes the server holds.
	Grants int `json:"grants"`
	Codes  int `json:"codes"`
	// Anomalies are the newest noteworthy events, oldest first, at most 256.
	Anomalies []Anomaly `json:"anomalies"`
	// AnomaliesDropped counts the older ones that are gone.
	AnomaliesDropped int64 `json:"anomalies_dropped"`
}

// Anomaly is one noteworthy event.
type Anomaly struct {
	At time.Time `json:"at"`
	// Kind is replayed, last_try, concurrent, family_revoked, code_reused,
	// wrong_client or unknown_token.
	Kind    string `json:"kind"`
	Account string `json:"account,omitempty"`
	Client  string `json:"client"`
	// Token is the start of the token's SHA-256, in hex.
	Token string `json:"token"`
}

// maxAnomalies bounds the anomalies kept.
const maxAnomalies = 256

// counters is the ledger at work. mu guards what is below it.
type counters struct {
	requests                                            [endpoints]atomic.Int64
	enrolments, issued, refreshes, rotations, reused    atomic.Int64
	replayed, lastTries, concurrent, revoked, withdrawn atomic.Int64
	damaged, abandoned, inFlight, maxInFlight           atomic.Int64

	mu        sync.Mutex
	errors    map[string]int64
	faults    map[string]int64
	anomalies []Anomaly // a ring once it is full
	noted     int64     // anomalies ever noted
}

func (c *counters) init() {
	c.errors, c.faults = map[string]int64{}, map[string]int64{}
}

// enter and leave surround a token request.
func (c *counters) enter() {
	n := c.inFlight.Add(1)
	for {
		most := c.maxInFlight.Load()
		if n <= most || c.maxInFlight.CompareAndSwap(most, n) {
			return
		}
	}
}

func (c *counters) leave() { c.inFlight.Add(-1) }

func (c *counters) refused(code string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.errors[code]++
}

// planned counts the faults that a request is about to meet.
func (c *counters) planned(p plan) {
	for _, f := range p.faults {
		c.mu.Lock()
		c.faults[f.label()]++
		c.mu.Unlock()
	}
}

func (c *counters) note(a Anomaly) {
	a.At = time.Now().UTC()
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.anomalies) < maxAnomalies {
		c.anomalies = append(c.anomalies, a)
	} else {
		c.anomalies[c.noted%maxAnomalies] = a
	}
	c.noted++
}

func anomaly(kind string, holder *account, c *client, token string) Anomaly {
	a := Anomaly{Kind: kind, Client: c.ID, Token: fingerprint(token)}
	if holder != nil {
		a.Account = holder.name
	}
	return a
}

// Ledger returns a copy of the ledger. The numbers belong together only while no
// request is in flight.
func (s *Server) Ledger() Ledger {
	c := &s.counts
	l := Ledger{
		Requests:    map[string]int64{},
		Enrolments:  c.enrolments.Load(),
		Issued:      c.issued.Load(),
		Refreshes:   c.refreshes.Load(),
		Rotations:   c.rotations.Load(),
		Reused:      c.reused.Load(),
		Replayed:    c.replayed.Load(),
		LastTries:   c.lastTries.Load(),
		Concurrent:  c.concurrent.Load(),
		Revoked:     c.revoked.Load(),
		Withdrawn:   c.withdrawn.Load(),
		Damaged:     c.damaged.Load(),
		Abandoned:   c.abandoned.Load(),
		InFlight:    c.inFlight.Load(),
		MaxInFlight: c.maxInFlight.Load(),
		Clients:     map[string]ClientLedger{},
		Grants:      s.store.families.len() - len(s.clients), // each client has one for itself
		Codes:       s.codes.len(),
	}
	for e := range endpoints {
		if n := c.requests[e].Load(); n > 0 {
			l.Requests[e.String()] = n
		}
	}
	for id, cl := range s.clients {
		l.Clients[id] = cl.rate.ledger()
	}
	c.copyTo(&l)
	return l
}

func (c *counters) copyTo(l *Ledger) {
	c.mu.Lock()
	defer c.mu.Unlock()
	l.Errors, l.Faults = maps.Clone(c.errors), maps.Clone(c.faults)
	oldest := 0
	if len(c.anomalies) == maxAnomalies {
		oldest = int(c.noted % maxAnomalies)
	}
	l.Anomalies = append(append(l.Anomalies, c.anomalies[oldest:]...), c.anomalies[:oldest]...)
	l.AnomaliesDropped = c.noted - int64(len(c.anomalies))
}
