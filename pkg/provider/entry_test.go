package provider_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/seal"
)

var update = flag.Bool("update", false, "rewrite golden files")

const bucket = "providers"

func newKeyset(tb testing.TB) *seal.Keyset {
	tb.Helper()
	data, err := seal.GenerateKeyset()
	if err != nil {
		tb.Fatal(err)
	}
	k, err := seal.LoadKeyset(data)
	if err != nil {
		tb.Fatal(err)
	}
	return k
}

// fullEntry sets every field. The sealed secrets are made up, since sealing is never the same twice.
func fullEntry() provider.Entry {
	d := acme()
	everythingOptional(&d)
	d.Preset, d.ClientSecrets = "preset", nil
	return provider.Entry{
		V: provider.EntryVersion, Definition: d, ClientSecrets: [][]byte{[]byte("sealed one"), []byte("sealed two")},
		Pause: &provider.Pause{By: "worker", Until: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Reason: "429"},
	}
}

func encode(tb testing.TB, e provider.Entry) []byte {
	tb.Helper()
	data, err := provider.EncodeEntry(e)
	if err != nil {
		tb.Fatal(err)
	}
	return data
}

func decode(tb testing.TB, data []byte) provider.Entry {
	tb.Helper()
	e, err := provider.DecodeEntry("acme", data)
	if err != nil {
		tb.Fatal(err)
	}
	return e
}

