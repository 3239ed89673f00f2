package app_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/freshetdev/freshet/internal/app"
	"github.com/freshetdev/freshet/internal/natstest"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
	"github.com/freshetdev/freshet/pkg/seal"
)

// town is a fleet with two providers and a healthy credential at each, which whatever is bad must leave alone.
type town struct {
	*fleet
	other   provider.Definition
	healthy []events.Credential
	since   time.Time
}

// Tokens of this lifetime are renewed a third of it, and some, before their end.
const (
	townLifetime = 10 * time.Minute
	townLead     = townLifetime / 3
	townSpan     = 30 * time.Minute // four refreshes
)

func newTown(t *testing.T, cfg fleetConfig) *town {
	t.Helper()
	cfg.Auth.AccessLifetime = townLifetime
	w := &town{fleet: newFleet(t, cfg), since: time.Now()}
	w.other = w.definition("other", nil)
	w.apply(w.other)
	w.healthy = []events.Credential{w.enrol("good"), w.enrolAt(w.other, "good-too")}
	return w
}

// rest lets time go by; then the healthy credentials must have been refreshed, each time when it was due.
func (w *town) rest() {
	w.t.Helper()
	w.pass(townSpan)
	w.wantSteady()
}

// pass lets time go by, and whatever is then under way come to its end.
func (w *town) pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// wantSteady fails the test when a healthy credential was not refreshed, or later than a few seconds after it was due.
func (w *town) wantSteady() {
	w.t.Helper()
	for _, c := range w.healthy {
		n := 0
		for _, r := range w.resultsOf(c) {
			switch {
			case r.At.Before(w.since):
			case r.Class == refresh.ClassOK && r.Margin >= townLead-5*time.Second:
				n++
			case r.Class != refresh.ClassFresh || r.Attempt != "":
				w.t.Errorf("%s: %s, %v before the end, %v: it was disturbed", c, r.Class, r.Margin, r.Err)
			}
		}
		if least := int(time.Since(w.since) / townLifetime); n < least {
			w.t.Errorf("%s: refreshed %d times in %v, want %d at least", c, n, time.Since(w.since), least)
		}
	}
	if l := w.auth.Ledger(); l.Replayed+l.Concurrent+l.Revoked != 0 {
		w.t.Errorf("ledger: %+v", l.Anomalies)
	}
}

// resultsOf returns the ends of a credential's jobs.
func (w *town) resultsOf(c events.Credential) []result {
	return slices.DeleteFunc(w.ended(), func(r result) bool { return r.Credential != c })
}

// attempts counts how often the provider was asked about a credential.
func (w *town) attempts(c events.Credential) int {
	n := 0
	for _, r := range w.resultsOf(c) {
		if r.Attempt != "" && r.Exchange > 0 {
			n++
		}
	}
	return n
}

// wantSaid fails the test unless a process said, in one line each time, all of the words, exactly so many times.
func (w *town) wantSaid(process, level string, times int, words ...string) {
	w.t.Helper()
	n := 0
	for _, l := range w.logs.lines(process) {
		missing := func(word string) bool { return !strings.Contains(l.raw, word) }
		if l.Level == level && !slices.ContainsFunc(words, missing) {
			n++
		}
	}
	if n != times {
		w.t.Errorf("%s said %q %d times at level %s, want %d; it said:\n%s", process, words, n, level, times, w.said(process))
	}
}

// wantQuiet fails the test when a process said more at warn or error than so many lines.
func (w *town) wantQuiet(process string, most int) {
	w.t.Helper()
	n := 0
	for _, l := range w.logs.lines(process) {
		if l.Level != "info" {
			n++
		}
	}
	if n > most {
		w.t.Errorf("%s complained %d times, want %d at most:\n%s", process, n, most, w.said(process))
	}
}

// said returns what a process said first.
func (w *town) said(process string) string {
	const most = 12
	var b strings.Builder
	for i, l := range w.logs.lines(process) {
		if i == most {
			fmt.Fprintln(&b, "…")
			break
		}
		fmt.Fprintln(&b, l.raw)
	}
	return b.String()
}

// publish stores a message as anybody with a NATS client may.
func (w *town) publish(msg *nats.Msg) {
	w.t.Helper()
	_, err := w.JetStream().PublishMsg(w.ctx, msg)
	w.must(err)
}

func (w *town) plantRecord(c events.Credential, header nats.Header, data string) {
	w.t.Helper()
	w.publish(&nats.Msg{Subject: w.Names().RecordSubject(c), Header: header, Data: []byte(data)})
}

