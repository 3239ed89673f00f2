package fleet_test

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/freshetdev/freshet/internal/authserver"
	"github.com/freshetdev/freshet/internal/fleet"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/refresh"
)

func TestAVerdictNamesEachBrokenGuarantee(t *testing.T) {
	t.Parallel()
	for want, v := range map[string]fleet.Verdict{
		"1 refresh tokens were replayed":                {Ledger: authserver.Ledger{Replayed: 1}},
		"2 refresh tokens were presented twice at once": {Ledger: authserver.Ledger{Concurrent: 2}},
		"3 grants were ended by":                        {Ledger: authserver.Ledger{Revoked: 3}},
		"1 grants are lost: [{alice spent}]":            {Lost: []authserver.Loss{{Account: "alice", Why: "spent"}}},
		"1 records cannot be read: no key":              {Unreadable: []error{errors.New("no key")}},
		"3 versions were committed and 2 heard":         {Versions: 3, Heard: fleet.Heard{Events: map[events.Type]int{events.TokenUpdated: 2}}},
	} {
		if err := v.Err(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("verdict %v, want %q", err, want)
		}
	}
	late := fleet.Verdict{Expired: 1, Ledger: authserver.Ledger{LastTries: 1, Reused: 1}, Heard: fleet.Heard{Late: 1}}
	if err := late.Err(); err != nil {
		t.Errorf("a verdict about lost time: %v", err)
	}
}

// Whoever presents a stored refresh token behind Freshet's back loses the account: the verdict must see that.
func TestTheVerdictFindsALoss(t *testing.T) {
	t.Parallel()
	ctx := within(t, 30*time.Second)
	f := start(ctx, t, strict(10*time.Second, 4*time.Second))
	must(t, f.Enrol(ctx, 3))
	if err := judge(ctx, t, f).Err(); err != nil {
		t.Fatalf("before: %v", err)
	}
	s, err := f.Broker.Get(ctx, events.Credential{Provider: fleet.Provider, Account: "user-1"})
	must(t, err)
	grant, access, err := f.Keysets.Load()
	must(t, err)
	g, err := refresh.Keys{Bucket: f.Broker.Names().TokensBucket(), Grant: grant, Access: access}.OpenGrant(&s.Record)
	must(t, err)
	client := &http.Client{Timeout: 10 * time.Second}
	defer client.CloseIdleConnections()
	resp, err := client.PostForm(f.AuthURL+"/token", url.Values{
		"grant_type": {"refresh_token"}, "refresh_token": {g.RefreshToken.Reveal()}, "client_id": {"dev"}, "client_secret": {"dev-secret"},
	})
	must(t, err)
	must(t, resp.Body.Close())
	wantEqual(t, "answer to the theft", resp.StatusCode, http.StatusOK)

	v, err := f.Verdict(ctx)
	must(t, err)
	if len(v.Lost) != 1 || v.Lost[0] != (authserver.Loss{Account: "user-1", Why: authserver.LossSpent}) || v.Err() == nil {
		t.Errorf("lost %v, verdict %v; want user-1, spent", v.Lost, v.Err())
	}
}
