package refresh_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
	"github.com/freshetdev/freshet/pkg/seal"
)

// zooProvider has words of its own, some of them against the RFC's meaning.
func zooProvider() *provider.Definition {
	return &provider.Definition{
		Name: "zoo", AuthStyle: provider.AuthPost, ClientID: "web",
		ClientSecrets: []seal.Secret{seal.NewSecret("client-secret-value")},
		Words: provider.Words{
			NotConsumed:   []string{"storage_busy", "both_lists"},
			Throttled:     []string{"Access Denied"},
			Rejected:      []string{"bad_refresh_token", "invalid_refresh_token", "both_lists", "AADSTS70008", "460"},
			Misconfigured: []string{"incorrect_client_credentials", "invalid_target_word"},
		},
	}
}

func answered(status int, contentType, body string) refresh.Outcome {
	return refresh.Outcome{
		Phase: refresh.PhaseAnswered, Status: status, ContentType: contentType, Body: []byte(body),
		EndedAt: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC),
	}
}

// The words of the tables below.
const (
	typeJSON = "application/json"
	typeForm = "application/x-www-form-urlencoded"
	typeHTML = "text/html"
)

// answerCase is an answer and how it must be read.
type answerCase struct {
	status            int
	contentType, body string
	class             refresh.Class
	code              string
}

func testAnswers(t *testing.T, tests map[string]answerCase) {
	t.Helper()
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			j := refresh.Classify(zooProvider(), answered(tt.status, tt.contentType, tt.body))
			if j.Class != tt.class || j.Code != tt.code {
				t.Errorf("class %s, code %q; want %s, %q (%s)", j.Class, j.Code, tt.class, tt.code, j.Detail)
			}
			if (j.Class == refresh.ClassOK) == j.Reply.AccessToken.IsZero() {
				t.Errorf("class %s, access token empty: %v", j.Class, j.Reply.AccessToken.IsZero())
			}
			if j.Detail == "" || strings.Contains(j.Detail, "gone") {
				t.Errorf("detail %q", j.Detail)
			}
		})
	}
}

func TestClassifyTokens(t *testing.T) {
	t.Parallel()
	testAnswers(t, map[string]answerCase{
		"token":                          {200, typeJSON, goodReply, refresh.ClassOK, ""},
		"token with 201":                 {201, typeJSON, goodReply, refresh.ClassOK, ""},
		"token beside an error":          {200, typeJSON, `{"access_token":"a","error":"partial"}`, refresh.ClassOK, ""},
		"token in a form":                {200, typeForm, "access_token=a", refresh.ClassOK, ""},
		"token with a status of failure": {500, typeJSON, goodReply, refresh.ClassUnknown, ""},
		"token with a redirect":          {302, typeJSON, goodReply, refresh.ClassUnknown, ""},
	})
}

