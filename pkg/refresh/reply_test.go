package refresh_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/freshetdev/freshet/pkg/refresh"
)

const wholeDay = 24 * time.Hour

// replyWant is a reply in plain values.
type replyWant struct {
	access, refresh, id, tokenType string
	scopes                         []string
	life, grantLife                time.Duration
	meta                           string
}

func plainReply(r refresh.Reply) replyWant {
	return replyWant{
		access: r.AccessToken.Reveal(), refresh: r.RefreshToken.Reveal(), id: r.IDToken.Reveal(), tokenType: r.TokenType,
		scopes: r.Scopes, life: r.Lifetime, grantLife: r.GrantLifetime, meta: string(r.Meta),
	}
}

func (w replyWant) equal(o replyWant) bool {
	return slices.Equal(w.scopes, o.scopes) && w.access == o.access && w.refresh == o.refresh && w.id == o.id && w.tokenType == o.tokenType &&
		w.life == o.life && w.grantLife == o.grantLife && w.meta == o.meta
}

// replyCase is a token answer and what must be read from it.
type replyCase struct {
	contentType, body string
	want              replyWant
}

func testReplies(t *testing.T, tests map[string]replyCase) {
	t.Helper()
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, err := refresh.ParseReply(tt.contentType, []byte(tt.body))
			if err != nil {
				t.Fatal(err)
			}
			if got := plainReply(r); !got.equal(tt.want) {
				t.Errorf("got  %+v\nwant %+v", got, tt.want)
			}
		})
	}
}

func TestParseReplyReadsWhatProvidersSend(t *testing.T) {
	t.Parallel()
	testReplies(t, map[string]replyCase{
		"RFC 6749 section 5.1": {typeJSON + ";charset=UTF-8",
			`{"access_token":"2YotnFZFEjr1zCsicMWpAA","token_type":"example","expires_in":3600,"refresh_token":"tGzv3JOkF0XG5Qx2TlKWIA","example_parameter":"example_value"}`,
			replyWant{access: "2YotnFZFEjr1zCsicMWpAA", refresh: "tGzv3JOkF0XG5Qx2TlKWIA", tokenType: "example", life: time.Hour, meta: `{"example_parameter":"example_value"}`}},
		"form, as GitHub": {typeForm,
			"access_token=ghu_16C7&expires_in=28800&refresh_token=ghr_1B4a&refresh_token_expires_in=15897600&scope=&token_type=bearer",
			replyWant{access: "ghu_16C7", refresh: "ghr_1B4a", tokenType: "bearer", life: 8 * time.Hour, grantLife: 184 * wholeDay}},
		"Intuit": {typeJSON, `{"access_token":"a","refresh_token":"r","token_type":"bearer","expires_in":3600,"x_refresh_token_expires_in":8726400}`,
			replyWant{access: "a", refresh: "r", tokenType: "bearer", life: time.Hour, grantLife: 101 * wholeDay}},
		"Keycloak": {typeJSON, `{"access_token":"a","expires_in":300,"refresh_expires_in":1800,"refresh_token":"r","token_type":"Bearer","not-before-policy":0,"session_state":"3a1f","scope":"email profile"}`,
			replyWant{access: "a", refresh: "r", tokenType: "Bearer", life: 5 * time.Minute, grantLife: 30 * time.Minute, scopes: []string{"email", "profile"}, meta: `{"not-before-policy":0}`}},
		"Keycloak offline": {typeJSON, `{"access_token":"a","refresh_expires_in":0,"refresh_token":"r"}`, replyWant{access: "a", refresh: "r", tokenType: "Bearer"}},
		"Salesforce": {typeJSON, `{"access_token":"00D!AQ","signature":"0CmxinZir53Yex7nE0TD","instance_url":"https://my.example.com","id":"https://login.example.com/id/00D/005","issued_at":"1278448101416"}`,
			replyWant{access: "00D!AQ", tokenType: "Bearer", meta: `{"id":"https://login.example.com/id/00D/005","instance_url":"https://my.example.com","issued_at":"1278448101416"}`}},
		"Slack": {typeJSON, `{"ok":true,"access_token":"xoxe.xoxb-1-M","expires_in":43200,"refresh_token":"xoxe-1-M","token_type":"bot","scope":"commands,incoming-webhook","bot_user_id":"U0KRQLJ9H","team":{"name":"Slack","id":"T9TK3CUKW"},"incoming_webhook":{"url":"https://hooks.example.com/T/B/x"}}`,
			replyWant{access: "xoxe.xoxb-1-M", refresh: "xoxe-1-M", tokenType: "bot", life: 12 * time.Hour, scopes: []string{"commands", "incoming-webhook"},
				meta: `{"bot_user_id":"U0KRQLJ9H","ok":true,"team":{"id":"T9TK3CUKW","name":"Slack"}}`}},
		"Google": {typeJSON, `{"access_token":"1/fFAGRNJru1FTz70BzhT3Zg","expires_in":3920,"scope":"https://www.example.com/auth/drive.readonly https://www.example.com/auth/calendar","token_type":"Bearer"}`,
			replyWant{access: "1/fFAGRNJru1FTz70BzhT3Zg", tokenType: "Bearer", life: 3920 * time.Second,
				scopes: []string{"https://www.example.com/auth/drive.readonly", "https://www.example.com/auth/calendar"}}},
		"OpenID Connect": {typeJSON, `{"access_token":"a","id_token":"eyJh.e30.x"}`, replyWant{access: "a", id: "eyJh.e30.x", tokenType: "Bearer"}},
	})
}