// raw reads a record's message as it lies in the stream.
func (w *town) raw(c events.Credential) *jetstream.RawStreamMsg {
	w.t.Helper()
	stream, err := w.JetStream().Stream(w.ctx, w.Names().TokensStream())
	w.must(err)
	msg, err := stream.GetLastMsgForSubject(w.ctx, w.Names().RecordSubject(c))
	w.must(err)
	delete(msg.Header, jetstream.ExpectedLastSubjSeqHeader) // it was for this one write
	return msg
}

// queued counts the jobs of a provider on the queue.
func (w *town) queued(name string) uint64 {
	w.t.Helper()
	stream, err := w.JetStream().Stream(w.ctx, w.Names().JobsStream())
	w.must(err)
	info, err := stream.Info(w.ctx, jetstream.WithSubjectFilter(w.Names().LaneSubjects(name)))
	w.must(err)
	n := uint64(0)
	for _, count := range info.State.Subjects {
		n += count
	}
	return n
}

// put changes a record as another process would.
func (w *town) put(c events.Credential, change func(*refresh.Record)) {
	w.t.Helper()
	s := w.record(c)
	change(&s.Record)
	_, err := w.Put(w.ctx, refresh.Write{Record: s.Record, Revision: s.Revision})
	w.must(err)
}

func TestJobsOfAProviderThatNobodyApplied(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		w := newTown(t, fleetConfig{Schedulers: 1, Workers: 1})
		nope, half := w.definition("nope", nil), w.definition("half", nil)
		_, err := w.EnsureLane(w.ctx, half, false) // a lane without an entry: somebody died between the two
		w.must(err)
		stranger := events.Credential{Provider: "nope", Account: "x"}
		w.must(w.PublishJob(w.ctx, stranger.Key(), refresh.Job{Reason: events.ReasonDemand}, ""))
		waiting := []events.Credential{w.enrolAt(nope, "waits"), w.enrolAt(half, "waits-too")}
		w.must(w.PublishJob(w.ctx, waiting[1].Key(), refresh.Job{Reason: events.ReasonDemand, NewerThan: 1}, ""))
		w.rest()

		for _, name := range []string{"nope", "half"} {
			w.wantSaid("s1", "warn", 1, "unknown provider: "+name, "freshet apply")
			if n := w.queued(name); n != 1 {
				t.Errorf("%d jobs of %s are queued, want the one that was published", n, name)
			}
		}
		w.wantQuiet("s1", 2)
		w.wantQuiet("w1", 0)

		w.apply(nope)
		w.apply(half)
		w.pass(2 * time.Minute)
		for _, c := range waiting {
			if r := w.record(c).Record; r.Version < 2 || r.State != refresh.StateActive {
				t.Errorf("%s after apply: version %d, %s, want it refreshed", c, r.Version, r.State)
			}
		}
		w.wantSaid("w1", "info", 1, stranger.String(), "a job for a credential that is not there is dropped")
		w.wantCleanLedger()
	})
}

func TestJobsThatCannotBeRead(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		w := newTown(t, fleetConfig{Schedulers: 1, Workers: 1})
		victim := w.enrol("victim")
		for subject, data := range map[string]string{
			w.Names().JobSubject(victim):                 `{"reason":"scheduled",`,
			w.Names().JobKeySubject("acme.no=2fescape"):  `{}`, // not the canonical spelling of any account
			w.Names().JobKeySubject("acme.numbers"):      `{"newer_than":"seven"}`,
			w.Names().JobKeySubject("acme.empty-to-see"): ``,
		} {
			w.publish(&nats.Msg{Subject: subject, Data: []byte(data)})
		}
		w.pass(5 * time.Second)
		if n := w.queued("acme"); n != 0 {
			t.Errorf("%d jobs are still queued: they block their credentials", n)
		}
		if n := w.attempts(victim); n != 0 {
			t.Errorf("%d attempts came of what cannot be read", n)
		}
		w.healthy = append(w.healthy, victim)
		w.rest()
		w.wantSaid("w1", "error", 4, "a job that cannot be read is dropped")
		for _, key := range []string{victim.Key(), "acme.no=2fescape", "acme.numbers", "acme.empty-to-see"} {
			w.wantSaid("w1", "error", 1, "a job that cannot be read is dropped", `"`+key+`"`, "error")
		}
		w.wantQuiet("w1", 4)
	})
}