func TestClassifyByCodeNotByStatus(t *testing.T) {
	t.Parallel()
	testAnswers(t, map[string]answerCase{
		"invalid_grant 400":            {400, typeJSON, `{"error":"invalid_grant","error_description":"gone"}`, refresh.ClassRejected, "invalid_grant"},
		"invalid_grant 401":            {401, typeJSON, `{"error":"invalid_grant"}`, refresh.ClassRejected, "invalid_grant"},
		"invalid_grant 403":            {403, typeJSON, `{"error":"invalid_grant"}`, refresh.ClassRejected, "invalid_grant"},
		"invalid_grant 200":            {200, typeJSON, `{"error":"invalid_grant"}`, refresh.ClassRejected, "invalid_grant"},
		"invalid_grant 500":            {500, typeJSON, `{"error":"invalid_grant"}`, refresh.ClassRejected, "invalid_grant"},
		"invalid_grant as text":        {400, "text/plain", `{"error":"invalid_grant"}`, refresh.ClassRejected, "invalid_grant"},
		"invalid_grant with a mark":    {400, typeJSON, "\ufeff" + `{"error":"invalid_grant"}`, refresh.ClassRejected, "invalid_grant"},
		"invalid_grant in a form":      {400, typeForm, "error=invalid_grant&error_description=x", refresh.ClassRejected, "invalid_grant"},
		"invalid_grant shouted":        {400, typeJSON, `{"error":"INVALID-GRANT"}`, refresh.ClassRejected, "invalid_grant"},
		"invalid_grant, cut off":       {400, typeJSON, `{"error":"invalid_grant","error_desc`, refresh.ClassUnknown, ""},
		"invalid_client 401":           {401, typeJSON, `{"error":"invalid_client"}`, refresh.ClassMisconfigured, "invalid_client"},
		"invalid_client 400":           {400, typeJSON, `{"error":"invalid_client"}`, refresh.ClassMisconfigured, "invalid_client"},
		"unauthorized_client":          {400, typeJSON, `{"error":"unauthorized_client"}`, refresh.ClassMisconfigured, "unauthorized_client"},
		"unsupported_grant_type":       {400, typeJSON, `{"error":"unsupported_grant_type"}`, refresh.ClassMisconfigured, "unsupported_grant_type"},
		"invalid_scope":                {400, typeJSON, `{"error":"invalid_scope"}`, refresh.ClassMisconfigured, "invalid_scope"},
		"invalid_target":               {400, typeJSON, `{"error":"invalid_target"}`, refresh.ClassMisconfigured, "invalid_target"},
		"invalid_request is ambiguous": {400, typeJSON, `{"error":"invalid_request"}`, refresh.ClassUnknown, "invalid_request"},
		"invalid_request 500":          {500, typeJSON, `{"error":"invalid_request"}`, refresh.ClassUnknown, "invalid_request"},
		"use_dpop_nonce":               {400, typeJSON, `{"error":"use_dpop_nonce"}`, refresh.ClassTransient, "use_dpop_nonce"},
		"temporarily_unavailable":      {400, typeJSON, `{"error":"temporarily_unavailable"}`, refresh.ClassTransient, "temporarily_unavailable"},
		"temporarily_unavailable 503":  {503, typeJSON, `{"error":"temporarily_unavailable"}`, refresh.ClassTransient, "temporarily_unavailable"},
		"slow_down":                    {400, typeJSON, `{"error":"slow_down"}`, refresh.ClassThrottled, "slow_down"},
	})
}

func TestClassifyByStatusWithoutAKnownCode(t *testing.T) {
	t.Parallel()
	testAnswers(t, map[string]answerCase{
		"429 without a word":            {429, typeHTML, "<h1>slow</h1>", refresh.ClassThrottled, ""},
		"429 with nothing":              {429, "", "", refresh.ClassThrottled, ""},
		"429 with a word of no meaning": {429, typeJSON, `{"error":"invalid_request"}`, refresh.ClassThrottled, "invalid_request"},
		"429 with a word of its own":    {429, typeJSON, `{"error":"invalid_grant"}`, refresh.ClassRejected, "invalid_grant"},
		"rate limit with 403":           {403, typeJSON, `{"error":"Rate Limit Exceeded"}`, refresh.ClassThrottled, "rate_limit_exceeded"},
		"rate limit with 200":           {200, typeJSON, `{"ok":false,"error":"ratelimited"}`, refresh.ClassThrottled, "ratelimited"},
		"server_error":                  {500, typeJSON, `{"error":"server_error"}`, refresh.ClassUnknown, "server_error"},
		"500":                           {500, typeHTML, "<h1>Oops</h1>", refresh.ClassUnknown, ""},
		"502":                           {502, "", "", refresh.ClassUnknown, ""},
		"503 without Retry-After":       {503, "", "", refresh.ClassUnknown, ""},
		"504":                           {504, "", "", refresh.ClassUnknown, ""},
		"redirect":                      {307, typeHTML, "<a href=x>", refresh.ClassUnknown, ""},
		"200 and nothing":               {200, typeJSON, "", refresh.ClassUnknown, ""},
		"200 and a page":                {200, typeHTML, "<html>log in</html>", refresh.ClassUnknown, ""},
		"200 cut off":                   {200, typeJSON, goodReply[:50], refresh.ClassUnknown, ""},
		"200 without a token":           {200, typeJSON, `{"token_type":"Bearer"}`, refresh.ClassUnknown, ""},
		"200 saying no more than well":  {200, typeJSON, `{"status":"ok","code":0}`, refresh.ClassUnknown, ""},
		"204":                           {204, "", "", refresh.ClassUnknown, ""},
		"401 and nothing":               {401, "", "\r\n", refresh.ClassMisconfigured, ""},
		"401 and a page":                {401, typeHTML, "<h1>Unauthorized</h1>", refresh.ClassUnknown, ""},
		"401 about a token":             {401, typeJSON, `{"message":"Invalid refresh token"}`, refresh.ClassUnknown, ""},
		"401 with its number as a code": {401, typeJSON, `{"error":401,"message":"Unauthorized"}`, refresh.ClassUnknown, "401"},
		"403 and nothing":               {403, "", "", refresh.ClassUnknown, ""},
		"404":                           {404, typeHTML, "<h1>Not Found</h1>", refresh.ClassUnknown, ""},
		"word that nobody knows":        {400, typeJSON, `{"error":"grant_is_tired"}`, refresh.ClassUnknown, "grant_is_tired"},
	})
}

