package enroll_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/freshetdev/freshet/internal/enroll"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
)

// onlyAcme knows one provider.
func onlyAcme(name string) (*provider.Definition, bool) { return acme(), name == "acme" }

// imported runs an import and returns its report and its bad lines in order.
func imported(t *testing.T, w *enroll.Writer, input io.Reader) (enroll.Report, []enroll.LineError, error) {
	t.Helper()
	var bad []enroll.LineError
	report, err := enroll.Import(t.Context(), enroll.ImportConfig{
		Reader: input, Writer: w, Provider: onlyAcme, Reject: func(e enroll.LineError) { bad = append(bad, e) },
	})
	slices.SortFunc(bad, func(a, b enroll.LineError) int { return a.Line - b.Line })
	return report, bad, err
}

func TestImport(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	end := time.Now().Add(30 * time.Minute).UTC().Truncate(time.Second)
	input := "\xef\xbb\xbf" + `{"provider":"acme","account":"alice","refresh_token":"refresh-alice","access_token":"access-alice","expires_at":"` + end.Format(time.RFC3339) + `","scopes":["a","b"]}` + "\r\n" +
		"\n" +
		`  {"provider":"acme","account":"team/bob@example.com","refresh_token":"refresh-bob"}` + "\n" +
		`{"provider":"acme","account":"carol","access_token":"access-carol","expires_at":null,"scopes":null}` // no newline at the end
	report, bad, err := imported(t, h.writer, strings.NewReader(input))
	if err != nil || report != (enroll.Report{Imported: 3, LastLine: 4}) {
		t.Fatalf("%+v, %v, %v", report, bad, err)
	}
	s := h.stored(t, alice)
	if access, refreshToken := h.secretsOf(t, s); access != "access-alice" || refreshToken != "refresh-alice" {
		t.Errorf("alice holds %s and %s", access, refreshToken)
	}
	if !s.Record.ExpiresAt.Equal(end) || strings.Join(s.Record.Scopes, " ") != "a b" {
		t.Errorf("alice: %+v", s.Record)
	}
	bob := h.stored(t, events.Credential{Provider: "acme", Account: "team/bob@example.com"}).Record
	if bob.RefreshAt.IsZero() || bob.RefreshAt.After(time.Now()) {
		t.Errorf("bob, who has no access token, is due %s", bob.RefreshAt)
	}
	carol := h.stored(t, events.Credential{Provider: "acme", Account: "carol"}).Record
	if !carol.RefreshAt.IsZero() || carol.ExpiresAt.IsZero() {
		t.Errorf("carol, who cannot be refreshed, is due %s, ends %s", carol.RefreshAt, carol.ExpiresAt)
	}
	for range 3 {
		if e := h.heard(t); e.Type != events.TokenUpdated || e.Data.Reason != events.ReasonEnrolled {
			t.Errorf("told %+v", e)
		}
	}
}

// An import need not be heard: schedulers tell of every write that says so.
func TestImportCountsWhatItCouldNotTell(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.writer.Teller = tellerFunc(func(events.Event) error { return errStore })
	for _, token := range []string{"first", "second"} { // a new record, and one that is there
		report, bad, err := imported(t, h.writer, strings.NewReader(`{"provider":"acme","account":"alice","refresh_token":"`+token+`"}`))
		if err != nil || report.Imported != 1 {
			t.Fatalf("%+v, %v, %v", report, bad, err)
		}
		want := refresh.Announcement{Type: events.TokenUpdated, Reason: events.ReasonEnrolled}
		if got := h.announcement(t, alice); got != want {
			t.Errorf("the write says %+v, want %+v", got, want)
		}
		if _, held := h.secretsOf(t, h.stored(t, alice)); held != token {
			t.Errorf("alice holds %s", held)
		}
	}
}

