package refresh_test

import (
	"slices"
	"testing"
	"time"

	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
	"github.com/freshetdev/freshet/pkg/seal"
)

func TestTokensAreFoundWhereTheProviderNestsThem(t *testing.T) {
	t.Parallel()
	d := zooProvider()
	d.Reply.Tokens = "authed_user"
	nested := `{"ok":true,"access_token":"bot","refresh_token":"bot-r","expires_in":1,"scope":"chat","team":{"id":"T1"},
		"authed_user":{"id":"U1","access_token":"user","scope":"a,b","token_type":"user","expires_in":43200}}`
	tests := map[string]struct {
		body                   string
		access, renew, meta    string
		scopes                 []string
		lifetime               time.Duration
		class                  refresh.Class
		withoutAnyDeclaredNest bool
	}{
		"nested, with another's tokens around it": {body: nested, access: "user", scopes: []string{"a", "b"}, lifetime: 12 * time.Hour,
			meta: `{"id":"U1","ok":true,"team":{"id":"T1"}}`, class: refresh.ClassOK},
		"the same without a declaration": {body: nested, access: "bot", renew: "bot-r", scopes: []string{"chat"}, lifetime: time.Second,
			meta: `{"authed_user":{"id":"U1","scope":"a,b","token_type":"user","expires_in":43200},"ok":true,"team":{"id":"T1"}}`, class: refresh.ClassOK, withoutAnyDeclaredNest: true},
		"a refresh has them at the top": {body: `{"access_token":"a","refresh_token":"r","authed_user":{"id":"U1"}}`, access: "a", renew: "r",
			meta: `{"authed_user":{"id":"U1"}}`, class: refresh.ClassOK},
		"no object where one should be": {body: `{"access_token":"a","authed_user":"U1"}`, access: "a", meta: `{"authed_user":"U1"}`, class: refresh.ClassOK},
		"a refusal":                     {body: `{"ok":false,"error":"invalid_refresh_token"}`, class: refresh.ClassRejected},
		"nothing":                       {body: `{"ok":true,"authed_user":{"id":"U1"}}`, class: refresh.ClassUnknown},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := *d
			if tt.withoutAnyDeclaredNest {
				d.Reply = provider.ReplyShape{}
			}
			j := refresh.Classify(&d, answered(200, typeJSON, tt.body))
			r := j.Reply
			if j.Class != tt.class || r.AccessToken.Reveal() != tt.access || r.RefreshToken.Reveal() != tt.renew ||
				r.Lifetime != tt.lifetime || !slices.Equal(r.Scopes, tt.scopes) {
				t.Errorf("class %s, access %q, refresh %q, %v, scopes %v", j.Class, r.AccessToken.Reveal(), r.RefreshToken.Reveal(), r.Lifetime, r.Scopes)
			}
			if !tt.withoutAnyDeclaredNest && string(r.Meta) != tt.meta {
				t.Errorf("meta %s, want %s", r.Meta, tt.meta)
			}
		})
	}
}

func TestCodesAreReadWhereTheProviderPutsThem(t *testing.T) {
	t.Parallel()
	d := zooProvider()
	d.Words.Rejected = []string{"Invalid Token!"}
	const body = `{"reason":"Invalid Token!","error":"invalid_request"}`
	if j := refresh.Classify(d, answered(400, typeJSON, body)); j.Class != refresh.ClassUnknown || j.Code != "invalid_request" {
		t.Errorf("undeclared: class %s, code %q", j.Class, j.Code)
	}
	d.Reply.Codes = []string{"reason"}
	if j := refresh.Classify(d, answered(400, typeJSON, body)); j.Class != refresh.ClassRejected {
		t.Errorf("declared: class %s, code %q", j.Class, j.Code)
	}
	if j := refresh.Classify(d, answered(400, typeJSON, `{"reason":"Invalid client_id or client_secret","error":"invalid_client"}`)); j.Class != refresh.ClassMisconfigured {
		t.Errorf("another reason: class %s, code %q", j.Class, j.Code)
	}
}

func TestGrantEnd(t *testing.T) {
	t.Parallel()
	const idle, absolute = provider.Duration(90 * wholeDay), provider.Duration(365 * wholeDay)
	for name, tt := range map[string]struct {
		life    provider.RefreshLife
		granted time.Time
		named   time.Duration
		want    time.Time
	}{
		"nothing known":                 {},
		"the answer says":               {named: wholeDay, want: noon.Add(wholeDay)},
		"the answer goes before idle":   {life: provider.RefreshLife{Idle: idle}, named: wholeDay, want: noon.Add(wholeDay)},
		"idle":                          {life: provider.RefreshLife{Idle: idle}, want: noon.Add(90 * wholeDay)},
		"absolute alone":                {life: provider.RefreshLife{Absolute: absolute}, granted: noon.Add(-wholeDay), want: noon.Add(364 * wholeDay)},
		"nobody knows who agreed when":  {life: provider.RefreshLife{Absolute: absolute}},
		"idle before absolute":          {life: provider.RefreshLife{Idle: idle, Absolute: absolute}, granted: noon, want: noon.Add(90 * wholeDay)},
		"absolute before idle":          {life: provider.RefreshLife{Idle: idle, Absolute: absolute}, granted: noon.Add(-300 * wholeDay), want: noon.Add(65 * wholeDay)},
		"absolute before what it names": {life: provider.RefreshLife{Absolute: absolute}, granted: noon.Add(-364 * wholeDay), named: 100 * wholeDay, want: noon.Add(wholeDay)},
	} {
		if got := refresh.GrantEnd(tt.life, tt.granted, noon, tt.named); !got.Equal(tt.want) {
			t.Errorf("%s: %v, want %v", name, got, tt.want)
		}
	}
}

func TestARefreshMovesTheGrantsEnd(t *testing.T) {
	t.Parallel()
	d := definition("")
	d.RefreshLife = provider.RefreshLife{Idle: provider.Duration(90 * wholeDay), Absolute: provider.Duration(91 * wholeDay)}
	for name, tt := range map[string]struct {
		granted time.Time
		want    time.Duration // from the start of the attempt
	}{
		"by its idle life":             {time.Time{}, 90 * wholeDay},
		"not beyond its absolute life": {noon.Add(50*time.Minute - 3*time.Second - 10*wholeDay), 81 * wholeDay},
	} {
		r, _ := success(t, func(r *refresh.Record) { r.GrantedAt = tt.granted }, d, refresh.Reply{AccessToken: seal.NewSecret("at-new")})
		if want := r.IssuedAt.Add(tt.want); !r.GrantExpiresAt.Equal(want) || !r.GrantedAt.Equal(tt.granted) {
			t.Errorf("%s: the grant ends %v, want %v; granted %v", name, r.GrantExpiresAt, want, r.GrantedAt)
		}
	}
}