func TestClassifyByTheProvidersWords(t *testing.T) {
	t.Parallel()
	testAnswers(t, map[string]answerCase{
		"GitHub":                       {200, typeForm, "error=bad_refresh_token&error_description=x&error_uri=y", refresh.ClassRejected, "bad_refresh_token"},
		"GitHub, client":               {200, typeJSON, `{"error":"incorrect_client_credentials"}`, refresh.ClassMisconfigured, "incorrect_client_credentials"},
		"Slack":                        {200, typeJSON, `{"ok":false,"error":"invalid_refresh_token"}`, refresh.ClassRejected, "invalid_refresh_token"},
		"Zoho":                         {400, typeJSON, `{"error_description":"too many","error":"Access Denied","status":"failure"}`, refresh.ClassThrottled, "Access_Denied"},
		"own word that says not spent": {500, typeJSON, `{"error":"storage_busy"}`, refresh.ClassTransient, "storage_busy"},
		"own word of two meanings":     {400, typeJSON, `{"error":"both_lists"}`, refresh.ClassTransient, "both_lists"},
		"own word in another place":    {400, typeJSON, `{"error":"invalid_request","suberror":"AADSTS70008"}`, refresh.ClassRejected, "AADSTS70008"},
		"own word before the RFC's":    {400, typeJSON, `{"error":"invalid_client","error_code":"storage_busy"}`, refresh.ClassTransient, "storage_busy"},
		"own number in an object":      {400, typeJSON, `{"error":{"message":"x","type":"OAuthException","code":460}}`, refresh.ClassRejected, "460"},
		"HubSpot":                      {400, typeJSON, `{"status":"BAD_REFRESH_TOKEN","message":"x"}`, refresh.ClassRejected, "BAD_REFRESH_TOKEN"},
	})
}

func TestClassifyFindsTheCode(t *testing.T) {
	t.Parallel()
	testAnswers(t, map[string]answerCase{
		"error as an object with a code":   {400, typeJSON, `{"error":{"code":"invalid_grant","message":"x","type":"y"}}`, refresh.ClassRejected, "invalid_grant"},
		"error as an object with a type":   {400, typeJSON, `{"error":{"code":190,"message":"x","type":"OAuthException"}}`, refresh.ClassUnknown, "190"},
		"error as an object with a status": {403, typeJSON, `{"error":{"code":403,"status":"UNAUTHORIZED_CLIENT"}}`, refresh.ClassMisconfigured, "unauthorized_client"},
		"error as an object within":        {400, typeJSON, `{"error":{"error":"invalid_grant"}}`, refresh.ClassRejected, "invalid_grant"},
		"error as an array":                {400, typeJSON, `{"error":["invalid_grant"]}`, refresh.ClassRejected, "invalid_grant"},
		"error as nothing":                 {400, typeJSON, `{"error":null}`, refresh.ClassUnknown, ""},
		"error as a truth":                 {400, typeJSON, `{"error":true,"code":"invalid_grant"}`, refresh.ClassRejected, "invalid_grant"},
		"errorCode":                        {400, typeJSON, `{"errorCode":"invalid_client","errorSummary":"x"}`, refresh.ClassMisconfigured, "invalid_client"},
		"errorCode of its own":             {400, typeJSON, `{"errorCode":"E0000011"}`, refresh.ClassUnknown, "E0000011"},
		"error_code":                       {400, typeJSON, `{"error_code":"invalid_grant"}`, refresh.ClassRejected, "invalid_grant"},
		"Fitbit":                           {400, typeJSON, `{"errors":[{"errorType":"invalid_grant","message":"x"}],"success":false}`, refresh.ClassRejected, "invalid_grant"},
		"errors as words":                  {400, typeJSON, `{"errors":["invalid_grant"]}`, refresh.ClassRejected, "invalid_grant"},
		"problem details":                  {400, "application/problem+json", `{"type":"about:blank","title":"Bad Request","status":400}`, refresh.ClassUnknown, "400"},
	})
}

