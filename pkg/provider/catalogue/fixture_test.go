package catalogue_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/provider/catalogue"
	"github.com/freshetdev/freshet/pkg/refresh"
	"github.com/freshetdev/freshet/pkg/seal"
)

// answer is one of a token endpoint, after the vendor's documentation, and how it must be read.
type answer struct {
	When   string          `json:"when"`
	Status int             `json:"status"`
	Type   string          `json:"type"`
	Body   json.RawMessage `json:"body"` // a string: not JSON
	Want   reading         `json:"want"`
}

// reading is what becomes of an answer.
type reading struct {
	Class         refresh.Class     `json:"class"`
	Code          string            `json:"code"`
	Access        string            `json:"access"`
	Refresh       string            `json:"refresh"`
	Lifetime      provider.Duration `json:"lifetime"`
	GrantLifetime provider.Duration `json:"grant_lifetime"`
	Scopes        []string          `json:"scopes"`
	Meta          any               `json:"meta"`
}

// fixtures returns a preset's answers.
func fixtures(t *testing.T, preset string) []answer {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", preset+".json"))
	if err != nil {
		t.Fatal(err)
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	var answers []answer
	if err := dec.Decode(&answers); err != nil {
		t.Fatal(err)
	}
	return answers
}

// client returns a preset's definition with a client of ours.
func client(t *testing.T, p catalogue.Preset) provider.Definition {
	t.Helper()
	params := make(map[string]string)
	for _, param := range p.Params {
		params[param.Name] = param.Example
	}
	d, err := p.Fill(params)
	if err != nil {
		t.Fatal(err)
	}
	d.Name, d.ClientID, d.ClientSecrets = p.Name, "our-client", []seal.Secret{seal.NewSecret("our-client-secret")}
	return d.WithDefaults()
}

func TestEachPresetsAnswersAreUnderstood(t *testing.T) {
	t.Parallel()
	for _, p := range catalogue.All() {
		t.Run(p.Name, func(t *testing.T) {
			t.Parallel()
			d := client(t, p)
			var when []string
			for _, a := range fixtures(t, p.Name) {
				when = append(when, a.When)
				if got := read(t, &d, a); !reflect.DeepEqual(got, a.Want) {
					t.Errorf("%s:\n got %+v\nwant %+v", a.When, got, a.Want)
				}
			}
			refused := func(s string) bool { return strings.Contains(s, "refusal") }
			if !slices.Contains(when, "first grant") || !slices.Contains(when, "refresh") || !slices.ContainsFunc(when, refused) {
				t.Errorf("answers %q: want at least a first grant, a refresh and a refusal", when)
			}
		})
	}
}

// read is what a worker does with an answer.
func read(t *testing.T, d *provider.Definition, a answer) reading {
	t.Helper()
	body := []byte(a.Body)
	var text string
	if json.Unmarshal(body, &text) == nil {
		body = []byte(text)
	}
	j := refresh.Classify(d, refresh.Outcome{
		Phase: refresh.PhaseAnswered, Status: a.Status, ContentType: a.Type, Body: body,
		StartedAt: time.Unix(0, 0), EndedAt: time.Unix(1, 0), Date: time.Unix(1, 0).UTC().Format(http.TimeFormat),
	})
	got := reading{
		Class: j.Class, Code: j.Code, Access: j.Reply.AccessToken.Reveal(), Refresh: j.Reply.RefreshToken.Reveal(),
		Lifetime: provider.Duration(j.Reply.Lifetime), GrantLifetime: provider.Duration(j.Reply.GrantLifetime), Scopes: j.Reply.Scopes,
	}
	if j.Reply.Meta != nil {
		if err := json.Unmarshal(j.Reply.Meta, &got.Meta); err != nil {
			t.Fatal(err)
		}
	}
	return got
}

func TestEachFixtureHasAPreset(t *testing.T) {
	t.Parallel()
	paths, err := filepath.Glob("testdata/*.json")
	if err != nil || len(paths) != len(catalogue.All()) {
		t.Errorf("%d fixtures for %d presets, %v", len(paths), len(catalogue.All()), err)
	}
}