func TestEntryGolden(t *testing.T) {
	t.Parallel()
	var got bytes.Buffer
	if err := json.Indent(&got, encode(t, fullEntry()), "", "  "); err != nil {
		t.Fatal(err)
	}
	got.WriteByte('\n')
	const path = "testdata/entry.v1.json"
	if *update {
		if err := os.WriteFile(path, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got.String() != string(want) {
		t.Errorf("entry\n got %s\nwant %s", got.String(), want)
	}
	if e := decode(t, want); !reflect.DeepEqual(e, fullEntry()) {
		t.Errorf("decoded %+v", e)
	}
}

func TestEntryOfLittle(t *testing.T) {
	t.Parallel()
	d := provider.Definition{Name: "acme", TokenURL: "https://example.com/t", ClientID: "abc"}.WithDefaults()
	data := encode(t, provider.Entry{Definition: d})
	e := decode(t, data)
	if e.V != provider.EntryVersion || !reflect.DeepEqual(e.Definition, d) || e.Pause != nil || e.ClientSecrets != nil {
		t.Errorf("%s decoded to %+v", data, e)
	}
	for _, absent := range []string{"scopes", "words", "pause", "client_secrets", "rotation_grace", "name"} {
		if strings.Contains(string(data), `"`+absent+`"`) {
			t.Errorf("%s has the empty member %s", data, absent)
		}
	}
}

func TestMembersOfANewerVersionSurvive(t *testing.T) {
	t.Parallel()
	data := []byte(`{"v":7,"token_url":"https://example.com/t","client_id":"abc","auth_style":"none","grant":"authorization_code",` +
		`"rotation":"strict","shape":{"of":["things",1.50]},"limits":{"timeout":"5s","burst":9},"refresh":{"hurry":true},` +
		`"pause":{"by":"op","level":3}}`)
	e := decode(t, data)
	if e.V != 7 || e.Limits.Timeout != provider.Duration(5*time.Second) || e.Pause.By != "op" {
		t.Fatalf("decoded %+v", e)
	}
	e.TokenURL, e.Limits.Concurrency, e.Pause = "https://example.com/new", 5, nil
	got := encode(t, e)
	for _, kept := range []string{
		`"v":7`, `"shape":{"of":["things",1.50]}`, `"limits":{"burst":9,"concurrency":5,"timeout":"5s"}`, `"refresh":{"hurry":true}`,
		`"token_url":"https://example.com/new"`,
	} {
		if !strings.Contains(string(got), kept) {
			t.Errorf("%s lacks %s", got, kept)
		}
	}
	if strings.Contains(string(got), "pause") {
		t.Errorf("a lifted pause came back: %s", got)
	}
	if again := encode(t, decode(t, got)); !bytes.Equal(again, got) {
		t.Errorf("not stable:\n%s\n%s", got, again)
	}
}

func TestClearedMembersDoNotComeBack(t *testing.T) {
	t.Parallel()
	e := decode(t, encode(t, fullEntry()))
	e.Preset, e.Scopes, e.Words, e.Refresh, e.RotationGrace, e.ClientSecrets = "", nil, provider.Words{}, provider.Refresh{}, 0, nil
	back := decode(t, encode(t, e))
	if !reflect.DeepEqual(back, e) {
		t.Errorf("got %+v\nwant %+v", back, e)
	}
}

func TestDecodeEntryRefuses(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ provider, data string }{
		"nothing": {"acme", ""}, "not JSON": {"acme", "x"}, "a list": {"acme", "[]"}, "null": {"acme", "null"},
		"no version": {"acme", `{"client_id":"abc"}`}, "version 0": {"acme", `{"v":0}`}, "bad name": {"Acme.x", `{"v":1}`},
		"wrong type": {"acme", `{"v":1,"scopes":"a"}`}, "bad duration": {"acme", `{"v":1,"limits":{"timeout":"soon"}}`},
		"trailing": {"acme", `{"v":1} {}`},
	} {
		if e, err := provider.DecodeEntry(tc.provider, []byte(tc.data)); !errors.Is(err, provider.ErrMalformed) {
			t.Errorf("%s: %+v, %v", name, e, err)
		}
	}
}

func FuzzDecodeEntry(f *testing.F) {
	golden, err := os.ReadFile("testdata/entry.v1.json")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(golden)
	f.Add([]byte(`{"v":1,"limits":{"x":{}},"pause":null,"scopes":[],"words":{"rejected":[]}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := provider.DecodeEntry("acme", data)
		if err != nil {
			return
		}
		once, err := provider.EncodeEntry(e)
		if err != nil {
			t.Fatalf("%s decodes but does not encode: %v", data, err)
		}
		back, err := provider.DecodeEntry("acme", once)
		if err != nil {
			t.Fatalf("%s does not decode: %v", once, err)
		}
		if twice := encode(t, back); !bytes.Equal(once, twice) {
			t.Fatalf("not stable:\n%s\n%s", once, twice)
		}
	})
}

func TestSecretsAreSealed(t *testing.T) {
	t.Parallel()
	k := newKeyset(t)
	d := acme()
	d.ClientSecrets = []seal.Secret{seal.NewSecret("old s3cret"), seal.NewSecret("new s3cret")}
	d.AssertionKey, d.MovedFrom = seal.NewSecret("the key, s3cret"), []string{"https://old.example.com/s3cret"}
	e := provider.Entry{Definition: d}
	if err := e.SealSecrets(k, bucket); err != nil {
		t.Fatal(err)
	}
	data := encode(t, e)
	if strings.Contains(string(data), "s3cret") {
		t.Fatalf("an open secret: %s", data)
	}
	back := decode(t, data)
	if len(back.Definition.ClientSecrets) != 0 || len(back.ClientSecrets) != 2 {
		t.Fatalf("decoded %d open, %d sealed", len(back.Definition.ClientSecrets), len(back.ClientSecrets))
	}
	if err := back.OpenSecrets(k, bucket); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(back.Definition, d) {
		t.Errorf("opened %+v", back.Definition)
	}
}

func TestSecretsOpenOnlyWhereTheyBelong(t *testing.T) {
	t.Parallel()
	k := newKeyset(t)
	d := acme()
	d.ClientSecrets, d.AssertionKey = append(d.ClientSecrets, seal.NewSecret("second")), seal.NewSecret("key")
	sealed := provider.Entry{Definition: d}
	if err := sealed.SealSecrets(k, bucket); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		change func(*provider.Entry)
		keyset *seal.Keyset
		bucket string
		want   error
	}{
		"another provider":          {func(e *provider.Entry) { e.Name = "beta" }, k, bucket, seal.ErrCorrupt},
		"another bucket":            {func(*provider.Entry) {}, k, "staging_providers", seal.ErrCorrupt},
		"another place":             {func(e *provider.Entry) { e.ClientSecrets = e.ClientSecrets[1:] }, k, bucket, seal.ErrCorrupt},
		"another keyset":            {func(*provider.Entry) {}, newKeyset(t), bucket, seal.ErrUnknownKey},
		"a key in a secret's place": {func(e *provider.Entry) { e.ClientSecrets[0] = e.AssertionKey }, k, bucket, seal.ErrCorrupt},
		"a secret in a key's place": {func(e *provider.Entry) { e.AssertionKey = e.ClientSecrets[0] }, k, bucket, seal.ErrCorrupt},
		"a move that nobody sealed": {func(e *provider.Entry) { e.MovedFrom = [][]byte{[]byte("https://evil.example.com/")} }, k, bucket, seal.ErrCorrupt},
		"a move made of a secret":   {func(e *provider.Entry) { e.MovedFrom = e.ClientSecrets[:1] }, k, bucket, seal.ErrCorrupt},
		"addresses nobody sealed":   {func(e *provider.Entry) { e.Endpoints = []byte(`{"revoke_url":"https://evil.example.com/"}`) }, k, bucket, seal.ErrCorrupt},
		"one of two is bad":         {func(e *provider.Entry) { e.ClientSecrets = [][]byte{e.ClientSecrets[0], nil} }, k, bucket, seal.ErrCorrupt},
	} {
		e := sealed
		e.Definition.ClientSecrets, e.ClientSecrets = nil, slices.Clone(sealed.ClientSecrets)
		tc.change(&e)
		err := e.OpenSecrets(tc.keyset, tc.bucket)
		if !errors.Is(err, tc.want) || e.Definition.ClientSecrets != nil {
			t.Errorf("%s: %v, opened %d", name, err, len(e.Definition.ClientSecrets))
		}
	}
}

func TestSealSecretsReplaces(t *testing.T) {
	t.Parallel()
	e, k := fullEntry(), newKeyset(t)
	if err := e.SealSecrets(k, bucket); err != nil || len(e.ClientSecrets) != 0 {
		t.Errorf("a definition without secrets leaves %d sealed, %v", len(e.ClientSecrets), err)
	}
	if err := e.OpenSecrets(k, bucket); err != nil || e.Definition.ClientSecrets != nil {
		t.Errorf("opened %v, %v", e.Definition.ClientSecrets, err)
	}
}

// TestTokensAreShownOnlyWhereTheKeysetsOwnerSaid: whoever writes the bucket without it can take such an address away, and no more.
func TestTokensAreShownOnlyWhereTheKeysetsOwnerSaid(t *testing.T) {
	t.Parallel()
	const good, evil = "https://login.example.com/x", "https://evil.example.com/x"
	k := newKeyset(t)
	for name, tt := range map[string]struct {
		change             func(*provider.Entry)
		revoke, introspect string
		unvouched          []string
	}{
		"as applied":       {func(*provider.Entry) {}, good, good, nil},
		"changed":          {func(e *provider.Entry) { e.RevokeURL = evil }, "", good, []string{"revoke_url"}},
		"swapped in":       {func(e *provider.Entry) { e.UserinfoURL = evil }, good, good, []string{"userinfo_url"}},
		"taken away":       {func(e *provider.Entry) { e.RevokeURL = "" }, "", good, nil},
		"with the seal":    {func(e *provider.Entry) { e.RevokeURL, e.Endpoints = evil, nil }, "", "", []string{"introspect_url", "revoke_url"}},
		"earlier versions": {func(e *provider.Entry) { e.Endpoints = nil }, "", "", []string{"introspect_url", "revoke_url"}},
	} {
		d := acme()
		d.RevokeURL, d.IntrospectURL, d.UserinfoURL = good, good, ""
		e := provider.Entry{Definition: d}
		if err := e.SealSecrets(k, bucket); err != nil {
			t.Fatal(err)
		}
		tt.change(&e)
		e = decode(t, encode(t, e))
		if err := e.OpenSecrets(k, bucket); err != nil {
			t.Fatal(err)
		}
		if e.RevokeURL != tt.revoke || e.IntrospectURL != tt.introspect || e.UserinfoURL != "" || !slices.Equal(e.Unvouched, tt.unvouched) {
			t.Errorf("%s: revoke %q, introspect %q, userinfo %q, unvouched %q", name, e.RevokeURL, e.IntrospectURL, e.UserinfoURL, e.Unvouched)
		}
	}
}