func TestClassifyWithholdsWhatMayBeAToken(t *testing.T) {
	t.Parallel()
	testAnswers(t, map[string]answerCase{
		"code that looks like a token":       {400, typeJSON, `{"error":"gho_16C7e42F292c6912E7"}`, refresh.ClassUnknown, ""},
		"code that is longer than words are": {400, typeJSON, `{"error":"` + strings.Repeat("abcdefg_", 9) + `"}`, refresh.ClassUnknown, ""},
		"code that repeats our secret":       {400, typeJSON, `{"error":"client-secret-value"}`, refresh.ClassUnknown, ""},
		"code with control characters":       {400, typeJSON, `{"error":"a\r\nb"}`, refresh.ClassUnknown, ""},
		"code that is a sentence":            {400, typeJSON, `{"error":"the token, \"x\", is bad"}`, refresh.ClassUnknown, ""},
	})
}

func TestClassifyOfPublicClientsBlamesNoSecret(t *testing.T) {
	t.Parallel()
	d := zooProvider()
	d.AuthStyle = provider.AuthNone
	if j := refresh.Classify(d, answered(401, "", "")); j.Class != refresh.ClassUnknown {
		t.Errorf("class %s, want unknown", j.Class)
	}
}

func TestClassifyWithoutAnAnswer(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		o    refresh.Outcome
		want refresh.Class
	}{
		"not sent":        {refresh.Outcome{Phase: refresh.PhaseNotSent, Err: "connection refused"}, refresh.ClassTransient},
		"not sent, ours":  {refresh.Outcome{Phase: refresh.PhaseNotSent, Local: true, Err: "connection refused"}, refresh.ClassLocal},
		"sent":            {refresh.Outcome{Phase: refresh.PhaseSent, Err: "connection refused"}, refresh.ClassUnknown},
		"sent, in parts":  {refresh.Outcome{Phase: refresh.PhaseSent, Status: 200, Body: []byte(goodReply), Err: "connection refused"}, refresh.ClassUnknown},
		"sent, 429":       {refresh.Outcome{Phase: refresh.PhaseSent, Status: 429, Err: "connection refused"}, refresh.ClassUnknown},
		"phase not known": {refresh.Outcome{Phase: "new", Err: "connection refused"}, refresh.ClassUnknown},
		"no phase":        {refresh.Outcome{Err: "connection refused"}, refresh.ClassUnknown},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			j := refresh.Classify(zooProvider(), tt.o)
			if j.Class != tt.want || j.Detail != "connection refused" || j.Code != "" {
				t.Errorf("%+v, want %s", j, tt.want)
			}
		})
	}
}

func TestClassifyReadsRetryAfter(t *testing.T) {
	t.Parallel()
	const date = "Sun, 01 Mar 2026 12:00:00 GMT" // also when the request ended
	tests := map[string]struct {
		retryAfter, date string
		want             time.Duration
		class            refresh.Class // of a 503
	}{
		"none":                         {"", date, 0, refresh.ClassUnknown},
		"seconds":                      {"17", date, 17 * time.Second, refresh.ClassTransient},
		"blanks":                       {" 17 ", date, 17 * time.Second, refresh.ClassTransient},
		"zero":                         {"0", date, 0, refresh.ClassTransient},
		"fraction":                     {"1.5", date, 1500 * time.Millisecond, refresh.ClassTransient},
		"negative":                     {"-5", date, 0, refresh.ClassTransient},
		"an hour":                      {"3600", date, time.Hour, refresh.ClassTransient},
		"a year":                       {"31536000", date, time.Hour, refresh.ClassTransient},
		"beyond numbers":               {"1e999", date, time.Hour, refresh.ClassTransient},
		"more digits than an int":      {"99999999999999999999", date, time.Hour, refresh.ClassTransient},
		"no number":                    {"NaN", date, 0, refresh.ClassUnknown},
		"words":                        {"soon", date, 0, refresh.ClassUnknown},
		"date":                         {"Sun, 01 Mar 2026 12:01:00 GMT", date, time.Minute, refresh.ClassTransient},
		"date by the provider's clock": {"Sun, 01 Mar 2026 15:01:00 GMT", "Sun, 01 Mar 2026 15:00:00 GMT", time.Minute, refresh.ClassTransient},
		"date without a clock":         {"Sun, 01 Mar 2026 12:02:00 GMT", "", 2 * time.Minute, refresh.ClassTransient},
		"date with a broken clock":     {"Sun, 01 Mar 2026 12:02:00 GMT", "noon", 2 * time.Minute, refresh.ClassTransient},
		"date in the past":             {"Sun, 01 Mar 2020 12:00:00 GMT", date, 0, refresh.ClassTransient},
		"date far ahead":               {"Sun, 01 Mar 2099 12:00:00 GMT", date, time.Hour, refresh.ClassTransient},
		"date as RFC 850":              {"Sunday, 01-Mar-26 12:01:00 GMT", date, time.Minute, refresh.ClassTransient},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for status, class := range map[int]refresh.Class{429: refresh.ClassThrottled, 503: tt.class, 500: refresh.ClassUnknown} {
				o := answered(status, "", "")
				o.RetryAfter, o.Date = tt.retryAfter, tt.date
				if j := refresh.Classify(zooProvider(), o); j.RetryAfter != tt.want || j.Class != class {
					t.Errorf("HTTP %d: %s after %v, want %s after %v", status, j.Class, j.RetryAfter, class, tt.want)
				}
			}
		})
	}
}

