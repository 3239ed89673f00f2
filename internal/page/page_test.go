package page_test

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/freshetdev/freshet/internal/page"
)

func write(p page.Page) *httptest.ResponseRecorder {
	rec := httptest.NewRecorder()
	page.Secure(rec.Header())
	page.Write(rec, http.StatusTeapot, p)
	return rec
}

func TestTextIsNeverMarkup(t *testing.T) {
	t.Parallel()
	rec := write(page.Page{Heading: "<i>a", Text: "<i>b", Note: "<i>c"})
	if body := rec.Body.String(); strings.Contains(body, "<i>") || strings.Count(body, "&lt;i&gt;") != 4 {
		t.Errorf("the page is %s", body)
	}
	if rec.Code != http.StatusTeapot {
		t.Errorf("status %d", rec.Code)
	}
}

func TestTheStyleIsAllowedAndNothingElse(t *testing.T) {
	t.Parallel()
	rec := write(page.Page{Heading: "Connected", Text: "It works.", Good: true})
	style := regexp.MustCompile(`(?s)<style>(.*)</style>`).FindStringSubmatch(rec.Body.String())
	sum := sha256.Sum256([]byte(style[1]))
	want := "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "';"
	if got := rec.Header().Get("Content-Security-Policy"); !strings.HasPrefix(got, want) {
		t.Errorf("the policy is %s, want it to begin with %s", got, want)
	}
	for _, foreign := range []string{"<script", "url(", "@import", "http"} {
		if strings.Contains(rec.Body.String(), foreign) {
			t.Errorf("the page has %s in it", foreign)
		}
	}
}

func TestThePageSaysWhetherItWorked(t *testing.T) {
	t.Parallel()
	for want, p := range map[string]page.Page{
		`<main class="good">`: {Heading: "Connected", Text: "It works.", Good: true},
		`<main class="bad">`:  {Heading: "Nothing was connected", Text: "It does not."},
	} {
		body := write(p).Body.String()
		if !strings.Contains(body, want) || !strings.Contains(body, "<title>"+p.Heading+"</title>") || strings.Contains(body, `class="note"`) {
			t.Errorf("want %s in %s", want, body)
		}
	}
}