func TestImportReportsBadLinesAndGoesOn(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	good := func(account string) string {
		return `{"provider":"acme","account":"` + account + `","refresh_token":"canary"}`
	}
	tests := []struct{ line, want string }{
		{good("ok1"), ""},
		{`nonsense`, "not a JSON object"},
		{`["canary"]`, "not a JSON object"},
		{`{"provider":"acme","account":"x","refresh_token":"canary"`, "not a JSON object"},
		{good("x") + `{}`, "something follows"},
		{`{"provider":"acme","account":"x","refreshtoken":"canary"}`, `unknown key "refreshtoken"`},
		{`{"provider":"acme","account":"x","Refresh_Token":"canary"}`, `unknown key "Refresh_Token"`},
		{`{"canary-canary-1":1}`, "unknown key (not shown)"},
		{`{"provider":"acme","provider":"acme"}`, `key "provider" is there twice`},
		{`{"account":"x","refresh_token":"canary"}`, "provider is missing"},
		{`{"provider":"acme","refresh_token":"canary"}`, "account is missing"},
		{`{"provider":"Acme!","account":"x","refresh_token":"canary"}`, "malformed name"},
		{`{"provider":"other","account":"x","refresh_token":"canary"}`, `provider "other" is not known`},
		{`{"provider":"acme","account":"x"}`, "neither a refresh token nor an access token"},
		{`{"provider":"acme","account":"x","refresh_token":""}`, "neither a refresh token nor an access token"},
		{`{"provider":"acme","account":"x","refresh_token":["canary"]}`, "refresh_token: want a string"},
		{`{"provider":"acme","account":"x","refresh_token":"[redacted]"}`, "the token itself"},
		{`{"provider":"acme","account":"x","access_token":"canary","expires_at":"canary"}`, "expires_at: want RFC 3339"},
		{`{"provider":"acme","account":"x","access_token":"canary","expires_at":1700000000}`, "expires_at: want RFC 3339"},
		{`{"provider":"acme","account":"x","access_token":"canary","scopes":"a"}`, "scopes: want an array"},
		{`{"provider":"acme","account":7,"access_token":"canary"}`, "account: want a string"},
		{good("ok1"), "acme/ok1 is on line 1 already"},
		{good(strings.Repeat("x", enroll.MaxImportLine)), "longer than"},
		{good("ok2"), ""},
	}
	var input strings.Builder
	for _, tt := range tests {
		input.WriteString(tt.line + "\n")
	}
	report, bad, err := imported(t, h.writer, strings.NewReader(input.String()))
	if err != nil {
		t.Fatal(err)
	}
	if report.Imported != 2 || report.Bad != len(tests)-2 || report.LastLine != len(tests) {
		t.Errorf("report %+v", report)
	}
	for _, e := range bad {
		want := tests[e.Line-1].want
		if want == "" || !strings.Contains(e.Error(), want) || !strings.HasPrefix(e.Error(), fmt.Sprintf("line %d: ", e.Line)) {
			t.Errorf("%v, want %q", e, want)
		}
		if strings.Contains(e.Error(), "canary") {
			t.Errorf("%q shows a value", e)
		}
	}
}

func TestImportTakesLinesOfUpToOneMebibyte(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	line := func(size int) string {
		const head, tail = `{"provider":"acme","account":"alice","refresh_token":"r"`, `}`
		return head + strings.Repeat(" ", size-len(head)-len(tail)) + tail
	}
	for _, end := range []string{"\n", ""} {
		report, bad, err := imported(t, h.writer, strings.NewReader(line(enroll.MaxImportLine)+end))
		if err != nil || report.Imported != 1 {
			t.Errorf("1 MiB, ended by %q: %+v, %v, %v", end, report, bad, err)
		}
		report, _, err = imported(t, h.writer, strings.NewReader(line(enroll.MaxImportLine+2)+end))
		if err != nil || report.Bad != 1 || report.LastLine != 1 {
			t.Errorf("more than 1 MiB, ended by %q: %+v, %v", end, report, err)
		}
	}
}

// endless gives lines until it is asked to fail.
type endless struct {
	n    int
	each func(n int) error
	rest []byte
}