// Jobs that are late: their credential is gone, or belongs to another grant by now.
func TestJobsForWhatIsNotThereAnyMore(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		w := newTown(t, fleetConfig{Schedulers: 1, Workers: 1})
		gone := w.enrol("gone")
		_, err := w.writer.Tombstone(w.ctx, gone, refresh.StateDeleted)
		w.must(err)
		again := w.enrol("again")
		was := w.record(again).Record.GrantID
		w.enrol("again")
		never := events.Credential{Provider: "acme", Account: "never"}
		for c, grant := range map[events.Credential]string{gone: w.record(gone).Record.GrantID, again: was, never: "abcdefghijklmnop"} {
			job := refresh.Job{Reason: events.ReasonDemand, GrantID: grant, NewerThan: 9}
			w.must(w.PublishJob(w.ctx, c.Key(), job, ""))
		}
		w.pass(5 * time.Second)
		for c, why := range map[events.Credential]refresh.Why{gone: refresh.WhyWithdrawn, again: refresh.WhyOtherGrant, never: ""} {
			if r := w.resultsOf(c); len(r) != 1 || r[0].Attempt != "" || r[0].Verdict != refresh.VerdictAck || r[0].Decision.Why != why {
				t.Errorf("%s: %+v, want one job without an attempt, because %q", c, r, why)
			}
		}
		w.healthy = append(w.healthy, again)
		w.rest()
		if n := w.queued("acme"); n != 0 {
			t.Errorf("%d jobs are still queued", n)
		}
		if s := w.record(gone); s.Record.State != refresh.StateDeleted {
			t.Errorf("the tombstone is %s", s.Record.State)
		}
		if told := w.toldOf(events.TokenDeleted); len(told) != 1 {
			t.Errorf("the deletion was told %d times, want once", len(told))
		}
		w.wantSaid("w1", "info", 1, "acme/never", "dropped")
		w.wantQuiet("w1", 0)
	})
}

func TestRecordsThatCannotBeRead(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		w := newTown(t, fleetConfig{Schedulers: 1, Workers: 1})
		victim := w.enrol("victim")
		good := w.raw(victim)
		bad := map[string]string{
			"cut":     `{"v":1,"provider":"acme","account":"cut",`,
			"text":    "hello",
			"state":   `{"v":1,"provider":"acme","account":"state","state":"splendid"}`,
			"foreign": string(good.Data), // the record of somebody else
		}
		for account, data := range bad {
			w.plantRecord(events.Credential{Provider: "acme", Account: account}, nil, data)
		}
		w.plantRecord(victim, good.Header, string(good.Data[:len(good.Data)/2])) // with headers that are fine
		w.rest()

		for account := range bad {
			c := events.Credential{Provider: "acme", Account: account}
			w.wantSaid("w1", "error", 1, c.String(), "record cannot be read", "restore it", "delete its key")
		}
		w.wantSaid("w1", "error", 1, `"credential":"acme/victim"`, "record cannot be read")
		w.wantQuiet("w1", len(bad)+1)
		w.wantQuiet("s1", 0)
		w.plantRecord(victim, good.Header, string(good.Data))
		w.pass(2 * time.Minute)
		if r := w.record(victim).Record; r.Version < 2 {
			t.Errorf("restored, it is at version %d, want it refreshed", r.Version)
		}
	})
}

func TestSealedFieldsThatDoNotOpen(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		w := newTown(t, fleetConfig{Schedulers: 1, Workers: 1})
		spoil := map[string]func([]byte) []byte{
			"flipped":   func(b []byte) []byte { b[len(b)-1] ^= 1; return b },
			"short":     func(b []byte) []byte { return b[:3] },
			"plaintext": func([]byte) []byte { return []byte(`{"refresh_token":"rt"}`) },
		}
		was := make(map[events.Credential][]byte)
		for account, change := range spoil {
			c := w.enrol(account)
			was[c] = w.record(c).Record.Grant
			w.put(c, func(r *refresh.Record) { r.Grant = change(bytes.Clone(r.Grant)) })
		}
		c := w.enrol("moved")
		was[c] = w.record(c).Record.Grant
		w.put(c, func(r *refresh.Record) { r.Grant = w.record(w.healthy[0]).Record.Grant }) // sealed for another place
		w.rest()

		for c := range was {
			w.wantSaid("w1", "error", 1, c.String(), "does not open", "restore it, or log in again")
			if n := w.attempts(c); n != 0 {
				t.Errorf("%s: %d attempts with a grant that does not open", c, n)
			}
			if r := w.record(c).Record; r.State != refresh.StateActive || r.Claim != nil {
				t.Errorf("%s is %s, claim %+v: a worker's trouble marks nobody", c, r.State, r.Claim)
			}
		}
		w.wantQuiet("w1", len(was))
		for c, grant := range was {
			w.put(c, func(r *refresh.Record) { r.Grant = grant })
		}
		w.enrol("flipped") // the other way out
		w.pass(10 * time.Minute)
		for c := range was {
			if r := w.record(c).Record; r.Version < 2 || r.Failure != nil {
				t.Errorf("restored, %s is at version %d with failure %+v, want it refreshed", c, r.Version, r.Failure)
			}
		}
	})
}