func TestParseReplyLosesNoTokenOverALifetime(t *testing.T) {
	t.Parallel()
	testReplies(t, map[string]replyCase{
		"expires_in 3600.0":          {typeJSON, `{"access_token":"a","expires_in":3600.0}`, replyWant{access: "a", tokenType: "Bearer", life: time.Hour}},
		"expires_in 3.6e3":           {typeJSON, `{"access_token":"a","expires_in":3.6e3}`, replyWant{access: "a", tokenType: "Bearer", life: time.Hour}},
		"expires_in as a string":     {typeJSON, `{"access_token":"a","expires_in":" 3600 "}`, replyWant{access: "a", tokenType: "Bearer", life: time.Hour}},
		"expires_in empty":           {typeJSON, `{"access_token":"a","expires_in":""}`, replyWant{access: "a", tokenType: "Bearer"}},
		"expires_in null":            {typeJSON, `{"access_token":"a","expires_in":null}`, replyWant{access: "a", tokenType: "Bearer"}},
		"expires_in zero":            {typeJSON, `{"access_token":"a","expires_in":0}`, replyWant{access: "a", tokenType: "Bearer"}},
		"expires_in negative":        {typeJSON, `{"access_token":"a","expires_in":-5}`, replyWant{access: "a", tokenType: "Bearer"}},
		"expires_in a fraction":      {typeJSON, `{"access_token":"a","expires_in":0.5}`, replyWant{access: "a", tokenType: "Bearer", life: 500 * time.Millisecond}},
		"expires_in milliseconds":    {typeJSON, `{"access_token":"a","expires_in":3600000}`, replyWant{access: "a", tokenType: "Bearer", life: 1000 * time.Hour}},
		"expires_in nanoseconds":     {typeJSON, `{"access_token":"a","expires_in":3600000000000}`, replyWant{access: "a", tokenType: "Bearer", life: 36500 * wholeDay}},
		"expires_in beyond numbers":  {typeJSON, `{"access_token":"a","expires_in":1e999}`, replyWant{access: "a", tokenType: "Bearer", life: 36500 * wholeDay}},
		"expires_in NaN":             {typeJSON, `{"access_token":"a","expires_in":"NaN"}`, replyWant{access: "a", tokenType: "Bearer"}},
		"expires_in infinite":        {typeJSON, `{"access_token":"a","expires_in":"-Infinity"}`, replyWant{access: "a", tokenType: "Bearer"}},
		"expires_in words":           {typeJSON, `{"access_token":"a","expires_in":"one hour"}`, replyWant{access: "a", tokenType: "Bearer"}},
		"expires_in of another type": {typeJSON, `{"access_token":"a","refresh_token":"r","expires_in":{"s":1}}`, replyWant{access: "a", refresh: "r", tokenType: "Bearer"}},
	})
}

