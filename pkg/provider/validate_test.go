package provider_test

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/seal"
)

// acme returns a definition that is fine, for a test to spoil.
func acme() provider.Definition {
	return provider.Definition{
		Name: "acme", AuthURL: "https://login.example.com/authorize", TokenURL: "https://login.example.com/token",
		ClientID: "abc", AuthStyle: provider.AuthBasic, ClientSecrets: []seal.Secret{seal.NewSecret("s3cret")},
		Scopes: []string{"read", "https://example.com/auth/mail"}, Rotation: provider.RotationStrict,
	}
}

// machine makes acme one that acts for itself, robot one that speaks for others.
func machine(d *provider.Definition) { d.Grant, d.Rotation = provider.GrantClientCredentials, "" }

func robot(d *provider.Definition) {
	d.Grant, d.Rotation, d.AssertionKey = provider.GrantJWTBearer, "", seal.NewSecret("key")
	d.AuthStyle, d.ClientSecrets = provider.AuthNone, nil
	d.Assertion.Audience = provider.AudienceTokenURL
}

// lines returns the messages of a joined error.
func lines(err error) []string {
	if err == nil {
		return nil
	}
	return strings.Split(err.Error(), "\n")
}

func TestValidateAcceptsWhatIsFine(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*provider.Definition){
		"as it is":               func(*provider.Definition) {},
		"everything optional":    everythingOptional,
		"public client":          func(d *provider.Definition) { d.AuthStyle, d.ClientSecrets = "", nil },
		"public client, said so": func(d *provider.Definition) { d.AuthStyle, d.ClientSecrets = provider.AuthNone, nil },
		"issuer alone":           func(d *provider.Definition) { d.TokenURL, d.Issuer = "", "https://login.example.com" },
		"a way back of its own":  func(d *provider.Definition) { d.CallbackPath = "/callback/acme-2.b_c~d" },
		"client credentials":     machine,
		"jwt bearer":             robot,
		"jwt bearer without a client": func(d *provider.Definition) {
			robot(d)
			d.ClientID, d.Assertion.Issuer = "", "robot@example.com"
		},
		"private key": func(d *provider.Definition) {
			d.AuthStyle, d.Issuer = provider.AuthPrivateKeyJWT, "https://login.example.com"
		},
		"plain http on loopback": func(d *provider.Definition) {
			d.AuthURL, d.TokenURL, d.RevokeURL = "http://localhost:8080/a", "http://127.0.0.53/t", "http://[::1]:9/r"
		},
		"a lead that is long":           func(d *provider.Definition) { d.Refresh.MinLead = days(1) },
		"a lead that is short":          func(d *provider.Definition) { d.Refresh.MaxLead = provider.Duration(10 * time.Second) },
		"tokens that live long":         func(d *provider.Definition) { d.Refresh.DefaultLifetime = days(400) },
		"tokens without an end":         func(d *provider.Definition) { d.Refresh.DefaultLifetime = provider.Never },
		"lifetimes without a bound":     func(d *provider.Definition) { d.Refresh.MaxLifetime = provider.Never },
		"lifetimes with a low bound":    func(d *provider.Definition) { d.Refresh.MaxLifetime = provider.Duration(time.Minute) },
		"a query in an endpoint":        func(d *provider.Definition) { d.TokenURL += "?tenant=7" },
		"a client id with blanks":       func(d *provider.Definition) { d.ClientID = "my client" },
		"two secrets":                   func(d *provider.Definition) { d.ClientSecrets = append(d.ClientSecrets, seal.NewSecret("b")) },
		"a name as long as it can get":  func(d *provider.Definition) { d.Name = "0" + strings.Repeat("-z", 15) + "9" },
		"the same word twice in a list": func(d *provider.Definition) { d.Words.Rejected = []string{"dead", "dead"} },
		"a word with a blank in it":     func(d *provider.Definition) { d.Words.Throttled = []string{"Access Denied"} },
		"a grace too short for two tries": func(d *provider.Definition) {
			d.Rotation, d.RotationGrace = provider.RotationGrace, provider.Duration(3*time.Second)
		},
	} {
		d := acme()
		change(&d)
		if err := d.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func days(n int) provider.Duration { return provider.Duration(n) * provider.Duration(24*time.Hour) }

// everythingOptional sets every field that may be left out.
func everythingOptional(d *provider.Definition) {
	d.Issuer, d.DeviceURL = "https://login.example.com", "https://login.example.com/device"
	d.RevokeURL, d.IntrospectURL = "https://login.example.com/revoke", "https://login.example.com/introspect"
	d.AuthStyle, d.Grant = provider.AuthPost, provider.GrantAuthorizationCode
	d.Rotation, d.RotationGrace = provider.RotationGrace, provider.Duration(30*time.Second)
	d.Refresh = provider.Refresh{
		MinLead: provider.Duration(30 * time.Second), MaxLead: provider.Duration(10 * time.Minute),
		DefaultLifetime: provider.Duration(2 * time.Hour), MaxLifetime: days(30),
		Cron: "CRON_TZ=Europe/Berlin 0 3 * * 1", KeepAlive: days(7), EarlyRefused: provider.Duration(time.Minute),
	}
	d.Limits = provider.Limits{Concurrency: 8, Rate: 50, Timeout: provider.Duration(10 * time.Second)}
	d.Words = provider.Words{
		NotConsumed: []string{"try_again"}, Throttled: []string{"rate_limited"},
		Rejected: []string{"bad_refresh_token"}, Misconfigured: []string{"app_disabled"},
	}
	d.Dialect = provider.Dialect{
		ScopeSeparator: ",", ScopeParam: "user_scope", ClientIDParam: "client_key", CodeChallenge: provider.ChallengeS256Hex,
		AuthParams: map[string]string{"access_type": "offline", "prompt": ""}, CodeParams: map[string]string{"expiring": "1"},
		TokenFormat: provider.FormatJSON, Reply: provider.ReplyShape{Tokens: "authed_user", Codes: []string{"reason"}},
	}
	d.RefreshLife = provider.RefreshLife{Idle: days(90), Absolute: days(365)}
	d.RefreshEndsAccess = true
}

func TestValidateNamesEachFault(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		change func(*provider.Definition)
		want   string // of the one line, behind "provider acme: "
	}{
		"scope separator": {func(d *provider.Definition) { d.ScopeSeparator = "|" },
			`scope_separator: "|" does not separate scopes: want one of space, comma, semicolon and plus`},
		"two scopes with their separator": {func(d *provider.Definition) { d.ScopeSeparator, d.Scopes = ",", []string{"read,write"} },
			`scopes: "read,write" has the separator "," in it: write one scope each`},
		"scope parameter": {func(d *provider.Definition) { d.ScopeParam = "user scope" },
			`scope_param: "user scope" is no name: want at most 64 letters, digits and _ . -`},
		"client id parameter": {func(d *provider.Definition) { d.ClientIDParam = "k&v" },
			`client_id_param: "k&v" is no name: want at most 64 letters, digits and _ . -`},
		"reserved parameter": {func(d *provider.Definition) { d.AuthParams = map[string]string{"state": "x"} },
			`auth_params.state: Freshet sets this parameter itself: remove it`},
		"parameter reserved under its own name": {func(d *provider.Definition) {
			d.ClientIDParam, d.AuthParams = "client_key", map[string]string{"client_key": "x"}
		}, `auth_params.client_key: Freshet sets this parameter itself: remove it`},
		"parameter without a name": {func(d *provider.Definition) { d.AuthParams = map[string]string{"a b": "x"} },
			`auth_params: there is a name that no parameter can have: want letters, digits and _ . -`},
		"parameter beyond ASCII": {func(d *provider.Definition) { d.CodeParams = map[string]string{"a": "é"} },
			`code_params.a: want at most 2048 characters of printable ASCII`},
		"reserved code parameter": {func(d *provider.Definition) { d.CodeParams = map[string]string{"client_secret": "x"} },
			`code_params.client_secret: Freshet sets this parameter itself: remove it`},
		"code challenge": {func(d *provider.Definition) { d.CodeChallenge = "plain" },
			`code_challenge: "plain" is no code challenge: want S256 or S256_hex`},
		"token format": {func(d *provider.Definition) { d.TokenFormat = "xml" },
			`token_format: "xml" is no format of token requests: want form or json`},
		"nested tokens": {func(d *provider.Definition) { d.Reply.Tokens = "a/b" },
			`reply.tokens: "a/b" is no name: want at most 64 letters, digits and _ . -`},
		"codes without a name": {func(d *provider.Definition) { d.Reply.Codes = []string{""} },
			`reply.codes: an empty name: remove it`},
		"idle beyond the grant": {func(d *provider.Definition) {
			d.RefreshLife = provider.RefreshLife{Idle: 2 * provider.Duration(time.Hour), Absolute: provider.Duration(time.Hour)}
		}, `refresh_life.idle: 2h is longer than absolute, 1h`},
		"life out of bounds": {func(d *provider.Definition) { d.RefreshLife.Absolute = 1 },
			`refresh_life.absolute: 1ns is out of bounds: want 1m to 7300d`},
		"client credentials that could be spent": {func(d *provider.Definition) { d.Grant = provider.GrantClientCredentials },
			`rotation: strict has no meaning with grant client_credentials: there is no refresh token, so nothing can be spent; remove it`},
		"client credentials of a public client": {func(d *provider.Definition) {
			machine(d)
			d.AuthStyle, d.ClientSecrets = provider.AuthNone, nil
		}, `auth_style: none cannot ask for client_credentials, which are for clients that prove themselves: want basic, post or private_key_jwt`},
		"jwt bearer without a key": {func(d *provider.Definition) {
			robot(d)
			d.AssertionKey = seal.Secret{}
		}, `assertion_key: missing: grant jwt_bearer signs with a private key; give a reference to it, such as file://key.pem`},
		"jwt bearer without an audience": {func(d *provider.Definition) {
			robot(d)
			d.Assertion.Audience = ""
		}, `assertion.audience: missing: it is the issuer by default, and there is none; give issuer, or an audience, or the word token_url`},
		"jwt bearer whose claims say who asks": {func(d *provider.Definition) {
			robot(d)
			d.Assertion.Claims = map[string]string{"sub": "root"}
		}, `assertion.claims: "sub" is set by the assertion itself: remove it`},
		"an assertion for nothing": {func(d *provider.Definition) { d.Assertion.Issuer = "me" },
			`assertion: has no meaning with grant authorization_code: remove it, or choose grant jwt_bearer`},
		"an assertion key for nothing": {func(d *provider.Definition) { d.AssertionKey = seal.NewSecret("k") },
			`assertion_key: has no meaning with grant authorization_code: remove it, or choose grant jwt_bearer`},
		"unknown grant": {func(d *provider.Definition) { d.Grant = "password" },
			`grant: "password" is no grant type: want authorization_code, client_credentials or jwt_bearer`},
		"a resource that is no URI": {func(d *provider.Definition) { d.Resources = []string{"api"} },
			`resource: want absolute URIs without a fragment (RFC 8707 section 2)`},
		"a parameter that the request sets": {func(d *provider.Definition) { d.TokenParams = map[string]string{"grant_type": "password"} },
			`token_params: "grant_type" is set by the request itself: remove it`},
		"no token endpoint": {func(d *provider.Definition) { d.TokenURL = "" },
			`token_url: missing: give the provider's token endpoint, or its issuer where it publishes metadata`},
		"issuer with a query": {func(d *provider.Definition) { d.Issuer = "https://login.example.com?a=b" },
			`issuer: has a query, which RFC 8414 section 2 forbids`},
		"plain http": {func(d *provider.Definition) { d.TokenURL = "http://login.example.com/token" },
			`token_url: plain http would show tokens to the network: want https (http is for localhost, 127.0.0.0/8 and ::1 only)`},
		"plain http to what looks like loopback": {func(d *provider.Definition) { d.RevokeURL = "http://127.0.0.1.example.com/" },
			`revoke_url: plain http would show tokens to the network: want https (http is for localhost, 127.0.0.0/8 and ::1 only)`},
		"relative": {func(d *provider.Definition) { d.AuthURL = "/authorize" },
			`auth_url: want an absolute URL such as https://login.example.com/token`},
		"host alone": {func(d *provider.Definition) { d.DeviceURL = "login.example.com/device" },
			`device_url: want an absolute URL such as https://login.example.com/token`},
		"port alone": {func(d *provider.Definition) { d.DeviceURL = "https://:443/device" },
			`device_url: want an absolute URL such as https://login.example.com/token`},
		"another scheme": {func(d *provider.Definition) { d.TokenURL = "ftp://login.example.com/token" },
			`token_url: want an absolute URL such as https://login.example.com/token`},
		"not a URL": {func(d *provider.Definition) { d.IntrospectURL = "https://login.example.com:pörts/" },
			`introspect_url: not a URL: invalid port ":pörts" after host`},
		"password in a URL": {func(d *provider.Definition) { d.TokenURL = "https://user:hunter2@login.example.com/token" },
			`token_url: has a user name or password in it: remove it; client_id and client_secret are how a client signs in`},
		"a way back with a query": {func(d *provider.Definition) { d.CallbackPath = "/callback?x=1" },
			`callback_path: want a plain path such as /callback/acme`},
		"a way back with steps": {func(d *provider.Definition) { d.CallbackPath = "/a/../b" },
			`callback_path: want a plain path such as /callback/acme`},
		"a way back to nowhere": {func(d *provider.Definition) { d.CallbackPath = "callback" },
			`callback_path: want a plain path such as /callback/acme`},
		"fragment": {func(d *provider.Definition) { d.AuthURL = "https://login.example.com/#/authorize" },
			`auth_url: has a fragment (#…), which no endpoint may have: remove it`},
		"empty fragment": {func(d *provider.Definition) { d.AuthURL = "https://login.example.com/#" },
			`auth_url: has a fragment (#…), which no endpoint may have: remove it`},
		"no client id": {func(d *provider.Definition) { d.ClientID = "" },
			`client_id: missing: give the id under which the provider knows this client`},
		"client id beyond ASCII": {func(d *provider.Definition) { d.ClientID = "ab\ncé" },
			`client_id: "ab\ncé" has characters that no client id may have; only printable ASCII is allowed`},
		"empty secret": {func(d *provider.Definition) { d.ClientSecrets = append(d.ClientSecrets, seal.Secret{}) },
			`client_secret: secret 2 of 2 is empty`},
		"basic without a secret": {func(d *provider.Definition) { d.ClientSecrets = nil },
			`client_secret: missing: auth_style basic sends one; a public client has auth_style none`},
		"none with a secret": {func(d *provider.Definition) { d.AuthStyle = provider.AuthNone },
			`auth_style: none sends no secret, but there is a client_secret: choose basic or post, or remove the secret`},
		"a secret and no style": {func(d *provider.Definition) { d.AuthStyle = "" },
			`auth_style: missing: a client with a secret must say how the provider wants it, basic or post; it is never guessed`},
		"private key without an audience": {func(d *provider.Definition) { d.AuthStyle = provider.AuthPrivateKeyJWT },
			`client_assertion.audience: missing: it is the issuer by default, and there is none; give issuer, or an audience, or the word token_url`},
		"private key without the key": {func(d *provider.Definition) {
			d.AuthStyle, d.Issuer, d.ClientSecrets = provider.AuthPrivateKeyJWT, "https://login.example.com", nil
		}, `client_key: missing: auth_style private_key_jwt signs with a private key; give a reference to it, such as file://key.pem`},
		"an assertion that lives long": {func(d *provider.Definition) {
			d.AuthStyle, d.Issuer, d.ClientAssertion.Lifetime = provider.AuthPrivateKeyJWT, "https://login.example.com", days(1)
		}, `client_assertion.lifetime: 1d is out of bounds: want 10s to 1h`},
		"a client assertion for nothing": {func(d *provider.Definition) { d.ClientAssertion.KeyID = "k" },
			`client_assertion: has no meaning with auth_style basic: remove it, or choose private_key_jwt`},
		"unknown style": {func(d *provider.Definition) { d.AuthStyle = "header" },
			`auth_style: "header" is no way to authenticate: want basic, post, none or private_key_jwt`},
		"two scopes in one": {func(d *provider.Definition) { d.Scopes = []string{"a", "b c"} },
			`scopes: "b c" is not a scope: want printable ASCII without blanks, quotes and backslashes, one scope each`},
		"empty scope": {func(d *provider.Definition) { d.Scopes = []string{""} },
			`scopes: "" is not a scope: want printable ASCII without blanks, quotes and backslashes, one scope each`},
		"unknown rotation": {func(d *provider.Definition) { d.Rotation = "yes" },
			`rotation: "yes" is no rotation class: want none, overlap, grace, until_used or strict`},
		"grace without its length": {func(d *provider.Definition) { d.Rotation = provider.RotationGrace },
			`rotation_grace: missing: want 1s to 365d`},
		"grace without end": {func(d *provider.Definition) { d.Rotation, d.RotationGrace = provider.RotationGrace, provider.Never },
			`rotation_grace: never is out of bounds: want 1s to 365d`},
		"length without grace": {func(d *provider.Definition) { d.RotationGrace = provider.Duration(30 * time.Second) },
			`rotation_grace: 30s has no meaning with rotation strict: choose rotation grace, or remove it`},
		"leads crossed": {func(d *provider.Definition) {
			d.Refresh.MinLead, d.Refresh.MaxLead = provider.Duration(time.Hour), provider.Duration(time.Minute)
		}, `refresh.min_lead: 1h is longer than max_lead, 1m`},
		"lead without end": {func(d *provider.Definition) { d.Refresh.MaxLead = provider.Never },
			`refresh.max_lead: never is out of bounds: want 1s to 30d`},
		"lifetimes crossed": {func(d *provider.Definition) { d.Refresh.DefaultLifetime, d.Refresh.MaxLifetime = days(2), days(1) },
			`refresh.default_lifetime: 2d is longer than max_lifetime, 1d`},
		"negative": {func(d *provider.Definition) { d.Refresh.EarlyRefused = -1 },
			`refresh.early_refused: -1ns is out of bounds: want 1s to 30d`},
		"kept alive too often": {func(d *provider.Definition) { d.Refresh.KeepAlive = provider.Duration(time.Second) },
			`refresh.keep_alive: 1s is out of bounds: want 5s to 3650d`},
		"cron": {func(d *provider.Definition) { d.Refresh.Cron = "0 3 * *" },
			`refresh.cron: schedule "0 3 * *": expected exactly 5 fields, found 4: [0 3 * *]; ` +
				`want five fields such as "0 3 * * *", if need be after CRON_TZ=Europe/Berlin`},
		"no concurrency": {func(d *provider.Definition) { d.Limits.Concurrency = -1 },
			`limits.concurrency: -1 is out of bounds: want 1 to 10000 calls in flight`},
		"too much concurrency": {func(d *provider.Definition) { d.Limits.Concurrency = 10_001 },
			`limits.concurrency: 10001 is out of bounds: want 1 to 10000 calls in flight`},
		"negative rate": {func(d *provider.Definition) { d.Limits.Rate = -5 },
			`limits.rate: -5 is no rate: want more than 0, such as 50/s, or nothing for no limit`},
		"rate that is no number": {func(d *provider.Definition) { d.Limits.Rate = provider.Rate(math.NaN()) },
			`limits.rate: NaN is no rate: want more than 0, such as 50/s, or nothing for no limit`},
		"rate beyond all bounds": {func(d *provider.Definition) { d.Limits.Rate = provider.Rate(math.Inf(1)) },
			`limits.rate: +Inf is no rate: want more than 0, such as 50/s, or nothing for no limit`},
		"hasty": {func(d *provider.Definition) { d.Limits.Timeout = provider.Duration(999 * time.Millisecond) },
			`limits.timeout: 999ms is out of bounds: want 1s to 5m`},
		"patient": {func(d *provider.Definition) { d.Limits.Timeout = provider.Duration(301 * time.Second) },
			`limits.timeout: 5m1s is out of bounds: want 1s to 5m`},
		"empty word": {func(d *provider.Definition) { d.Words.Rejected = []string{""} },
			`words.rejected: "" cannot be an error code: want 1 to 64 characters of printable ASCII`},
		"word of two meanings": {func(d *provider.Definition) {
			d.Words.Throttled, d.Words.Misconfigured = []string{"nope"}, []string{"nope"}
		}, `words.misconfigured: "nope" is in words.throttled too: a word has one meaning`},
	} {
		d := acme()
		tc.change(&d)
		if got, want := fmt.Sprint(d.Validate()), "provider acme: "+tc.want; got != want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, want)
		}
	}
}

