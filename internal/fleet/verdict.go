package fleet

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/freshetdev/freshet/internal/authserver"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/refresh"
)

// Verdict is what the four witnesses say.
type Verdict struct {
	Ledger   authserver.Ledger
	Lost     []authserver.Loss // accounts whose stored refresh token is dead
	Heard    Heard
	Enrolled int
	// Versions counts all that were committed, the enrolled ones among them; Fewest are those of the credential with
	// the fewest.
	Versions int
	Fewest   uint64
	// States counts the records by state.
	States map[refresh.State]int
	// Expired counts the records whose access token has ended now.
	Expired int
	// Unreadable are the records that cannot be read or opened.
	Unreadable []error
}

// heardWithin is how long the last events may take to reach the subscriber.
const heardWithin = 5 * time.Second

// Verdict reads every record and compares. The numbers belong together only when the workers have ended.
func (f *Fleet) Verdict(ctx context.Context) (Verdict, error) {
	v := Verdict{Enrolled: len(f.Accounts()), States: make(map[refresh.State]int)}
	held := make(map[string]string, v.Enrolled)
	for _, account := range f.Accounts() {
		held[account] = "" // lost, unless its record says otherwise
	}
	err := f.Broker.Records(ctx, Provider+".>", func(s refresh.Stored, err error) error {
		if err != nil {
			v.Unreadable = append(v.Unreadable, err)
			return nil
		}
		f.read(&v, held, s)
		return nil
	})
	if err != nil {
		return v, fmt.Errorf("read the records: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, heardWithin)
	defer cancel()
	enough := func(h Heard) bool { return h.Events[events.TokenUpdated] >= v.Versions }
	_ = f.AwaitHeard(ctx, enough) // too few are a finding
	v.Heard, v.Ledger, v.Lost = f.Heard(), f.Auth.Ledger(), f.Auth.Lost(held)
	return v, nil
}

// read takes note of one record.
func (f *Fleet) read(v *Verdict, held map[string]string, s refresh.Stored) {
	r := &s.Record
	v.States[r.State]++
	v.Versions += int(r.Version)
	if v.Fewest == 0 || r.Version < v.Fewest {
		v.Fewest = r.Version
	}
	if !r.ExpiresAt.IsZero() && r.ExpiresAt.Before(time.Now()) {
		v.Expired++
	}
	keys := refresh.Keys{Bucket: f.Broker.Names().TokensBucket(), Grant: f.grant, Access: f.access}
	g, err := keys.OpenGrant(r)
	if err != nil {
		v.Unreadable = append(v.Unreadable, fmt.Errorf("%s: %w", r.Credential(), err))
		return
	}
	held[r.Account] = g.RefreshToken.Reveal()
}

// Err names every guarantee that did not hold. It leaves out what a fault may cost without breaking one: time (Late,
// Expired, States) and tries (Ledger.Reused, Ledger.LastTries).
func (v Verdict) Err() error {
	var faults []error
	must := func(ok bool, format string, args ...any) {
		if !ok {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	l := v.Ledger
	must(l.Replayed == 0, "%d refresh tokens were replayed", l.Replayed)
	must(l.Concurrent == 0, "%d refresh tokens were presented twice at once", l.Concurrent)
	must(l.Revoked == 0, "%d grants were ended by the authorization server", l.Revoked)
	must(len(v.Lost) == 0, "%d grants are lost: %v", len(v.Lost), v.Lost)
	must(len(v.Unreadable) == 0, "%d records cannot be read: %w", len(v.Unreadable), errors.Join(v.Unreadable...))
	heard := v.Heard.Events[events.TokenUpdated]
	must(heard == v.Versions, "%d versions were committed and %d heard", v.Versions, heard)
	return errors.Join(faults...)
}

// String is the verdict in a few lines.
func (v Verdict) String() string {
	l, margin := v.Ledger, "unknown"
	if v.Heard.Margin != math.MaxInt64 {
		margin = v.Heard.Margin.Round(time.Millisecond).String()
	}
	return fmt.Sprintf(`authorization server  %d token requests, %d refreshes, %d rotations, %d reused, %d replayed, %d concurrent, %d last tries, %d revoked, %d lost
records               %d enrolled, %d versions (fewest %d), %d expired now, states %v, %d unreadable
subscriber            events %v, reasons %v, %d late, least margin %s`,
		l.Requests["token"], l.Refreshes, l.Rotations, l.Reused, l.Replayed, l.Concurrent, l.LastTries, l.Revoked, len(v.Lost),
		v.Enrolled, v.Versions, v.Fewest, v.Expired, v.States, len(v.Unreadable),
		v.Heard.Events, v.Heard.Reasons, v.Heard.Late, margin)
}