func TestParseReplyLosesNoTokenOverItsShape(t *testing.T) {
	t.Parallel()
	testReplies(t, map[string]replyCase{
		"only an access token":               {typeJSON, `{"access_token":"a"}`, replyWant{access: "a", tokenType: "Bearer"}},
		"form called JSON":                   {typeJSON, "access_token=a%2Bb%3D&refresh_token=r\r\n", replyWant{access: "a+b=", refresh: "r", tokenType: "Bearer"}},
		"form with a broken pair":            {typeForm, "access_token=a;b&x=%zz&access_token=a&refresh_token=r", replyWant{access: "a", refresh: "r", tokenType: "Bearer"}},
		"JSON called text":                   {"text/plain", `{"access_token":"a","refresh_token":"r"}`, replyWant{access: "a", refresh: "r", tokenType: "Bearer"}},
		"JSON called HTML":                   {typeHTML, `{"access_token":"a"}`, replyWant{access: "a", tokenType: "Bearer"}},
		"JSON called a form":                 {typeForm, `{"access_token":"a"}`, replyWant{access: "a", tokenType: "Bearer"}},
		"JSON called nothing":                {"", `{"access_token":"a"}`, replyWant{access: "a", tokenType: "Bearer"}},
		"byte order mark":                    {typeJSON, "\ufeff" + `{"access_token":"a"}`, replyWant{access: "a", tokenType: "Bearer"}},
		"blanks around the mark":             {typeJSON, "\r\n\t \ufeff \n" + `{"access_token":"a"}`, replyWant{access: "a", tokenType: "Bearer"}},
		"trailing garbage":                   {typeJSON, `{"access_token":"a","refresh_token":"r"}<!-- 12ms -->{"access_token":"b"`, replyWant{access: "a", refresh: "r", tokenType: "Bearer"}},
		"scope as an array":                  {typeJSON, `{"access_token":"a","scope":["x","","y z"]}`, replyWant{access: "a", tokenType: "Bearer", scopes: []string{"x", "y z"}}},
		"scope with commas and blanks":       {typeJSON, `{"access_token":"a","scope":"x, y,z w"}`, replyWant{access: "a", tokenType: "Bearer", scopes: []string{"x", "y,z", "w"}}},
		"scope of another type":              {typeJSON, `{"access_token":"a","scope":{"x":1}}`, replyWant{access: "a", tokenType: "Bearer"}},
		"scope larger than any":              {typeJSON, `{"access_token":"a","scope":"` + strings.Repeat("abcdefg ", 3000) + `"}`, replyWant{access: "a", tokenType: "Bearer"}},
		"refresh token empty":                {typeJSON, `{"access_token":"a","refresh_token":""}`, replyWant{access: "a", tokenType: "Bearer"}},
		"refresh token null":                 {typeJSON, `{"access_token":"a","refresh_token":null}`, replyWant{access: "a", tokenType: "Bearer"}},
		"refresh token a number":             {typeJSON, `{"access_token":"a","refresh_token":12345678901234567890}`, replyWant{access: "a", refresh: "12345678901234567890", tokenType: "Bearer"}},
		"token type of another type":         {typeJSON, `{"access_token":"a","token_type":["x"]}`, replyWant{access: "a", tokenType: "Bearer"}},
		"token type that is none":            {typeJSON, `{"access_token":"a","token_type":"Bearer\r\nX: y"}`, replyWant{access: "a", tokenType: "Bearer"}},
		"an empty error beside a token":      {typeJSON, `{"access_token":"a","error":null,"error_description":"r"}`, replyWant{access: "a", tokenType: "Bearer"}},
		"names in another case are others":   {typeJSON, `{"Access_Token":"X","ACCESS_TOKEN":"Y","access_token":"a"}`, replyWant{access: "a", tokenType: "Bearer"}},
		"escapes":                            {typeJSON, `{"access_token":"\u0061\/b","refresh_token":"<r>&"}`, replyWant{access: "a/b", refresh: "<r>&", tokenType: "Bearer"}},
		"a token larger than a JWT ever is":  {typeJSON, `{"access_token":"` + strings.Repeat("a", 100<<10) + `"}`, replyWant{access: strings.Repeat("a", 100<<10), tokenType: "Bearer"}},
		"members nested beyond what is kept": {typeJSON, `{"access_token":"a","x":` + strings.Repeat("[", 500) + strings.Repeat("]", 500) + `}`, replyWant{access: "a", tokenType: "Bearer"}},
	})
}

