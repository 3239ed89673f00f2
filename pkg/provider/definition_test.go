package provider_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/seal"
)

func TestWithDefaults(t *testing.T) {
	t.Parallel()
	const minute = provider.Duration(time.Minute)
	got := provider.Definition{Name: "acme", ClientID: "abc"}.WithDefaults()
	want := provider.Definition{
		Name: "acme", ClientID: "abc", AuthStyle: provider.AuthNone, Grant: provider.GrantAuthorizationCode,
		Rotation: provider.RotationStrict,
		Refresh:  provider.Refresh{MinLead: minute, MaxLead: 15 * minute, DefaultLifetime: 60 * minute, MaxLifetime: days(90)},
		Limits:   provider.Limits{Concurrency: 64, Timeout: provider.Duration(20 * time.Second)},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("defaults\n got %+v\nwant %+v", got, want)
	}
	if again := got.WithDefaults(); !reflect.DeepEqual(again, got) {
		t.Errorf("defaults of defaults: %+v", again)
	}
}

func TestWithDefaultsKeepsWhatIsDeclared(t *testing.T) {
	t.Parallel()
	d := acme()
	everythingOptional(&d)
	before := fmt.Sprintf("%+v", d)
	if got := d.WithDefaults(); !reflect.DeepEqual(got, d) || fmt.Sprintf("%+v", d) != before {
		t.Errorf("changed\n got %+v\nwant %s", got, before)
	}
}

func TestAuthStyleOfASecretHasNoDefault(t *testing.T) {
	t.Parallel()
	d := provider.Definition{ClientSecrets: []seal.Secret{seal.NewSecret("x")}}
	if got := d.WithDefaults().AuthStyle; got != "" {
		t.Errorf("auth style %q", got)
	}
}

func TestDefaultsGiveWayToTheirNeighbours(t *testing.T) {
	t.Parallel()
	const second = provider.Duration(time.Second)
	for name, tc := range map[string]struct{ in, want provider.Refresh }{
		"long min_lead": {provider.Refresh{MinLead: days(1)},
			provider.Refresh{MinLead: days(1), MaxLead: days(1), DefaultLifetime: 3600 * second, MaxLifetime: days(90)}},
		"short max_lead": {provider.Refresh{MaxLead: 10 * second},
			provider.Refresh{MinLead: 10 * second, MaxLead: 10 * second, DefaultLifetime: 3600 * second, MaxLifetime: days(90)}},
		"short max_lifetime": {provider.Refresh{MaxLifetime: 60 * second},
			provider.Refresh{MinLead: 60 * second, MaxLead: 900 * second, DefaultLifetime: 60 * second, MaxLifetime: 60 * second}},
		"long default_lifetime": {provider.Refresh{DefaultLifetime: days(365)},
			provider.Refresh{MinLead: 60 * second, MaxLead: 900 * second, DefaultLifetime: days(365), MaxLifetime: days(365)}},
		"no end": {provider.Refresh{DefaultLifetime: provider.Never},
			provider.Refresh{MinLead: 60 * second, MaxLead: 900 * second, DefaultLifetime: provider.Never, MaxLifetime: days(90)}},
	} {
		if got := (provider.Definition{Refresh: tc.in}).WithDefaults().Refresh; got != tc.want {
			t.Errorf("%s\n got %+v\nwant %+v", name, got, tc.want)
		}
	}
}

func TestOAuth2EndpointNeverDetects(t *testing.T) {
	t.Parallel()
	for style, want := range map[provider.AuthStyle]oauth2.AuthStyle{
		provider.AuthBasic: oauth2.AuthStyleInHeader, provider.AuthPost: oauth2.AuthStyleInParams,
		provider.AuthNone: oauth2.AuthStyleInParams, provider.AuthPrivateKeyJWT: oauth2.AuthStyleInParams,
		"": oauth2.AuthStyleInParams,
	} {
		d := acme()
		d.AuthStyle, d.DeviceURL = style, "https://login.example.com/device"
		wantEndpoint := oauth2.Endpoint{AuthURL: d.AuthURL, DeviceAuthURL: d.DeviceURL, TokenURL: d.TokenURL, AuthStyle: want}
		if got := d.OAuth2Endpoint(); got != wantEndpoint || got.AuthStyle == oauth2.AuthStyleAutoDetect {
			t.Errorf("%q: %+v", style, got)
		}
	}
}

func TestDefinitionNeverShowsItsSecrets(t *testing.T) {
	t.Parallel()
	d := acme()
	out, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	if all := fmt.Sprintf("%s %v %+v %#v", out, d, &d, d); strings.Contains(all, "s3cret") {
		t.Error(all)
	}
}

func TestPauseActive(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for name, tc := range map[string]struct {
		pause *provider.Pause
		want  bool
	}{
		"none": {nil, false}, "until lifted": {&provider.Pause{By: "op"}, true},
		"not over": {&provider.Pause{Until: now.Add(1)}, true}, "over": {&provider.Pause{Until: now}, false},
	} {
		if got := tc.pause.Active(now); got != tc.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
