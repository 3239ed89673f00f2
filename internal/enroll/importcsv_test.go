package enroll_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/freshetdev/freshet/internal/enroll"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/refresh"
)

// importedCSV runs an import of CSV. With plan nothing is written.
func importedCSV(t *testing.T, w *enroll.Writer, input string, plan func(enroll.Planned)) (enroll.Report, []string, error) {
	t.Helper()
	var bad []string
	report, err := enroll.Import(t.Context(), enroll.ImportConfig{
		Reader: strings.NewReader(input), Format: enroll.FormatCSV, Writer: w, Provider: onlyAcme, Plan: plan,
		Reject: func(e enroll.LineError) { bad = append(bad, e.Error()) },
	})
	slices.Sort(bad)
	return report, bad, err
}

func TestImportCSV(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	end := time.Now().Add(30 * time.Minute).UTC().Truncate(time.Second)
	report, bad, err := importedCSV(t, h.writer, "\xef\xbb\xbfaccount, provider ,refresh_token,access_token,expires_at,scopes\r\n"+
		"alice,acme,refresh-alice,\"access,\"\"alice\"\"\","+end.Format(time.RFC3339)+",a b\r\n"+
		"\r\n"+
		"team/bob,acme,refresh-bob,,,\n"+
		"carol,acme,,access-carol,,", nil)
	if err != nil || report != (enroll.Report{Imported: 3, LastLine: 5}) {
		t.Fatalf("%+v, %q, %v", report, bad, err)
	}
	s := h.stored(t, alice)
	if access, refreshToken := h.secretsOf(t, s); access != `access,"alice"` || refreshToken != "refresh-alice" {
		t.Errorf("alice holds %s and %s", access, refreshToken)
	}
	if !s.Record.ExpiresAt.Equal(end) || strings.Join(s.Record.Scopes, " ") != "a b" {
		t.Errorf("alice: %+v", s.Record)
	}
	if bob := h.stored(t, events.Credential{Provider: "acme", Account: "team/bob"}).Record; bob.Scopes != nil || bob.RefreshAt.IsZero() {
		t.Errorf("bob: %+v", bob)
	}
}

func TestImportCSVReportsBadLinesAndGoesOn(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	report, bad, err := importedCSV(t, h.writer, strings.Join([]string{
		"provider,account,refresh_token,subject",
		"acme,ok1,canary,",
		"acme,x,canary",
		"acme,x,canary,,canary",
		`acme,x,"canary,`,
		`acme,x,can"ary,`,
		"acme,,canary,",
		",x,canary,",
		"nosuch,x,canary,",
		"acme,x,,",
		"acme,x,canary,somebody",
		"acme,ok1,canary,",
		strings.Repeat("x", enroll.MaxImportLine+1),
		"acme,ok2,canary,",
	}, "\n"), nil)
	if err != nil || report != (enroll.Report{Imported: 2, Bad: 11, LastLine: 14}) {
		t.Errorf("%+v, %v", report, err)
	}
	want := []string{
		"line 10: neither a refresh token nor an access token",
		"line 11: a subject is for providers with grant jwt_bearer only",
		"line 12: acme/ok1 is on line 2 already, which counts",
		fmt.Sprintf("line 13: longer than %d bytes", enroll.MaxImportLine),
		"line 3: 3 fields, and the header has 4",
		"line 4: 5 fields, and the header has 4",
		"line 5: not CSV: a quotation mark is missing or out of place",
		"line 6: not CSV: a quotation mark is missing or out of place",
		"line 7: account is missing",
		"line 8: provider is missing",
		`line 9: provider "nosuch" is not known: apply it first`,
	}
	if !slices.Equal(bad, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(bad, "\n"), strings.Join(want, "\n"))
	}
}

func TestImportCSVNeedsItsHeader(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for header, want := range map[string]string{
		"acme,alice,canary":                 "there is no column provider",
		"provider,refresh_token":            "there is no column account",
		"provider,account,account":          "column account is there twice",
		"provider,account,refresh_tokn":     `unknown key "refresh_tokn": want provider, account,`,
		`provider,account,"refresh_token`:   "not CSV",
		`{"provider":"acme","account":"x"}`: "not CSV",
	} {
		report, bad, err := importedCSV(t, h.writer, header+"\nacme,alice,canary\n", nil)
		if err == nil || !strings.Contains(err.Error(), "after line 1: ") || !strings.Contains(err.Error(), want) || report.Imported+len(bad) != 0 {
			t.Errorf("%s: %+v, %q, %v", header, report, bad, err)
		}
		if err != nil && strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: the error shows a value: %v", header, err)
		}
	}
}

// TestADryRunWritesNothing in either format, and says what would become of each line.
func TestADryRunWritesNothing(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	if _, err := h.writer.Enroll(t.Context(), acme(), alice, grant("a", "r")); err != nil {
		t.Fatal(err)
	}
	before := h.stored(t, alice).Revision
	bob := events.Credential{Provider: "acme", Account: "bob"}
	for format, input := range map[enroll.Format]string{
		enroll.FormatCSV: "provider,account,refresh_token\nacme,alice,canary\nacme,bob,canary\nacme,x,\n",
		enroll.FormatJSONL: `{"provider":"acme","account":"alice","refresh_token":"canary"}` + "\n" +
			`{"provider":"acme","account":"bob","refresh_token":"canary"}` + "\n" + `{"provider":"acme","account":"x"}`,
	} {
		var plan []enroll.Planned
		bad := 0
		report, err := enroll.Import(t.Context(), enroll.ImportConfig{
			Reader: strings.NewReader(input), Format: format, Writer: h.writer, Provider: onlyAcme,
			Plan: func(p enroll.Planned) { plan = append(plan, p) }, Reject: func(enroll.LineError) { bad++ },
		})
		if err != nil || report.Imported != 2 || report.Bad != 1 || bad != 1 {
			t.Errorf("%s: %+v, %v", format, report, err)
		}
		slices.SortFunc(plan, func(a, b enroll.Planned) int { return a.Line - b.Line })
		first := report.LastLine - 2
		want := []enroll.Planned{
			{Line: first, Credential: alice, Generation: 1, State: refresh.StateActive}, {Line: first + 1, Credential: bob},
		}
		if !slices.Equal(plan, want) {
			t.Errorf("%s: planned %+v, want %+v", format, plan, want)
		}
	}
	if now := h.stored(t, alice).Revision; now != before {
		t.Errorf("alice was written: revision %d, was %d", now, before)
	}
	if _, err := h.writer.Store.Get(t.Context(), bob); err == nil {
		t.Error("bob was written")
	}
}
