package freshet_test

import (
	"path"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/freshetdev/freshet/internal/audit"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
)

// TestWireIsDocumented: docs/wire.md names every member, header, type and word that the code puts on the wire.
func TestWireIsDocumented(t *testing.T) {
	t.Parallel()
	text := string(read(t, "docs/wire.md"))
	var words []string
	for _, v := range []any{refresh.Record{}, refresh.Claim{}, refresh.Doubt{}, refresh.Failure{}, refresh.Last{}, refresh.Policy{}, refresh.Job{}, events.Data{}, provider.Pause{}, audit.Data{}, audit.Actor{}, audit.Caller{}} {
		words = append(words, members(reflect.TypeOf(v))...)
	}
	for _, ty := range events.Types() {
		words = append(words, string(ty))
	}
	for _, a := range audit.Actions() {
		words = append(words, string(a))
	}
	for _, class := range refresh.Classes() {
		words = append(words, string(class))
	}
	now := time.Now()
	full := refresh.Summary{
		State: refresh.StateActive, Paused: true, GrantID: "g", IssuedAt: now, RefreshAt: now, ExpiresAt: now, GrantExpiresAt: now,
		FailureClass: refresh.ClassUnknown, Policy: refresh.Policy{Cron: "@daily", KeepAlive: provider.Duration(time.Hour)},
		Announce: refresh.Announcement{Type: events.TokenUpdated},
	}
	for name := range full.Header() {
		words = append(words, name)
	}
	for name := range (events.Trace{Parent: "p", State: "s"}).Map() {
		words = append(words, name, "ce-"+name)
	}
	for _, word := range words {
		if !regexp.MustCompile(`[^A-Za-z_-]` + regexp.QuoteMeta(word) + `[^A-Za-z_-]`).MatchString(text) {
			t.Errorf("docs/wire.md does not name %s", word)
		}
	}
}

// members are the JSON names of a struct's fields.
func members(t reflect.Type) (names []string) {
	for i := range t.NumField() {
		if name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ","); name != "" && name != "-" {
			names = append(names, name)
		}
	}
	return names
}

// TestDocumentsLinkToWhatIsThere follows every relative link of the documents.
func TestDocumentsLinkToWhatIsThere(t *testing.T) {
	t.Parallel()
	link := regexp.MustCompile(`\]\(([^)#:]+)(?:#[^)]*)?\)`)
	var there []string
	eachFile(t, func(path string) { there = append(there, path) })
	for _, doc := range there {
		if !strings.HasSuffix(doc, ".md") {
			continue
		}
		for _, m := range link.FindAllStringSubmatch(string(read(t, doc)), -1) {
			target := path.Join(path.Dir(doc), m[1])
			if !slices.ContainsFunc(there, func(f string) bool { return f == target || strings.HasPrefix(f, target+"/") }) {
				t.Errorf("%s links to %s, which is not there", doc, m[1])
			}
		}
	}
}

// TestCheckedServersAreThePinnedOnes: docs/enrolment.md names the versions that the tests run.
func TestCheckedServersAreThePinnedOnes(t *testing.T) {
	t.Parallel()
	text := string(read(t, "docs/enrolment.md"))
	for server, pin := range map[string]struct{ file, pattern string }{
		"oidc-provider": {"interop/oidcprovider/package.json", `"oidc-provider": "([\d.]+)"`},
		"zitadel/oidc":  {"interop/go.mod", `github.com/zitadel/oidc/v3 v([\d.]+)\n`},
	} {
		version := regexp.MustCompile(pin.pattern).FindSubmatch(read(t, pin.file))
		if version == nil {
			t.Errorf("%s pins no version of %s", pin.file, server)
			continue
		}
		if row := regexp.MustCompile(`\| \[` + server + `\].*\| ` + regexp.QuoteMeta(string(version[1])) + ` \|`); !row.MatchString(text) {
			t.Errorf("docs/enrolment.md does not say that %s %s was checked", server, version[1])
		}
	}
}