func TestParseReplyRefusesWhatIsNoTokenAnswer(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		contentType, body string
		want              error
	}{
		"nothing":             {"application/json", "", refresh.ErrUnreadable},
		"blanks":              {"application/json", " \r\n\ufeff ", refresh.ErrUnreadable},
		"cut off":             {"application/json", `{"access_token":"s3cr3t-a","refresh_token":"s3cr3t-r`, refresh.ErrUnreadable},
		"cut before the end":  {"application/json", `{"access_token":"s3cr3t-a","refresh_token":"s3cr3t-r"`, refresh.ErrUnreadable},
		"damaged":             {"application/json", `{"access_token":"s3cr3t-a",,}`, refresh.ErrUnreadable},
		"array":               {"application/json", `[{"access_token":"s3cr3t-a"}]`, refresh.ErrUnreadable},
		"string":              {"application/json", `"s3cr3t-a"`, refresh.ErrUnreadable},
		"no token":            {"application/json", `{"token_type":"Bearer","refresh_token":"s3cr3t-r"}`, refresh.ErrUnreadable},
		"empty token":         {"application/json", `{"access_token":"","refresh_token":"s3cr3t-r"}`, refresh.ErrUnreadable},
		"token of wrong type": {"application/json", `{"access_token":{"v":"s3cr3t-a"}}`, refresh.ErrUnreadable},
		"token in other case": {"application/json", `{"Access_Token":"s3cr3t-a"}`, refresh.ErrUnreadable},
		"page":                {"text/html", `<html>access_token=s3cr3t-a&access_token=s3cr3t-b</html>`, refresh.ErrUnreadable},
		"page called a form":  {"application/x-www-form-urlencoded", `<a href="?x&access_token=s3cr3t-a">`, refresh.ErrUnreadable},
		"markup by its type":  {"application/xhtml+xml", `x&access_token=s3cr3t-a`, refresh.ErrUnreadable},
		"words":               {"text/plain", `Service Unavailable`, refresh.ErrUnreadable},
		"error":               {"application/json", `{"error":"invalid_grant","error_description":"s3cr3t-r"}`, refresh.ErrRefused},
		"error as an object":  {"application/json", `{"error":{"code":"x"}}`, refresh.ErrRefused},
		"error in a form":     {"text/plain", `error=bad_refresh_token&error_description=s3cr3t-r`, refresh.ErrRefused},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, err := refresh.ParseReply(tt.contentType, []byte(tt.body))
			if !errors.Is(err, tt.want) {
				t.Fatalf("err %v, want %v", err, tt.want)
			}
			if !plainReply(r).equal(replyWant{}) {
				t.Errorf("a reply beside an error")
			}
			if strings.Contains(err.Error(), "s3cr3t") {
				t.Errorf("err quotes the answer: %v", err)
			}
		})
	}
}

