package app_test

import (
	"encoding/json"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/freshetdev/freshet/internal/enroll"
	"github.com/freshetdev/freshet/internal/natstest"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/provider"
)

// TestABulkImportComesBackSpread: a thousand tokens that end at the same moment are not renewed at the same moment.
func TestABulkImportComesBackSpread(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		const n = 1000
		f := newFleet(t, fleetConfig{Schedulers: 1, Workers: 2, Hands: 8})
		begun := time.Now()
		end := begun.Add(time.Hour)
		f.importAll(n, end)
		time.Sleep(time.Until(end))
		minutes := make([]int, 60)
		for _, at := range f.asked() {
			minutes[int(at.Sub(begun)/time.Minute)]++
		}
		for m, count := range minutes {
			if count > 0 {
				t.Logf("minute %2d: %3d", m, count)
			}
			if count > n/5 {
				t.Errorf("%d of %d refreshes in minute %d", count, n, m)
			}
		}
		renewed := 0
		for _, e := range f.toldOf(events.TokenUpdated) {
			if e.Data.Version == 2 && e.Time.Before(end) {
				renewed++
			}
		}
		if l := f.wantCleanLedger(); l.Refreshes != n || renewed != n {
			t.Errorf("%d refreshes, %d of %d renewed before the end", l.Refreshes, renewed, n)
		}
	})
}

// importAll imports n grants of acme whose access tokens have one end.
func (f *fleet) importAll(n int, end time.Time) {
	f.t.Helper()
	in, lines := io.Pipe()
	go func() {
		out := json.NewEncoder(lines)
		for i := range n {
			tokens, err := f.auth.Issue(fmt.Sprintf("user-%04d", i), "")
			if err == nil {
				err = out.Encode(map[string]any{
					"provider": "acme", "account": tokens.Account, "refresh_token": tokens.RefreshToken,
					"access_token": tokens.AccessToken, "expires_at": end.UTC().Format(time.RFC3339),
				})
			}
			if err != nil {
				lines.CloseWithError(err)
				return
			}
		}
		lines.Close()
	}()
	report, err := enroll.Import(f.ctx, enroll.ImportConfig{
		Reader: in, Writer: f.writer,
		Provider: func(name string) (*provider.Definition, bool) { return &f.acme, name == "acme" },
	})
	f.must(err)
	if report.Imported != n {
		f.t.Fatalf("imported %d, bad %d, want %d", report.Imported, report.Bad, n)
	}
}
