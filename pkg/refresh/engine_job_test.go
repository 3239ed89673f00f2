package refresh_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/freshetdev/freshet/internal/authserver"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
	"github.com/freshetdev/freshet/pkg/seal"
)

// hopeless is a job that no worker can do, and how it must end.
type hopeless struct {
	prepare func(w *world, c events.Credential)
	job     func(*refresh.Job)
	config  func(*refresh.Config)
	verdict refresh.Verdict
	class   refresh.Class
	err     error  // nil: none
	text    string // of the error, where it is no sentinel
}

func hopelessJobs() map[string]hopeless {
	unsealed := func(r *refresh.Record) { r.Grant = nil }
	return map[string]hopeless{
		"for another grant": {job: func(j *refresh.Job) { j.GrantID = "other" }, verdict: refresh.VerdictAck, class: refresh.ClassFresh},
		"of a credential that is gone": {
			prepare: func(w *world, c events.Credential) { w.remove(c) },
			verdict: refresh.VerdictAck, class: refresh.ClassFresh, err: refresh.ErrNotFound,
		},
		"of a credential that is withdrawn": {
			prepare: func(w *world, c events.Credential) {
				w.change(c, func(r *refresh.Record) { r.State, r.Grant, r.Access = refresh.StateDeleted, nil, nil })
			},
			verdict: refresh.VerdictAck, class: refresh.ClassFresh,
		},
		"of a provider that nobody has applied": {
			config: func(c *refresh.Config) {
				c.Provider = func(string) (*provider.Definition, bool) { return nil, false }
			},
			verdict: refresh.VerdictAck, class: refresh.ClassFresh, text: `provider "acme" is not known here: run freshet apply`,
		},
		"of a record that is none": {
			prepare: func(w *world, c events.Credential) {
				_, err := w.JetStream().Publish(w.ctx, w.Names().RecordSubject(c), []byte(`{"v":1`))
				w.must(err)
			},
			verdict: refresh.VerdictAck, class: refresh.ClassFresh, err: refresh.ErrMalformed,
		},
		"with a key that this worker lacks": {
			config:  func(c *refresh.Config) { c.Keys.Grant, c.Keys.Access = c.Keys.Access, c.Keys.Grant },
			verdict: refresh.VerdictNak, class: refresh.ClassLocal, err: seal.ErrUnknownKey,
		},
		"of a record that does not open": {
			prepare: func(w *world, c events.Credential) { w.change(c, func(r *refresh.Record) { r.Generation = 9 }) },
			verdict: refresh.VerdictAck, class: refresh.ClassLocal, err: seal.ErrCorrupt,
		},
		"of a record without a refresh token": {
			prepare: func(w *world, c events.Credential) { w.change(c, unsealed) },
			verdict: refresh.VerdictAck, class: refresh.ClassFresh, text: "acme/alice: there is no refresh token: log in again",
		},
		"while the journal cannot be written": {
			config:  func(c *refresh.Config) { c.Ready = func() error { return errNoAnswer } },
			verdict: refresh.VerdictNak, class: refresh.ClassLocal, err: errNoAnswer,
		},
		"while the record cannot be read": {
			config:  func(c *refresh.Config) { c.Store.(*faultyStore).gets.set(lost) },
			verdict: refresh.VerdictLeave, class: refresh.ClassLocal, err: errNoAnswer,
		},
	}
}

// What no worker can or may refresh: nothing is claimed, nothing presented.
func TestJobThatCannotBeDone(t *testing.T) {
	for name, tt := range hopelessJobs() {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				c := w.enrol("acme/alice")
				job := w.scheduled(c)
				if tt.prepare != nil {
					tt.prepare(w, c)
				}
				if tt.job != nil {
					tt.job(&job)
				}
				k := w.worker("w1", func(cfg *refresh.Config) {
					if tt.config != nil {
						tt.config(cfg)
					}
				})
				res := k.Do(w.ctx, c, job)
				wantResult(t, res, tt.verdict, tt.class)
				switch {
				case tt.text == "" && !errors.Is(res.Err, tt.err):
					t.Errorf("err %v, want %v", res.Err, tt.err)
				case tt.text != "" && (res.Err == nil || res.Err.Error() != tt.text):
					t.Errorf("err %v, want %s", res.Err, tt.text)
				}
				if res.Attempt != "" || k.store.puts.count() != 0 {
					t.Errorf("attempt %q, %d writes", res.Attempt, k.store.puts.count())
				}
				k.wantJournal(t, 0, 0)
				w.wantJudge("acme", judge{})
			})
		})
	}
}