func TestJudgementWithoutWhatWasSent(t *testing.T) {
	t.Parallel()
	sent := seal.NewSecret("plain-word-token")
	echo := refresh.Classify(zooProvider(), answered(400, "", `{"error":"plain-word-token"}`)).Without(sent)
	if echo.Code != "" || strings.Contains(echo.Detail, "plain-word") || echo.Class != refresh.ClassUnknown {
		t.Errorf("%+v", echo)
	}
	ok := refresh.Classify(zooProvider(), answered(200, "", `{"access_token":"a","old":"plain-word-token","realm":"7"}`)).Without(sent)
	if ok.Reply.Meta != nil || ok.Reply.AccessToken.Reveal() != "a" {
		t.Errorf("meta %s", ok.Reply.Meta)
	}
	same := refresh.Classify(zooProvider(), answered(400, "", `{"error":"invalid_grant"}`))
	for _, other := range []seal.Secret{{}, seal.NewSecret("r"), seal.NewSecret("another-token")} {
		if j := same.Without(other); j.Code != "invalid_grant" || j.Detail != same.Detail {
			t.Errorf("%+v was changed", j)
		}
	}
}

func FuzzClassify(f *testing.F) {
	for _, body := range []string{
		goodReply, "", `{"error":"invalid_grant"}`, `{"error":{"code":{"code":1}}}`, "error=slow_down", `{"errors":[[]]}`, `{"error":["",{"type":"x"}]}`,
		`{"ok":false,"error":"ratelimited"}`, "<html>", `{"error":"`, "\ufeff{}",
	} {
		f.Add("answered", 400, "application/json", "17", "Sun, 01 Mar 2026 12:00:00 GMT", []byte(body), "reset")
	}
	f.Add("sent", 200, "", "Sun, 01 Mar 2026 12:00:00 GMT", "", []byte(goodReply), "timed out\x00")
	f.Fuzz(func(t *testing.T, phase string, status int, contentType, retryAfter, date string, body []byte, errText string) {
		o := answered(status, contentType, string(body))
		o.Phase, o.RetryAfter, o.Date, o.Err = refresh.Phase(phase), retryAfter, date, errText
		j := refresh.Classify(zooProvider(), o)
		code := func(r rune) bool {
			return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-", r)
		}
		printable := func(r rune) bool { return r < ' ' || r > '~' }
		switch {
		case !slices.Contains(refresh.Classes(), j.Class) || j.Class == refresh.ClassFresh:
			t.Fatalf("class %q", j.Class)
		case len(j.Code) > 64 || strings.ContainsFunc(j.Code, code):
			t.Fatalf("code %q", j.Code)
		case j.RetryAfter < 0 || j.RetryAfter > refresh.MaxRetryAfter:
			t.Fatalf("retry after %v", j.RetryAfter)
		case len(j.Detail) > 256 || strings.ContainsFunc(j.Detail, printable):
			t.Fatalf("detail %q", j.Detail)
		case (j.Class == refresh.ClassOK) != !j.Reply.AccessToken.IsZero():
			t.Fatalf("class %s, access token empty: %v", j.Class, j.Reply.AccessToken.IsZero())
		case o.Phase != refresh.PhaseAnswered && (j.Class == refresh.ClassOK || j.Class == refresh.ClassRejected || j.Class == refresh.ClassMisconfigured):
			t.Fatalf("phase %q is classed %s", phase, j.Class)
		}
	})
}
