package providerfile_test

import (
	"maps"
	"reflect"
	"slices"
	"testing"

	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/provider/catalogue"
)

// preset reads a file with one provider and fails where it is not read.
func preset(t *testing.T, text string) provider.Definition {
	t.Helper()
	return parse(t, "providers:\n  acme:\n"+text).Providers[0].Definition
}

func TestAPresetAndAClientAreEnough(t *testing.T) {
	t.Parallel()
	p, _ := catalogue.Find("slack")
	want, err := p.Fill(nil)
	if err != nil {
		t.Fatal(err)
	}
	want.Name, want.ClientID = "acme", "abc"
	if got := preset(t, "    client_secret: env://S\n    client_id: abc\n    preset: slack\n"); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
}

func TestParamsFillEndpoints(t *testing.T) {
	t.Parallel()
	const client = "    client_id: abc\n    client_secret: env://S\n"
	for text, want := range map[string]string{
		"    params: {shop: acme}\n    preset: shopify\n":                                   "https://acme.myshopify.com/admin/oauth/access_token",
		"    preset: microsoft\n":                                                           "https://login.microsoftonline.com/common/oauth2/v2.0/token",
		"    preset: microsoft\n    params:\n      tenant: 11111111-2222-3333\n":            "https://login.microsoftonline.com/11111111-2222-3333/oauth2/v2.0/token",
		"    preset: salesforce\n    params: {host: acme--dev.sandbox.my.salesforce.com}\n": "https://acme--dev.sandbox.my.salesforce.com/services/oauth2/token",
		"    preset: gitlab\n    token_url: https://elsewhere.example/token\n":              "https://elsewhere.example/token",
	} {
		if d := preset(t, text+client); d.TokenURL != want {
			t.Errorf("%s: %s, want %s", text, d.TokenURL, want)
		}
	}
}

func TestAFilesFieldsGoBeforeThePresets(t *testing.T) {
	t.Parallel()
	d := preset(t, `
    client_id: abc
    rotation: strict                       # Atlassian's class is grace, with a duration of its own
    scopes: [offline_access]
    auth_params: {prompt: "", x: "1"}      # prompt is left out, audience stays
    refresh_ends_access: false
    refresh_life: {absolute: 200d}         # idle stays
    words: {rejected: [mine]}
    refresh: {max_lead: 5m}
    auth_style: none
    preset: atlassian
`)
	if err := d.Validate(); err != nil {
		t.Fatal(err)
	}
	if d.Rotation != provider.RotationStrict || d.RotationGrace != 0 || d.RefreshEndsAccess || d.AuthStyle != provider.AuthNone {
		t.Errorf("%+v", d)
	}
	if want := map[string]string{"audience": "api.atlassian.com", "prompt": "", "x": "1"}; !maps.Equal(d.AuthParams, want) {
		t.Errorf("auth_params %v, want %v", d.AuthParams, want)
	}
	if d.RefreshLife.Absolute.String() != "200d" || d.RefreshLife.Idle.String() != "90d" || d.Refresh.MaxLead.String() != "5m" {
		t.Errorf("life %+v, refresh %+v", d.RefreshLife, d.Refresh)
	}
	if d = preset(t, "    preset: github\n    client_id: abc\n    auth_style: none\n    words: {rejected: [mine], misconfigured: []}\n"); !slices.Equal(d.Words.Rejected, []string{"mine"}) || len(d.Words.Misconfigured) != 0 {
		t.Errorf("words %+v: a list takes the place of the preset's", d.Words)
	}
	if p, _ := catalogue.Find("atlassian"); p.Definition.AuthParams["prompt"] != "consent" {
		t.Error("reading a file changed the catalogue")
	}
}

func TestAPresetsUserinfoNeedsItsScope(t *testing.T) {
	t.Parallel()
	const client = "    preset: google\n    client_id: abc\n    client_secret: env://S\n"
	for text, want := range map[string]string{
		"":                                   "",
		"    scopes: [calendar]\n":           "",
		"    scopes: [openid, calendar]\n":   "https://openidconnect.googleapis.com/v1/userinfo",
		"    userinfo_url: https://x.test\n": "https://x.test",
		"    scopes: [openid]\n    userinfo_url: https://x.test\n": "https://x.test",
	} {
		if d := preset(t, text+client); d.UserinfoURL != want {
			t.Errorf("%q: %q, want %q", text, d.UserinfoURL, want)
		}
	}
}
