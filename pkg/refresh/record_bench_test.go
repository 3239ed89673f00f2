package refresh_test

import (
	"testing"
	"time"

	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
	"github.com/freshetdev/freshet/pkg/seal"
)

func BenchmarkDecide(b *testing.B) {
	s := healthy()
	in := refresh.Input{
		Job:    refresh.Job{Reason: events.ReasonScheduled, GrantID: "g", NewerThan: 3},
		Stored: &s, Provider: definition(provider.RotationStrict), Now: noon.Add(40 * time.Minute),
	}
	b.ReportAllocs()
	for b.Loop() {
		if refresh.Decide(in).Action != refresh.ActionAttempt {
			b.Fatal("not due")
		}
	}
}

// benchRecord is a record as it lies in the bucket between two refreshes.
func benchRecord(b *testing.B) (refresh.Record, refresh.Keys) {
	b.Helper()
	r, keys := sealedRecord(b)
	r.Last = &refresh.Last{Attempt: "attempt1", Outcome: refresh.ClassOK, Reason: events.ReasonScheduled}
	return r, keys
}

func BenchmarkRecordEncode(b *testing.B) {
	r, _ := benchRecord(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Encode(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRecordDecode(b *testing.B) {
	r, _ := benchRecord(b)
	data, err := r.Encode()
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := refresh.DecodeRecord(data); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRecordDecodeNewerSchema(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := refresh.DecodeRecord([]byte(future)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSeal(b *testing.B) {
	r, keys := benchRecord(b)
	g, access := refresh.Grant{RefreshToken: seal.NewSecret(canaryRefresh)}, seal.NewSecret(canaryAccess)
	b.ReportAllocs()
	for b.Loop() {
		if err := keys.Seal(&r, g, access); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpen(b *testing.B) {
	r, keys := benchRecord(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := keys.OpenGrant(&r); err != nil {
			b.Fatal(err)
		}
		if _, err := keys.OpenAccess(&r); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSummaryParse(b *testing.B) {
	r, _ := benchRecord(b)
	h := r.Summary(refresh.Announcement{}).Header()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := refresh.ParseSummary(h); err != nil {
			b.Fatal(err)
		}
	}
}
