package doctor_test

import (
	"testing"
	"time"

	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/internal/doctor"
	"github.com/freshetdev/freshet/internal/probe"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/provider"
)

func TestJudgements(t *testing.T) {
	t.Parallel()
	now := time.Now()
	lane := func(i broker.LaneInfo, p *provider.Pause) probe.Check {
		i.MaxAckPending, i.AckWait = 2, time.Minute
		return doctor.JudgeLane("acme", i, p, now)
	}
	stream := func(s broker.StreamSight) probe.Check { return doctor.JudgeStream(s, events.Names{}) }
	for name, c := range map[string]struct {
		got  probe.Check
		want probe.Result
	}{
		"an account without a limit":    {doctor.JudgeLimits(broker.Limits{Used: 1 << 40}), probe.OK},
		"an account with room":          {doctor.JudgeLimits(broker.Limits{Used: 79, Max: 100}), probe.OK},
		"an account that fills":         {doctor.JudgeLimits(broker.Limits{Used: 80, Max: 100}), probe.Warn},
		"a full account":                {doctor.JudgeLimits(broker.Limits{Used: 98, Max: 100}), probe.Fail},
		"clocks that agree":             {doctor.JudgeClock(-30 * time.Second), probe.OK},
		"a clock ahead":                 {doctor.JudgeClock(31 * time.Second), probe.Warn},
		"a clock behind":                {doctor.JudgeClock(-31 * time.Second), probe.Warn},
		"a stream":                      {stream(broker.StreamSight{MaxBytes: -1, Bytes: 1 << 40}), probe.OK},
		"a stream that is not written":  {stream(broker.StreamSight{Volatile: true}), probe.Fail},
		"a copy that is away":           {stream(broker.StreamSight{Replicas: 3, Behind: []string{"n3"}}), probe.Warn},
		"a stream that fills":           {stream(broker.StreamSight{Name: "tokens", MaxBytes: 1000, Bytes: 901}), probe.Warn},
		"events that fill their stream": {stream(broker.StreamSight{Name: "TOKEN_EVENTS", MaxBytes: 1000, Bytes: 1000}), probe.OK},
		"a lane at work":                {lane(broker.LaneInfo{Pending: 5, AckPending: 2, LastAck: now}, nil), probe.OK},
		"a lane that waits":             {lane(broker.LaneInfo{Waiting: 1}, nil), probe.OK},
		"a lane with its first jobs":    {lane(broker.LaneInfo{Pending: 5, AckPending: 2}, nil), probe.OK},
		"a lane without workers":        {lane(broker.LaneInfo{}, nil), probe.Warn},
		"jobs without workers":          {lane(broker.LaneInfo{Pending: 1}, nil), probe.Fail},
		"a lane that is stuck":          {lane(broker.LaneInfo{Pending: 1, AckPending: 2, LastAck: now.Add(-3 * time.Minute)}, nil), probe.Fail},
		"a lane that is paused":         {lane(broker.LaneInfo{Pending: 1, Paused: true}, &provider.Pause{By: "operator"}), probe.Warn},
		"a pause that has ended":        {lane(broker.LaneInfo{Waiting: 1}, &provider.Pause{By: "x", Until: now.Add(-time.Second)}), probe.OK},
		"a pause that nobody owns":      {lane(broker.LaneInfo{Waiting: 1, Paused: true}, nil), probe.Warn},
	} {
		if c.got.Result != c.want || (c.want == probe.OK) != (c.got.Advice == "") {
			t.Errorf("%s: %+v, want %s", name, c.got, c.want)
		}
	}
}

func TestTheServersCertificateIsRenewedInTime(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for left, want := range map[time.Duration]probe.Result{30 * 24 * time.Hour: probe.OK, 6 * 24 * time.Hour: probe.Warn, -time.Hour: probe.Warn} {
		if got := doctor.JudgeCertificate(now.Add(left), now); got.Result != want || (want == probe.OK) != (got.Advice == "") {
			t.Errorf("%s left: %+v", left, got)
		}
	}
}