func TestValidateRefusesNames(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"", "-a", "Acme", "a.b", "a_b", "a/b", "a b", "ä", "a\n", strings.Repeat("a", 33)} {
		d := acme()
		d.Name = name
		want := fmt.Sprintf("provider %s: name: %q cannot name a provider: want 1 to 32 of a-z, 0-9 and -, not starting with -", name, name)
		if got := fmt.Sprint(d.Validate()); got != want {
			t.Errorf("%q:\n got %s\nwant %s", name, got, want)
		}
	}
}

func TestValidateReportsAllFaultsAtOnce(t *testing.T) {
	t.Parallel()
	d := provider.Definition{
		Name: "acme", Grant: "y", AuthURL: "z", AuthStyle: "w", Scopes: []string{" "}, Rotation: "v",
		Refresh: provider.Refresh{Cron: "u", KeepAlive: 1}, Limits: provider.Limits{Rate: -1},
		Words: provider.Words{Rejected: []string{""}},
	}
	err := d.Validate()
	var fields []string
	for _, e := range err.(interface{ Unwrap() []error }).Unwrap() {
		var f *provider.Fault
		if !errors.As(e, &f) || f.Provider != "acme" || f.Problem == "" {
			t.Fatalf("%T %v", e, e)
		}
		fields = append(fields, f.Field)
	}
	const want = "grant token_url auth_url client_id auth_style scopes rotation refresh.cron refresh.keep_alive limits.rate words.rejected"
	if got := strings.Join(fields, " "); got != want || len(lines(err)) != len(fields) {
		t.Errorf("faults\n got %s\nwant %s", got, want)
	}
}

func TestValidateNeverShowsSecrets(t *testing.T) {
	t.Parallel()
	d := acme()
	d.ClientSecrets, d.AuthStyle = []seal.Secret{seal.NewSecret("hunter2"), {}}, "nonsense"
	d.TokenURL, d.AuthURL = "https://u:hunter2@example.com/%zz", "https://u:hunter2@example.com"
	if err := d.Validate(); len(lines(err)) != 4 || strings.Contains(err.Error(), "hunter2") {
		t.Error(err)
	}
}