func (r *endless) Read(p []byte) (int, error) {
	if len(r.rest) == 0 {
		r.n++
		if err := r.each(r.n); err != nil {
			return 0, err
		}
		r.rest = fmt.Appendf(nil, "{\"provider\":\"acme\",\"account\":\"user%d\",\"refresh_token\":\"r\"}\n", r.n)
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

func TestImportSaysWhereItStopped(t *testing.T) {
	t.Parallel()
	errInput := errors.New("input broke")
	tests := []struct {
		name string
		want error
		run  func(t *testing.T, h *house) (enroll.Report, error)
	}{
		{"its context ends", context.Canceled, func(t *testing.T, h *house) (enroll.Report, error) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			return enroll.Import(ctx, enroll.ImportConfig{
				Reader: &endless{each: func(int) error { return nil }}, Writer: h.writer, Provider: onlyAcme,
				Progress: func(done, _ int) {
					if done == 100 {
						cancel()
					}
				},
			})
		}},
		{"the input breaks", errInput, func(t *testing.T, h *house) (enroll.Report, error) {
			report, _, err := imported(t, h.writer, &endless{each: func(n int) error {
				if n > 50 {
					return errInput
				}
				return nil
			}})
			return report, err
		}},
		{"the store fails", errStore, func(t *testing.T, h *house) (enroll.Report, error) {
			w := *h.writer
			w.Store = &faultyStore{Store: h.broker, put: func(n int) (bool, error) {
				if n > 50 {
					return false, errStore
				}
				return true, nil
			}, get: func(int) error { return errStore }}
			return enroll.Import(t.Context(), enroll.ImportConfig{
				Reader: &endless{each: func(int) error { return nil }}, Writer: &w, Provider: onlyAcme, Concurrency: 1,
			})
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			report, err := tt.run(t, h)
			wantErr(t, err, tt.want)
			if !strings.Contains(err.Error(), fmt.Sprintf("stopped after line %d", report.LastLine)) {
				t.Errorf("error %q does not name line %d", err, report.LastLine)
			}
			if report.Imported == 0 || report.Imported+report.Bad != report.LastLine {
				t.Errorf("report %+v: every line up to the last must be accounted for", report)
			}
			for i := range report.LastLine + 10 {
				c := events.Credential{Provider: "acme", Account: fmt.Sprint("user", i+1)}
				_, err := h.broker.Get(t.Context(), c)
				switch {
				case i+1 > report.LastLine:
					wantErr(t, err, refresh.ErrNotFound)
				case report.Bad == 0 && err != nil:
					t.Errorf("line %d: %v", i+1, err)
				}
			}
		})
	}
}

// A line without a refresh token is bad where one would give way to it, and says nothing about the lines to come.
func TestImportTakesNoRefreshTokenAway(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	const held = `{"provider":"acme","account":"alice","refresh_token":"refresh-alice"}`
	const lines = `{"provider":"acme","account":"alice","access_token":"a"}` + "\n" + `{"provider":"acme","account":"bob","refresh_token":"b"}`
	if _, _, err := imported(t, h.writer, strings.NewReader(held)); err != nil {
		t.Fatal(err)
	}
	for _, plan := range []func(enroll.Planned){func(enroll.Planned) {}, nil} {
		var bad []enroll.LineError
		report, err := enroll.Import(t.Context(), enroll.ImportConfig{
			Reader: strings.NewReader(lines), Writer: h.writer, Provider: onlyAcme, Plan: plan,
			Reject: func(e enroll.LineError) { bad = append(bad, e) },
		})
		if err != nil || report.Imported != 1 || len(bad) != 1 || bad[0].Line != 1 || !errors.Is(bad[0], enroll.ErrNoRefreshToken) {
			t.Errorf("%+v, %v, %v", report, bad, err)
		}
	}
	if _, token := h.secretsOf(t, h.stored(t, alice)); token != "refresh-alice" {
		t.Errorf("alice holds %s", token)
	}
}

// TestLinesMeanTheSameHoweverTheyAreWritten: most are read without a parser, those with an escape are not.
func TestLinesMeanTheSameHoweverTheyAreWritten(t *testing.T) {
	t.Parallel()
	values := []string{`""`, `"a"`, `"a b"`, `"é"`, `null`, `7`, `{}`, `"[redacted]"`, `[]`, `["a","b c"]`, `["a",null]`, `[7]`, `"2026-01-02T15:04:05Z"`, `"2026-01-02T15:04:05.5+01:00"`, `"2026-01-02"`, `"0001-01-01T00:00:00Z"`}
	names := []string{"provider", "account", "refresh_token", "access_token", "expires_at", "scopes", "subject", "Subject", "else"}
	rapid.Check(t, func(t *rapid.T) {
		rest := ""
		for range rapid.IntRange(0, 4).Draw(t, "members") {
			rest += fmt.Sprintf(",%q: %s", rapid.SampledFrom(names).Draw(t, "name"), rapid.SampledFrom(values).Draw(t, "value"))
		}
		rest += rapid.SampledFrom([]string{"}", "} ", "", "}7", ",}"}).Draw(t, "end")
		wantName, want, wantErr := enroll.ParseLine(`{"provider":"acme","\u0061ccount":"alice"` + rest)
		name, got, err := enroll.ParseLine(`{"provider":"acme","account":"alice"` + rest)
		if fmt.Sprint(err) != fmt.Sprint(wantErr) {
			t.Fatalf("%s: error %v, want %v", rest, err, wantErr)
		}
		if err == nil && (name != wantName || !reflect.DeepEqual(got, want)) {
			t.Fatalf("%s: %s %+v, want %s %+v", rest, name, got, wantName, want)
		}
	})
}

func FuzzImport(f *testing.F) {
	f.Add([]byte(`{"provider":"acme","account":"alice","refresh_token":"r","expires_at":"2026-01-02T15:04:05Z","scopes":["a"]}`))
	f.Add([]byte("{\"provider\":\"acme\"\n\n[]\x00\xff"))
	w := &enroll.Writer{}
	f.Fuzz(func(t *testing.T, input []byte) {
		lines := 1 + strings.Count(string(input), "\n")
		report, err := enroll.Import(t.Context(), enroll.ImportConfig{
			Reader: strings.NewReader(string(input)), Writer: w, Concurrency: 1,
			Provider: func(string) (*provider.Definition, bool) { return nil, false }, // so that nothing is written
		})
		if err != nil || report.Imported != 0 || report.Bad > lines || report.LastLine > lines {
			t.Errorf("%+v, %v", report, err)
		}
	})
}

func BenchmarkImport(b *testing.B) {
	h := newHouse(b)
	n := 0
	b.ResetTimer()
	report, err := enroll.Import(b.Context(), enroll.ImportConfig{
		Reader: &endless{each: func(int) error {
			if n++; n > b.N {
				return io.EOF
			}
			return nil
		}}, Writer: h.writer, Provider: onlyAcme,
	})
	b.StopTimer()
	if err != nil || report.Imported != b.N {
		b.Fatal(report, err)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "grants/s")
}