// Meta is stored readable: it would rather lose a fact than keep a secret.
func TestParseReplyKeepsNoSecretInMeta(t *testing.T) {
	t.Parallel()
	const access, renew = "at-6fb1c9d2e0", "rt-4c8a0e7b55"
	tests := map[string]struct {
		member string
		want   string
	}{
		"fact":                         {`"workspace_id":"w-1"`, `{"workspace_id":"w-1"}`},
		"numbers stay exact":           {`"uid":90071992547409931,"n":1.50`, `{"n":1.50,"uid":90071992547409931}`},
		"uuid":                         {`"tenant":"0f8fad5b-d9cb-469f-a165-70867728950e"`, `{"tenant":"0f8fad5b-d9cb-469f-a165-70867728950e"}`},
		"kind of token":                {`"issued_token_type":"urn:ietf:params:oauth:token-type:access_token"`, `{"issued_token_type":"urn:ietf:params:oauth:token-type:access_token"}`},
		"another token":                {`"user_token":"abc"`, ``},
		"camel case":                   {`"refreshToken":"abc","clientSecret":"x"`, ``},
		"secret":                       {`"client_secret":"abc"`, ``},
		"code":                         {`"code":"abc"`, ``},
		"assertion":                    {`"assertion":"abc"`, ``},
		"password":                     {`"password":"abc"`, ``},
		"key":                          {`"api_key":"abc","apiKey":"abc"`, ``},
		"session":                      {`"session_state":"abc"`, ``},
		"webhook":                      {`"incoming_webhook":{"url":"https://x.example/T/B/C"}`, ``},
		"nested token":                 {`"authed_user":{"id":"U1","access_token":"xoxp-1"}`, `{"authed_user":{"id":"U1"}}`},
		"token in a list":              {`"items":[{"token":"abc"},{"id":1}]`, `{"items":[{"id":1}]}`},
		"issued token, other name":     {`"echo":"` + access + `"`, ``},
		"issued token inside a text":   {`"note":"was ` + renew + ` before"`, ``},
		"issued token as a name":       {`"` + renew + `":true`, ``},
		"issued token as a deep name":  {`"a":{"` + renew + `":true}`, ``},
		"JWT":                          {`"who":"eyJhbGciOiJIUzI1NiJ9.e30.c2ln"`, ``},
		"opaque":                       {`"thing":"` + strings.Repeat("aB3", 14) + `"`, ``},
		"URL with a query":             {`"next":"https://x.example/?t=1"`, ``},
		"URL with a user":              {`"at_url":"https://u:p@x.example/"`, ``},
		"URL with a fragment":          {`"next":"https://x.example/#t"`, ``},
		"long text":                    {`"text":"` + strings.Repeat("word ", 200) + `"`, ``},
		"name that is none":            {`"a b":1,"":2,"\u0000":3,"` + strings.Repeat("n", 65) + `":4`, ``},
		"errors belong elsewhere":      {`"error_description":"abc","error_uri":"abc"`, ``},
		"null and empty are no facts":  {`"a":null,"b":"","c":[],"d":{},"e":[null]`, ``},
		"deeper than facts lie":        {`"a":{"b":{"c":{"d":{"e":1}}}},"f":1`, `{"f":1}`},
		"markup is kept as plain JSON": {`"name":"<b>&"`, `{"name":"\u003cb\u003e\u0026"}`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, err := refresh.ParseReply("", []byte(`{"access_token":"`+access+`","refresh_token":"`+renew+`",`+tt.member+`}`))
			if err != nil {
				t.Fatal(err)
			}
			if string(r.Meta) != tt.want {
				t.Errorf("meta %s, want %s", r.Meta, tt.want)
			}
		})
	}
}

func TestParseReplyBoundsMeta(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString(`{"access_token":"a"`)
	for i := range 100 {
		b.WriteString(`,"m` + string(rune('a'+i/26)) + string(rune('a'+i%26)) + `":"` + strings.Repeat("some words ", 40) + `"`)
	}
	b.WriteString(`,"z":1}`)
	r, err := refresh.ParseReply("", []byte(b.String()))
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Meta) > 16<<10 || len(r.Meta) < 15<<10 {
		t.Errorf("%d bytes of meta", len(r.Meta))
	}
	if !strings.HasPrefix(string(r.Meta), `{"maa":`) || !strings.HasSuffix(string(r.Meta), `,"z":1}`) {
		t.Errorf("meta is not the members that fit: %.20s … %s", r.Meta, r.Meta[len(r.Meta)-20:])
	}
}

func TestReplyTokenCountsFromTheStart(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	r, err := refresh.ParseReply("", []byte(`{"access_token":"a","refresh_token":"r","token_type":"bearer","expires_in":90,"scope":"x y","id_token":"i","realm":"7"}`))
	if err != nil {
		t.Fatal(err)
	}
	tok := r.Token(start)
	if tok.AccessToken != "a" || tok.RefreshToken != "r" || tok.Type() != "Bearer" || !tok.Expiry.Equal(start.Add(90*time.Second)) || tok.ExpiresIn != 90 {
		t.Errorf("token differs from the reply; expiry %v, type %s", tok.Expiry, tok.Type())
	}
	if tok.Extra("id_token") != "i" || tok.Extra("scope") != "x y" || tok.Extra("realm") != "7" {
		t.Errorf("extras %v %v %v", tok.Extra("id_token"), tok.Extra("scope"), tok.Extra("realm"))
	}
	r, err = refresh.ParseReply("", []byte(`{"access_token":"a"}`))
	if err != nil || !r.Token(start).Expiry.IsZero() || r.Token(start).Extra("id_token") != nil {
		t.Errorf("a token without an end has expiry %v (%v)", r.Token(start).Expiry, err)
	}
}
