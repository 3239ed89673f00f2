package catalogue_test

import (
	"errors"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/provider/catalogue"
)

func TestEachPresetNeedsOnlyAClient(t *testing.T) {
	t.Parallel()
	all := catalogue.All()
	if len(all) < 15 {
		t.Errorf("%d presets", len(all))
	}
	var names []string
	for _, p := range all {
		names = append(names, p.Name)
		d := client(t, p)
		if err := d.Validate(); err != nil {
			t.Errorf("%s: %v", p.Name, err)
		}
		if d.Preset != p.Name || p.Title == "" {
			t.Errorf("%s: preset %q, title %q", p.Name, d.Preset, p.Title)
		}
		for _, u := range []string{d.Issuer, d.AuthURL, d.TokenURL, d.DeviceURL, d.RevokeURL, d.IntrospectURL, d.UserinfoURL} {
			if strings.ContainsAny(u, "{}") || u != "" && !strings.HasPrefix(u, "https://") {
				t.Errorf("%s: endpoint %q", p.Name, u)
			}
		}
	}
	if !slices.IsSorted(names) || len(slices.Compact(slices.Clone(names))) != len(names) {
		t.Errorf("names are not sorted or not unique: %q", names)
	}
}

func TestNothingIsDeclaredWithoutASource(t *testing.T) {
	t.Parallel()
	for _, p := range catalogue.All() {
		topics := make(map[catalogue.Topic]bool)
		for _, s := range p.Sources {
			topics[s.Topic] = true
			if u, err := url.Parse(s.URL); err != nil || u.Scheme != "https" || u.Host == "" {
				t.Errorf("%s: source %q", p.Name, s.URL)
			}
		}
		d := p.Definition
		said := strings.Join(p.Undocumented, "\n")
		for _, c := range []struct {
			topic    catalogue.Topic
			declared bool
		}{
			{catalogue.Requests, true},
			{catalogue.Rotation, d.Rotation != "" || d.RefreshEndsAccess},
			{catalogue.Lifetimes, d.RefreshLife != provider.RefreshLife{}},
			{catalogue.Errors, !d.Words.IsZero()},
			{catalogue.Identity, p.Userinfo.URL != ""},
		} {
			if c.declared && !topics[c.topic] {
				t.Errorf("%s: no source about %s", p.Name, c.topic)
			}
		}
		if d.Rotation == "" && !strings.Contains(said, ": strict is assumed") {
			t.Errorf("%s: rotation is not declared, and undocumented does not say so", p.Name)
		}
		if d.ClientID != "" || len(d.ClientSecrets) > 0 || d.Name != "" || d.Preset != "" {
			t.Errorf("%s: belongs to somebody", p.Name)
		}
	}
}

func TestEachParameterIsUsedAndExplained(t *testing.T) {
	t.Parallel()
	placeholder := regexp.MustCompile(`\{([a-z_]+)\}`)
	for _, p := range catalogue.All() {
		d := p.Definition
		var used, known []string
		for _, m := range placeholder.FindAllStringSubmatch(strings.Join([]string{d.Issuer, d.AuthURL, d.TokenURL, d.DeviceURL, d.RevokeURL, d.IntrospectURL, p.Userinfo.URL}, " "), -1) {
			used = append(used, m[1])
		}
		for _, param := range p.Params {
			known = append(known, param.Name)
			if param.Meaning == "" || param.Example == "" {
				t.Errorf("%s: parameter %s is not explained", p.Name, param.Name)
			}
		}
		slices.Sort(used)
		slices.Sort(known)
		if used = slices.Compact(used); !slices.Equal(used, known) {
			t.Errorf("%s: uses %q, knows %q", p.Name, used, known)
		}
	}
}

func TestFill(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		preset string
		params map[string]string
		url    string   // token_url
		faults []string // fields
	}{
		{"microsoft", nil, "https://login.microsoftonline.com/common/oauth2/v2.0/token", nil},
		{"microsoft", map[string]string{"tenant": "contoso.com"}, "https://login.microsoftonline.com/contoso.com/oauth2/v2.0/token", nil},
		{"shopify", map[string]string{"shop": "tea"}, "https://tea.myshopify.com/admin/oauth/access_token", nil},
		{"shopify", nil, "", []string{"params.shop"}},
		{"shopify", map[string]string{"shop": "tea", "size": "1"}, "", []string{"params.size"}},
		{"shopify", map[string]string{"shop": "tea", "not a word": "1"}, "", []string{"params.…"}},
		{"shopify", map[string]string{"shop": ""}, "", []string{"params.shop"}},
		{"shopify", map[string]string{"shop": "evil.example/"}, "", []string{"params.shop"}},
		{"shopify", map[string]string{"shop": "evil.example"}, "", []string{"params.shop"}},
		{"shopify", map[string]string{"shop": "a@b"}, "", []string{"params.shop"}},
		{"microsoft", map[string]string{"tenant": "a..b"}, "", []string{"params.tenant"}},
		{"microsoft", map[string]string{"tenant": strings.Repeat("a", 254)}, "", []string{"params.tenant"}},
		{"google", map[string]string{"tenant": "x"}, "", []string{"params.tenant"}},
	} {
		p, ok := catalogue.Find(c.preset)
		if !ok {
			t.Fatal(c.preset)
		}
		d, err := p.Fill(c.params)
		if got := faultsOf(err); !slices.Equal(got, c.faults) {
			t.Errorf("%s %v: faults %q, want %q", c.preset, c.params, got, c.faults)
		}
		if c.faults == nil && d.TokenURL != c.url {
			t.Errorf("%s %v: token_url %s", c.preset, c.params, d.TokenURL)
		}
	}
}

func TestUserinfoIsWhereTheVendorAnswers(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		preset string
		params map[string]string
		url    string
	}{
		{"google", nil, "https://openidconnect.googleapis.com/v1/userinfo"},
		{"gitlab", map[string]string{"host": "git.example.com"}, "https://git.example.com/oauth/userinfo"},
		{"github", nil, "https://api.github.com/user"},
		{"github", map[string]string{"host": "github.example.com"}, ""},
		{"microsoft", nil, ""},
	} {
		p, _ := catalogue.Find(tt.preset)
		if d, err := p.Fill(tt.params); err != nil || d.UserinfoURL != tt.url {
			t.Errorf("%s %v: %q, %v, want %q", tt.preset, tt.params, d.UserinfoURL, err, tt.url)
		}
	}
}

func faultsOf(err error) []string {
	var fields []string
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, err := range joined.Unwrap() {
			var fault *provider.Fault
			if errors.As(err, &fault) {
				fields = append(fields, fault.Field)
			}
		}
	}
	return fields
}

func TestPresetsAreMadeAnew(t *testing.T) {
	t.Parallel()
	before, _ := catalogue.Find("google")
	changed, _ := catalogue.Find("google")
	changed.Definition.AuthParams["prompt"] = "none"
	changed.Sources[0].URL = ""
	if after, _ := catalogue.Find("google"); !reflect.DeepEqual(before, after) {
		t.Error("a caller's change stays")
	}
	if _, ok := catalogue.Find("nosuch"); ok {
		t.Error("found what is not there")
	}
}