func TestRecordWithoutHeadersIsRepaired(t *testing.T) {
	for name, tt := range map[string]struct {
		puts    []step
		verdict refresh.Verdict
	}{
		"at once":             {nil, refresh.VerdictAck},
		"in spite of a rival": {[]step{says(refresh.ErrConflict)}, refresh.VerdictAck},
		"not now":             {[]step{lost}, refresh.VerdictLeave},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				c, k := w.enrol("acme/alice"), w.worker("w1")
				r := w.record(c).Record
				r.RefreshAt = r.RefreshAt.Add(time.Minute)
				data, err := r.Encode()
				w.must(err)
				_, err = w.JetStream().PublishMsg(w.ctx, &nats.Msg{Subject: w.Names().RecordSubject(c), Data: data})
				w.must(err)
				if !w.record(c).Headerless {
					t.Fatal("the record has headers")
				}
				k.store.puts.set(nil, tt.puts...)
				wantResult(t, k.Do(w.ctx, c, refresh.Job{Reason: events.ReasonScheduled, NewerThan: 1}), tt.verdict, refresh.ClassFresh)
				if got := w.record(c); got.Headerless != (tt.verdict != refresh.VerdictAck) {
					t.Errorf("headerless: %v", got.Headerless)
				}
				w.wantJudge("acme", judge{})
			})
		})
	}
}

func TestCancellingDoesNotReachAnExchange(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.apply("slow", authserver.Config{Latency: 10 * time.Second}, nil)
		c, k := w.enrol("slow/alice"), w.worker("w1")
		ctx, cancel := context.WithTimeout(w.ctx, 5*time.Second)
		defer cancel()
		res := k.Do(ctx, c, w.scheduled(c))
		wantResult(t, res, refresh.VerdictAck, refresh.ClassOK)
		if ctx.Err() == nil || res.Exchange != 10*time.Second {
			t.Errorf("the exchange took %v, the context: %v", res.Exchange, ctx.Err())
		}
		w.wantRecord(c, refresh.StateActive, 2)
		if n := len(w.told(c)); n != 1 {
			t.Errorf("%d events", n)
		}
		w.wantJudge("slow", judge{requests: 1, rotations: 1})
		if abandoned := w.servers["slow"].Ledger().Abandoned; abandoned != 0 {
			t.Errorf("%d requests abandoned", abandoned)
		}
	})
}

func TestClockSkewIsMeasured(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		c := w.enrol("acme/alice")
		ahead := exchangeFunc(func(r refresh.Request) refresh.Outcome {
			o := w.exchange.Exchange(w.ctx, r)
			o.Date = o.EndedAt.Add(90 * time.Second).UTC().Format("Mon, 02 Jan 2006 15:04:05 GMT")
			return o
		})
		k := w.worker("w1", func(cfg *refresh.Config) { cfg.Exchange = ahead })
		if res := w.do(k, c); res.ClockSkew != 90*time.Second {
			t.Errorf("skew %v", res.ClockSkew)
		}
	})
}

// A worker whose clock is wrong writes NATS time all the same, and in UTC.
func TestTimesAreNATSTimeInUTC(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		zone := time.FixedZone("elsewhere", 3*60*60)
		now := func() time.Time { return time.Now().Add(time.Hour).In(zone) }
		for _, fault := range []authserver.FaultKind{"", authserver.FaultDrop} {
			c := w.enrol("acme/alice" + string(fault))
			if fault != "" {
				w.must(w.servers["acme"].SetFaults([]authserver.Fault{{Kind: fault}}))
			}
			w.do(w.worker("w"+string(fault), func(cfg *refresh.Config) { cfg.Now = now }), c)
			r := w.record(c).Record
			times := map[string]time.Time{"issued_at": r.IssuedAt, "refresh_at": r.RefreshAt}
			if fault == "" && !r.IssuedAt.Equal(now()) {
				t.Errorf("issued at %v, NATS time is %v", r.IssuedAt, now())
			}
			if fault != "" {
				times["failure.at"], times["failure.since"], times["first_sent_at"] = r.Failure.At, r.Failure.Since, r.Doubt.FirstSentAt
			}
			for name, at := range times {
				if text, _ := at.MarshalText(); len(text) == 0 || text[len(text)-1] != 'Z' {
					t.Errorf("%s is %s", name, text)
				}
			}
		}
	})
}
