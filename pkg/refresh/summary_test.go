package refresh_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/freshetdev/freshet/internal/natstest"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
	"github.com/freshetdev/freshet/pkg/seal"
)

func TestSummaryRoundTrip(t *testing.T) {
	t.Parallel()
	full, plain := fullRecord(), healthy().Record
	told := refresh.Announcement{Type: events.TokenUpdated, Reason: events.ReasonEnrolled}
	for name, want := range map[string]refresh.Summary{
		"full": full.Summary(told), "plain": plain.Summary(refresh.Announcement{}), "least": {State: refresh.StateDeleted},
	} {
		got, err := refresh.ParseSummary(want.Header())
		if err != nil || got != want {
			t.Errorf("%s: got %+v (%v), want %+v", name, got, err, want)
		}
	}
}

func TestSummarySaysWhatASchedulerNeeds(t *testing.T) {
	t.Parallel()
	r := fullRecord()
	got := r.Summary(refresh.Announcement{})
	want := refresh.Summary{
		State: refresh.StateRetrying, Paused: true, GrantID: "abcdefghijklmnop", Generation: 2, Version: 7, IssuedAt: noon,
		RefreshAt: noon.Add(40 * time.Minute), ExpiresAt: noon.Add(time.Hour), GrantExpiresAt: noon.Add(90 * 24 * time.Hour),
		FailureClass: refresh.ClassUnknown, FailureCount: 2,
		Policy: refresh.Policy{Cron: "@daily", KeepAlive: provider.Duration(24 * time.Hour)},
	}
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestHeadersThatCannotBeRead(t *testing.T) {
	t.Parallel()
	for _, h := range []map[string][]string{nil, {}, {"Freshet-Version": {"1"}}, {"Freshet-State": {}}, {"freshet-state": {"active"}}} {
		if _, err := refresh.ParseSummary(h); !errors.Is(err, refresh.ErrNoSummary) {
			t.Errorf("%v: err %v", h, err)
		}
	}
	r := fullRecord()
	for name, value := range map[string]string{
		"Freshet-Generation": "", "Freshet-Version": "-1", "Freshet-Issued-At": "noon", "Freshet-Refresh-At": "12:00",
		"Freshet-Expires-At": "0", "Freshet-Grant-Expires-At": "x", "Freshet-Keep-Alive": "a day",
	} {
		h := r.Summary(refresh.Announcement{}).Header()
		h[name] = []string{value}
		if _, err := refresh.ParseSummary(h); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s %q: err %v", name, value, err)
		}
	}
}

func TestHeadersOfANewerVersionAreRead(t *testing.T) {
	t.Parallel()
	r := fullRecord()
	want := r.Summary(refresh.Announcement{})
	h := want.Header()
	h["Freshet-Region"] = []string{"eu"}
	if got, err := refresh.ParseSummary(h); err != nil || got != want {
		t.Errorf("got %+v (%v)", got, err)
	}
}

// Every NATS client that may watch the bucket sees the headers.
func TestHeadersCarryNothingSealed(t *testing.T) {
	t.Parallel()
	keys := refresh.Keys{Bucket: "tokens", Grant: natstest.Keyset(t), Access: natstest.Keyset(t)}
	r := fullRecord()
	r.Meta = []byte(`{"hint":"` + canarySecret + `"}`)
	if err := keys.Seal(&r, refresh.Grant{RefreshToken: seal.NewSecret(canaryRefresh)}, seal.NewSecret(canaryAccess)); err != nil {
		t.Fatal(err)
	}
	shown := fmt.Appendf(nil, "%v", r.Summary(refresh.Announcement{}).Header())
	for name, hidden := range map[string][]byte{
		"access": r.Access, "grant": r.Grant, "refresh token": []byte(canaryRefresh), "access token": []byte(canaryAccess), "meta": []byte(canarySecret),
	} {
		if bytes.Contains(shown, hidden) {
			t.Errorf("%s is in the headers", name)
		}
	}
	data, err := r.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(data, []byte(canaryRefresh)) || bytes.Contains(data, []byte(canaryAccess)) {
		t.Error("a token is readable in the record")
	}
}