// A record that somebody wrote by hand is due at once, and the worker that gets it puts the headers right.
func TestRecordsWithoutHeadersAreRepaired(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		w := newTown(t, fleetConfig{Schedulers: 1, Workers: 1})
		for account, change := range map[string]func(nats.Header){
			"none":     func(h nats.Header) { clear(h) },
			"no state": func(h nats.Header) { h.Del("Freshet-State") },
			"nonsense": func(h nats.Header) { h["Freshet-Refresh-At"] = []string{"soon"} },
		} {
			c := w.enrol(account)
			msg := w.raw(c)
			want := msg.Header["Freshet-Refresh-At"]
			header := maps.Clone(msg.Header)
			change(header)
			w.plantRecord(c, header, string(msg.Data))
			w.pass(5 * time.Second)
			got := w.raw(c)
			s, err := refresh.ParseSummary(got.Header)
			if err != nil || s.State != refresh.StateActive || s.Version != 1 || !slices.Equal(got.Header["Freshet-Refresh-At"], want) {
				t.Errorf("%s: headers %v, %v, want them repaired", account, got.Header, err)
			}
			if !bytes.Equal(got.Data, msg.Data) || w.attempts(c) != 0 {
				t.Errorf("%s: %d attempts, or its value changed: it was not due", account, w.attempts(c))
			}
			w.healthy = append(w.healthy, c)
		}
		w.rest()
		w.wantSaid("s1", "warn", 1, "acme.nonsense", "Freshet-Refresh-At")
		w.wantQuiet("s1", 1)
		w.wantQuiet("w1", 0)
	})
}

// mergedKeyset opens with the keys of all, and seals with the first's.
func mergedKeyset(t *testing.T, keysets ...[]byte) *seal.Keyset {
	t.Helper()
	var all struct {
		Primary uint32            `json:"primaryKeyId"`
		Keys    []json.RawMessage `json:"key"`
	}
	for i, data := range keysets {
		one := all
		one.Keys = nil
		err := json.Unmarshal(data, &one)
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			all.Primary = one.Primary
		}
		all.Keys = append(all.Keys, one.Keys...)
	}
	data, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	k, err := seal.LoadKeyset(data)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// A worker that lacks a key leaves the job to one that has it, and comes back.
func TestAKeyThatOneWorkerLacks(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		w := newTown(t, fleetConfig{Schedulers: 1, Workers: 1})
		added, err := seal.GenerateKeyset()
		w.must(err)
		old, err := os.ReadFile(filepath.Join(w.dir, "keys", "grant.keyset.json"))
		w.must(err)
		c := w.enrol("sealed-elsewhere")
		keys, stored := w.keys(), w.record(c).Record
		g, err := keys.OpenGrant(&stored)
		w.must(err)
		keys.Grant = mergedKeyset(t, added, old) // the added key is promoted already
		w.put(c, func(r *refresh.Record) {
			r.RefreshAt = time.Now()
			w.must(keys.Seal(r, g, seal.NewSecret("access")))
		})
		w.pass(25 * time.Second)
		for _, r := range w.resultsOf(c) {
			if r.Class != refresh.ClassLocal || r.Verdict != refresh.VerdictNak || r.Attempt != "" {
				t.Errorf("without the key: %s, %s, attempt %q", r.Class, r.Verdict, r.Attempt)
			}
		}
		if visits := len(w.resultsOf(c)); visits == 0 || visits > 10 {
			t.Errorf("w1 took the job %d times in 25 s, want a few", visits)
		}
		w.wantSaid("w1", "error", 1, c.String(), "unknown key", "keysets", "leaves the lane")

		w.startWorkerWith("w2", func(cfg *app.WorkerConfig) { cfg.Grant = mergedKeyset(t, old, added) })
		w.pass(90 * time.Second) // the scheduler comes back
		if r := w.record(c).Record; r.Version != 2 || r.Failure != nil {
			t.Errorf("with a worker that has the key: version %d, failure %+v, want it refreshed", r.Version, r.Failure)
		}
		w.healthy = append(w.healthy, c) // sealed with the old key again, which both have
		w.since = time.Now()
		w.pass(townSpan)
		served := make(map[string]int)
		for _, r := range w.ended() {
			if r.Class == refresh.ClassOK {
				served[r.Worker]++
			}
		}
		if served["w1"] == 0 || served["w2"] == 0 {
			t.Errorf("refreshed by %v, want both: w1 comes back", served)
		}
		w.wantSteady()
		w.wantQuiet("w1", 1)
		w.wantQuiet("w2", 0)
		w.wantCleanLedger()
	})
}
